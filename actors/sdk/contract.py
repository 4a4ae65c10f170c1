"""A contract as an application holds it, blocking and asynchronous.

    with Client(url, genesis=read_genesis(Path("data"))) as client:
        token = client.contract(address)
        token.view("balance_of", alice)                       # 250
        token.simulate("transfer", {"to": bob, "amount": 5}, sender=alice).gas
        token.verified_row("balances", alice).value           # proven here, not believed

Values are int, bool, bytes and tuples (contract_values.py). What is sent goes through a `Wallet`:
`await wallet.call(token, "transfer", {"to": bob, "amount": 5})`. `AsyncContract` has the same calls,
awaited, and `events`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from actors.ledger.genesis import Genesis
from actors.ledger.signing import Transfer
from actors.sdk import contract_steps as steps
from actors.sdk.contract_interface import Arguments, ContractEvent, ContractFunction, ContractInterface
from actors.sdk.contract_results import Called, DeployedContract, EventsLostError, Simulation, read_followed
from actors.sdk.contract_steps import Steps, TableRow
from actors.sdk.contract_values import InterfaceError
from actors.sdk.inclusion_proof import ProofError
from actors.sdk.requests import ApiRequest, Height
from actors.sdk.subscribe import Event, EventFilter

Outcome = TypeVar("Outcome")
LOOKS_MAX, LOOK_PAUSE_S = 100, 0.1
"""How often, and after which pauses, a gateway is asked for what another one said is committed."""


class Asker(Protocol):
    """What a contract needs of a client."""

    def ask(self, request: ApiRequest[Any]) -> Any:
        """The answer to a request; None where the request takes 404 for that."""


class AsyncAsker(Protocol):
    """What a contract needs of an asynchronous client."""

    def follow(
        self, blocks: bool = True, *, from_height: int | None = None, contracts: Iterable[EventFilter] = ()
    ) -> AsyncIterator[Event]:
        """What becomes final, without end."""

    async def ask(self, request: ApiRequest[Any]) -> Any:
        """The answer to a request; None where the request takes 404 for that."""


def run(client: Asker, wanted: Steps[Outcome]) -> Outcome:
    """Carry steps out."""
    answer: Any = None
    while True:
        try:
            request = wanted.send(answer)
        except StopIteration as ended:
            outcome: Outcome = ended.value
            return outcome
        answer = client.ask(request)


async def run_async(client: AsyncAsker, wanted: Steps[Outcome]) -> Outcome:
    """Carry steps out."""
    answer: Any = None
    while True:
        try:
            request = wanted.send(answer)
        except StopIteration as ended:
            outcome: Outcome = ended.value
            return outcome
        answer = await client.ask(request)


def until_known(client: Asker, ask: Callable[[], Steps[Outcome | None]]) -> Outcome | None:
    """Ask until a gateway knows; None where none did for long."""
    for _ in range(LOOKS_MAX):
        known = run(client, ask())
        if known is not None:
            return known
        time.sleep(LOOK_PAUSE_S)
    return None


async def until_known_async(client: AsyncAsker, ask: Callable[[], Steps[Outcome | None]]) -> Outcome | None:
    """Ask until a gateway knows; None where none did for long."""
    for _ in range(LOOKS_MAX):
        known = await run_async(client, ask())
        if known is not None:
            return known
        await asyncio.sleep(LOOK_PAUSE_S)
    return None


def find_deployed(client: Asker, tx_id: bytes) -> DeployedContract | None:
    """What came of a committed deployment; None where no gateway knows it. Raises ContractFailedError."""
    return until_known(client, lambda: steps.deployed_steps(tx_id))


async def find_deployed_async(client: AsyncAsker, tx_id: bytes) -> DeployedContract | None:
    """`find_deployed`, awaited."""
    return await until_known_async(client, lambda: steps.deployed_steps(tx_id))


@dataclass(frozen=True)
class PreparedCall:
    """A call that wants a nonce and a signature. simulated: what it would do now, None if nobody asked."""

    draft: Transfer
    simulated: Simulation | None


class _Interfaced:
    """What both twins know: the interface, and by which genesis proofs are judged, if it is to be trusted."""

    def __init__(self, interface: ContractInterface, genesis: Genesis, trusted: bool) -> None:
        self.interface, self._genesis, self._trusted = interface, genesis, trusted

    @property
    def address(self) -> bytes:
        """Where it lives."""
        return self.interface.address

    @property
    def name(self) -> str:
        """Of its class."""
        return self.interface.name

    @property
    def functions(self) -> dict[str, ContractFunction]:
        """Its entries and views, by name."""
        return self.interface.functions

    def event_filter(self, event: str | None = None, first: Any = None) -> EventFilter:
        """Its events: all, those of a name, or of these only those with this first field."""
        if event is None:
            if first is not None:
                raise InterfaceError("a first field is that of an event: name it, too")
            return EventFilter(self.address)
        number = self.interface.event_number(event)
        chosen = None if first is None else self.interface.first_field(number, first)
        return EventFilter(self.address, number, chosen)

    def _judge(self, genesis: Genesis | None) -> Genesis:
        if genesis is None and not self._trusted:
            raise ProofError("genesis", "none is pinned; give the client or this call one that you trust")
        return genesis or self._genesis

    def _prepared(self, function: str, arguments: Arguments, coins: int, gas: int | None) -> PreparedCall:
        if gas is None:
            raise InterfaceError("say how much gas it may use, since it is not simulated")
        found = self.interface.function(function)
        draft = steps.unsimulated_draft(self.interface, self._genesis, found, arguments, coins, gas)
        return PreparedCall(draft, None)


def _arguments(in_order: Sequence[Any], named: Mapping[str, Any]) -> Arguments:
    if in_order and named:
        raise InterfaceError("give arguments in order or by their names, not both")
    return named or in_order


class Contract(_Interfaced):
    """A contract, through a `Client`. Made by `client.contract(address)`."""

    def __init__(self, client: Asker, interface: ContractInterface, genesis: Genesis, trusted: bool) -> None:
        super().__init__(interface, genesis, trusted)
        self._client = client

    def simulate(
        self,
        function: str,
        arguments: Arguments = (),
        sender: bytes | None = None,
        coins: int = 0,
        gas: int | None = None,
        height: int | None = None,
    ) -> Simulation:
        """What a call would do: results, events, gas, fee; nothing is sent. height: a retained one.

        sender: who would call, and would have to pay for it; nobody by default.

        Raises InterfaceError for what the contract does not have or take, ApiError for the rest.
        """
        found = self.interface.function(function)
        asked = steps.simulate_steps(self.interface, found, arguments, sender, coins, gas, height)
        return run(self._client, asked)

    def view(self, function: str, /, *in_order: Any, **named: Any) -> Any:
        """The result of a view, as the gateway says it: a value, a tuple of several, or a struct's fields by
        name. Raises ContractFailedError if it fails."""
        found = self.interface.function(function)
        return run(self._client, steps.view_steps(self.interface, found, _arguments(in_order, named)))

    def prepare(
        self,
        function: str,
        arguments: Arguments = (),
        sender: bytes | None = None,
        coins: int = 0,
        gas: int | None = None,
        simulate: bool = True,
    ) -> PreparedCall:
        """A call to be given a nonce and signed; `wallet.call` does all of it. Raises ContractFailedError for
        one that would fail, unless it is not simulated; then `gas` has to be given."""
        if not simulate:
            return self._prepared(function, arguments, coins, gas)
        found = self.interface.function(function)
        asked = steps.prepare_steps(self.interface, self._genesis, found, arguments, sender, coins, gas)
        return PreparedCall(*run(self._client, asked))

    def called(self, function: str, tx_id: bytes) -> Called | None:
        """What came of a committed call; None while the gateway does not know it."""
        found = self.interface.function(function)
        return until_known(self._client, lambda: steps.called_steps(self.interface, found, tx_id))

    def verified_row(
        self, table: str, *keys: Any, height: Height = "latest", genesis: Genesis | None = None
    ) -> TableRow:
        """A row of a table, or a cell, proven here against the genesis given or pinned. Raises ProofError."""
        judge = self._judge(genesis)
        return run(self._client, steps.row_steps(self.interface, judge, table, keys, height))

    def verified_cells(self, genesis: Genesis | None = None) -> dict[str, TableRow]:
        """All cells, proven at one height. Raises ProofError."""
        return run(self._client, steps.cells_steps(self.interface, self._judge(genesis)))

    def source(self) -> str:
        """The source that it was deployed with; its hash is checked."""
        return run(self._client, steps.source_steps(self.interface))


class AsyncContract(_Interfaced):
    """`Contract` with awaited calls. Made by `await client.contract(address)`."""

    def __init__(
        self, client: AsyncAsker, interface: ContractInterface, genesis: Genesis, trusted: bool
    ) -> None:
        super().__init__(interface, genesis, trusted)
        self._client = client

    async def simulate(
        self,
        function: str,
        arguments: Arguments = (),
        sender: bytes | None = None,
        coins: int = 0,
        gas: int | None = None,
        height: int | None = None,
    ) -> Simulation:
        found = self.interface.function(function)
        asked = steps.simulate_steps(self.interface, found, arguments, sender, coins, gas, height)
        return await run_async(self._client, asked)

    async def view(self, function: str, /, *in_order: Any, **named: Any) -> Any:
        found = self.interface.function(function)
        asked = steps.view_steps(self.interface, found, _arguments(in_order, named))
        return await run_async(self._client, asked)

    async def prepare(
        self,
        function: str,
        arguments: Arguments = (),
        sender: bytes | None = None,
        coins: int = 0,
        gas: int | None = None,
        simulate: bool = True,
    ) -> PreparedCall:
        if not simulate:
            return self._prepared(function, arguments, coins, gas)
        found = self.interface.function(function)
        asked = steps.prepare_steps(self.interface, self._genesis, found, arguments, sender, coins, gas)
        return PreparedCall(*await run_async(self._client, asked))

    async def called(self, function: str, tx_id: bytes) -> Called | None:
        found = self.interface.function(function)
        return await until_known_async(self._client, lambda: steps.called_steps(self.interface, found, tx_id))

    async def verified_row(
        self, table: str, *keys: Any, height: Height = "latest", genesis: Genesis | None = None
    ) -> TableRow:
        judge = self._judge(genesis)
        return await run_async(self._client, steps.row_steps(self.interface, judge, table, keys, height))

    async def verified_cells(self, genesis: Genesis | None = None) -> dict[str, TableRow]:
        return await run_async(self._client, steps.cells_steps(self.interface, self._judge(genesis)))

    async def source(self) -> str:
        return await run_async(self._client, steps.source_steps(self.interface))

    async def events(
        self, event: str | None = None, first: Any = None, from_height: int | None = None
    ) -> AsyncIterator[ContractEvent]:
        """Its events without end, each once, also after a lost connection: see `event_filter`. from_height:
        also those of the blocks from there on. Raises EventsLostError, and what `follow` raises."""
        chosen = [self.event_filter(event, first)]
        async for message in self._client.follow(False, from_height=from_height, contracts=chosen):
            if message["type"] == "lagged":
                raise EventsLostError(int(message["from_height"]), int(message["to_height"]))
            if message["type"] == "event":
                yield read_followed(self.interface, message)
