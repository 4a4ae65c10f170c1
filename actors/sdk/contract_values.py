"""Values of contracts as Python has them, and as people and JSON write them.

    integers                   int; on the way in also a string of the digits
    bool                       bool
    Address, Hash, Bytes[N]    bytes; on the way in also a string of the hexadecimal digits
    Array[T, N]                a tuple; on the way in any list or tuple of N

A struct is its fields, each under its dotted name: `terms.seller`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from actors.contracts.ir import Named, Shape
from actors.contracts.slots import SlotLayout
from actors.contracts.types import BOOL, Slot, Type, Value, fits

EXACT_MAX = 2**53 - 1
"""What JavaScript holds exactly; greater integers are strings in JSON."""
_WORDS = {"true": True, "false": False}


class InterfaceError(ValueError):
    """What is asked does not fit the contract; the message names what does."""


def type_name(shape: Shape, greatest: int | None = None) -> str:
    """A type as an author writes it."""
    name = f"UpTo[{shape.type}, {greatest}]" if greatest is not None else str(shape.type)
    return f"Array[{name}, {shape.count}]" if shape.count else name


def example(shape: Shape, greatest: int | None = None) -> str:
    """A value of a type, as it is written on a command line."""
    kind = shape.type
    if kind.is_integer:
        text = str(5 if greatest is None else min(5, greatest))
    else:
        text = "true" if kind == BOOL else "0" * (2 * kind.width_bytes)
    return ",".join([text] * shape.count) if shape.count else text


def slot_of(name: str, shape: Shape, value: object, greatest: int | None = None) -> Slot:
    """What a contract gets for a value. Raises InterfaceError naming `name`, its type and an example."""
    if not shape.count:
        return _scalar(name, shape, value, greatest)
    if not isinstance(value, list | tuple) or len(value) != shape.count:
        got = f"{len(value)} values" if isinstance(value, list | tuple) else _shown(value)
        raise _misfit(name, shape, f"{got} where {shape.count} are expected", greatest)
    return tuple(_scalar(name, shape, each, greatest) for each in value)


def _scalar(name: str, shape: Shape, value: object, greatest: int | None) -> Value:
    kind, read = shape.type, value
    if kind.is_integer and isinstance(value, str):
        read = _integer(value)
    elif kind.is_bytes and isinstance(value, str):
        read = _from_hex(value)
    elif isinstance(value, bytearray | memoryview):
        read = bytes(value)
    if read is None or not fits(kind, read):
        raise _misfit(name, shape, _shown(value), greatest)
    slot = cast(Value, read)
    if isinstance(slot, bytes):
        return bytes(slot)
    if greatest is not None and slot > greatest:
        raise _misfit(name, shape, f"{slot}, which is above {greatest}", greatest)
    return slot if isinstance(slot, bool) else int(slot)


def _integer(text: str) -> int | None:
    digits = text.replace("_", "")
    unsigned = digits.removeprefix("-")
    return int(digits) if unsigned.isascii() and unsigned.isdigit() and len(unsigned) <= 40 else None


def _from_hex(text: str) -> bytes | None:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        return None
    return data if len(text) == 2 * len(data) else None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _misfit(name: str, shape: Shape, got: str, greatest: int | None) -> InterfaceError:
    wanted = f"{name} is {type_name(shape, greatest)}: {_expected(shape.type, greatest)}"
    if shape.count:
        wanted += f", {shape.count} of them"
    return InterfaceError(f"{wanted}, as in {name}={example(shape, greatest)}; got {got}")


def _expected(kind: Type, greatest: int | None) -> str:
    if kind.is_integer:
        low, high = kind.range
        return f"a whole number, {low} to {high if greatest is None else greatest}"
    return "true or false" if kind == BOOL else f"{2 * kind.width_bytes} hex digits"


def value_of_text(shape: Shape, text: str) -> object:
    """What a text of the command line stands for, to be checked by `slot_of`. Arrays: values with commas."""
    if shape.count:
        return [value_of_text(Shape(shape.type), part.strip()) for part in text.split(",")]
    return _WORDS.get(text.lower(), text) if shape.type == BOOL else text


def named_values(named: Iterable[Named], data: bytes) -> dict[str, Any]:
    """The values that these bytes are of: columns, fields or results. Raises ValueError for other bytes."""
    named = tuple(named)
    slots = SlotLayout(each.shape for each in named).decode(data)
    return {each.name: slot for each, slot in zip(named, slots, strict=True)}


def in_json(value: Any) -> Any:
    """A value, or a dictionary or sequence of them, as JSON has it."""
    if isinstance(value, dict):
        return {name: in_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [in_json(each) for each in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > EXACT_MAX:
        return str(value)
    return value
