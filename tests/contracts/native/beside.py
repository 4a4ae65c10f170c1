"""The same calls by the interpreter and by native code, each on a world of its own; and compared."""

from __future__ import annotations

from collections.abc import Sequence

from actors.contracts.encoding import encode_program
from actors.contracts.failures import Failure
from actors.contracts.interpreter import Result, call
from actors.contracts.native.calls import CallColumns
from actors.contracts.native.driver import run_calls
from actors.contracts.native.linking import FindProgram, LinkedContracts
from actors.contracts.native.program import NativeCache, NativeProgram
from actors.contracts.native.tables import AccountTable, EntryTable
from actors.contracts.running import CallContext
from actors.contracts.verified import Verified
from actors.contracts.world import MemoryWorld

SEED = 0x5EED_0123_4567_89AB_CDEF
CACHE = NativeCache(16)


class Beside:
    """Two worlds that begin alike. What native code asks for comes from the world at the beginning."""

    def __init__(self, world: MemoryWorld | None = None) -> None:
        world = world or MemoryWorld()
        self.before, self.world = MemoryWorld(), MemoryWorld()
        for each in (self.before, self.world):
            each.entries, each.balances = dict(world.entries), dict(world.balances)
            each.programs = world.programs
        self.entries, self.accounts = EntryTable(SEED), AccountTable(SEED >> 1)

    def run(
        self,
        program: Verified,
        function: str,
        arguments: Sequence[bytes],
        contexts: Sequence[CallContext],
        gas: Sequence[int],
    ) -> list[Result]:
        """What came of calls of a function in one block: the same in both, as is all that they left."""
        linked = LinkedContracts([contexts[0].contract], self._find(program, contexts[0].contract))
        called = program.named(function)
        assert called is not None
        columns = CallColumns.of(arguments, contexts, gas)
        outcomes = run_calls(linked, called.number, columns, self.entries, self.accounts, self.before)
        interpreted = []
        for row, data in enumerate(arguments):
            interpreted.append(self._interpreted(program, function, data, contexts[row], gas[row]))
            assert outcomes.result(row) == interpreted[row], row
        self.check_state()
        return interpreted

    def _find(self, program: Verified, contract: bytes) -> FindProgram:
        """Programs of the world as native code; the one that is called may be in none."""

        def find(address: bytes) -> NativeProgram | None:
            found = program if address == contract else self.world.programs.get(address)
            return CACHE.get(encode_program(found.program), found.weights) if found else None

        return find

    def check_state(self) -> None:
        """Entries and balances are the same; and what is not marked as changed is as it was before."""
        assert self._entries(False) == self.world.entries
        balances = {**self.before.balances, **dict(self.accounts.items())}
        assert _without_zeros(balances) == _without_zeros(self.world.balances)
        changed = {**self.before.entries, **dict(self.entries.items(changed_only=True))}
        assert {key: value for key, value in changed.items() if value} == self.world.entries
        balances = {**self.before.balances, **dict(self.accounts.items(changed_only=True))}
        assert _without_zeros(balances) == _without_zeros(self.world.balances)

    def _entries(self, changed_only: bool) -> dict[bytes, bytes]:
        entries = {**self.before.entries, **dict(self.entries.items(changed_only))}
        return {key: value for key, value in entries.items() if value}

    def _interpreted(
        self, program: Verified, function: str, arguments: bytes, context: CallContext, gas: int
    ) -> Result:
        """With its coins, as the loop moves them: who has fewer fails where the body would begin."""
        world, amount = self.world, context.amount
        lacking = world.balance(context.sender) < amount
        if not lacking:
            world.move(context.sender, context.contract, amount)
        kept = MemoryWorld()
        kept.entries, kept.balances = dict(world.entries), dict(world.balances)
        kept.programs = world.programs
        result = call(program, function, arguments, context, kept if lacking else world, gas)
        refused = result.failure in (Failure.TAKES_NO_COINS, Failure.BAD_ARGUMENTS) and not result.gas_used
        if lacking and not refused:
            return Result(failure=Failure.INSUFFICIENT_COINS, gas_used=0)
        if result.failure is not None and not lacking:
            world.move(context.contract, context.sender, amount)
        return result


def _without_zeros(balances: dict[bytes, int]) -> dict[bytes, int]:
    return {who: coins for who, coins in balances.items() if coins}
