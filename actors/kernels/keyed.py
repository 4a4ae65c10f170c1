"""[S] B - [h] A where tables of A's multiples are at hand, and how such tables are made, for a lane group.

Theory of operation. The scalar of 256 bits is cut into four quarters, h = h0 + 2^64 h1 + 2^128 h2 + 2^192
h3, and for each quarter there is a table of multiples of -2^(64 q) A, as for B. The four run side by side,
so that 60 doublings do instead of 250, and the key need not be decompressed. Digits have 4 bits for h and 8
for S: eight turns of four doublings, four additions for h, four doublings, four additions for h and four
for S.

The tables hold affine entries. They are made for sixteen keys at once: the eight multiples of each quarter in
addition form, then one inversion for all of their Z (Montgomery's trick, lane by lane), since
y + x = (Y + X) / Z, y - x = (Y - X) / Z and x y = T / Z.

Only keys that have verified a signature get tables, so what is refused of keys has been refused before.

Source: C. H. Lim and P. J. Lee, "More flexible exponentiation with precomputation" (1994). The twin is
``reference.multiply``.
"""

from __future__ import annotations

from . import calls, decompress, scratch
from .algebra import Lanes, Pair
from .curve import AFFINE_ELEMENTS, Curve, Form
from .decompress import PowerSlots, load_pair, paired, unpaired
from .emitter import Emitter, Value, whole
from .field import Element, Field
from .multiply import (
    DOUBLE_RUN,
    add_name,
    affine_rows,
    elements_of,
    entry_pointers,
    load_elements,
    multiples,
    store_digits,
    store_elements,
)
from .reference import BASE, D, multiply
from .words import lanes_of, twice

SYMBOL_TABLES = "ed25519_key_tables"
MULTIPLY_KEYED, KEY_MULTIPLES, QUARTER, STORE_TABLES = (
    "multiply_keyed",
    "key_multiples",
    "quarter",
    "store_tables",
)
COMB_TABLE = "comb_table"
COMB_ENTRIES = (1 << (scratch.KEYED_BASE_BITS - 1)) + 1
QUARTER_BITS = 64
TURNS = QUARTER_BITS // scratch.KEYED_BASE_BITS
SLOT_BYTES = 4 * scratch.PAIR_ELEMENT


def identity_rows() -> list[int]:
    """The words of an affine entry of the identity, with which each quarter of a key's tables begins."""
    return affine_rows(multiples(BASE, 1))


def emit(emitter: Emitter) -> None:
    """Write ``multiply_keyed``, ``ed25519_key_tables`` and all that they need."""
    points = [multiply(1 << (QUARTER_BITS * quarter), BASE) for quarter in range(scratch.QUARTERS)]
    rows = [word for point in points for word in affine_rows(multiples(point, COMB_ENTRIES))]
    emitter.table(COMB_TABLE, rows)
    _emit_multiply(emitter)
    _emit_quarter(emitter)
    _emit_key_multiples(emitter)
    _emit_store_tables(emitter)
    _emit_key_tables(emitter)


def _emit_multiply(emitter: Emitter) -> None:
    """Write ``multiply_keyed(group, tables, state)``: leaves the result in ``state``, in doubling form.

    ``tables`` points to the addresses of the key tables of eight lanes.
    """
    emitter.begin(MULTIPLY_KEYED, ["ptr group", "ptr tables", "ptr state"], internal=True)
    lanes = lanes_of(emitter)
    curve: Curve[Value] = Curve(lanes)
    key_digits = emitter.offset(emitter["group"], scratch.GROUP_KEY_DIGITS)
    base_digits = emitter.offset(emitter["group"], scratch.GROUP_BASE_DIGITS)
    store_digits(lanes, 0, scratch.KEYED_KEY_BITS, scratch.KEYED_KEY_PLACES, key_digits)
    store_digits(lanes, 1, scratch.KEYED_BASE_BITS, scratch.KEYED_BASE_PLACES, base_digits)
    comb = lanes.splat(emitter.address(COMB_TABLE))
    key_tables = _quarter_addresses(lanes, lanes.load(emitter["tables"]), scratch.KEYED_ENTRIES)
    base_tables = _quarter_addresses(lanes, comb, COMB_ENTRIES)
    _prefetch(lanes, key_tables, key_digits)
    store_elements(lanes, curve.identity("addition"), emitter["state"])

    def add_quarters(tables: list[Value], digits: Value, place: Value | int, step: int, last: Form) -> None:
        for quarter, table in enumerate(tables):
            at = emitter.scaled(digits, emitter.add(place, quarter * step), scratch.VECTOR)
            form: Form = last if quarter == scratch.QUARTERS - 1 else "addition"
            emitter.invoke(add_name(AFFINE_ELEMENTS, form), emitter["state"], table, at)

    def double() -> None:
        emitter.invoke(DOUBLE_RUN, emitter["state"], scratch.KEYED_KEY_BITS)

    def turn(place: Value | int) -> None:
        lower = emitter.mul(place, 2)
        upper = emitter.add(lower, 1)
        add_quarters(key_tables, key_digits, upper, 2 * TURNS, "doubling")
        double()
        add_quarters(key_tables, key_digits, lower, 2 * TURNS, "addition")
        add_quarters(base_tables, base_digits, place, TURNS, "doubling")

    def step(index: Value, _: list[Value]) -> list[Value]:
        double()
        turn(emitter.sub(TURNS - 2, index))
        return []

    turn(TURNS - 1)
    emitter.loop(TURNS - 1, [], step)
    emitter.end()


def _quarter_addresses(lanes: Lanes, tables: Value, entries: int) -> list[Value]:
    """For each quarter, a pointer to the addresses of its table in eight lanes."""
    out = []
    for quarter in range(scratch.QUARTERS):
        out.append(lanes.emitter.room(lanes.kind))
        offset = lanes.const(quarter * entries * scratch.AFFINE_BYTES)
        lanes.store(lanes.add(tables, offset), out[-1])
    return out


def _prefetch(lanes: Lanes, tables: list[Value], digits: Value) -> None:
    """Ask for every entry that the digits will need: the tables of many keys are in no near cache."""
    emitter = lanes.emitter
    places = scratch.KEYED_KEY_PLACES // scratch.QUARTERS
    for quarter, table in enumerate(tables):
        first = emitter.offset(digits, quarter * places * scratch.VECTOR)

        def place(index: Value, _: list[Value], table: Value = table, first: Value = first) -> list[Value]:
            at = emitter.scaled(first, index, scratch.VECTOR)
            for pointer in entry_pointers(lanes, lanes.load(table), lanes.load(at), AFFINE_ELEMENTS):
                for row in (0, 1):
                    emitter.prefetch(emitter.offset(pointer, row * scratch.VECTOR))
            return []

        emitter.loop(places, [], place)


def _emit_quarter(emitter: Emitter) -> None:
    """Write ``quarter(state, area)``: the multiples 1 .. 8 of the point in ``state``, in addition form.

    They go to consecutive slots of ``area``, which interleave the elements of two lane groups.
    """
    emitter.begin(QUARTER, ["ptr state", "ptr area"], internal=True)
    lanes = lanes_of(emitter)
    curve: Curve[Value] = Curve(lanes)
    start = load_elements(lanes, emitter["state"], 4)
    entry = curve.projective_entry(start)

    def multiple(index: Value, values: list[Value]) -> list[Value]:
        slot = emitter.scaled(emitter["area"], index, SLOT_BYTES)
        point = elements_of(values)
        for number, element in enumerate(point):
            lanes.store_all(element, emitter.offset(slot, number * scratch.PAIR_ELEMENT))
        return [limb for element in curve.add(point, entry, "addition") for limb in element]

    carried = [limb for element in start for limb in element]
    emitter.loop(scratch.KEYED_ENTRIES - 1, carried, multiple)
    emitter.end()


def _emit_key_multiples(emitter: Emitter) -> None:
    """Write ``key_multiples(group, state, area)``: all quarters of GROUP_POINT."""
    emitter.begin(KEY_MULTIPLES, ["ptr group", "ptr state", "ptr area"], internal=True)
    lanes = lanes_of(emitter)
    curve: Curve[Value] = Curve(lanes)
    field = curve.field
    point = load_elements(lanes, emitter.offset(emitter["group"], scratch.GROUP_POINT), AFFINE_ELEMENTS)
    store_elements(lanes, curve.add(curve.identity("addition"), point, "addition"), emitter["state"])
    for quarter in range(scratch.QUARTERS):
        if quarter:
            # Twice the coordinates are the same point: X = (Y + X) - (Y - X), and so on.
            y_plus_x, y_minus_x, z, _ = load_elements(lanes, emitter["state"], 4)
            x, y = field.sub(y_plus_x, y_minus_x), field.add(y_plus_x, y_minus_x)
            doubled = [x, y, field.add(z, z), field.add(y_plus_x, y_plus_x)]
            store_elements(lanes, doubled, emitter["state"])
            emitter.invoke(DOUBLE_RUN, emitter["state"], QUARTER_BITS)
        area = emitter.offset(emitter["area"], quarter * (scratch.KEYED_ENTRIES - 1) * SLOT_BYTES)
        emitter.invoke(QUARTER, emitter["state"], area)
    emitter.end()


def _emit_store_tables(emitter: Emitter) -> None:
    """Write ``store_tables(call, area, products, slots, first)``: the tables of the sixteen rows from
    there."""
    parameters = ["ptr call", "ptr area", "ptr products", "ptr slots", "i64 first"]
    emitter.begin(STORE_TABLES, parameters, internal=True)
    lanes = lanes_of(emitter)
    field: Field[Pair] = Field(twice(lanes))

    def multiply_up(index: Value, values: list[Value]) -> list[Value]:
        lanes.store_all(values, emitter.scaled(emitter["products"], index, scratch.PAIR_ELEMENT))
        slot = emitter.scaled(emitter["area"], index, SLOT_BYTES)
        return unpaired(
            field.mul(paired(values), load_pair(lanes, emitter.offset(slot, 2 * scratch.PAIR_ELEMENT)))
        )

    one = unpaired(field.const(1))
    product = emitter.loop(scratch.MULTIPLES, one, multiply_up)
    slots = PowerSlots(emitter, emitter["slots"])
    inverted = slots.inverse(lanes, product)

    def divide(index: Value, values: list[Value]) -> list[Value]:
        number = emitter.sub(scratch.MULTIPLES - 1, index)
        slot = emitter.scaled(emitter["area"], number, SLOT_BYTES)
        y_plus_x, y_minus_x, z, t = (
            load_pair(lanes, emitter.offset(slot, i * scratch.PAIR_ELEMENT)) for i in range(4)
        )
        rest = paired(values)
        z_inverse = field.mul(
            rest, load_pair(lanes, emitter.scaled(emitter["products"], number, scratch.PAIR_ELEMENT))
        )
        entry = [field.mul(element, z_inverse) for element in (y_plus_x, y_minus_x, t)]
        entry[2] = field.mul(entry[2], field.const(2 * D))
        _store_entry(lanes, entry, number)
        return unpaired(field.mul(rest, z))

    emitter.loop(scratch.MULTIPLES, inverted, divide)
    emitter.end()


def _store_entry(lanes: Lanes, entry: list[Element[Pair]], number: Value) -> None:
    """Store the entry of that multiple in the tables of sixteen rows; each quarter begins with the
    identity."""
    emitter = lanes.emitter
    quarter = emitter.builder.udiv(number, whole(scratch.KEYED_ENTRIES - 1))
    place = emitter.add(emitter.add(number, quarter), 1)
    offset = emitter.mul(place, scratch.AFFINE_BYTES)
    for group in (0, 1):
        words = [limb[group] for element in entry for limb in element] + [lanes.const(0)]
        first = emitter.add(emitter["first"], group * lanes.lanes)
        tables = calls.lane_entries(emitter, "tables", first)
        for row in (0, 1):

            def at_lane(lane: int, row: int = row, tables: list[Value] = tables) -> Value:
                at = emitter.offset(emitter.pointer(tables[lane]), offset)
                return emitter.offset(at, row * scratch.VECTOR)

            lanes.scatter(words[row * scratch.ROW_WORDS : (row + 1) * scratch.ROW_WORDS], at_lane)


def _emit_key_tables(emitter: Emitter) -> None:
    """Write ``ed25519_key_tables(call)``: makes the tables of the keys of the rows named."""
    emitter.begin(SYMBOL_TABLES, ["ptr call"])
    lanes = lanes_of(emitter)
    memory = calls.pointer(emitter, "scratch")
    groups, state, slots, area, products = (
        emitter.offset(memory, offset)
        for offset in (scratch.GROUPS, scratch.STATE, scratch.POWERS, scratch.AREA, scratch.PRODUCTS)
    )
    rows = calls.field(emitter, "rows")
    width = 2 * lanes.lanes
    pairs = emitter.shares(rows, width)

    def pair(index: Value, _: list[Value]) -> list[Value]:
        first = emitter.mul(index, width)
        for group in (0, 1):
            at = emitter.offset(groups, group * scratch.GROUP_BYTES)
            row = emitter.add(first, group * lanes.lanes)
            words = calls.load_keys(lanes, calls.lane_entries(emitter, "order", row))
            lanes.store_all(words, emitter.offset(at, scratch.GROUP_KEY))
            lanes.store(lanes.const(-1), emitter.offset(at, scratch.GROUP_VALID))
        emitter.invoke(decompress.DECOMPRESS, groups, slots)
        for group in (0, 1):
            at = emitter.offset(groups, group * scratch.GROUP_BYTES)
            group_area = emitter.offset(area, group * scratch.ELEMENT)
            emitter.invoke(KEY_MULTIPLES, at, state, group_area)
        emitter.invoke(STORE_TABLES, emitter["call"], area, products, slots, first)
        return []

    emitter.loop(pairs, [], pair)
    emitter.end()
