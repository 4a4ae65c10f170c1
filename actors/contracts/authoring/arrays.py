"""Array[T, N] in ordinary Python: N scalars, zero at first, that nobody else writes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, ClassVar

from actors.contracts.authoring.integers import Integer
from actors.contracts.authoring.layouts import ScalarLayout, layout_of, name_of, wrong_type
from actors.contracts.failures import CallFailedError, Failure
from actors.contracts.ir import Shape
from actors.contracts.limits import ARRAY_MAX


class ArrayLayout:
    """Elements one after the other."""

    def __init__(self, element: ScalarLayout, count: int, python: type[Array]) -> None:
        self.element, self.count, self.python = element, count, python

    @property
    def name(self) -> str:
        """As an author writes it."""
        return f"Array[{self.element.name}, {self.count}]"

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """One column of several values."""
        return (Shape(self.element.kind, self.count),)

    def coerce(self, value: Any, where: str) -> Any:
        """A copy, so that nobody shares what can be written."""
        if type(value) is not self.python:
            raise wrong_type(where, self.name, value)
        return value.copy()

    def adapt(self, value: Any, where: str) -> Any:
        """Lists and tuples of N may stand for arrays."""
        if not isinstance(value, list | tuple):
            return self.coerce(value, where)
        if len(value) != self.count:
            raise TypeError(f"{where} is {self.name}: write {self.count} values, not {len(value)}")
        return self.python._of([self.element.adapt(each, where) for each in value])

    def encode(self, value: Any) -> bytes:
        """Elements in order."""
        return b"".join(self.element.encode(each) for each in value)

    def decode(self, data: bytes) -> Any:
        """Elements in order."""
        width = self.element.kind.width_bytes
        starts = range(0, len(data), width)
        return self.python._of([self.element.decode(data[at : at + width]) for at in starts])

    def fresh(self, value: Any) -> Any:
        """A copy."""
        return value.copy()


class Array:
    """N elements of T."""

    __layout__: ClassVar[ArrayLayout]

    def __class_getitem__(cls, parts: Any) -> type[Array]:
        """The type of N elements of T."""
        if not isinstance(parts, tuple) or len(parts) != 2:
            raise TypeError("Array has an element type and a size: write Array[u64, 8]")
        element, count = layout_of(parts[0], "Array"), parts[1]
        if not isinstance(element, ScalarLayout):
            raise TypeError(f"elements of an Array are scalars, not {element.name}")
        if not isinstance(count, int) or not 1 <= count <= ARRAY_MAX:
            raise TypeError(f"Array[T, N] has an N from 1 to {ARRAY_MAX}, not {count!r}")
        return _sized(element, int(count))

    def __init__(self) -> None:
        if not hasattr(self, "__layout__"):
            raise TypeError("Array has an element type and a size: write Array[u64, 8]()")
        zero = self.__layout__.element.decode(bytes(self.__layout__.element.kind.width_bytes))
        self._items: list[Any] = [zero] * self.__layout__.count

    @classmethod
    def _of(cls, items: list[Any]) -> Array:
        made = object.__new__(cls)
        made._items = items
        return made

    def copy(self) -> Array:
        """Another with the same elements."""
        return self._of(list(self._items))

    def __len__(self) -> int:
        """N."""
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        """The elements as they are now."""
        return iter(tuple(self._items))

    def _place(self, index: object) -> int:
        unsigned = isinstance(index, Integer) and index.low == 0
        if not unsigned and (type(index) is not int or index < 0):
            raise TypeError(f"an index is unsigned, not {name_of(index)}: write u64(…)")
        place = int(index)  # type: ignore[call-overload]
        if place >= len(self._items):
            raise CallFailedError(Failure.INDEX_OUT_OF_RANGE)
        return place  # type: ignore[no-any-return]

    def __getitem__(self, index: object) -> Any:
        """The element there."""
        return self._items[self._place(index)]

    def __setitem__(self, index: object, value: object) -> None:
        """Write the element there."""
        coerced = self.__layout__.element.coerce(value, f"an element of {self.__layout__.name}")
        self._items[self._place(index)] = coerced

    def __eq__(self, other: object) -> bool:
        """For tests: element by element, with lists and tuples too."""
        return isinstance(other, Array | list | tuple) and self._items == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Type and elements."""
        return f"{self.__layout__.name}({', '.join(map(str, self._items))})"


@cache
def _sized(element: ScalarLayout, count: int) -> type[Array]:
    class Sized(Array):
        """Of one size."""

    Sized.__layout__ = ArrayLayout(element, count, Sized)
    Sized.__name__ = Sized.__qualname__ = Sized.__layout__.name
    return Sized
