"""Programs that measure one operation each: `run` does it again and again, on values that no compiler knows.

Where an operation has forms of different cost, there is a probe of each that is likely to be the slowest:
numbers of 128 bits, rows and events of 512 bytes, branches that no processor can foresee.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.contracts import ir
from actors.contracts.ir import Arithmetic, Comparison, FunctionKind, Shape
from actors.contracts.types import ADDRESS, BOOL, HASH, I64, U32, U64, U128, Slot, Type

OTHER = b"other".ljust(32, b"\0")
"""Where the contract is that a probe calls (`other_program`), and whom it sends coins."""
Registers = tuple[tuple[Shape, Slot], ...]


@dataclass(frozen=True)
class Probe:
    """weight: by which it is mostly charged. unit: operations, on registers that begin with these values; a
    call has `rounds` of it. per_row: added to register 0 for each call of a column. private: what it calls.
    """

    name: str
    weight: str
    registers: Registers
    unit: tuple[ir.AnyOp, ...]
    rounds: int = 500
    per_row: int = 0
    tables: tuple[ir.Table, ...] = ()
    events: tuple[ir.Event, ...] = ()
    imports: tuple[ir.Import, ...] = ()
    private: tuple[ir.Function, ...] = ()

    def program(self, units: int) -> ir.Program:
        """A contract with one entry, of whose loop a round has so many units."""
        shapes = [shape for shape, _ in self.registers]
        index, count = len(shapes), len(shapes) + 1
        results = ((at, ir.Named(f"r{at}", shape)) for at, shape in enumerate(shapes) if not shape.count)
        body = (
            ir.Const(count, self.rounds.to_bytes(8, "little")),
            ir.Loop(index, count, self.rounds, self.unit * units),
        )
        params = tuple(ir.Param(f"p{at}", shape) for at, shape in enumerate(shapes))
        registers = (*shapes, Shape(U64), Shape(U64))
        run = ir.Function("run", FunctionKind.ENTRY, False, params, registers, tuple(results), body)
        own = self.tables, self.events, self.imports, ("no",), (*self.private, run)
        return ir.Program(ir.IR_VERSION, "Probe", *own)


def _function(
    name: str, kind: FunctionKind, coins: bool, shapes: list[Shape], body: list[ir.AnyOp]
) -> ir.Function:
    """Of a u64, which it answers as its body leaves it; shapes: of registers besides."""
    registers, results = (Shape(U64), *shapes), ((0, ir.Named("x", Shape(U64))),)
    return ir.Function(name, kind, coins, (ir.Param("x", Shape(U64)),), registers, results, tuple(body))


def other_program() -> ir.Program:
    """What probes of calls call: it answers the number that it is given."""
    functions = (
        _function("same", FunctionKind.VIEW, False, [], []),
        _function("paid", FunctionKind.ENTRY, True, [], []),
    )
    return ir.Program(ir.IR_VERSION, "Other", (), (), (), (), functions)


def _imported(name: str, kind: FunctionKind) -> ir.Import:
    return ir.Import(OTHER, "Other", name, kind, (Shape(U64),), (Shape(U64),))


def _numbers(kind: Type, *values: int) -> Registers:
    return tuple((Shape(kind), value) for value in values)


def _binary(name: str, what: Arithmetic, kind: Type, x: int, y: int, weight: str = "simple") -> Probe:
    """x := x ? y."""
    return Probe(f"{name} {kind}", weight, _numbers(kind, x, y), (ir.Binary(what, 0, 0, 1),))


def _quotients(kind: Type, x: int, y: int) -> Probe:
    """x := y // x, so that quotients are large and small in turn."""
    return Probe(
        f"divide {kind}", "divide", _numbers(kind, x, y), (ir.Binary(Arithmetic.FLOOR_DIV, 0, 1, 0),)
    )


_NEXT = ir.Binary(Arithmetic.ADD, 0, 0, 1)
"""Register 0 goes on by register 1."""
_ARRAY = (Shape(U64, 64), tuple((29 * at + 11) % 64 for at in range(64)))
_ROW = ir.Table("row", (U64,), (ir.Named("value", Shape(U64)),))
_WIDE_ROW = ir.Table("wide", (U64,), (ir.Named("value", Shape(U64, 64)),))
_KEYS = _numbers(U64, 0, 1, 3, 0)
_EVENT = ir.Event("told", (ir.Named("x", Shape(U64)),))
_WIDE_EVENT = ir.Event("told", (ir.Named("x", Shape(U64, 64)),))
_ONE_HASH = ((Shape(HASH), b"\x07" * 32),)
_LARGE_FRAME = _function(
    "large", FunctionKind.PRIVATE, False, [Shape(U64, 250)] * 4,
    [op for at in range(1, 5) for op in (ir.Store(at, 0, 0), ir.Load(0, at, 0))],
)  # fmt: skip
_ALL_BUT_32_BITS, _FACTOR, _SUMMAND = (1 << 32) - 1, 1_664_525, 1_013_904_223
_RANDOM = (*_numbers(U64, 1, _FACTOR, _SUMMAND, _ALL_BUT_32_BITS, 31, 0, 1), (Shape(BOOL), False), _ARRAY)
"""A generator's state and constants; how far its number is shifted, and what comes out; 1."""
_DRAW = (
    ir.Binary(Arithmetic.MUL, 0, 0, 1),
    ir.Binary(Arithmetic.ADD, 0, 0, 2),
    ir.Binary(Arithmetic.AND, 0, 0, 3),
    ir.Binary(Arithmetic.SHR, 5, 0, 4),
)

PROBES = (
    *(_binary("add", Arithmetic.ADD, kind, 1, 3) for kind in (U64, U128, I64)),
    *(_binary("multiply", Arithmetic.MUL, kind, 3, 1) for kind in (U64, U128, I64)),
    *(_binary("shift left", Arithmetic.SHL, kind, 5, 0) for kind in (U64, U128)),
    _quotients(U64, 1 << 33, (1 << 64) - 1),
    _quotients(I64, 1 << 33, (1 << 63) - 1),
    _quotients(U128, 1 << 70, (1 << 128) - 1),
    _binary("modulo", Arithmetic.MOD, U128, (1 << 126) + 1, (1 << 127) + 1, "divide"),
    Probe(
        "compare and require", "simple", (*_numbers(U64, 1, 1, 1 << 60), (Shape(BOOL), False)),
        (_NEXT, ir.Compare(Comparison.LT, 3, 0, 2), ir.Require(3, 0)),
    ),
    Probe(
        "cast", "simple", (*_numbers(U64, 1, 1), (Shape(U32), 0)),
        (ir.Binary(Arithmetic.MUL, 0, 0, 1), ir.Cast(2, 0), ir.Cast(0, 2)),
    ),
    Probe("load", "element", (*_numbers(U64, 3), _ARRAY), (ir.Load(0, 1, 0),)),
    Probe(
        "store", "element", (*_numbers(U64, 3, 5), _ARRAY),
        (ir.Store(2, 0, 1), ir.Load(0, 2, 1), ir.Load(1, 2, 0)),
    ),
    Probe(
        "choose at random", "simple", _RANDOM,
        (*_DRAW, ir.Compare(Comparison.LT, 7, 5, 6), ir.If(7, (ir.Store(8, 5, 0), ir.Load(4, 8, 6)))),
    ),
    Probe("hash of 32 bytes", "hash", _ONE_HASH, (ir.Hash(0, (0,)),)),
    Probe("hash of 64 bytes", "hash", _ONE_HASH, (ir.Hash(0, (0, 0)),)),
    Probe("hash of 1,024 bytes", "hash", _ONE_HASH, (ir.Hash(0, (0,) * 32),), 100),
    Probe("read", "read", _KEYS, (_NEXT, ir.Get(0, (0,), (3,))), 200, 1_000, (_ROW,)),
    Probe(
        "read of 512 bytes", "read", (*_KEYS[:3], _ARRAY),
        (_NEXT, ir.Get(0, (0,), (3,)), ir.Load(2, 3, 1)), 50, 250, (_WIDE_ROW,),
    ),
    Probe("write", "write", _KEYS, (_NEXT, ir.Put(0, (0,), (0,))), 200, 1_000, (_ROW,)),
    Probe(
        "write of 512 bytes", "write", (*_KEYS[:3], _ARRAY),
        (_NEXT, ir.Store(3, 1, 0), ir.Put(0, (0,), (3,))), 50, 250, (_WIDE_ROW,),
    ),
    Probe("increase", "read and write", _KEYS, (_NEXT, ir.Increase(0, (0,), 2)), 200, 1_000, (_ROW,)),
    Probe("emit", "emit", _numbers(U64, 1, 1), (_NEXT, ir.Emit(0, (0,))), 12, events=(_EVENT,)),
    Probe(
        "emit 512 bytes", "emit", (*_numbers(U64, 1, 1), _ARRAY), (_NEXT, ir.Emit(0, (2,))), 12,
        events=(_WIDE_EVENT,),
    ),
    Probe("send", "send", ((Shape(ADDRESS), OTHER), *_numbers(U64, 1)), (ir.Send(0, 1),)),
    Probe("balance", "balance", _numbers(U64, 1, 1), (ir.Balance(1), ir.Binary(Arithmetic.XOR, 0, 0, 1))),
    Probe(
        "call with a frame of 8 KiB", "call", _numbers(U64, 1), (ir.Call(0, (0,), (0,)),), 100,
        private=(_LARGE_FRAME,),
    ),
    Probe(
        "call of a contract", "call_contract", _numbers(U64, 1), (ir.CallContract(0, (0,), (0,)),), 100,
        imports=(_imported("same", FunctionKind.VIEW),),
    ),
    Probe(
        "call of a contract with coins", "call_contract", _numbers(U64, 1),
        (ir.CallContract(0, (0,), (0,), 0),), 100, imports=(_imported("paid", FunctionKind.ENTRY),),
    ),
)  # fmt: skip
