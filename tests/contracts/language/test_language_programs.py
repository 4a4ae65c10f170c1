"""Whole programs: what is declared, numbers of functions, imports, messages, lines, and what people need."""

from __future__ import annotations

from actors.contracts import ir
from actors.contracts.ir import FunctionKind, Named, Param, Shape
from actors.contracts.language import compile_source
from actors.contracts.language.compiled import AbiField, AbiFunction, AbiStruct, AbiTable
from actors.contracts.types import ADDRESS, BOOL, HASH, I64, U8, U16, U32, U64, U128, bytes_type
from tests.contracts.language.listing import HEAD_LINES, source_of
from tests.contracts.language.sources import EXCHANGE, TOKEN

POSITION = (
    Named("owner", Shape(ADDRESS)),
    Named("at.x", Shape(U64)),
    Named("at.y", Shape(I64)),
    Named("marks", Shape(U8, 4)),
)
BYTES = b"\xab" * 32


def test_tables_and_cells_are_in_order_and_flat() -> None:
    assert compile_source(EXCHANGE).program.tables == (
        ir.Table("owner", (), (Named("value", Shape(ADDRESS)),)),
        ir.Table("counts", (), (Named("value", Shape(U64, 8)),)),
        ir.Table("positions", (ADDRESS, U64), POSITION),
        ir.Table("seen", (HASH,), (Named("value", Shape(BOOL)),)),
        ir.Table("total", (U32,), (Named("value", Shape(U128)),)),
    )


def test_events_are_in_order_and_flat() -> None:
    position = tuple(Named(f"position.{column.name}", column.shape) for column in POSITION)
    assert compile_source(EXCHANGE).program.events == (
        ir.Event("Opened", (Named("owner", Shape(ADDRESS)), *position)),
        ir.Event("Closed", (Named("key", Shape(HASH)),)),
    )


def test_what_nothing_calls_is_not_imported() -> None:
    entry, view, u64 = FunctionKind.ENTRY, FunctionKind.VIEW, Shape(U64)
    assert compile_source(EXCHANGE).program.imports == (
        ir.Import(BYTES, "Token", "transfer", entry, (Shape(ADDRESS), u64), (Shape(BOOL),)),
        ir.Import(BYTES, "Token", "balance_of", view, (Shape(ADDRESS),), (u64,)),
        ir.Import(BYTES, "Token", "deposit", entry, (Shape(ADDRESS),), (u64, Shape(BOOL))),
    )


def test_private_functions_come_first_after_those_they_call() -> None:
    for source, names in (
        (EXCHANGE, ["_first", "_second", "start", "open", "close", "look"]),
        (TOKEN, ["_move", "start", "transfer", "approve", "transfer_from", "balance_of"]),
    ):
        assert [function.name for function in compile_source(source).program.functions] == names


def test_heads_of_functions() -> None:
    functions = {one.name: one for one in compile_source(EXCHANGE).program.functions}
    opened = functions["open"]
    assert (opened.kind, opened.accepts_coins) == (FunctionKind.ENTRY, True)
    assert opened.params == (
        Param("key", Shape(U64)),
        Param("rounds", Shape(U64), 8),
        *(Param(f"position.{column.name}", column.shape) for column in POSITION),
    )
    assert opened.registers[:6] == tuple(param.shape for param in opened.params)
    assert opened.results == ((6, Named("value", Shape(HASH))),)
    assert [named for _, named in functions["look"].results] == list(POSITION)
    several = [named for _, named in functions["close"].results]
    assert several == [Named("value0", Shape(U64)), Named("value1", Shape(BOOL))]
    assert functions["start"].kind is FunctionKind.INIT
    assert functions["_first"].kind is FunctionKind.PRIVATE


def test_messages_are_in_order_of_appearance_and_told_once() -> None:
    assert compile_source(TOKEN).program.messages == ("not allowed", "too little")
    source = source_of(
        '@entry\ndef f(self, a: bool) -> None:\n    require(a, "ö")\n    self._g(a)\n'
        'def _g(self, a: bool) -> None:\n    require(a, "b")\n    require(a, "ö")'
    )
    assert compile_source(source).program.messages == ("ö", "b")


def test_types_in_columns() -> None:
    kinds = {
        "bool": BOOL, "u8": U8, "u16": U16, "u32": U32, "u64": U64, "u128": U128, "i64": I64,
        "Address": ADDRESS, "Hash": HASH, "Bytes[7]": bytes_type(7),
    }  # fmt: skip
    for name, kind in kinds.items():
        source = source_of(f"new: Table[{name}, Array[{name}, 2]]\n@view\ndef f(self) -> None:\n    pass")
        table = compile_source(source).program.tables[-1]
        assert table == ir.Table("new", (kind,), (Named("value", Shape(kind, 2)),))


def test_each_operation_has_its_line() -> None:
    source = source_of(
        "@entry\ndef f(self, a: u64, n: UpTo[u64, 3]) -> None:\n    for i in range(n):\n"
        "        if i == a:\n            self.total.value += 1\n        else:\n"
        "            self.total.value = (\n"
        "                a\n                + 2)"
    )
    compiled = compile_source(source)
    lines = {path: line - HEAD_LINES for (_, path), line in compiled.lines.items()}
    assert lines == {
        (0,): 3,  # the loop
        (0, 0, 0): 4,  # i == a
        (0, 0, 1): 4,
        (0, 0, 1, 0, 0): 5,
        (0, 0, 1, 0, 1): 5,
        (0, 0, 1, 1, 0): 8,
        (0, 0, 1, 1, 1): 8,
        (0, 0, 1, 1, 2): 7,
    }


def test_lines_name_every_operation_and_nothing_else() -> None:
    for source in (TOKEN, EXCHANGE):
        compiled = compile_source(source)
        for number, function in enumerate(compiled.program.functions):
            paths = {path for (other, path) in compiled.lines if other == number}
            assert paths == set(paths_of(function.body, ()))


def paths_of(operations: tuple[ir.AnyOp, ...], path: tuple[int, ...]) -> list[tuple[int, ...]]:
    found = []
    for number, op in enumerate(operations):
        here = (*path, number)
        found.append(here)
        inner = [op.then, op.otherwise] if isinstance(op, ir.If) else []
        inner += [op.body] if isinstance(op, ir.Loop) else []
        for which, ops in enumerate(inner):
            found.extend(paths_of(ops, (*here, which)))
    return found


def test_what_people_need() -> None:
    compiled = compile_source(EXCHANGE, "exchange.py")
    assert (compiled.filename, compiled.doc) == ("exchange.py", "Everything else.")
    assert compiled.structs == (
        AbiStruct("Point", (AbiField("x", "u64"), AbiField("y", "i64")), ""),
        AbiStruct(
            "Position",
            (AbiField("owner", "Address"), AbiField("at", "Point"), AbiField("marks", "Array[u8, 4]")),
            "",
        ),
    )
    assert compiled.events[0] == AbiStruct(
        "Opened", (AbiField("owner", "Address"), AbiField("position", "Position")), "A position."
    )
    assert compiled.tables[2:4] == (
        AbiTable("positions", ("Address", "u64"), "Position"),
        AbiTable("seen", ("Hash",), "bool"),
    )
    line = EXCHANGE[: EXCHANGE.index("def open")].count("\n") + 1
    parameters = (
        AbiField("key", "u64"), AbiField("rounds", "UpTo[u64, 8]"), AbiField("position", "Position"),
    )  # fmt: skip
    expected = AbiFunction(3, "open", "entry", True, parameters, "Hash", "Open one.\n\nAt length.", line)
    assert compiled.functions[3] == expected
    assert compiled.functions[4].result == "tuple[u64, bool]"
    assert compiled.functions[2].result == ""
