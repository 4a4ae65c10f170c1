"""The bytes of what a register, column, parameter or field holds: those of its values, one after the other.

What types.py says of single values, made ready for each shape. `struct` converts many numbers at once; it has
no type for 128 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from struct import Struct
from typing import Any, NamedTuple

from actors.contracts.ir import Shape
from actors.contracts.limits import BYTES_MAX
from actors.contracts.types import BOOL, U128, WIDTH_BYTES, Slot, Type, TypeCode, bytes_type

_LETTERS = {
    TypeCode.BOOL: "?",
    TypeCode.U8: "B",
    TypeCode.U16: "H",
    TypeCode.U32: "I",
    TypeCode.U64: "Q",
    TypeCode.I64: "q",
}


class Codec(NamedTuple):
    """Slots of one shape and their bytes.

    encode: the bytes of a slot that fits. decode: the slot of exactly `width_bytes` bytes; raises ValueError
    for a bool that is neither 0 nor 1.
    """

    width_bytes: int
    zero: Any
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def _is_bool(data: bytes) -> bytes:
    if max(data) > 1:
        raise ValueError(f"a bool is {max(data)}: 0 or 1")
    return data


def _scalar(kind: Type) -> Codec:
    if kind.is_bytes:
        return Codec(kind.width_bytes, kind.zero, bytes, bytes)
    if kind == U128:
        return Codec(
            16, 0, lambda value: value.to_bytes(16, "little"), lambda data: int.from_bytes(data, "little")
        )
    packed = Struct("<" + _LETTERS[kind.code])
    if kind == BOOL:
        return Codec(1, False, packed.pack, lambda data: _is_bool(data) == b"\x01")
    return Codec(packed.size, 0, packed.pack, lambda data: packed.unpack(data)[0])


_SCALARS = {
    kind: _scalar(kind)
    for kind in (*map(Type, WIDTH_BYTES), *(bytes_type(size) for size in range(1, BYTES_MAX + 1)))
}


def _array(element: Codec, kind: Type, count: int) -> Codec:
    width, zero = element.width_bytes, (element.zero,) * count
    if kind.code not in _LETTERS:
        starts = range(0, width * count, width)
        return Codec(
            width * count,
            zero,
            b"".join if kind.is_bytes else lambda values: b"".join(map(element.encode, values)),
            lambda data: tuple([element.decode(data[start : start + width]) for start in starts]),
        )
    packed = Struct(f"<{count}{_LETTERS[kind.code]}")
    if kind == BOOL:
        return Codec(
            count, zero, lambda values: packed.pack(*values), lambda data: packed.unpack(_is_bool(data))
        )
    return Codec(packed.size, zero, lambda values: packed.pack(*values), packed.unpack)


@lru_cache(maxsize=1024)
def codec(shape: Shape) -> Codec:
    """How slots of a shape are encoded. The shape is within its bounds (limits.py)."""
    element = _SCALARS[shape.type]
    return _array(element, shape.type, shape.count) if shape.count else element


class SlotLayout:
    """Several shapes, one after the other: parameters, results, keys or columns.

    Single numbers and bytes, which is what most are, are converted all at once.
    """

    def __init__(self, shapes: Iterable[Shape]) -> None:
        shapes = tuple(shapes)
        codecs = [codec(shape) for shape in shapes]
        ends = list(accumulate(each.width_bytes for each in codecs))
        self.width_bytes: int = ends[-1] if ends else 0
        self._packed: Struct | None = None
        if all(not shape.count and shape.type not in (BOOL, U128) for shape in shapes):
            letters = [_LETTERS.get(shape.type.code) or f"{shape.type.width_bytes}s" for shape in shapes]
            self._packed = Struct("<" + "".join(letters))
        self._encoders = [each.encode for each in codecs]
        self._parts = [
            (end - each.width_bytes, end, each.decode) for end, each in zip(ends, codecs, strict=True)
        ]

    def encode(self, slots: Sequence[Slot]) -> bytes:
        """The bytes of slots that fit."""
        if self._packed:
            return self._packed.pack(*slots)
        return b"".join([encode(slot) for encode, slot in zip(self._encoders, slots, strict=True)])

    def decode(self, data: bytes) -> list[Slot]:
        """The slots of these bytes. Raises ValueError for a wrong length and for a bool that is none."""
        if len(data) != self.width_bytes:
            raise ValueError(f"{len(data)} bytes: {self.width_bytes}")
        if self._packed:
            return list(self._packed.unpack(data))
        return [decode(data[start:end]) for start, end, decode in self._parts]
