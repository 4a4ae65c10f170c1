"""Contracts that are in the state, ready to be described and run; the ones used last are kept.

A contract never changes once it is there, so it is read once, at the newest height. Verifying a large program
takes a while and is done in a thread; callers that ask for the same contract share that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial

from actors.contracts.access import derive_access
from actors.contracts.encoding import decode_program
from actors.contracts.gas import Weights
from actors.contracts.verifier import verify
from actors.gateway.contract_record import KnownContract
from actors.gateway.final_cache import FinalCache
from actors.gateway.heights import values_at
from actors.gateway.problem import ProblemError
from actors.gateway.reads import SharedCalls
from actors.gateway.service import Service
from actors.ledger.contract_state import head_key, origin_key, program_keys, read_origin, read_program

CONTRACTS_KEPT, CONTRACTS_BYTES_MAX = 1024, 64 << 20
VERIFIED_BYTES = 64  # of a program that is ready to run, for each of its own bytes
NAMED_MAX = 64
READ_AT_ONCE = 8


class KnownContracts:
    """The contracts of one gateway's network."""

    def __init__(self, backend: Service) -> None:
        self._backend = backend
        self._kept: FinalCache[bytes, KnownContract] = FinalCache(
            CONTRACTS_KEPT, CONTRACTS_BYTES_MAX, lambda contract: VERIFIED_BYTES * len(contract.program)
        )
        self._shared = SharedCalls()

    async def find(self, address: bytes) -> KnownContract | None:
        """The contract at an address, None if there is none yet."""
        if (kept := self._kept.get(address)) is not None:
            return kept
        found: KnownContract | None = await self._shared.call(address, partial(self._read, address))
        if found is not None:
            self._kept.put(address, found)
        return found

    async def get(self, address: bytes) -> KnownContract:
        """The same. Raises ProblemError 404 if there is none."""
        found = await self.find(address)
        if found is None:
            raise no_contract(address)
        return found

    async def find_all(self, addresses: Iterable[bytes]) -> dict[bytes, KnownContract]:
        """Those among the first NAMED_MAX different addresses."""
        wanted, found = list(dict.fromkeys(addresses))[:NAMED_MAX], dict[bytes, KnownContract]()
        for start in range(0, len(wanted), READ_AT_ONCE):
            some = wanted[start : start + READ_AT_ONCE]
            for contract in await asyncio.gather(*(self.find(address) for address in some)):
                if contract is not None:
                    found[contract.address] = contract
        return found

    async def _read(self, address: bytes) -> KnownContract | None:
        keys = [head_key(address), origin_key(address)]
        state = dict(zip(keys, (await values_at(self._backend, keys, None)).values, strict=True))
        if not state[keys[0]]:
            return None
        keys = program_keys(address)
        state |= zip(keys, (await values_at(self._backend, keys, None)).values, strict=True)
        return await asyncio.to_thread(_ready, address, state, self._backend.genesis.prices.weights)


def _ready(address: bytes, state: dict[bytes, bytes], weights: Weights) -> KnownContract:
    def read(key: bytes) -> bytes:
        return state.get(key, b"")

    program, origin = read_program(address, read), read_origin(address, read)
    if program is None or origin is None:
        raise ValueError(f"the state has a part of the contract {address.hex()} only")
    verified = verify(decode_program(program), weights)
    static = frozenset(each.function for each in derive_access(verified.program) if each.is_static)
    return KnownContract(address, program, read(head_key(address)), origin, verified, static)


def no_contract(address: bytes, height: int | None = None) -> ProblemError:
    """The problem of an address without a contract."""
    when = "" if height is None else f" at height {height}"
    detail = f"no contract at {address.hex()}{when}: check the address, or wait for its deployment to commit"
    return ProblemError("not-found", detail, field="address")
