"""Types of values, and the bytes of a value: fixed widths, little-endian, one form each.

A value is an int, a bool or bytes; a value of an array register is a tuple of them. No other Python type
stands for a value in the IR, the interpreter or the state.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

Value = int | bool | bytes
Slot = Value | tuple[Value, ...]
"""What a register holds."""


class TypeCode(IntEnum):
    """Kinds of scalars. BYTES alone has a size of its own."""

    BOOL = 1
    U8 = 2
    U16 = 3
    U32 = 4
    U64 = 5
    U128 = 6
    I64 = 7
    ADDRESS = 8
    HASH = 9
    BYTES = 10


WIDTH_BYTES = {
    TypeCode.BOOL: 1,
    TypeCode.U8: 1,
    TypeCode.U16: 2,
    TypeCode.U32: 4,
    TypeCode.U64: 8,
    TypeCode.U128: 16,
    TypeCode.I64: 8,
    TypeCode.ADDRESS: 32,
    TypeCode.HASH: 32,
}
UNSIGNED = (TypeCode.U8, TypeCode.U16, TypeCode.U32, TypeCode.U64, TypeCode.U128)
INTEGERS = (*UNSIGNED, TypeCode.I64)
OF_BYTES = (TypeCode.ADDRESS, TypeCode.HASH, TypeCode.BYTES)


class Type(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A scalar type. size: N of Bytes[N], else 0."""

    code: TypeCode
    size: int = 0

    @property
    def width_bytes(self) -> int:
        """Bytes of one value."""
        return self.size if self.code is TypeCode.BYTES else WIDTH_BYTES[self.code]

    @property
    def is_integer(self) -> bool:
        """True for what can be added."""
        return self.code in INTEGERS

    @property
    def is_bytes(self) -> bool:
        """True for Address, Hash and Bytes[N]."""
        return self.code in OF_BYTES

    @property
    def range(self) -> tuple[int, int]:
        """Least and greatest value of an integer type."""
        bits = 8 * self.width_bytes
        return (
            (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if self.code is TypeCode.I64 else (0, (1 << bits) - 1)
        )

    @property
    def zero(self) -> Value:
        """What is in a register, a cell or a table before anything was written."""
        if self.code is TypeCode.BOOL:
            return False
        return 0 if self.is_integer else bytes(self.width_bytes)

    def __str__(self) -> str:
        """As an author writes it."""
        names = {TypeCode.ADDRESS: "Address", TypeCode.HASH: "Hash", TypeCode.BYTES: f"Bytes[{self.size}]"}
        return names.get(self.code, self.code.name.lower())


BOOL = Type(TypeCode.BOOL)
U8, U16, U32, U64, U128 = (Type(code) for code in UNSIGNED)
I64 = Type(TypeCode.I64)
ADDRESS, HASH = Type(TypeCode.ADDRESS), Type(TypeCode.HASH)


def bytes_type(size: int) -> Type:
    """Bytes[size]."""
    return Type(TypeCode.BYTES, size)


def fits(kind: Type, value: object) -> bool:
    """True if `value` is one of this type, by its Python type and its range."""
    if kind.code is TypeCode.BOOL:
        return isinstance(value, bool)
    if kind.is_integer:
        low, high = kind.range
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    return isinstance(value, bytes) and len(value) == kind.width_bytes


def encode_value(kind: Type, value: Value) -> bytes:
    """`kind.width_bytes` bytes of a value that fits."""
    if isinstance(value, bytes):
        return value
    return int(value).to_bytes(kind.width_bytes, "little", signed=kind.code is TypeCode.I64)


def decode_value(kind: Type, data: bytes) -> Value:
    """The value of exactly `kind.width_bytes` bytes. Raises ValueError for a bool that is neither 0 nor 1."""
    if kind.is_bytes:
        return bytes(data)
    number = int.from_bytes(data, "little", signed=kind.code is TypeCode.I64)
    if kind.code is not TypeCode.BOOL:
        return number
    if number > 1:
        raise ValueError(f"a bool is {number}: 0 or 1")
    return bool(number)
