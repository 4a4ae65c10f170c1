"""Random values and arguments, often at an edge of their type; all is drawn from the `Random` handed in."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from actors.contracts import ir
from actors.contracts.types import BOOL, Slot, Type, Value, encode_value

PEOPLE = tuple(bytes((letter,)) * 32 for letter in b"abcd")


def random_value(random: Random, kind: Type) -> Value:
    """Often one at an edge of its type, or a small one."""
    if kind == BOOL:
        return random.random() < 0.5
    if kind.is_integer:
        low, high = kind.range
        return random.choice((low, low + 1, 0, 1, 2, 3, high - 1, high, random.randint(low, high)))
    if kind.width_bytes == 32 and random.random() < 0.8:
        return random.choice(PEOPLE)
    return random.choice((bytes(kind.width_bytes), random.randbytes(kind.width_bytes)))


def encode(shape: ir.Shape, slot: Slot) -> bytes:
    """The bytes of a slot, value by value as types.py says."""
    values = slot if isinstance(slot, tuple) else (slot,)
    return b"".join(encode_value(shape.type, value) for value in values)


def random_slot(random: Random, shape: ir.Shape) -> Slot:
    """What a register of this shape may hold."""
    if shape.count:
        return tuple(random_value(random, shape.type) for _ in range(shape.count))
    return random_value(random, shape.type)


def random_arguments(random: Random, params: Sequence[ir.Param]) -> bytes:
    """Arguments that keep to the greatest values that are declared."""
    data = b""
    for param in params:
        slot = random_slot(random, param.shape)
        if param.max is not None:
            slot = random.choice((0, param.max, random.randint(0, param.max)))
        data += encode(param.shape, slot)
    return data
