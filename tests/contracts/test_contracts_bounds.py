"""Every bound of limits.py, kept and broken by one, and every rule of what a program declares."""

from __future__ import annotations

import pytest

from actors.contracts import ir, limits
from actors.contracts.errors import ProgramError
from actors.contracts.ir import FunctionKind, Named, Shape
from actors.contracts.types import ADDRESS, BOOL, I64, U8, U64, U128, Type, TypeCode, bytes_type
from actors.contracts.verifier import verify
from tests.contracts.single import OTHER, function, program

COLUMN = (Named("value", Shape(U64)),)
VIEWED = ir.Import(OTHER, "Other", "look", FunctionKind.VIEW, (Shape(U64),), (Shape(BOOL),))
VIEW, ENTRY, PRIVATE, INIT = FunctionKind.VIEW, FunctionKind.ENTRY, FunctionKind.PRIVATE, FunctionKind.INIT


def of_type(kind: Type, count: int = 0) -> ir.Program:
    return program(function((), (Shape(kind, count),)))


def of_table(keys: int = 0, columns: int = 1, key: Type = U8, column: Shape = Shape(U8)) -> ir.Program:
    named = tuple(Named(f"c{number}", column) for number in range(columns))
    return program(tables=(ir.Table("t", (key,) * keys, named),))


def of_name(name: str) -> ir.Program:
    return program(function(name=name))


def many_operations(count: int) -> ir.Program:
    half = count // 2
    return program(
        function((), (BOOL,), [ir.Not(0, 0)] * half),
        function((), (BOOL,), [ir.Not(0, 0)] * (count - half), name="g"),
    )


def chain(depth: int) -> ir.Program:
    return program(
        *(function(name=f"f{n}", body=[ir.Call(n - 1, (), ())] if n else ()) for n in range(depth))
    )


def steps(rounds: int) -> ir.Program:
    """(1 + rounds * (1 + body)) twice within each other: rounds * rounds + 2 * rounds + 1."""
    inner = ir.Loop(0, 1, rounds, ())
    return program(function((), (U64, U64, U64, U64), [ir.Loop(2, 3, rounds, (inner,))]))


def of_import(**changes: object) -> ir.Program:
    fields = {name: getattr(VIEWED, name) for name in VIEWED.__struct_fields__} | changes
    return program(imports=(ir.Import(**fields),))


AT_THE_BOUND = (
    ("name", of_name("x" * limits.NAME_CHARS_MAX), of_name("x" * (limits.NAME_CHARS_MAX + 1))),
    ("array", of_type(U8, limits.ARRAY_MAX), of_type(U8, limits.ARRAY_MAX + 1)),
    ("bytes", of_type(bytes_type(limits.BYTES_MAX)), of_type(bytes_type(limits.BYTES_MAX + 1))),
    ("bytes from", of_type(bytes_type(1)), of_type(bytes_type(0))),
    ("array from", of_type(U8, 0), of_type(U8, -1)),
    ("size", of_type(Type(TypeCode.U8, 0)), of_type(Type(TypeCode.U8, 1))),
    ("keys", of_table(limits.KEYS_MAX), of_table(limits.KEYS_MAX + 1)),
    ("key bytes", of_table(4, key=ADDRESS), of_table(3, key=bytes_type(43))),
    ("columns", of_table(0, limits.COLUMNS_MAX), of_table(0, limits.COLUMNS_MAX + 1)),
    ("columns from", of_table(0, 1), of_table(0, 0)),
    ("value", of_table(0, 2, column=Shape(U8, 256)), of_table(0, 3, column=Shape(U8, 171))),
    (
        "messages",
        program(messages=("é" * 32,) * limits.MESSAGES_MAX),
        program(messages=("",) * (limits.MESSAGES_MAX + 1)),
    ),
    ("message", program(messages=("x" * 64,)), program(messages=("é" * 32 + "x",))),
    ("registers", program(function((), (U8,) * 256)), program(function((), (U8,) * 257))),
    (
        "frame",
        program(function((), (Shape(U128, 256),) * 2)),
        program(function((), (*(Shape(U128, 256),) * 2, U8))),
    ),
    ("parameters", program(function((U8,) * 32)), program(function((U8,) * 33))),
    ("results", program(function((U8,), (), (), (0,) * 16)), program(function((U8,), (), (), (0,) * 17))),
    (
        "arguments",
        program(
            function((Shape(U64, 256), Shape(U64, 256)), kind=PRIVATE), function((Shape(U64, 256),), name="g")
        ),
        program(function((Shape(U64, 256), U8))),
    ),
    (
        "functions",
        program(*(function(name=f"f{n}") for n in range(limits.FUNCTIONS_MAX))),
        program(*(function(name=f"f{n}") for n in range(limits.FUNCTIONS_MAX + 1))),
    ),
    (
        "tables",
        program(tables=tuple(ir.Table(f"t{n}", (), COLUMN) for n in range(limits.TABLES_MAX))),
        program(tables=tuple(ir.Table(f"t{n}", (), COLUMN) for n in range(limits.TABLES_MAX + 1))),
    ),
    (
        "events",
        program(events=tuple(ir.Event(f"E{n}", ()) for n in range(limits.EVENTS_MAX))),
        program(events=tuple(ir.Event(f"E{n}", ()) for n in range(limits.EVENTS_MAX + 1))),
    ),
    (
        "event",
        program(events=(ir.Event("E", (Named("a", Shape(U8, 256)), Named("b", Shape(U8, 256)))),)),
        program(events=(ir.Event("E", (Named("a", Shape(U64, 64)), Named("b", Shape(U8)))),)),
    ),
    (
        "imports",
        program(imports=tuple(ir.Import(OTHER, "O", f"f{n}", VIEW, (), ()) for n in range(8))),
        program(imports=tuple(ir.Import(OTHER, "O", f"f{n}", VIEW, (), ()) for n in range(9))),
    ),
    ("an import's address", of_import(), of_import(address=bytes(31))),
    ("an import's kind", of_import(kind=ENTRY), of_import(kind=PRIVATE)),
    ("an import's function", of_import(function="f"), of_import(function="f.g")),
    ("an import's parameters", of_import(params=(Shape(U8),) * 32), of_import(params=(Shape(U8),) * 33)),
    ("an import's results", of_import(results=(Shape(U8),) * 16), of_import(results=(Shape(U8),) * 17)),
    ("an import's types", of_import(results=(Shape(U8),)), of_import(results=(Shape(bytes_type(65)),))),
    ("an import's arguments", of_import(params=(Shape(U64, 256),)), of_import(params=(Shape(U128, 129),))),
    ("operations", many_operations(limits.OPERATIONS_MAX), many_operations(limits.OPERATIONS_MAX + 1)),
    ("calls", chain(limits.CALL_DEPTH_MAX), chain(limits.CALL_DEPTH_MAX + 1)),
    ("steps", steps(1022), steps(1024)),
    ("version", program(), ir.Program(2, "A", (), (), (), (), ())),
    (
        "greatest value",
        program(function((U8,), maxima=(255,))),
        program(function((U8,), maxima=(256,))),
    ),
    ("greatest value from", program(function((U8,), maxima=(0,))), program(function((U8,), maxima=(-1,)))),
    ("of unsigned", program(function((U64,), maxima=(1,))), program(function((I64,), maxima=(1,)))),
    ("of scalars", program(function((U64,), maxima=(1,))), program(function((Shape(U64, 2),), maxima=(1,)))),
    ("one start", program(function(kind=INIT)), program(function(kind=INIT), function(name="g", kind=INIT))),
    (
        "coins",
        program(function(accepts_coins=True), function(name="g", kind=INIT, accepts_coins=True)),
        program(function(kind=VIEW, accepts_coins=True)),
    ),
)


@pytest.mark.parametrize(
    ("good", "bad"), [pair[1:] for pair in AT_THE_BOUND], ids=[pair[0] for pair in AT_THE_BOUND]
)
def test_bounds(good: ir.Program, bad: ir.Program) -> None:
    verify(good)
    with pytest.raises(ProgramError):
        verify(bad)


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "__a", "é", "a\n", "x" * 49, "a.b", "."])
def test_names_are_identifiers(name: str) -> None:
    for wrong in (
        program(name=name),
        of_name(name),
        program(tables=(ir.Table(name, (), COLUMN),)),
        program(events=(ir.Event(name, ()),)),
        of_import(contract=name),
        of_import(function=name),
    ):
        with pytest.raises(ProgramError, match=r"no identifier|characters of a name"):
            verify(wrong)


@pytest.mark.parametrize("name", ["a.", ".a", "a..b", "a.__b", "a.1", "a.é", "a.b\n", ".".join("a" * 25)])
def test_names_of_fields_are_paths_of_identifiers(name: str) -> None:
    named = Named(name, Shape(U8))
    one = ir.Function("f", ENTRY, False, (), (Shape(U8),), ((0, named),), ())
    two = ir.Function("f", ENTRY, False, (ir.Param(name, Shape(U8)),), (Shape(U8),), (), ())
    columns = ir.Table("t", (), (named,))
    for wrong in (
        program(one),
        program(two),
        program(tables=(columns,)),
        program(events=(ir.Event("E", (named,)),)),
    ):
        with pytest.raises(ProgramError, match=r"no identifier|characters of a name"):
            verify(wrong)


def test_names_are_there_once() -> None:
    table, event, named = ir.Table("t", (), COLUMN), ir.Event("E", ()), Named("a.b", Shape(U8))
    param = ir.Param("p", Shape(U8))
    for wrong in (
        program(tables=(table, table)),
        program(events=(event, event)),
        program(function(), function()),
        program(imports=(VIEWED, VIEWED)),
        program(tables=(ir.Table("t", (), (named, named)),)),
        program(events=(ir.Event("E", (named, named)),)),
        program(ir.Function("f", ENTRY, False, (param, param), (Shape(U8),) * 2, (), ())),
        program(ir.Function("f", ENTRY, False, (), (Shape(U8),), ((0, named), (0, named)), ())),
    ):
        with pytest.raises(ProgramError, match="two "):
            verify(wrong)


def test_a_function_is_what_its_head_says() -> None:
    byte, named = Shape(U8), Named("r", Shape(U8))
    for wrong in (
        ir.Function("f", ENTRY, False, (ir.Param("p", byte),), (Shape(U64),), (), ()),
        ir.Function("f", ENTRY, False, (ir.Param("p", byte),), (), (), ()),
        ir.Function("f", ENTRY, False, (), (Shape(U64),), ((0, named),), ()),
        ir.Function("f", ENTRY, False, (), (byte,), ((1, named),), ()),
        ir.Function("f", ENTRY, False, (), (byte,), ((-1, named),), ()),
    ):
        with pytest.raises(ProgramError, match="function 'f'"):
            verify(program(wrong))
