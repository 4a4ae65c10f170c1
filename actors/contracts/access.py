"""Which rows a call touches, and how early that is known. Derived from the program: nobody declares it.

1. A key is static if it comes from arguments, context and constants alone: whoever has the transaction can
   compute it. It is chained if it depends on what was read (a row, coins, the result of another contract), in
   its value or in which branch has set it; then its row is known only while the call runs.
2. For each register the analysis keeps what its value waits for: nothing, or the first operation that reads.
   It follows the operations in order; where branches meet, and around loops, what waits in one place waits.
   Private functions are followed with what their arguments wait for.
3. Additions to a table that a call neither reads nor sets commute: their order does not show.
4. It errs to one side: a static key is static. The work is bounded; where the bound is reached, loops and
   functions that are left are taken to be chained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum

import msgspec

from actors.contracts import ir

Position = tuple[int, tuple[int, ...]]
"""A function's number and the path of an operation in it: its place in the function's list; inside an If it
goes on with 0 (then) or 1 (otherwise) and the place in that list, inside a Loop with 0 and the place."""
Waits = Position | None
"""The first operation that a value waits for, or None if it is static."""

STEPS_MAX = 1 << 17
"""Operations that the analysis looks at, again where it must, before it takes what is left to be chained."""
CONTEXTS_MAX = 32
"""Ways in which the arguments of one function may wait, before all of them are taken to."""


class Touch(IntEnum):
    """What is done to a row."""

    READ = 1
    WRITE = 2
    ADD = 3


class RowAccess(msgspec.Struct, frozen=True):
    """One operation on rows of a table, in a public function or a private one that it calls.

    waits_for: what its keys depend on if they are chained; its line is 0 where lines are unknown.
    commutes: an addition, and the call does nothing else to the table.
    """

    table: int
    touch: Touch
    position: Position
    line: int
    waits_for: Waits
    waits_for_line: int
    commutes: bool

    @property
    def is_static(self) -> bool:
        """True if the row is known from the transaction."""
        return self.waits_for is None


class FunctionAccess(msgspec.Struct, frozen=True):
    """All that one public function touches in its own contract. imports: numbers of those it calls."""

    function: int
    name: str
    rows: tuple[RowAccess, ...]
    imports: tuple[int, ...]

    @property
    def is_static(self) -> bool:
        """True if all rows are known from the transaction, and no other contract is called."""
        return not self.imports and all(row.is_static for row in self.rows)


def derive_access(
    program: ir.Program, lines: Mapping[Position, int] | None = None
) -> tuple[FunctionAccess, ...]:
    """Of each entry, view and init of a verified program, in order. lines: of its source."""
    analysis = _Analysis(program)
    return tuple(
        _of_function(number, function.name, analysis, lines or {})
        for number, function in enumerate(program.functions)
        if function.kind is not ir.FunctionKind.PRIVATE
    )


def _of_function(
    number: int, name: str, analysis: _Analysis, lines: Mapping[Position, int]
) -> FunctionAccess:
    summary = analysis.function(number, (None,) * len(analysis.program.functions[number].params))
    others = {table for (_, table, touch) in summary.rows if touch is not Touch.ADD}
    rows = tuple(
        RowAccess(
            table,
            touch,
            position,
            lines.get(position, 0),
            waits,
            0 if waits is None else lines.get(waits, 0),
            touch is Touch.ADD and table not in others,
        )
        for (position, table, touch), waits in sorted(summary.rows.items())
    )
    return FunctionAccess(number, name, rows, tuple(sorted(summary.imports)))


class _Summary:
    """What a function does if its arguments wait in one way. results: what each result waits for."""

    def __init__(self) -> None:
        self.rows: dict[tuple[Position, int, Touch], Waits] = {}
        self.imports: set[int] = set()
        self.results: tuple[Waits, ...] = ()

    def touch(self, position: Position, table: int, touch: Touch, waits: Waits) -> None:
        key = (position, table, touch)
        self.rows[key] = _first(waits, self.rows.get(key))

    def include(self, other: _Summary) -> None:
        for (position, table, touch), waits in other.rows.items():
            self.touch(position, table, touch, waits)
        self.imports |= other.imports


class _Analysis:
    def __init__(self, program: ir.Program) -> None:
        self.program = program
        self.steps_left = STEPS_MAX
        self._known: dict[int, dict[tuple[Waits, ...], _Summary]] = {}

    def function(self, number: int, arguments: tuple[Waits, ...]) -> _Summary:
        contexts = self._known.setdefault(number, {})
        if arguments not in contexts:
            if len(contexts) >= CONTEXTS_MAX or self.steps_left <= 0:
                first = min((waits for waits in arguments if waits is not None), default=None)
                arguments = (first or (number, ()),) * len(arguments)
            if arguments not in contexts:
                contexts[arguments] = _Walk(self, number, arguments).summary
        return contexts[arguments]


class _Walk:
    """Through the operations of one function. state: what each register waits for."""

    def __init__(self, analysis: _Analysis, number: int, arguments: tuple[Waits, ...]) -> None:
        function = analysis.program.functions[number]
        self.summary = _Summary()
        self._analysis, self._number = analysis, number
        self._state: list[Waits] = [*arguments, *[None] * (len(function.registers) - len(arguments))]
        self._included: set[int] = set()
        self._list(function.body, ())
        self.summary.results = tuple(self._state[register] for register, _ in function.results)

    def _list(self, operations: Sequence[ir.AnyOp], path: tuple[int, ...]) -> None:
        for number, op in enumerate(operations):
            self._analysis.steps_left -= 1
            here = (self._number, (*path, number))
            if isinstance(op, ir.If):
                self._if(op, here)
            elif isinstance(op, ir.Loop):
                self._loop(op, here)
            elif isinstance(op, ir.Call):
                self._call(op)
            else:
                self._simple(op, here)

    def _simple(self, op: ir.AnyOp, here: Position) -> None:
        match op:
            case ir.Get(table, keys, _):
                self.summary.touch(here, table, Touch.READ, self._of(keys))
                self._set(op, here)
            case ir.Put(table, keys, _):
                self.summary.touch(here, table, Touch.WRITE, self._of(keys))
            case ir.Increase(table, keys, _):
                self.summary.touch(here, table, Touch.ADD, self._of(keys))
            case ir.CallContract(target, _, _, _):
                self.summary.imports.add(target)
                self._set(op, here)
            case ir.Balance():
                self._set(op, here)
            case ir.Store(array, index, src):
                self._state[array] = self._of((array, index, src))
            case _:
                self._set(op, self._of(_read(op)))

    def _of(self, registers: Sequence[int]) -> Waits:
        return min((waits for each in registers if (waits := self._state[each]) is not None), default=None)

    def _set(self, op: ir.AnyOp, waits: Waits) -> None:
        for register in _written(op):
            self._state[register] = waits

    def _if(self, op: ir.If, here: Position) -> None:
        path = here[1]
        condition, before = self._state[op.condition], list(self._state)
        self._list(op.then, (*path, 0))
        after, self._state = self._state, before
        self._list(op.otherwise, (*path, 1))
        self._state = [_first(*pair) for pair in zip(self._state, after, strict=True)]
        self._wait((*op.then, *op.otherwise), condition)

    def _loop(self, op: ir.Loop, here: Position) -> None:
        path = here[1]
        while True:
            is_last = self._analysis.steps_left <= 0
            if is_last:
                self._wait(op.body, here)
            before = list(self._state)
            self._state[op.index] = self._state[op.count]
            self._list(op.body, (*path, 0))
            self._state = [_first(*pair) for pair in zip(self._state, before, strict=True)]
            if is_last or self._state == before:
                break
        self._wait((op,), self._state[op.count])

    def _wait(self, operations: Sequence[ir.AnyOp], waits: Waits) -> None:
        """All that these may write waits, too: which of them ran depends on it."""
        if waits is not None:
            for register in all_written(operations):
                self._state[register] = _first(self._state[register], waits)

    def _call(self, op: ir.Call) -> None:
        arguments = tuple(self._state[argument] for argument in op.args)
        called = self._analysis.function(op.function, arguments)
        if id(called) not in self._included:
            self._included.add(id(called))
            self._analysis.steps_left -= len(called.rows)
            self.summary.include(called)
        for register, waits in zip(op.dsts, called.results, strict=True):
            self._state[register] = waits


def _first(a: Waits, b: Waits) -> Waits:
    return b if a is None else a if b is None else min(a, b)


def _read(op: ir.AnyOp) -> Sequence[int]:
    """Registers that decide what a simple operation writes."""
    match op:
        case ir.Move(_, src) | ir.Cast(_, src):
            return (src,)
        case ir.Binary(_, _, a, b) | ir.Compare(_, _, a, b):
            return (a, b)
        case ir.Not(_, a):
            return (a,)
        case ir.Load(_, array, index):
            return (array, index)
        case ir.Hash(_, srcs):
            return srcs
    return ()


def _written(op: ir.AnyOp) -> Sequence[int]:
    """Registers that one operation writes itself."""
    match op:
        case ir.Get(_, _, dsts) | ir.Call(_, _, dsts) | ir.CallContract(_, _, dsts, _):
            return dsts
        case ir.Store(array, _, _):
            return (array,)
        case ir.Loop(index, _, _, _):
            return (index,)
    dst = getattr(op, "dst", None)
    return () if dst is None else (dst,)


def all_written(operations: Sequence[ir.AnyOp]) -> Iterator[int]:
    """Registers that these write, with those inside them."""
    for op in operations:
        yield from _written(op)
        if isinstance(op, ir.If):
            yield from all_written((*op.then, *op.otherwise))
        elif isinstance(op, ir.Loop):
            yield from all_written(op.body)
