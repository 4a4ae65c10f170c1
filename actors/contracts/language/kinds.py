"""What authors' values are: scalars, arrays, structs, several results. The IR knows the first two alone."""

from __future__ import annotations

from dataclasses import dataclass

from actors.contracts.ir import FunctionKind, Named, Shape
from actors.contracts.types import Type


@dataclass(frozen=True, slots=True)
class ArrayOf:
    """Array[element, count]."""

    element: Type
    count: int

    def __str__(self) -> str:
        """As an author writes it."""
        return f"Array[{self.element}, {self.count}]"


@dataclass(frozen=True, slots=True)
class StructOf:
    """A struct or an event, with its fields in order."""

    name: str
    fields: tuple[tuple[str, Kind], ...]

    def __str__(self) -> str:
        """As an author writes it."""
        return self.name


@dataclass(frozen=True, slots=True)
class TupleOf:
    """Several results of one function."""

    items: tuple[Kind, ...]

    def __str__(self) -> str:
        """As an author writes it."""
        return f"tuple[{', '.join(str(item) for item in self.items)}]"


Kind = Type | ArrayOf | StructOf
Result = Kind | TupleOf | None


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as the author wrote it. max: of UpTo."""

    name: str
    kind: Kind
    max: int | None = None

    def __str__(self) -> str:
        """As an author writes it."""
        kind = str(self.kind) if self.max is None else f"UpTo[{self.kind}, {self.max}]"
        return f"{self.name}: {kind}"


@dataclass(frozen=True, slots=True)
class Signature:
    """What a caller must know of a function."""

    name: str
    kind: FunctionKind
    accepts_coins: bool
    parameters: tuple[Parameter, ...]
    result: Result
    line: int


def flatten(kind: Result, name: str) -> tuple[Named, ...]:
    """The scalars and arrays of a value of this name; a struct's fields are `name.field`, or `field`
    where the struct itself has no name. The results of several are `value0`, `value1` and so on."""
    if kind is None:
        return ()
    if isinstance(kind, Type):
        return (Named(name or "value", Shape(kind)),)
    if isinstance(kind, ArrayOf):
        return (Named(name or "value", Shape(kind.element, kind.count)),)
    if isinstance(kind, TupleOf):
        return tuple(leaf for n, item in enumerate(kind.items) for leaf in flatten(item, f"value{n}"))
    prefix = f"{name}." if name else ""
    return tuple(leaf for field, inner in kind.fields for leaf in flatten(inner, prefix + field))


def shapes(kind: Result) -> tuple[Shape, ...]:
    """Of the scalars and arrays of a value."""
    return tuple(leaf.shape for leaf in flatten(kind, ""))


def field_parts(kind: StructOf, name: str) -> tuple[Kind, int, int] | None:
    """A field's kind, and where its scalars and arrays begin and end among those of the struct."""
    start = 0
    for field, inner in kind.fields:
        end = start + len(shapes(inner))
        if field == name:
            return inner, start, end
        start = end
    return None
