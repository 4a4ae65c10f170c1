"""From the bytes of a public key to the point, for a pair of lane groups (RFC 8032, section 5.1.3).

Theory of operation. x^2 is u / v with u = y^2 - 1 and v = d y^2 + 1. The candidate u v^3 (u v^7)^((p - 5) /
8) is a root of u / v, or of -u / v, which the square root of -1 repairs, or there is none. The power is a
chain in which each step waits for the last, so two lane groups run through it side by side (``Twice``), and
its multiplications are calls, since their number is small and their code is not.

The point is negated, as verification needs -A, and stored as an affine table entry. Lanes whose key is not
acceptable get the identity, so that whatever happens there stays finite, and a mask that says no.
The twin is ``reference.decode``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

from . import scratch
from .algebra import Lanes, Pair
from .emitter import Emitter, Value
from .field import LIMBS, Element, Field, P, inverse, square_root_power
from .reference import SMALL_ORDER_Y, SQRT_MINUS_1, D
from .words import lanes_of, twice

PAIR_MUL, PAIR_SQUARE_RUN, DECOMPRESS = "pair_mul", "pair_square_run", "decompress"
SIGN = 1 << 63


def paired(values: Sequence[Value]) -> Element[Pair]:
    """An element of each lane group, of all limbs of the one and then of the other."""
    return list(zip(values[:LIMBS], values[LIMBS:], strict=True))


def unpaired(element: Element[Pair]) -> list[Value]:
    return [limb[group] for group in (0, 1) for limb in element]


def load_pair(lanes: Lanes, pointer: Value) -> Element[Pair]:
    """An element of each lane group, one behind the other."""
    return paired(lanes.load_all(pointer, 2 * LIMBS))


def store_pair(lanes: Lanes, element: Element[Pair], pointer: Value) -> None:
    lanes.store_all(unpaired(element), pointer)


def emit_powers(emitter: Emitter) -> None:
    """Write ``pair_mul(out, a, b)`` and ``pair_square_run(out, a, count)``."""
    lanes = lanes_of(emitter)
    field: Field[Pair] = Field(twice(lanes))
    emitter.begin(PAIR_MUL, ["ptr out", "ptr a", "ptr b"], internal=True)
    store_pair(
        lanes, field.mul(load_pair(lanes, emitter["a"]), load_pair(lanes, emitter["b"])), emitter["out"]
    )
    emitter.end()
    emitter.begin(PAIR_SQUARE_RUN, ["ptr out", "ptr a", "i64 count"], internal=True)
    start = load_pair(lanes, emitter["a"])
    carried = [part for limb in start for part in limb]

    def square(_: Value, values: list[Value]) -> list[Value]:
        element = list(zip(values[::2], values[1::2], strict=True))
        return [part for limb in field.sqr(element) for part in limb]

    values = emitter.loop(emitter["count"], carried, square)
    store_pair(lanes, list(zip(values[::2], values[1::2], strict=True)), emitter["out"])
    emitter.end()


class PowerSlots:
    """Calls of the two functions above, each result in the next slot of the scratch memory."""

    def __init__(self, emitter: Emitter, slots_at: Value) -> None:
        self.emitter = emitter
        self._slots = self._addresses(slots_at)

    def _addresses(self, slots_at: Value) -> Iterator[Value]:
        for slot in range(scratch.POWER_SLOTS):
            yield self.emitter.offset(slots_at, slot * scratch.PAIR_ELEMENT)

    def slot(self) -> Value:
        return next(self._slots)

    def mul(self, a: Value, b: Value) -> Value:
        out = self.slot()
        self.emitter.invoke(PAIR_MUL, out, a, b)
        return out

    def square_run(self, a: Value, count: int) -> Value:
        out = self.slot()
        self.emitter.invoke(PAIR_SQUARE_RUN, out, a, count)
        return out

    def inverse(self, lanes: Lanes, element: Sequence[Value]) -> list[Value]:
        """1 / a of each lane group, both as `unpaired` answers them."""
        at = self.slot()
        lanes.store_all(element, at)
        return lanes.load_all(inverse(at, self.mul, self.square_run), 2 * LIMBS)


def emit_decompress(emitter: Emitter) -> None:
    """Write ``decompress(groups, slots)``, which turns GROUP_KEY into GROUP_POINT and GROUP_VALID."""
    emitter.begin(DECOMPRESS, ["ptr groups", "ptr slots"], internal=True)
    lanes = lanes_of(emitter)
    field: Field[Pair] = Field(twice(lanes))
    slots = PowerSlots(emitter, emitter["slots"])
    groups = [emitter.offset(emitter["groups"], group * scratch.GROUP_BYTES) for group in (0, 1)]
    keys = [lanes.load_all(emitter.offset(group, scratch.GROUP_KEY), 4) for group in groups]
    y = field.from_words(list(zip(*keys, strict=True)))
    yy = field.sqr(y)
    u, v = field.sub(yy, field.const(1)), field.add(field.mul(yy, field.const(D)), field.const(1))
    vv = field.sqr(v)
    u_v3 = field.mul(field.mul(vv, v), u)
    waiting = []
    for element in (field.mul(u_v3, field.sqr(vv)), u, v, u_v3, y):
        waiting.append(slots.slot())
        store_pair(lanes, element, waiting[-1])
    power = load_pair(lanes, square_root_power(waiting[0], slots.mul, slots.square_run))
    u, v, u_v3, y = (load_pair(lanes, pointer) for pointer in waiting[1:])
    x = field.mul(u_v3, power)
    v_xx = field.mul(v, field.sqr(x))
    root, other = _is_zero(lanes, field, field.sub(v_xx, u)), _is_zero(lanes, field, field.add(v_xx, u))
    x = _select(lanes, other, field.mul(x, field.const(SQRT_MINUS_1)), x)
    parity = field.freeze(x)[0]
    same = (_same_sign(lanes, parity[0], keys[0][3]), _same_sign(lanes, parity[1], keys[1][3]))
    x = _select(lanes, same, field.carry(field.negate(x)), x)
    valid = [lanes.and_(lanes.or_(root[i], other[i]), acceptable_key(lanes, keys[i])) for i in (0, 1)]
    x = _select(lanes, (valid[0], valid[1]), x, field.const(0))
    y = _select(lanes, (valid[0], valid[1]), y, field.const(1))
    entry = [field.add(y, x), field.sub(y, x), field.mul(field.mul(x, y), field.const(2 * D))]
    for i, group in enumerate(groups):
        _store_point(lanes, [limb[i] for element in entry for limb in element], valid[i], group)
    emitter.end()


def _store_point(lanes: Lanes, limbs: list[Value], valid: Value, group: Value) -> None:
    emitter = lanes.emitter
    lanes.store_all(limbs, emitter.offset(group, scratch.GROUP_POINT))
    flag_at = emitter.offset(group, scratch.GROUP_VALID)
    before = lanes.compare("!=", lanes.load(flag_at), lanes.const(0))
    both = lanes.and_(before, valid)
    lanes.store(lanes.widened(both), flag_at)


def acceptable_key(lanes: Lanes, words: list[Value]) -> Value:
    """A mask of the lanes whose key has y < p and is not of small order."""
    high = lanes.and_(words[3], lanes.const(SIGN - 1))
    top = lanes.compare("==", high, lanes.const(SIGN - 1))
    for word in (words[1], words[2]):
        top = lanes.and_(top, lanes.compare("==", word, lanes.const(-1)))
    over = lanes.and_(top, lanes.compare(">=", words[0], lanes.const(P & (2**64 - 1))))
    return lanes.inverted(lanes.or_(over, small_order(lanes, words)))


def small_order(lanes: Lanes, words: list[Value]) -> Value:
    """A mask of the lanes whose y, below p, is that of a point of small order; the sign does not matter.

    A y that is not below p needs no entry: the key is refused for that, and an R like it equals no encoding.
    """
    words = [*words[:3], lanes.and_(words[3], lanes.const(SIGN - 1))]

    def equals(y: int) -> Value:
        difference = [
            lanes.xor(word, lanes.const(y >> (64 * i) & (2**64 - 1))) for i, word in enumerate(words)
        ]
        together = lanes.or_(lanes.or_(difference[0], difference[1]), lanes.or_(difference[2], difference[3]))
        return lanes.compare("==", together, lanes.const(0))

    return reduce(lanes.or_, map(equals, SMALL_ORDER_Y))


def _is_zero(lanes: Lanes, field: Field[Pair], element: Element[Pair]) -> Pair:
    frozen = field.freeze(element)
    out = []
    for i in (0, 1):
        together = reduce(lanes.or_, [limb[i] for limb in frozen])
        out.append(lanes.compare("==", together, lanes.const(0)))
    return out[0], out[1]


def _same_sign(lanes: Lanes, lowest: Value, highest_word: Value) -> Value:
    parity = lanes.and_(lowest, lanes.const(1))
    return lanes.compare("==", parity, lanes.shr(highest_word, 63))


def _select(lanes: Lanes, masks: Pair, a: Element[Pair], b: Element[Pair]) -> Element[Pair]:
    return [
        (lanes.select(masks[0], x[0], y[0]), lanes.select(masks[1], x[1], y[1]))
        for x, y in zip(a, b, strict=True)
    ]
