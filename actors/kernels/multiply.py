"""[S] B - [h] A for a lane group: the double-scalar multiplication, by Straus's method with signed windows.

Theory of operation. Both scalars are cut into signed digits, five bits wide for h and ten for S, and one
run of doublings serves both: five doublings, add a multiple of -A, five more, add another, add a multiple
of B. The multiples 0 .. 16 of -A are made for each lane; those of B, 0 .. 512, are constants of the code. A
negative digit takes the entry of its absolute value and turns it round, which costs a few selects.

Each lane needs another entry. An entry is a few rows of 64 bytes in which its limbs lie side by side, so
eight lanes load eight rows each at its own address, and a transpose makes vectors of limbs of them. That is
cheaper than a gather, and than selecting among all entries.

Sources: E. G. Straus (1964); the schedule is this file's own. The twin is ``reference.multiply``.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from . import scratch
from .algebra import Lanes
from .curve import AFFINE_ELEMENTS, PROJECTIVE_ELEMENTS, Curve, Form, affine_entry
from .emitter import I1, I64, Emitter, Value
from .field import LIMBS, Element, limbs
from .reference import BASE, IDENTITY, Point, add
from .scalar import Scalars
from .words import lanes_of

DOUBLE_RUN, BUILD_TABLE, MULTIPLY = "double_run", "build_table", "multiply"
BASE_TABLE = "base_table"
ENTRY_ROWS = {PROJECTIVE_ELEMENTS: 3, AFFINE_ELEMENTS: 2}
"""Rows of 64 bytes that an entry takes."""
BASE_ENTRIES = (1 << (scratch.BASE_BITS - 1)) + 1


def add_name(elements: int, form: Form) -> str:
    """The function that adds projective (4 elements) or affine (3) entries and leaves that form."""
    return f"add_{elements}_{form}"


def multiples(point: Point, count: int) -> list[Point]:
    """0, 1, .. count - 1 times a point."""
    out = [IDENTITY]
    while len(out) < count:
        out.append(add(out[-1], point))
    return out


def affine_rows(points: Sequence[Point]) -> list[int]:
    """Table entries as they lie in memory: 15 limbs and one unused word each."""
    return [word for point in points for word in [*(l for n in affine_entry(point) for l in limbs(n)), 0]]


def elements_of(limbs: Sequence[Value]) -> list[Element[Value]]:
    """Whole elements, of limbs side by side; a limb left over belongs to none."""
    return [list(limbs[at : at + LIMBS]) for at in range(0, len(limbs) - LIMBS + 1, LIMBS)]


def load_elements(lanes: Lanes, pointer: Value, count: int) -> list[Element[Value]]:
    return elements_of(lanes.load_all(pointer, count * LIMBS))


def store_elements(lanes: Lanes, elements: Sequence[Element[Value]], pointer: Value) -> None:
    lanes.store_all([limb for element in elements for limb in element], pointer)


def emit_tables(emitter: Emitter) -> None:
    """Write the multiples of B."""
    emitter.table(BASE_TABLE, affine_rows(multiples(BASE, BASE_ENTRIES)))


def emit_double_run(emitter: Emitter) -> None:
    """Write ``double_run(state, count)``: double ``count`` >= 2 times, from doubling to addition form."""
    emitter.begin(DOUBLE_RUN, ["ptr state", "i64 count"], internal=True)
    lanes = lanes_of(emitter)
    curve: Curve[Value] = Curve(lanes)
    start = lanes.load_all(emitter["state"], 4 * LIMBS)
    turns = emitter.sub(emitter["count"], 1)

    def double(_: Value, values: list[Value]) -> list[Value]:
        return [limb for element in curve.double(elements_of(values), "doubling") for limb in element]

    values = emitter.loop(turns, start, double)
    store_elements(lanes, curve.double(elements_of(values), "addition"), emitter["state"])
    emitter.end()


def emit_add(emitter: Emitter, elements: int, form: Form) -> None:
    """Write ``add_E_F(state, tables, digits)``.

    ``tables`` points to the addresses of eight tables, one a lane, and ``digits`` to the digits of eight
    lanes.
    """
    emitter.begin(add_name(elements, form), ["ptr state", "ptr tables", "ptr digits"], internal=True)
    lanes = lanes_of(emitter)
    curve: Curve[Value] = Curve(lanes)
    digits = lanes.load(emitter["digits"])
    negative = lanes.negative(digits)
    entry = _load_entries(lanes, lanes.load(emitter["tables"]), digits, elements)
    turned = curve.opposite(entry)
    chosen = [
        [lanes.select(negative, b, a) for a, b in zip(plain, opposite, strict=True)]
        if plain is not opposite
        else plain
        for plain, opposite in zip(entry, turned, strict=True)
    ]
    point = load_elements(lanes, emitter["state"], 4)
    store_elements(lanes, curve.add(point, chosen, form), emitter["state"])
    emitter.end()


def _load_entries(lanes: Lanes, tables: Value, digits: Value, elements: int) -> list[Element[Value]]:
    """The entry of the digit's absolute value in each lane's table."""
    pointers = entry_pointers(lanes, tables, digits, elements)
    words: list[Value] = []
    for row in range(ENTRY_ROWS[elements]):
        words += lanes.gather(pointers, row * scratch.VECTOR)
    return elements_of(words)[:elements]


def entry_pointers(lanes: Lanes, tables: Value, digits: Value, elements: int) -> list[Value]:
    """Where the entry of the digit's absolute value begins, lane by lane."""
    emitter = lanes.emitter
    no_poison = ir.Constant(I1, 0)
    absolute = emitter.call(lanes.kind, f"llvm.abs.{lanes.suffix}", digits, no_poison)
    offsets = lanes.mul(absolute, lanes.const(ENTRY_ROWS[elements] * scratch.VECTOR))
    addresses = lanes.add(tables, offsets)
    pointers = []
    for lane in range(lanes.lanes):
        pointers.append(emitter.pointer(lanes.extract(addresses, lane)))
    return pointers


def emit_build_table(emitter: Emitter) -> None:
    """Write ``build_table(group, table)``: multiples 0 .. 16 of GROUP_POINT, in each lane's table."""
    emitter.begin(BUILD_TABLE, ["ptr group", "ptr table"], internal=True)
    lanes = lanes_of(emitter)
    curve: Curve[Value] = Curve(lanes)
    field = curve.field
    point_at = emitter.offset(emitter["group"], scratch.GROUP_POINT)
    one = field.const(1)
    _store_entries(lanes, [one, one, field.const(2), field.const(0)], emitter["table"])
    point = load_elements(lanes, point_at, AFFINE_ELEMENTS)
    start = curve.add(curve.identity("addition"), point, "addition")

    _store_entries(
        lanes, curve.projective_entry(start), emitter.offset(emitter["table"], scratch.PROJECTIVE_BYTES)
    )

    def multiple(index: Value, values: list[Value]) -> list[Value]:
        base = load_elements(lanes, point_at, AFFINE_ELEMENTS)
        following = curve.add(elements_of(values), base, "addition")
        at = emitter.scaled(emitter["table"], emitter.add(index, 2), scratch.PROJECTIVE_BYTES)
        _store_entries(lanes, curve.projective_entry(following), at)
        return [limb for element in following for limb in element]

    carried = [limb for element in start for limb in element]
    emitter.loop(scratch.KEY_ENTRIES - 2, carried, multiple)
    emitter.end()


def _store_entries(lanes: Lanes, entry: Sequence[Element[Value]], at: Value) -> None:
    """Store one projective entry a lane, its limbs side by side."""
    words = [limb for element in entry for limb in element]
    words += [lanes.const(0)] * (3 * scratch.ROW_WORDS - len(words))
    for row in range(3):

        def place(lane: int, row: int = row) -> Value:
            return lanes.emitter.offset(at, lane * scratch.LANE_TABLE_BYTES + row * scratch.VECTOR)

        lanes.scatter(words[row * scratch.ROW_WORDS : (row + 1) * scratch.ROW_WORDS], place)


def store_digits(lanes: Lanes, scalar: int, bits: int, places: int, at: Value) -> None:
    """Cut the challenge (0) or S (1) of %group into digits, one vector each."""
    emitter = lanes.emitter
    scalars: Scalars[Value] = Scalars(lanes)
    limbs_at = emitter.offset(emitter["group"], scratch.GROUP_SCALARS + scalar * scratch.ELEMENT)
    words = scalars.biased(lanes.load_all(limbs_at, LIMBS), bits, places)
    lanes.store_all([scalars.digit(words, bits, places, place) for place in range(places)], at)


def emit_multiply(emitter: Emitter) -> None:
    """Write ``multiply(group, table, state)``: leaves the result in ``state``, in doubling form."""
    emitter.begin(MULTIPLY, ["ptr group", "ptr table", "ptr state"], internal=True)
    lanes = lanes_of(emitter)
    curve: Curve[Value] = Curve(lanes)
    key_tables, base_tables = _table_addresses(lanes)
    key_digits = emitter.offset(emitter["group"], scratch.GROUP_KEY_DIGITS)
    base_digits = emitter.offset(emitter["group"], scratch.GROUP_BASE_DIGITS)
    store_digits(lanes, 0, scratch.KEY_BITS, scratch.KEY_PLACES, key_digits)
    store_digits(lanes, 1, scratch.BASE_BITS, scratch.BASE_PLACES, base_digits)
    store_elements(lanes, curve.identity("addition"), emitter["state"])

    def add_to(elements: int, form: Form, tables: Value, digits: Value, place: Value | int) -> None:
        at = emitter.scaled(digits, place, scratch.VECTOR)
        emitter.invoke(add_name(elements, form), emitter["state"], tables, at)

    def double() -> None:
        emitter.invoke(DOUBLE_RUN, emitter["state"], scratch.KEY_BITS)

    add_to(PROJECTIVE_ELEMENTS, "addition", key_tables, key_digits, scratch.KEY_PLACES - 1)
    add_to(AFFINE_ELEMENTS, "doubling", base_tables, base_digits, scratch.BASE_PLACES - 1)

    def step(index: Value, _: list[Value]) -> list[Value]:
        place = emitter.sub(scratch.BASE_PLACES - 2, index)
        lower = emitter.mul(place, 2)
        upper = emitter.add(lower, 1)
        double()
        add_to(PROJECTIVE_ELEMENTS, "doubling", key_tables, key_digits, upper)
        double()
        add_to(PROJECTIVE_ELEMENTS, "addition", key_tables, key_digits, lower)
        add_to(AFFINE_ELEMENTS, "doubling", base_tables, base_digits, place)
        return []

    emitter.loop(scratch.BASE_PLACES - 1, [], step)
    emitter.end()


def _table_addresses(lanes: Lanes) -> tuple[Value, Value]:
    """Pointers to the addresses of the eight lanes' tables: of the key, and of B."""
    emitter = lanes.emitter
    key_tables = emitter.room(lanes.kind)
    base_tables = emitter.room(lanes.kind)
    table = lanes.splat(emitter.builder.ptrtoint(emitter["table"], I64))
    steps = lanes.numbers([lane * scratch.LANE_TABLE_BYTES for lane in range(lanes.lanes)])
    lanes.store(lanes.add(table, steps), key_tables)
    lanes.store(lanes.splat(emitter.address(BASE_TABLE)), base_tables)
    return key_tables, base_tables


def emit(emitter: Emitter) -> None:
    """Write all of the above."""
    emit_tables(emitter)
    emit_double_run(emitter)
    forms: tuple[tuple[int, Form], ...] = (
        (PROJECTIVE_ELEMENTS, "doubling"),
        (PROJECTIVE_ELEMENTS, "addition"),
        (AFFINE_ELEMENTS, "addition"),
        (AFFINE_ELEMENTS, "doubling"),
    )
    for elements, form in forms:
        emit_add(emitter, elements, form)
    emit_build_table(emitter)
    emit_multiply(emitter)
