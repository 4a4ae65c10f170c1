"""What the verifier makes of a program: basic blocks with their gas, and what a function does at most."""

from __future__ import annotations

import msgspec

from actors.contracts.entries import RowLayout
from actors.contracts.gas import Weights
from actors.contracts.ir import Function, FunctionKind, Op, Program
from actors.contracts.slots import Codec, SlotLayout
from actors.contracts.types import Slot


class BasicBlock(msgspec.Struct, frozen=True, gc=False):
    """Operations that run one after the other, or one call. gas: of all of them."""

    gas: int
    operations: tuple[Op, ...]


class Choice(msgspec.Struct, frozen=True, gc=False):
    """An `If`."""

    gas: int
    condition: int
    then: Code
    otherwise: Code


class Rounds(msgspec.Struct, frozen=True, gc=False):
    """A `Loop`."""

    gas: int
    round_gas: int
    index: int
    count: int
    max: int
    body: Code


Part = BasicBlock | Choice | Rounds
Code = tuple[Part, ...]


class Worst(msgspec.Struct, frozen=True, gc=False):
    """The most that a list of operations, or a function, can do.

    gas, steps: loops and calls within the contract multiplied out, without what other contracts do.
    contract_calls: of other contracts, counted likewise.
    """

    gas: int = 0
    steps: int = 0
    contract_calls: int = 0

    def __add__(self, after: Worst) -> Worst:
        return Worst(
            self.gas + after.gas, self.steps + after.steps, self.contract_calls + after.contract_calls
        )

    def __or__(self, instead: Worst) -> Worst:
        return Worst(
            max(self.gas, instead.gas),
            max(self.steps, instead.steps),
            max(self.contract_calls, instead.contract_calls),
        )

    def __mul__(self, times: int) -> Worst:
        return Worst(self.gas * times, self.steps * times, self.contract_calls * times)


class Abilities(msgspec.Struct, frozen=True):
    """What a function may do, itself or through functions of its contract.

    reads: rows, or the contract's coins. writes: rows. sends: coins, also along with a call. imports: numbers
    of those that it may call. calls_entries: whether an entry is among them.
    """

    reads: bool = False
    writes: bool = False
    emits: bool = False
    sends: bool = False
    calls_entries: bool = False
    imports: frozenset[int] = frozenset()

    @property
    def changes_nothing(self) -> bool:
        """True for what a view may do."""
        return not (self.writes or self.emits or self.sends or self.calls_entries)

    def __or__(self, other: Abilities) -> Abilities:
        return Abilities(
            self.reads or other.reads,
            self.writes or other.writes,
            self.emits or other.emits,
            self.sends or other.sends,
            self.calls_entries or other.calls_entries,
            self.imports | other.imports,
        )


class VerifiedFunction(msgspec.Struct, frozen=True):
    """A function, ready to run.

    registers: how the registers' slots are encoded, parameters first; params, results: how those are.
    ranges: least and greatest value of integer registers. maxima: parameters with a declared greatest value.
    depth: of calls within the contract, 1 for a function that calls none.
    """

    number: int
    function: Function
    code: Code
    registers: tuple[Codec, ...]
    params: SlotLayout
    results: SlotLayout
    ranges: tuple[tuple[int, int], ...]
    zeros: tuple[Slot, ...]
    maxima: tuple[tuple[int, int], ...]
    worst: Worst
    abilities: Abilities
    depth: int


class Verified(msgspec.Struct, frozen=True):
    """A program that keeps all rules, ready to run."""

    program: Program
    weights: Weights
    tables: tuple[RowLayout, ...]
    functions: tuple[VerifiedFunction, ...]

    def named(self, name: str) -> VerifiedFunction | None:
        """The function of this name."""
        return next((each for each in self.functions if each.function.name == name), None)

    @property
    def init(self) -> VerifiedFunction | None:
        """What its deployment calls."""
        kinds = (each for each in self.functions if each.function.kind is FunctionKind.INIT)
        return next(kinds, None)
