"""Simulations of calls, a few at a time: each in a thread, reading the state of one height through Storage.

Waiting and running ones are bounded in sum, each client has its share of them, and clients run in turn. A
thread ends by the gas that it may use, and at the next value it would read once its time is over or nobody
waits for it; only then another may begin.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from actors.gateway.backend import UnavailableError
from actors.gateway.contract_record import KnownContract
from actors.gateway.heights import values_at
from actors.gateway.known_contracts import KnownContracts, no_contract
from actors.gateway.problem import ProblemError
from actors.gateway.reads import READ_TIMEOUT_S
from actors.gateway.service import Service
from actors.gateway.shares import ClientShares, FairTurns
from actors.gateway.simulation import SimulatedCall, SimulatedLedger, SimulationOutcome, simulate
from actors.ledger.contract_payloads import DEPOSITS_KEY
from actors.ledger.contract_state import head_key

AT_ONCE, OPEN_MAX = 2, 32
SIMULATION_TIMEOUT_S = 10.0
PROGRAMS_MAX = 16
"""Contracts that are at hand when a simulation begins: its own, and those that it may call."""


class SimulationStoppedError(Exception):
    """Nobody waits for this simulation any more."""


class Simulator:
    """The simulations of one gateway."""

    def __init__(self, backend: Service, contracts: KnownContracts) -> None:
        self._backend, self._contracts = backend, contracts
        self._open = ClientShares("simulations", OPEN_MAX)
        self._turns = FairTurns("simulations", AT_ONCE)
        self._threads = ThreadPoolExecutor(AT_ONCE, "simulation")

    @property
    def open(self) -> int:
        """Simulations that run or wait."""
        return self._open.held

    @property
    def running(self) -> int:
        """Threads that are at it."""
        return self._turns.taken

    def figures(self) -> dict[str, int]:
        """What runs, and what waits for its turn."""
        return {"simulations": self.running, "simulations_waiting": self._turns.waiting}

    async def state_facts(self, height: int | None) -> tuple[int, int]:
        """The height that is meant, the newest by default, and the time of its block in milliseconds."""
        at = await self._backend.committed_height() if height is None else height
        header = await self._backend.header(at) if at else None
        if at and header is None:
            raise ProblemError("not-found", f"no block at height {at}", field="height")
        return at, self._backend.genesis.created_ms if header is None else header.time_ms

    async def run(self, client: str, wanted: SimulatedCall) -> SimulationOutcome:
        """Simulate a call for a client. Raises ProblemError, BusyError and UnavailableError."""
        stopped = threading.Event()
        running = await self._begin(client, wanted, stopped)
        try:
            async with asyncio.timeout(SIMULATION_TIMEOUT_S):
                return await asyncio.shield(running)
        except TimeoutError:
            detail = f"the simulation takes longer than {SIMULATION_TIMEOUT_S:.0f} s: give it less gas"
            raise ProblemError("busy", detail, field="gas", limit=int(SIMULATION_TIMEOUT_S)) from None
        finally:
            stopped.set()

    async def _begin(
        self, client: str, wanted: SimulatedCall, stopped: threading.Event
    ) -> asyncio.Future[SimulationOutcome]:
        self._open.take(client)
        try:
            ledger = SimulatedLedger(await self._at_hand(wanted), self._fetcher(wanted.height, stopped))
            await self._turns.enter(client)
        except BaseException:
            self._open.give(client)
            raise
        genesis = self._backend.genesis
        running = asyncio.get_running_loop().run_in_executor(
            self._threads, simulate, ledger, wanted, genesis.chain_tag, genesis.prices
        )
        running.add_done_callback(partial(self._ended, client))
        return running

    def _ended(self, client: str, done: asyncio.Future[SimulationOutcome]) -> None:
        self._turns.leave(client)
        self._open.give(client)
        if not done.cancelled():
            done.exception()  # Retrieved here, should its caller be gone.

    async def _at_hand(self, wanted: SimulatedCall) -> dict[bytes, bytes]:
        """What nearly every call reads: the accounts that it names, and the programs."""
        contract = await self._contracts.get(wanted.contract)
        programs = await self._with_imports(contract)
        address = wanted.contract
        keys = [wanted.sender, address, DEPOSITS_KEY, *map(head_key, programs)]
        values = (await values_at(self._backend, keys, wanted.height)).values
        known = dict(zip(keys, values, strict=True))
        if not known[head_key(address)]:
            raise no_contract(address, wanted.height)
        for other in programs.values():
            if known[head_key(other.address)]:
                known |= other.entries()
        return known

    async def _with_imports(self, contract: KnownContract) -> dict[bytes, KnownContract]:
        """A contract and those that it may call, by way of others too; PROGRAMS_MAX of them."""
        found, level = {contract.address: contract}, [contract]
        while level:
            imported = {each.address for one in level for each in one.verified.program.imports}
            room = PROGRAMS_MAX - len(found)
            more = await self._contracts.find_all(sorted(imported - found.keys())[:room])
            level = list(more.values())
            found |= more
        return found

    def _fetcher(self, height: int, stopped: threading.Event) -> Callable[[bytes], bytes]:
        """How the thread of a simulation reads one more value."""
        loop = asyncio.get_running_loop()

        async def value_of(key: bytes) -> bytes:
            return (await values_at(self._backend, [key], height)).values[0]

        def fetch(key: bytes) -> bytes:
            if stopped.is_set():
                raise SimulationStoppedError
            try:
                return asyncio.run_coroutine_threadsafe(value_of(key), loop).result(2 * READ_TIMEOUT_S)
            except TimeoutError:
                raise UnavailableError("storage") from None

        return fetch
