"""The operations of one function, while they are written down.

A register is a variable's for good, or a temporary: one that is free again when its statement ends. What a
statement computes last goes into the variable directly, where it can.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from actors.contracts.ir import AnyOp, Const, If, Loop, Move, Shape
from actors.contracts.language.faults import SourcePlace, TooLargeError
from actors.contracts.language.values import KnownValue
from actors.contracts.limits import FRAME_BYTES_MAX, NESTING_MAX, OPERATIONS_MAX, REGISTERS_MAX
from actors.contracts.types import encode_value

SPLIT = "split the function into private ones"


@dataclass(frozen=True, slots=True)
class Placed:
    """An operation and the line that it stands for. inner: the lists of an If (two) or a Loop (one)."""

    op: AnyOp
    line: int
    inner: tuple[tuple[Placed, ...], ...] = ()


@dataclass(slots=True)
class Budget:
    """What all functions of a program together may still use."""

    operations: int = OPERATIONS_MAX


class OperationBuilder:
    """Registers and operations of one function."""

    def __init__(self, budget: Budget) -> None:
        self.registers: list[Shape] = []
        self.lists: list[list[Placed]] = [[]]
        self._budget = budget
        self._free: dict[Shape, list[int]] = {}
        self._held: list[int] = []

    def fresh(self, shape: Shape, place: SourcePlace) -> int:
        """A register that nothing has used: it is zero at first."""
        self.registers.append(shape)
        if len(self.registers) > REGISTERS_MAX:
            raise TooLargeError(place, f"a function of more than {REGISTERS_MAX} values", SPLIT)
        if sum(one.width_bytes for one in self.registers) > FRAME_BYTES_MAX:
            raise TooLargeError(place, f"values of more than {FRAME_BYTES_MAX} bytes in a function", SPLIT)
        return len(self.registers) - 1

    def permanent(self, shape: Shape, place: SourcePlace) -> int:
        """A register for a variable; what is in it at first is anything."""
        free = self._free.get(shape)
        return free.pop() if free else self.fresh(shape, place)

    def temporary(self, shape: Shape, place: SourcePlace) -> int:
        """A register until the statement ends."""
        register = self.permanent(shape, place)
        self._held.append(register)
        return register

    def is_temporary(self, register: int) -> bool:
        """True if nothing but the statement at hand knows this register."""
        return register in self._held

    @contextmanager
    def statement(self) -> Iterator[None]:
        """Frees the temporaries of a statement at its end."""
        held = len(self._held)
        yield
        for register in sorted(self._held[held:], reverse=True):
            self._free.setdefault(self.registers[register], []).append(register)
        del self._held[held:]

    @contextmanager
    def nested(self, place: SourcePlace) -> Iterator[list[Placed]]:
        """Operations that are written inside go to a list of their own."""
        if len(self.lists) > NESTING_MAX:
            raise TooLargeError(place, f"more than {NESTING_MAX} levels of if, for and return", SPLIT)
        inner: list[Placed] = []
        self.lists.append(inner)
        try:
            yield inner
        finally:
            self.lists.pop()

    def emit(self, op: AnyOp, place: SourcePlace, *inner: Sequence[Placed]) -> None:
        """One operation at the end of the list that is being written."""
        self._budget.operations -= 1
        if self._budget.operations < 0:
            raise TooLargeError(place, f"a contract of more than {OPERATIONS_MAX} operations", "split it")
        self.lists[-1].append(Placed(op, place.lineno, tuple(tuple(one) for one in inner)))

    def register(self, part: int | KnownValue, place: SourcePlace) -> int:
        """The register of a part; a known value is written into one."""
        if isinstance(part, int):
            return part
        register = self.temporary(Shape(part.type), place)
        self.emit(Const(register, encode_value(part.type, part.value)), place)
        return register

    def assign(self, targets: Sequence[int], parts: Sequence[int | KnownValue], place: SourcePlace) -> None:
        """targets := parts, all at once."""
        if self._retarget(targets, parts):
            return
        saved = [
            self._saved(part, place) if part in targets[:n] and part != targets[n] else part
            for n, part in enumerate(parts)
        ]
        for target, part in zip(targets, saved, strict=True):
            if isinstance(part, KnownValue):
                self.emit(Const(target, encode_value(part.type, part.value)), place)
            elif part != target:
                self.emit(Move(target, part), place)

    def _saved(self, part: int | KnownValue, place: SourcePlace) -> int | KnownValue:
        if isinstance(part, KnownValue):
            return part
        register = self.temporary(self.registers[part], place)
        self.emit(Move(register, part), place)
        return register

    def _retarget(self, targets: Sequence[int], parts: Sequence[int | KnownValue]) -> bool:
        """Let the last operation write to the targets, if it made the parts and they are temporaries."""
        last = self.lists[-1][-1] if self.lists[-1] else None
        if last is None or not parts or any(part not in self._held for part in parts):
            return False
        changed: AnyOp | None = None
        if hasattr(last.op, "dsts") and last.op.dsts == tuple(parts):
            changed = msgspec.structs.replace(last.op, dsts=tuple(targets))
        elif hasattr(last.op, "dst") and [last.op.dst] == list(parts):
            changed = msgspec.structs.replace(last.op, dst=targets[0])
        if changed is None:
            return False
        self.lists[-1][-1] = Placed(changed, last.line)
        return True


def finished(placed: Sequence[Placed]) -> tuple[AnyOp, ...]:
    """The operations with their inner lists in them."""
    return tuple(_finished(one) for one in placed)


def _finished(placed: Placed) -> AnyOp:
    if isinstance(placed.op, If):
        return If(placed.op.condition, *(finished(one) for one in placed.inner))
    if isinstance(placed.op, Loop):
        return msgspec.structs.replace(placed.op, body=finished(placed.inner[0]))
    return placed.op


def lines_of(placed: Sequence[Placed], path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], int]]:
    """Path and line of each operation. A path is the operation's place in the function's list; inside, it
    goes on with the number of the inner list (If: 0 then, 1 otherwise; Loop: 0) and the place in that."""
    for number, one in enumerate(placed):
        here = (*path, number)
        yield here, one.line
        for which, inner in enumerate(one.inner):
            yield from lines_of(inner, (*here, which))
