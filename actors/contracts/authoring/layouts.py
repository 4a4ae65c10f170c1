"""What an annotation means: how its values are checked, and the bytes that stand for them.

A layout belongs to each type an author may write. `coerce` is what an assignment in a contract does: a bare
int literal takes the type, anything else must have it already. `adapt` is what a call from outside does:
plain bytes and lists may stand for typed ones. `encode` and `decode` are those of types.py, a value's columns
one after the other.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, get_args, get_origin

from actors.contracts.ir import Shape
from actors.contracts.types import BOOL, Type, decode_value, encode_value


class Layout(Protocol):
    """One type of values. shapes: its columns, as the intermediate representation has them."""

    @property
    def name(self) -> str:
        """As an author writes it."""

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Of its columns."""

    def coerce(self, value: Any, where: str) -> Any:
        """The value, if a contract may put it there. Raises TypeError with advice."""

    def adapt(self, value: Any, where: str) -> Any:
        """The value that a caller outside of contracts means."""

    def encode(self, value: Any) -> bytes:
        """`width_bytes` bytes of a coerced value."""

    def decode(self, data: bytes) -> Any:
        """The value of these bytes. Raises ValueError for what stands for none."""

    def fresh(self, value: Any) -> Any:
        """A value that shares nothing that can be written."""


def width_bytes(layout: Layout) -> int:
    """Bytes of one value."""
    return sum(shape.width_bytes for shape in layout.shapes)


def name_of(value: object) -> str:
    """The type of a value in the words of an error."""
    kind = type(value)
    return "a bare int" if kind is int else getattr(getattr(kind, "__layout__", None), "name", kind.__name__)


def wrong_type(where: str, wanted: str, value: object) -> TypeError:
    """Another type than the one declared."""
    return TypeError(f"{where} is {wanted}, not {name_of(value)}: write {wanted}(…)")


@dataclass(frozen=True)
class ScalarLayout:
    """A scalar. python: the class of its values."""

    kind: Type
    python: type[Any]

    @property
    def name(self) -> str:
        """As an author writes it."""
        return str(self.kind)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """One column."""
        return (Shape(self.kind),)

    def coerce(self, value: Any, where: str) -> Any:
        """Bare ints take the type."""
        if type(value) is self.python:
            return value
        if self.kind.is_integer and type(value) is int:
            return self.python(value)
        if self.kind == BOOL:
            raise TypeError(f"{where} is bool, not {name_of(value)}: write a comparison, True or False")
        raise wrong_type(where, self.name, value)

    def adapt(self, value: Any, where: str) -> Any:
        """So do plain bytes, and what has an address."""
        if self.kind.is_bytes and type(value) is bytes:
            return self.python(value)
        if self.kind.is_bytes and type(value) is not self.python:
            value = getattr(value, "address", value)
        return self.coerce(value, where)

    def encode(self, value: Any) -> bytes:
        """Fixed width, little-endian."""
        return encode_value(self.kind, value)

    def decode(self, data: bytes) -> Any:
        """The typed value."""
        value = decode_value(self.kind, data)
        return value if self.kind == BOOL else self.python(value)

    def fresh(self, value: Any) -> Any:
        """Scalars never change."""
        return value


BOOL_LAYOUT = ScalarLayout(BOOL, bool)


@dataclass(frozen=True)
class TupleLayout:
    """Several values in order: composite keys, parameters, several results."""

    parts: tuple[Layout, ...]

    @property
    def name(self) -> str:
        """As an author writes it."""
        return f"tuple[{', '.join(part.name for part in self.parts)}]"

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Of all parts."""
        return tuple(shape for part in self.parts for shape in part.shapes)

    def _each(self, value: Any, where: str) -> Iterable[tuple[Layout, Any]]:
        if not isinstance(value, tuple) or len(value) != len(self.parts):
            raise TypeError(f"{where} is {self.name}: write {len(self.parts)} values")
        return zip(self.parts, value, strict=True)

    def coerce(self, value: Any, where: str) -> Any:
        """Each in its place."""
        return tuple(part.coerce(each, where) for part, each in self._each(value, where))

    def adapt(self, value: Any, where: str) -> Any:
        """Each in its place."""
        return tuple(part.adapt(each, where) for part, each in self._each(value, where))

    def encode(self, value: Any) -> bytes:
        """One after the other."""
        return b"".join(part.encode(each) for part, each in zip(self.parts, value, strict=True))

    def decode(self, data: bytes) -> Any:
        """One after the other, with nothing left over."""
        values, at = [], 0
        for part in self.parts:
            width = width_bytes(part)
            values.append(part.decode(data[at : at + width]))
            at += width
        if at != len(data):
            raise ValueError(f"{len(data)} bytes where {self.name} has {at}")
        return tuple(values)

    def fresh(self, value: Any) -> Any:
        """Each of them."""
        return tuple(part.fresh(each) for part, each in zip(self.parts, value, strict=True))


def layout_of(annotation: Any, where: str) -> Layout:
    """The layout of what an author wrote. Raises TypeError with advice."""
    if annotation is bool:
        return BOOL_LAYOUT
    layout = getattr(annotation, "__layout__", None)
    if layout is not None:
        return layout  # type: ignore[no-any-return]
    if isinstance(annotation, types.GenericAlias) and get_origin(annotation) is tuple:
        return TupleLayout(tuple(layout_of(each, where) for each in get_args(annotation)))
    advice = "u64 or another integer type" if annotation is int else "one of the types of raychain"
    name = getattr(annotation, "__name__", repr(annotation))
    raise TypeError(f"{where}: {name} is no type of a contract: write {advice}")
