"""Values of contracts as JSON has them, and as people type them.

integers             a number, from 2^53 on a string of its digits, since JavaScript rounds such numbers;
                     either is taken
bool                 true, false; from people also as text
Address, Hash, Bytes lower-case hexadecimal digits; upper case and a leading 0x are taken
arrays               a list of exactly as many values
several of a name    an object by name, in order; a list in the same order is taken, too
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from actors.contracts.ir import Shape
from actors.contracts.types import Slot, Type, TypeCode, Value, fits

EXACT_MAX = (1 << 53) - 1
"""The greatest integer that JavaScript's numbers tell from its neighbours."""
DIGITS_MAX = 40
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}


class _Named(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> Shape: ...


class JsonValueError(ValueError):
    """A value is not of the type that is asked for. Names the field, what came, and what is expected."""

    def __init__(self, field: str, got: object, expected: str) -> None:
        text = repr(got)
        shown = text if len(text) <= 80 else f"{text[:77]}..."
        super().__init__(f"{field}: got {shown}, expected {expected}")
        self.field, self.got, self.expected = field, shown, expected


def type_text(shape: Shape) -> str:
    """A shape as an author writes it."""
    return f"Array[{shape.type}, {shape.count}]" if shape.count else str(shape.type)


def expected_text(kind: Type) -> str:
    """What a value of a type may be, for people."""
    if kind.code is TypeCode.BOOL:
        return "true or false"
    if kind.is_integer:
        low, high = kind.range
        return f"{kind}, an integer from {low} to {high}"
    return f"{kind}, {2 * kind.width_bytes} hexadecimal digits"


def slots_to_json(names: Sequence[_Named], slots: Sequence[Slot]) -> dict[str, object]:
    """By name."""
    return {each.name: slot_to_json(slot) for each, slot in zip(names, slots, strict=True)}


def slot_to_json(slot: Slot) -> object:
    """One value, or those of an array."""
    if isinstance(slot, tuple):
        return [slot_to_json(value) for value in slot]
    if isinstance(slot, bytes):
        return slot.hex()
    if isinstance(slot, int) and not isinstance(slot, bool):
        return integer_to_json(slot)
    return slot


def integer_to_json(value: int) -> int | str:
    """A number, or the text of one that JavaScript would round."""
    return value if -EXACT_MAX <= value <= EXACT_MAX else str(value)


def slots_from_json(names: Sequence[_Named], given: object, what: str) -> list[Slot]:
    """Slots of an object or a list. Raises JsonValueError; `what` is how it calls all of them together."""
    if isinstance(given, Mapping):
        values = _by_name(names, given, what)
    elif isinstance(given, list | tuple):
        values = list(given)
    else:
        raise JsonValueError(what, given, "an object by name, or a list")
    if len(values) != len(names):
        wanted = ", ".join(f"{each.name}: {type_text(each.shape)}" for each in names) or "nothing"
        raise JsonValueError(what, f"{len(values)} values", f"{len(names)}: {wanted}")
    return [
        slot_from_json(each.shape, value, f"{what}.{each.name}")
        for each, value in zip(names, values, strict=True)
    ]


def _by_name(names: Sequence[_Named], given: Mapping[object, object], what: str) -> list[object]:
    known = [each.name for each in names]
    for name in given:
        if name not in known:
            raise JsonValueError(what, name, f"one of {', '.join(known)}" if known else "no values")
    for each in names:
        if each.name not in given:
            raise JsonValueError(f"{what}.{each.name}", "nothing", _expected(each.shape))
    return [given[name] for name in known]


def slot_from_json(shape: Shape, value: object, field: str) -> Slot:
    """The slot of a shape. Raises JsonValueError."""
    if not shape.count:
        return value_from_json(shape.type, value, field)
    if not isinstance(value, list | tuple) or len(value) != shape.count:
        raise JsonValueError(field, value, _expected(shape))
    return tuple(value_from_json(shape.type, item, f"{field}[{i}]") for i, item in enumerate(value))


def _expected(shape: Shape) -> str:
    expected = expected_text(shape.type)
    return f"a list of {shape.count}, each {expected}" if shape.count else expected


def value_from_json(kind: Type, value: object, field: str) -> Value:
    """The value of a scalar type, of JSON or of text that a person typed. Raises JsonValueError."""
    read = _read(kind, value)
    if read is None or not fits(kind, read):
        raise JsonValueError(field, value, expected_text(kind))
    return read


def _bool(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _read(kind: Type, value: object) -> Value | None:
    if kind.code is TypeCode.BOOL:
        return _TRUTHS.get(value.lower()) if isinstance(value, str) else _bool(value)
    if kind.is_integer:
        if not isinstance(value, str):
            return value if isinstance(value, int) and not isinstance(value, bool) else None
        digits = value.removeprefix("-")
        plain = digits.isascii() and digits.isdigit() and len(digits) <= DIGITS_MAX
        return int(value) if plain else None
    if not isinstance(value, str):
        return None
    text = value.removeprefix("0x")
    try:
        return bytes.fromhex(text) if len(text) == 2 * kind.width_bytes else None
    except ValueError:
        return None
