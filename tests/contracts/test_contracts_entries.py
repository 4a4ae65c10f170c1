"""Where rows of tables are kept, and what they read as."""

from __future__ import annotations

from hashlib import sha256
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.contracts import ir
from actors.contracts.entries import RowLayout, entry_key
from actors.contracts.failures import Failure
from actors.contracts.ir import Named, Shape
from actors.contracts.types import ADDRESS, BOOL, I64, U8, U64, U128, Slot, Type, Value, bytes_type
from actors.contracts.world import MemoryWorld
from bench.contract_fuzz.arguments import encode, random_slot, random_value
from tests.contracts.programs import NUMBERS, random_shape
from tests.contracts.single import CONTRACT, OTHER, call_one, function, program, results

BALANCES = ir.Table("balances", (ADDRESS,), (Named("value", Shape(U64)),))


def random_layout(random: Random) -> tuple[ir.Table, tuple[Value, ...], list[Slot]]:
    """A table, keys of a row, and its columns."""
    kinds = tuple(random.choice((U8, U128, ADDRESS, bytes_type(5))) for _ in range(random.randint(0, 4)))
    columns = [Named(f"c{number}", random_shape(random)) for number in range(random.randint(1, 8))]
    while sum(column.shape.width_bytes for column in columns) > 512:
        columns.pop()
    table = ir.Table("t", kinds, tuple(columns) or (Named("c", Shape(U8)),))
    keys = tuple(random_value(random, kind) for kind in kinds)
    return table, keys, [random_slot(random, column.shape) for column in table.columns]


@given(st.integers(0, 2**32), st.integers(0, 31))
def test_a_row_is_its_columns_in_chunks(seed: int, number: int) -> None:
    random = Random(seed)
    table, keys, columns = random_layout(random)
    layout, world = RowLayout(number, table), MemoryWorld()
    at = layout.entry_keys(CONTRACT, keys)
    layout.write(world, at, columns)
    value = b"".join(encode(each.shape, slot) for each, slot in zip(table.columns, columns, strict=True))
    row = b"".join(encode(Shape(kind), key) for kind, key in zip(table.keys, keys, strict=True))
    expected = {
        tagged(CONTRACT + bytes((number, start // 64)) + row): value[start : start + 64]
        for start in range(0, len(value), 64)
        if any(value[start : start + 64])
    }
    assert world.entries == expected
    assert layout.read(world, at) == columns
    assert layout.chunk_count == -(-len(value) // 64)
    layout.write(
        world,
        at,
        [
            each.type.zero if not each.count else (each.type.zero,) * each.count
            for each in (column.shape for column in table.columns)
        ],
    )
    assert world.entries == {}


def tagged(data: bytes) -> bytes:
    """A key of an entry: the tag, and 24 bytes of SHA-256."""
    return b"entry\x00\x00\x00" + sha256(data).digest()[:24]


def test_the_key_of_an_entry_is_pinned() -> None:
    key = entry_key(bytes(range(32)), 3, 1, b"row")
    assert key == tagged(bytes(range(32)) + b"\x03\x01row")


def table_program(table: ir.Table) -> ir.Program:
    """EntryStore that set and get a row."""
    keys, columns = [Shape(kind) for kind in table.keys], [column.shape for column in table.columns]
    key_registers = tuple(range(len(keys)))
    registers = tuple(range(len(keys), len(keys) + len(columns)))
    return program(
        function((*keys, *columns), (), [ir.Put(0, key_registers, registers)], name="put"),
        function(keys, columns, [ir.Get(0, key_registers, registers)], registers, name="get"),
        tables=(table,),
    )


@given(st.integers(0, 2**32))
def test_what_is_put_is_got_and_what_is_zero_is_gone(seed: int) -> None:
    random = Random(seed)
    table, keys, columns = random_layout(random)
    sample, world = table_program(table), MemoryWorld()
    sample_get = sample.functions[1]
    zeros = results(sample_get, call_one(sample, *keys, name="get", world=world).results)
    assert not any(
        b"".join(encode(each.shape, slot) for each, slot in zip(table.columns, zeros, strict=True))
    )
    put = call_one(sample, *keys, *columns, name="put", world=world)
    assert (put.entries_created, put.entries_removed) == (len(world.entries), 0)
    assert results(sample_get, call_one(sample, *keys, name="get", world=world).results) == columns
    again = call_one(sample, *keys, *columns, name="put", world=world)
    assert (again.entries_created, again.entries_removed) == (0, 0)
    gone = call_one(sample, *keys, *zeros, name="put", world=world)
    assert (gone.entries_created, gone.entries_removed) == (0, put.entries_created)
    assert world.entries == {}


@pytest.mark.parametrize("kind", NUMBERS, ids=str)
def test_increase_is_checked(kind: Type) -> None:
    low, high = kind.range
    table = ir.Table("t", (), (Named("value", Shape(kind)),))
    sample = program(
        function((kind,), (), [ir.Increase(0, (), 0)]),
        function((), (kind,), [ir.Get(0, (), (0,))], (0,), name="get"),
        tables=(table,),
    )
    world = MemoryWorld()
    assert call_one(sample, high, world=world).failure is None
    assert call_one(sample, 1, world=world).failure is Failure.OVERFLOW
    got = call_one(sample, name="get", world=world)
    assert results(sample.functions[1], got.results) == [high]
    if kind == I64:
        assert call_one(sample, low + 1, world=world).failure is None
        assert world.entries == {}
        assert call_one(sample, low, world=world).failure is None
        assert call_one(sample, -1, world=world).failure is Failure.OVERFLOW


def test_a_call_sees_what_it_wrote() -> None:
    body = [
        ir.Increase(0, (0,), 1),
        ir.Increase(0, (0,), 1),
        ir.Get(0, (0,), (2,)),
        ir.Put(0, (3,), (2,)),
        ir.Get(0, (3,), (4,)),
    ]
    sample = program(function((ADDRESS, U64), (U64, ADDRESS, U64), body, (2, 4)), tables=(BALANCES,))
    world = MemoryWorld()
    came = call_one(sample, OTHER, 21, world=world)
    assert results(sample.functions[0], came.results) == [42, 42]
    assert came.entries_created == len(world.entries) == 2


def test_keys_may_be_among_what_is_read() -> None:
    """Keys are read before columns are written."""
    table = ir.Table("t", (U64,), (Named("value", Shape(U64)),))
    body = [ir.Put(0, (0,), (1,)), ir.Get(0, (0,), (0,)), ir.Get(0, (0,), (2,))]
    sample = program(function((U64, U64), (U64,), body, (0, 2)), tables=(table,))
    came = call_one(sample, 5, 9)
    assert results(sample.functions[0], came.results) == [9, 0]


def test_tables_and_contracts_do_not_meet() -> None:
    keys = {
        RowLayout(number, BALANCES).entry_keys(contract, (OTHER,))[0]
        for number in (0, 1)
        for contract in (CONTRACT, OTHER)
    }
    assert len(keys) == 4


def test_a_bool_in_a_row_is_zero_or_one() -> None:
    layout = RowLayout(0, ir.Table("t", (), (Named("a", Shape(BOOL)), Named("b", Shape(BOOL, 2)))))
    world = MemoryWorld()
    at = layout.entry_keys(CONTRACT, ())
    world.set_entry(at[0], b"\x01\x00\x02")
    with pytest.raises(ValueError, match="a bool is 2"):
        layout.read(world, at)
