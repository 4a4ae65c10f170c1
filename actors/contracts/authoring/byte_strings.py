"""Address, Hash and Bytes[N] in ordinary Python: bytes of a fixed width, ordered as big-endian numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, Self

from actors.contracts.authoring.layouts import ScalarLayout, name_of
from actors.contracts.limits import BYTES_MAX
from actors.contracts.types import ADDRESS, HASH, Type, bytes_type


def _comparison(symbol: str, compare: Callable[[bytes, bytes], bool]) -> Any:
    equality = symbol in ("==", "!=")

    def compared(self: FixedBytes, other: object) -> Any:
        if type(other) is type(self) or (equality and type(other) is bytes):
            return compare(bytes(self), bytes(other))
        if isinstance(other, bytes):
            mine = self.__layout__.name
            raise TypeError(
                f"{mine} {symbol} {name_of(other)}: both have one type; write {mine}(…) around it"
            )
        return NotImplemented

    return compared


class FixedBytes(bytes):
    """What the three share."""

    __layout__: ClassVar[ScalarLayout]

    def __init_subclass__(cls, kind: Type) -> None:
        """A type of its own, with its width."""
        cls.__layout__ = ScalarLayout(kind, cls)

    def __new__(cls, value: bytes | str) -> Self:
        """Of another type of bytes of this width, a literal of bytes, or hexadecimal digits."""
        name, width = cls.__layout__.name, cls.__layout__.kind.width_bytes
        if not isinstance(value, bytes | str):
            raise TypeError(f"{name}(…) takes {width} bytes or {2 * width} hexadecimal digits")
        data = bytes.fromhex(value) if isinstance(value, str) else value
        if len(data) == width and (not isinstance(value, str) or len(value) == 2 * width):
            return bytes.__new__(cls, data)
        kind = TypeError if isinstance(value, FixedBytes) else ValueError
        raise kind(f"{name}(…) takes {width} bytes, not {len(data)}")

    def __repr__(self) -> str:
        """As an author writes it."""
        return f"{self.__layout__.name}('{self.hex()}')"

    __str__ = __repr__
    __hash__ = bytes.__hash__
    __eq__ = _comparison("==", operator.eq)
    __ne__ = _comparison("!=", operator.ne)
    __lt__ = _comparison("<", operator.lt)
    __le__ = _comparison("<=", operator.le)
    __gt__ = _comparison(">", operator.gt)
    __ge__ = _comparison(">=", operator.ge)


class Address(FixedBytes, kind=ADDRESS):
    """An account or a contract."""


class Hash(FixedBytes, kind=HASH):
    """What sha256 gives."""


@cache
def _sized(size: int) -> type[FixedBytes]:
    class Sized(FixedBytes, kind=bytes_type(size)):
        """Bytes of one width."""

    Sized.__name__ = Sized.__qualname__ = f"Bytes[{size}]"
    return Sized


class Bytes:
    """Bytes[N], 1 <= N <= BYTES_MAX."""

    def __class_getitem__(cls, size: int) -> type[FixedBytes]:
        """The type of N bytes."""
        if not isinstance(size, int) or not 1 <= size <= BYTES_MAX:
            raise TypeError(f"Bytes[N] has an N from 1 to {BYTES_MAX}, not {size!r}")
        return _sized(int(size))

    def __new__(cls, *_: object) -> Self:
        """There are none without a width."""
        raise TypeError("Bytes has a width: write Bytes[32](…)")
