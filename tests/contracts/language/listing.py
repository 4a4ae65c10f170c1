"""A function of the IR as lines that a test can state: `r2 = ADD r0 r1`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from actors.contracts import ir
from actors.contracts.types import decode_value

HEAD = """from raychain import Address, Array, Bytes, Cell, Event, Hash, Struct, Table, UpTo, contract, ctx
from raychain import emit, entry, i64, init, interface, range, require, send, sha256, view
from raychain import u8, u16, u32, u64, u128

"""
STATE = """
RATE = u64(30)
BELOW = i64(-5)

class Point(Struct):
    x: u64
    y: u8

class Line(Struct):
    start: Point
    end: Point
    names: Array[u8, 4]

class Moved(Event):
    who: Address
    to: Point

@interface("{address}")
class Token:
    @entry
    def transfer(self, to: Address, amount: u64) -> bool: ...
    @view
    def balance_of(self, who: Address) -> u64: ...
    @entry(accepts_coins=True)
    def deposit(self, who: Address) -> None: ...

@contract
class Example:
    total: Cell[u64]
    below: Cell[i64]
    point: Cell[Point]
    numbers: Cell[Array[u64, 8]]
    amounts: Table[Address, u64]
    flags: Table[tuple[Address, u64], bool]
    lines: Table[u8, Line]
""".replace("{address}", "ab" * 32)
"""A contract without functions: tables 0 to 6 are total, below, point, numbers, amounts, flags and lines."""
HEAD_LINES = (HEAD + STATE).count("\n")


def source_of(functions: str) -> str:
    """A whole source; the first line of `functions` is line HEAD_LINES + 1."""
    body = "".join(f"    {line}\n" if line else "\n" for line in functions.splitlines())
    return HEAD + STATE + body


def listing(program: ir.Program, name: str = "f") -> str:
    """The operations of a function, one a line, inner lists indented."""
    function = next(one for one in program.functions if one.name == name)
    return "\n".join(_lines(function, function.body, ""))


def _lines(function: ir.Function, ops: Sequence[ir.AnyOp], indent: str) -> Iterator[str]:
    for op in ops:
        yield indent + _line(function, op)
        if isinstance(op, ir.Loop):
            yield from _lines(function, op.body, indent + "  ")
        elif isinstance(op, ir.If):
            yield from _lines(function, op.then, indent + "  ")
            if op.otherwise:
                yield f"{indent}else"
                yield from _lines(function, op.otherwise, indent + "  ")


def _line(function: ir.Function, op: ir.AnyOp) -> str:  # noqa: C901, PLR0912  # one case an operation
    match op:
        case ir.Const(dst, value):
            decoded = decode_value(function.registers[dst].type, value)
            return f"r{dst} = {decoded.hex() if isinstance(decoded, bytes) else decoded}"
        case ir.Move(dst, src):
            return f"r{dst} = r{src}"
        case ir.Binary(what, dst, a, b) | ir.Compare(what, dst, a, b):
            return f"r{dst} = {what.name} r{a} r{b}"
        case ir.Not(dst, a):
            return f"r{dst} = not r{a}"
        case ir.Cast(dst, src):
            return f"r{dst} = {function.registers[dst].type} r{src}"
        case ir.Load(dst, array, index):
            return f"r{dst} = r{array}[r{index}]"
        case ir.Store(array, index, src):
            return f"r{array}[r{index}] = r{src}"
        case ir.Hash(dst, srcs):
            return f"r{dst} = sha256 {_names(srcs)}"
        case ir.Context(what, dst):
            return f"r{dst} = {what.name}"
        case ir.Balance(dst):
            return f"r{dst} = BALANCE"
        case ir.Get(table, keys, dsts):
            return f"{_names(dsts)} = get {table} [{_names(keys)}]"
        case ir.Put(table, keys, srcs):
            return f"put {table} [{_names(keys)}] = {_names(srcs)}"
        case ir.Increase(table, keys, src):
            return f"increase {table} [{_names(keys)}] by r{src}"
        case ir.Emit(event, srcs):
            return f"emit {event} {_names(srcs)}"
        case ir.Send(to, amount):
            return f"send r{to} r{amount}"
        case ir.Require(condition, message):
            return f"require r{condition} {message}"
        case ir.If(condition):
            return f"if r{condition}"
        case ir.Loop(index, count, most):
            return f"loop r{index} to r{count} at most {most}"
        case ir.Call(number, args, dsts):
            return f"{_names(dsts)} = call {number} ({_names(args)})".removeprefix(" = ")
        case ir.CallContract(target, args, dsts, amount):
            coins = "" if amount is None else f" coins r{amount}"
            return f"{_names(dsts)} = import {target} ({_names(args)}){coins}".removeprefix(" = ")
    raise AssertionError(op)


def _names(registers: Sequence[int]) -> str:
    return " ".join(f"r{register}" for register in registers)
