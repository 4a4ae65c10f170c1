"""Values of contracts as Python has them. What JSON has and people type is taken, too (json_values.py).

    integers                   int
    bool                       bool
    Address, Hash, Bytes[N]    bytes
    Array[T, N]                a tuple; on the way in any list or tuple of N

A struct is its fields, each under its dotted name: `terms.seller`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from actors.contracts.ir import Named, Shape
from actors.contracts.json_values import (
    JsonValueError,
    expected_text,
    slot_from_json,
    slot_to_json,
    type_text,
)
from actors.contracts.slots import SlotLayout
from actors.contracts.types import BOOL, Slot


class InterfaceError(ValueError):
    """What is asked does not fit the contract; the message names what does."""


def type_name(shape: Shape, greatest: int | None = None) -> str:
    """A type as an author writes it. greatest: of UpTo."""
    return type_text(shape) if greatest is None else f"UpTo[{shape.type}, {greatest}]"


def example(shape: Shape, greatest: int | None = None) -> str:
    """A value of a type, as it is written on a command line; arrays with commas."""
    kind = shape.type
    if kind.is_integer:
        text = str(5 if greatest is None else min(5, greatest))
    else:
        text = "true" if kind == BOOL else "0" * (2 * kind.width_bytes)
    return ",".join([text] * shape.count) if shape.count else text


def slot_of(name: str, shape: Shape, value: object, greatest: int | None = None) -> Slot:
    """What a contract gets for a value. Raises InterfaceError naming `name`, its type and an example."""
    try:
        slot = slot_from_json(shape, _in_json(value), name)
    except JsonValueError as error:
        kind = f"{type_name(shape, greatest)}, " if shape.count or greatest is not None else ""
        wanted = f"{error.field}: got {error.got}, expected {kind}{expected_text(shape.type)}"
        raise InterfaceError(f"{wanted}, as in {name}={example(shape, greatest)}") from None
    if greatest is not None and isinstance(slot, int) and slot > greatest:
        wanted = f"{name}: got {slot}, expected {type_name(shape, greatest)}, at most {greatest}"
        raise InterfaceError(f"{wanted}, as in {name}={example(shape, greatest)}")
    return slot


def _in_json(value: object) -> object:
    if isinstance(value, bytes | bytearray | memoryview):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_in_json(each) for each in value]
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def value_of_text(shape: Shape, text: str) -> object:
    """What a text of the command line stands for, to be checked by `slot_of`. Arrays: values with commas."""
    return [part.strip() for part in text.split(",")] if shape.count else text


def named_values(named: Iterable[Named], data: bytes) -> dict[str, Any]:
    """The values that these bytes are of: columns, fields or results. Raises ValueError for other bytes."""
    named = tuple(named)
    slots = SlotLayout(each.shape for each in named).decode(data)
    return {each.name: slot for each, slot in zip(named, slots, strict=True)}


def values_in_json(values: dict[str, Any] | None) -> dict[str, object] | None:
    """Values by their names, as JSON has them."""
    return None if values is None else {name: slot_to_json(value) for name, value in values.items()}
