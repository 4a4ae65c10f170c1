"""What a call touches, as pieces to be cut out of its transaction: so columns of keys are made of columns of
transactions, and no program runs for it.

1. A piece is a constant, or bytes of the transaction: of its arguments, its sender, its recipient (the
   contract), its amount. A key that is made of pieces is known before the call runs. Keys that are computed
   otherwise, from what is read, from the block, by arithmetic or in a loop, are not, though access.py may
   call them static: whoever needs all of them sees that a function is not complete.
2. Whatever some branch may touch is touched. A register that is written in a loop, or otherwise in two
   branches, is no piece.
3. A cast between unsigned numbers keeps the low bytes: where that is not the number, the call fails.
4. Two touches of a row do not disturb each other if both read it, or if both add to it, a number without a
   sign, and do nothing else with its table.
5. The work is bounded: a function that takes more than STEPS_MAX operations, or touches more than ROWS_MAX
   rows, is told as not complete, with no rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum

import msgspec

from actors.contracts import ir
from actors.contracts.access import all_written
from actors.contracts.limits import ENTRY_BYTES_MAX
from actors.contracts.types import I64

STEPS_MAX = 1 << 14
ROWS_MAX = 16


class PieceSource(IntEnum):
    """Where the bytes of a piece come from."""

    CONSTANT = 0
    ARGUMENTS = 1
    SENDER = 2
    RECIPIENT = 3
    AMOUNT = 4


class Piece(msgspec.Struct, frozen=True):
    """`width` bytes from `offset` of a source on; of a constant they are `data`."""

    source: PieceSource
    offset: int
    width: int
    data: bytes = b""


Pieces = tuple[Piece, ...]


class Mode(IntEnum):
    """What is done to a row, or to an account."""

    READ = 0
    ADD = 1
    WRITE = 2


class RowTouch(msgspec.Struct, frozen=True):
    """One row of a table of the contract that is called. row: the bytes of its keys. chunks: its entries."""

    table: int
    mode: Mode
    row: Pieces
    chunks: int = 1


class FunctionTouches(msgspec.Struct, frozen=True):
    """All that a call of a public function may touch, besides its sender.

    payees: addresses that coins go to. imports: addresses of contracts that it may call, which touch what
    they touch. uses_coins: of its contract, to read or to send them. argument_bytes: of all arguments.
    is_complete: whether all rows and payees are here, and no other contract is called.
    """

    function: int
    argument_bytes: int
    rows: tuple[RowTouch, ...] = ()
    payees: tuple[Pieces, ...] = ()
    imports: tuple[bytes, ...] = ()
    uses_coins: bool = False
    is_complete: bool = False


def touches_of(program: ir.Program) -> dict[int, FunctionTouches]:
    """Of each entry and view of a verified program, by its number."""
    return {
        number: _touches(program, number)
        for number, function in enumerate(program.functions)
        if function.kind in (ir.FunctionKind.ENTRY, ir.FunctionKind.VIEW)
    }


class _TooMuchError(Exception):
    """The bound on operations, or on rows."""


def _touches(program: ir.Program, number: int) -> FunctionTouches:
    found = _Found(program)
    arguments, offset = list[Pieces | None](), 0
    for param in program.functions[number].params:
        width = param.shape.width_bytes
        arguments.append(None if param.shape.count else (Piece(PieceSource.ARGUMENTS, offset, width),))
        offset += width
    try:
        _Walk(found, number, arguments)
        rows = tuple(
            RowTouch(table, mode, row, -(-program.tables[table].value_bytes // ENTRY_BYTES_MAX))
            for table, row, mode in found.merged()
        )
    except _TooMuchError:
        imports = tuple(sorted({each.address for each in program.imports}))
        return FunctionTouches(number, offset, imports=imports, uses_coins=True)
    imports = tuple(sorted({program.imports[each].address for each in found.imports}))
    complete = found.is_complete and not imports
    return FunctionTouches(number, offset, rows, tuple(found.payees), imports, found.uses_coins, complete)


class _Found:
    """What has been seen so far."""

    def __init__(self, program: ir.Program) -> None:
        self.program = program
        self.steps_left = STEPS_MAX
        self.rows: dict[tuple[int, Pieces], set[Mode]] = {}
        self.payees: dict[Pieces, None] = {}
        self.imports: set[int] = set()
        self.uses_coins, self.is_complete = False, True

    def step(self) -> None:
        self.steps_left -= 1
        if self.steps_left < 0:
            raise _TooMuchError

    def touch(self, table: int, row: Pieces | None, mode: Mode) -> None:
        if row is None:
            self.is_complete = False
            return
        self.rows.setdefault((table, row), set()).add(mode)
        if len(self.rows) > ROWS_MAX:
            raise _TooMuchError

    def merged(self) -> Iterator[tuple[int, Pieces, Mode]]:
        """Each row once. An addition that does not commute is a write."""
        mixed = {table for (table, _), modes in self.rows.items() if modes - {Mode.ADD}}
        for (table, row), modes in self.rows.items():
            only = next(iter(modes)) if len(modes) == 1 else Mode.WRITE
            yield table, row, Mode.WRITE if only is Mode.ADD and table in mixed else only


class _Walk:
    """Through one function. pieces: of each register, where it is made of some."""

    def __init__(self, found: _Found, number: int, arguments: Sequence[Pieces | None]) -> None:
        function = found.program.functions[number]
        self._found = found
        self._shapes = function.registers
        rest = function.registers[len(arguments) :]
        self._pieces = [*arguments, *(None if each.count else _zeros(each.width_bytes) for each in rest)]
        self._list(function.body)
        self.results = [self._pieces[register] for register, _ in function.results]

    def _list(self, operations: Sequence[ir.AnyOp]) -> None:
        for op in operations:
            self._found.step()
            match op:
                case ir.If(_, then, otherwise):
                    self._if(then, otherwise)
                case ir.Loop(_, _, _, body):
                    self._forget((op,))
                    self._list(body)
                    self._forget((op,))
                case ir.Call(function, args, dsts):
                    called = _Walk(self._found, function, [self._pieces[each] for each in args])
                    for dst, pieces in zip(dsts, called.results, strict=True):
                        self._pieces[dst] = pieces
                case _:
                    self._touch(op)
                    self._simple(op)

    def _touch(self, op: ir.AnyOp) -> None:
        found = self._found
        match op:
            case ir.Get(table, keys, _):
                found.touch(table, self._joined(keys), Mode.READ)
            case ir.Put(table, keys, _):
                found.touch(table, self._joined(keys), Mode.WRITE)
            case ir.Increase(table, keys, src):
                signed = self._shapes[src].type == I64
                found.touch(table, self._joined(keys), Mode.WRITE if signed else Mode.ADD)
            case ir.Send(to, _):
                found.uses_coins = True
                if (payee := self._pieces[to]) is None:
                    found.is_complete = False
                else:
                    found.payees[payee] = None
            case ir.Balance():
                found.uses_coins = True
            case ir.CallContract(target, _, _, amount):
                found.imports.add(target)
                found.uses_coins = found.uses_coins or amount is not None

    def _simple(self, op: ir.AnyOp) -> None:
        match op:
            case ir.Const(dst, value) if not self._shapes[dst].count:
                self._pieces[dst] = (Piece(PieceSource.CONSTANT, 0, len(value), value),)
            case ir.Move(dst, src):
                self._pieces[dst] = self._pieces[src]
            case ir.Cast(dst, src):
                self._pieces[dst] = self._cast(dst, src)
            case ir.Context(what, dst):
                piece = _FACTS.get(what)
                self._pieces[dst] = None if piece is None else (piece,)
            case _:
                self._forget((op,))

    def _cast(self, dst: int, src: int) -> Pieces | None:
        pieces, width = self._pieces[src], self._shapes[dst].width_bytes
        if pieces is None or len(pieces) != 1:
            return pieces if width == self._shapes[src].width_bytes else None
        (piece,) = pieces
        if width <= piece.width:
            return (msgspec.structs.replace(piece, width=width, data=piece.data[:width]),)
        return (piece, *_zeros(width - piece.width))

    def _if(self, then: Sequence[ir.AnyOp], otherwise: Sequence[ir.AnyOp]) -> None:
        before = list(self._pieces)
        self._list(then)
        after, self._pieces = self._pieces, before
        self._list(otherwise)
        pairs = zip(self._pieces, after, strict=True)
        self._pieces = [one if one == other else None for one, other in pairs]

    def _forget(self, operations: Sequence[ir.AnyOp]) -> None:
        for register in all_written(operations):
            self._pieces[register] = None

    def _joined(self, keys: Sequence[int]) -> Pieces | None:
        joined = list[Piece]()
        for key in keys:
            pieces = self._pieces[key]
            if pieces is None:
                return None
            joined += pieces
        return tuple(joined)


def _zeros(width: int) -> Pieces:
    return (Piece(PieceSource.CONSTANT, 0, width, bytes(width)),)


_FACTS = {
    ir.Fact.SENDER: Piece(PieceSource.SENDER, 0, 32),
    ir.Fact.ORIGIN: Piece(PieceSource.SENDER, 0, 32),
    ir.Fact.CONTRACT: Piece(PieceSource.RECIPIENT, 0, 32),
    ir.Fact.AMOUNT: Piece(PieceSource.AMOUNT, 0, 8),
}
