"""Which slots a function knows already while it is written: a key is hashed once where it is used twice.

Values have numbers. A register that is written gets a new one, unless it is a copy, a constant or a fact,
which has the same number wherever it comes from. So two rows of a table with the same numbers of keys are one
row, and its slots, which do not move while calls run, are where they were. What is found within a branch or a
round is known there alone, and what is written there has new numbers behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count

from actors.contracts import ir
from actors.contracts.ir import Shape
from actors.contracts.verified import BasicBlock, Choice, Code
from actors.kernels.emitter import Value

Number = int | tuple[str, object]
Row = tuple[int, tuple[Number, ...], int]
"""Table, keys, chunk."""


def written(operation: ir.Op) -> Sequence[int]:
    """Registers that an operation without lists writes."""
    if isinstance(operation, ir.Store):
        return (operation.array,)
    dst = getattr(operation, "dst", None)
    return getattr(operation, "dsts", ()) if dst is None else (dst,)


def written_in(code: Code) -> set[int]:
    """Registers that are written anywhere in it."""
    found = set[int]()
    for part in code:
        if isinstance(part, BasicBlock):
            found.update(*map(written, part.operations))
        elif isinstance(part, Choice):
            found |= written_in(part.then) | written_in(part.otherwise)
        else:
            found |= written_in(part.body) | {part.index}
    return found


class KnownSlots:
    """Of one function, at the place where it is being written."""

    def __init__(self, registers: int) -> None:
        self._fresh = count()
        self._numbers: list[Number] = [next(self._fresh) for _ in range(registers)]
        self._slots = dict[Row, Value]()

    def row(self, table: int, keys: Sequence[int], chunk: int) -> Row:
        """Where a chunk of a row is known."""
        return table, tuple([self._numbers[key] for key in keys]), chunk

    def slot(self, row: Row) -> Value | None:
        """Where it is, if that is known."""
        return self._slots.get(row)

    def remember(self, row: Row, slot: Value) -> None:
        """It has been found."""
        self._slots[row] = slot

    def pass_by(self, operation: ir.Op, shapes: Sequence[Shape]) -> None:
        """After an operation without lists."""
        for register in written(operation):
            self._numbers[register] = next(self._fresh)
        casts_bytes = isinstance(operation, ir.Cast) and shapes[operation.dst].type.is_bytes
        if isinstance(operation, ir.Move) or (isinstance(operation, ir.Cast) and casts_bytes):
            self._numbers[operation.dst] = self._numbers[operation.src]
        elif isinstance(operation, ir.Const):
            self._numbers[operation.dst] = ("constant", operation.value)
        elif isinstance(operation, ir.Context):
            self._numbers[operation.dst] = ("fact", operation.what)

    def forget(self, registers: set[int]) -> None:
        """They may hold anything."""
        for register in registers:
            self._numbers[register] = next(self._fresh)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is learnt within is not known behind."""
        numbers, slots = list(self._numbers), dict(self._slots)
        yield
        self._numbers, self._slots = numbers, slots
