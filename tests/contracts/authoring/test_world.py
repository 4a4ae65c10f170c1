"""A world for tests: what a call does, what a failed one leaves behind, and contracts that call contracts."""

import builtins
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raychain import (
    Address,
    Array,
    Bytes,
    CallFailedError,
    Cell,
    Deployed,
    Event,
    Failure,
    Hash,
    Struct,
    Table,
    UpTo,
    World,
    contract,
    ctx,
    emit,
    entry,
    init,
    interface,
    range,
    require,
    send,
    u8,
    u64,
    u128,
    view,
)

from actors.contracts.types import U64, encode_value

PLACE = "01" * 32


class First(Event):
    """Number 0."""

    a: u64


class Done(Event):
    """Number 1."""

    a: u64


class Named(Struct):
    """Any names will do."""

    layout: u64
    args: u64
    given: u64
    _values: u64


class Wide(Struct):
    """81 bytes: two entries."""

    a: Bytes[64]
    b: u128
    c: bool


@contract
class Store:
    """A bit of everything."""

    cell: Cell[u64]
    rows: Table[tuple[Address, u8], Wide]
    arrays: Table[u64, Array[u64, 4]]
    bits: Cell[bool]

    @init(accepts_coins=True)
    def start(self, first: u64) -> None:
        require(first < 100, "too much")
        self.cell.value = first

    @entry(accepts_coins=True)
    def put(self, key: u8, row: Wide) -> u64:
        self.rows[ctx.sender, key] = row
        self.cell.value += 1
        emit(Done(a=self.cell.value))
        return self.cell.value

    @entry
    def put_array(self, key: u64, values: Array[u64, 4]) -> Array[u64, 4]:
        self.arrays[key] = values
        local = self.arrays[key].copy()
        local[0] += 1
        require(self.arrays[key][0] + 1 == local[0], "a read is a copy")
        return local

    @entry(accepts_coins=True)
    def pay(self, to: Address, amount: u64, rounds: UpTo[u64, 3]) -> u64:
        for i in range(rounds):
            send(to, amount + i)
            emit(Done(a=i))
        require(ctx.balance != 13, "thirteen")
        return ctx.balance

    @entry
    def divide(self, a: u64, b: u64) -> tuple[u64, u64]:
        self.cell.value = a
        return a // b, a % b

    @entry
    def many(self, rounds: UpTo[u64, 100]) -> None:
        for i in range(rounds):
            emit(First(a=i))

    @view
    def row(self, who: Address, key: u8) -> Wide:
        return self.rows[who, key]

    @view
    def array(self, key: u64) -> Array[u64, 4]:
        return self.arrays[key].copy()

    @view
    def context(self) -> tuple[Address, Address, u64, u64]:
        return ctx.sender, ctx.origin, ctx.height, ctx.time_ms

    @view
    def number(self) -> u64:
        return self._private(5)

    def _private(self, by: u64) -> u64:
        return self.cell.value + by


@contract
class Names:
    """Names that the twin of a contract might want for itself."""

    layout: Cell[Named]

    @entry
    def call(self, where: u64, name: u64, sender: u64, coins: u64) -> Named:
        self.layout.value = Named(layout=where, args=name, given=sender, _values=self._contract(coins))
        return self.layout.value.replace(args=2)

    @view
    def address(self) -> u64:
        return self.layout.value.layout

    def _contract(self, coins: u64) -> u64:
        return coins


@contract
class Wrong:
    """What the compiler refuses, and ordinary Python sees only when it gets there."""

    cell: Cell[u64]
    table: Table[u64, u64]

    @entry
    def mix(self) -> None:
        self.cell.value = u8(1)

    @entry
    def mixed_key(self) -> None:
        self.table[u8(1)] = 1

    @entry
    def assigned(self) -> None:
        self.cell = 1  # type: ignore[assignment]

    @entry
    def looks(self) -> None:
        require(1 in self.table, "no")  # type: ignore[unreachable, unused-ignore]

    @entry
    def counts(self) -> u64:
        return len(self.table)  # type: ignore[no-any-return, unused-ignore]

    @entry
    def deletes(self) -> None:
        del self.table[1]

    @entry
    def lists(self) -> None:
        for _ in self.table:
            pass

    @entry
    def not_a_condition(self) -> None:
        require(self.cell.value, "no")  # type: ignore[arg-type]

    @view
    def writes(self) -> None:
        self.cell.value = 1

    @view
    def emits(self) -> None:
        emit(Done(a=1))

    @view
    def sends(self) -> None:
        send(ctx.sender, 0)

    @entry
    def calls_an_entry(self) -> None:
        self.mix()

    @entry
    def returns_another_type(self) -> u64:
        return u8(1)

    @entry
    def returns_what_it_does_not_declare(self) -> None:
        return u64(1)  # type: ignore[return-value]


@pytest.fixture
def world() -> World:
    return World(height=7, time_ms=8_000)


@pytest.fixture
def alice(world: World) -> Address:
    return world.account("alice", coins=100)


@pytest.fixture
def store(world: World, alice: Address) -> Deployed:
    return world.deploy(Store, sender=alice, args=(1,), coins=20, address=PLACE)


def wide(a: bytes = bytes(64), b: int = 0, c: bool = False) -> Wide:
    return Wide(a=Bytes[64](a), b=b, c=c)


def row_key(table: int, piece: int, key: bytes) -> bytes:
    return b"entry\x00\x00\x00" + sha256(bytes.fromhex(PLACE) + bytes([table, piece]) + key).digest()[:24]


def test_init_runs_once_with_its_coins(world: World, store: Any, alice: Address) -> None:
    assert store.number() == 6
    assert (world.balance(alice), world.balance(store)) == (80, 20)
    with pytest.raises(AttributeError, match="no entry or view is called start"):
        store.start(1, sender=alice)
    with pytest.raises(CallFailedError) as failed:
        world.call(store, "_private", 1, sender=alice)
    assert failed.value.failure is Failure.UNKNOWN_FUNCTION


def test_a_deployment_that_fails_leaves_nothing(world: World, alice: Address) -> None:
    with pytest.raises(CallFailedError, match="too much"):
        world.deploy(Store, sender=alice, args=(100,), coins=20, address=PLACE)
    assert (world.balance(alice), world.entries) == (100, {})
    with pytest.raises(CallFailedError) as failed:
        world.call(PLACE, "number")
    assert failed.value.failure is Failure.MISSING_CONTRACT


def test_entries_are_those_of_the_chain(world: World, store: Any, alice: Address) -> None:
    assert world.entries == {row_key(0, 0, b""): encode_value(U64, 1)}
    store.put(3, wide(b=5, c=True), sender=alice)
    key = bytes(alice) + b"\x03"
    cell = {row_key(0, 0, b""): encode_value(U64, 2)}
    second = (5).to_bytes(16, "little") + b"\x01"
    assert world.entries == cell | {row_key(1, 1, key): second}
    store.put(3, wide(b"a" * 64), sender=alice)
    assert world.entries.keys() == {row_key(0, 0, b""), row_key(1, 0, key)}
    assert store.row(alice, 3) == wide(b"a" * 64)
    assert store.row(alice, 4) == wide()
    last = world.events[-1]
    assert (last.number, last.event, last.data) == (1, Done(a=3), encode_value(U64, 3))
    assert last.contract == store.address


def test_results_have_their_types(store: Any, alice: Address) -> None:
    assert [type(each).__name__ for each in store.divide(7, 2, sender=alice)] == ["u64", "u64"]
    array = store.put_array(1, [5, 6, 7, 8], sender=alice)
    assert array == [6, 6, 7, 8]
    array[0] = 1
    assert store.array(1) == [5, 6, 7, 8]
    assert store.many(0, sender=alice) is None


def test_arrays_of_a_caller_stay_the_callers(store: Any, alice: Address) -> None:
    mine = Array[u64, 4]()
    store.put_array(1, mine, sender=alice)
    mine[0] = 9
    assert store.array(1) == [0, 0, 0, 0]


def test_views_need_no_sender_and_know_the_block(world: World, store: Any, alice: Address) -> None:
    assert store.context() == (bytes(32), bytes(32), 7, 8_000)
    world.height = 9
    assert store.context(sender=alice) == (alice, alice, 9, 8_000)


@pytest.mark.parametrize(
    ("call", "failure"),
    [
        (lambda store, bob: store.divide(1, 0, sender=bob), Failure.DIVISION_BY_ZERO),
        (lambda store, bob: store.divide(1, 1, sender=bob, coins=1), Failure.TAKES_NO_COINS),
        (lambda store, bob: store.number(sender=bob, coins=1), Failure.TAKES_NO_COINS),
        (lambda store, bob: store.pay(bob, 1, 4, sender=bob), Failure.BAD_ARGUMENTS),
        (lambda store, bob: store.pay(bob, 9, 3, sender=bob), Failure.INSUFFICIENT_COINS),
        (
            lambda store, bob: store.pay(b"entry\0\0\0" + bytes(24), 0, 3, sender=bob),
            Failure.RESERVED_ADDRESS,
        ),
        (lambda store, bob: store.pay(bob, 2**64 - 1, 2, sender=bob), Failure.INSUFFICIENT_COINS),
        (lambda store, bob: store.pay(bob, 10, 1, sender=bob, coins=3), Failure.REQUIREMENT),
        (lambda store, bob: store.many(65, sender=bob), Failure.TOO_MANY_EVENTS),
    ],
)
def test_a_failed_call_changes_nothing(
    world: World, store: Any, call: Callable[[Any, Address], Any], failure: Failure
) -> None:
    bob = world.account("bob", coins=50)
    before = dict(world.entries), world.balance(bob), world.balance(store), list(world.events)
    with pytest.raises(CallFailedError) as failed:
        call(store, bob)
    assert failed.value.failure is failure
    assert (dict(world.entries), world.balance(bob), world.balance(store), list(world.events)) == before


def test_events_are_numbered_as_their_file_has_them(world: World, store: Any, alice: Address) -> None:
    store.many(64, sender=alice)
    store.put(1, wide(), sender=alice)
    assert [each.event for each in world.events] == [First(a=i) for i in builtins.range(64)] + [Done(a=2)]
    assert [each.number for each in world.events] == [0] * 64 + [1]


def test_coins_move_as_told(world: World, store: Any, alice: Address) -> None:
    bob = world.account("bob")
    assert store.pay(bob, 5, 3, sender=alice, coins=10) == 12
    assert (world.balance(bob), world.balance(store), world.balance(alice)) == (18, 12, 70)
    with pytest.raises(ValueError, match=r"0 coins of 20"):
        store.pay(bob, 1, 1, sender=world.account("nobody"), coins=20)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3), st.integers(0, 12)), max_size=12))
def test_coins_are_conserved(calls: list[tuple[int, int, int]]) -> None:
    world = World()
    alice, bob = world.account("alice", coins=100), world.account("bob")
    store = world.deploy(Store, sender=alice, args=(0,))
    for amount, rounds, most in calls:
        coins = min(most, world.balance(alice))
        held = world.balance(bob), world.balance(store) + coins
        paid = sum(amount + i for i in (0, 1, 2)[:rounds])
        try:
            store.pay(bob, amount, rounds, sender=alice, coins=coins)
        except CallFailedError:
            assert paid > held[1] or held[1] - paid == 13
            assert (world.balance(bob), world.balance(store)) == (held[0], held[1] - coins)
        else:
            assert (world.balance(bob), world.balance(store)) == (held[0] + paid, held[1] - paid)
        assert world.balance(alice) + world.balance(bob) + world.balance(store) == 100


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("mix", r"self.cell.value is u64, not u8: write u64\(…\)"),
        ("mixed_key", r"the key of self.table is u64, not u8"),
        ("assigned", "write self.cell.value = …"),
        ("looks", "a table has every key"),
        ("counts", "count them in a Cell"),
        ("deletes", "write its zero"),
        ("lists", "a table does not list its keys"),
        ("not_a_condition", "the condition of require is bool, not u64"),
        ("writes", r"a view does not write self.cell: make it an @entry"),
        ("emits", "a view does not emit"),
        ("sends", "a view does not send"),
        ("calls_an_entry", "move its body to a private function"),
        ("returns_another_type", r"the result of returns_another_type is u64, not u8"),
        ("returns_what_it_does_not_declare", "declare its result with ->"),
    ],
)
def test_what_the_language_has_not_says_what_to_write(
    world: World, alice: Address, name: str, advice: str
) -> None:
    wrong = world.deploy(Wrong)
    with pytest.raises(TypeError, match=advice):
        getattr(wrong, name)(sender=alice)
    assert (world.entries, world.events) == ({}, [])


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda store, bob: store.divide(1, 1), r"say who calls, divide\(…, sender=alice\)"),
        (lambda store, bob: store.divide(1, sender=bob), r"divide takes \(a, b\): give each once"),
        (lambda store, bob: store.divide(1, 1, a=1, sender=bob), "give each once"),
        (lambda store, bob: store.divide(True, 1, sender=bob), r"divide\(a\) is u64, not bool"),
        (lambda store, bob: store.divide(2**64, 1, sender=bob), "does not fit u64"),
        (lambda store, bob: store.put_array(1, [1], sender=bob), "write 4 values, not 1"),
        (lambda store, bob: store.row(bytes(31), 1), "takes 32 bytes, not 31"),
        (lambda store, bob: store.nothing(sender=bob), "no entry or view is called nothing: there are put,"),
        (lambda store, bob: Store(), r"write world.deploy\(Store, sender=…\)"),
        (lambda store, bob: ctx.sender, "no contract runs here"),
    ],
)
def test_a_call_that_makes_no_sense_says_so(
    world: World, store: Any, alice: Address, call: Callable[[Any, Address], Any], advice: str
) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError), match=advice):
        call(store, alice)


def test_names_are_the_authors(world: World, alice: Address) -> None:
    names = world.deploy(Names)
    named = Named(layout=1, args=2, given=3, _values=4)
    assert names.call(1, 9, 3, 4, sender=alice) == named
    assert world.call(names, "call", 1, 9, 3, 4, sender=alice) == named
    assert world.call(names, "address") == named.layout == 1


def test_arguments_may_have_names(store: Any, alice: Address) -> None:
    assert store.divide(7, b=2, sender=alice) == store.divide(b=2, a=7, sender=alice) == (3, 1)


@interface("01" * 32)
class Imported:
    """Not what is there: the contract's name is Store."""

    @view
    def number(self) -> u64: ...  # type: ignore[empty-body]


@contract
class Astray:
    """It imports what is there under another name."""

    @view
    def number(self) -> u64:
        return Imported.number()


def test_an_import_is_what_is_there(world: World, store: Any) -> None:
    with pytest.raises(CallFailedError) as failed:
        world.deploy(Astray)
    assert failed.value.failure is Failure.UNKNOWN_FUNCTION


def test_hashes_and_addresses_of_tests_are_plain_bytes(store: Any, alice: Address) -> None:
    store.put(1, wide(c=True), sender=alice)
    assert store.row(bytes(alice), 1).c is True
    assert Hash(alice) == bytes(alice)


def bad_function(source: str) -> None:
    """Define a contract of this body."""
    names = {"contract": contract, "entry": entry, "init": init, "view": view, "u64": u64, "Cell": Cell}
    exec(f"@contract\nclass Bad:\n{source}", names)


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        ("    def open(self) -> None: ...", "neither @entry nor @view"),
        ("    @entry\n    def f(self, a) -> None: ...", "write a: u64"),
        ("    @entry\n    def f(self, a: int) -> None: ...", "write u64 or another integer type"),
        ("    @entry\n    def f(self, a: u64 = u64(1)) -> None: ...", "without a default"),
        ("    @init\n    def f(self) -> None: ...\n    @init\n    def g(self) -> None: ...", "one @init"),
        ("    a: u64", r"write Cell\[…\] or Table"),
        ("    a: Cell[str]", "str is no type of a contract"),
    ],
)
def test_a_declaration_says_what_to_write(source: str, advice: str) -> None:
    with pytest.raises(TypeError, match=advice):
        bad_function(source)
