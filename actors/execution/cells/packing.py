"""A dataclass of columns as one buffer, and back in place.

Rules
1. A buffer is the length of a header (u32), the header, and the columns, each from a multiple of ALIGN_BYTES
   on, in the order of their declaration. The header is MessagePack: the length of each column, then all that
   is no column.
2. Columns are not copied: `pack` gives them where they lie, `unpack` gives views of the buffer.
3. `unpack` trusts nothing. Types, lengths and bounds are checked before anything is made of them, and a
   buffer is exactly as long as its header says.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, fields
from types import GenericAlias
from typing import Any, NamedTuple, TypeVar, get_type_hints

import msgspec
import numpy as np
from numpy.typing import DTypeLike, NDArray

from actors.contracts.limits import ENTRY_BYTES_MAX
from actors.execution.job import KEY_BYTES, Job, JobOutcome, StateSlice
from actors.ledger.accounts import RECEIPT_WORDS
from actors.ledger.output_columns import OutputColumns
from actors.ledger.rows import ROW_DTYPE, Batch, FormatError, in_place

ALIGN_BYTES = 64
HEADER_BYTES_MAX = 4 << 20
"""Of an answer: texts, and what else is no column."""
_LENGTH = struct.Struct("<I")
T = TypeVar("T")


class PackedColumn(NamedTuple):
    """width: of the second dimension, 0 for a column of one."""

    dtype: np.dtype[Any]
    width: int = 0

    @property
    def row_bytes(self) -> int:
        """Of one row."""
        return int(self.dtype.itemsize) * (self.width or 1)


_formats: dict[type, dict[str, PackedColumn]] = {}


def columns_of(kind: type, **columns: tuple[DTypeLike, int] | DTypeLike) -> None:
    """Say which fields of a dataclass are columns: of that type, or of that type and width."""
    _formats[kind] = {
        name: PackedColumn(np.dtype(said[0]), said[1])
        if isinstance(said, tuple)
        else PackedColumn(np.dtype(said))
        for name, said in columns.items()
    }


columns_of(Batch, rows=ROW_DTYPE, payloads="u1")
columns_of(
    StateSlice,
    entry_keys=("u1", KEY_BYTES),
    entry_values=("u1", ENTRY_BYTES_MAX),
    entry_widths="u1",
    account_keys=("u1", KEY_BYTES),
    nonces="<u8",
    balances="<u8",
)
columns_of(
    OutputColumns,
    places="<u4",
    gas="<u8",
    results="u1",
    result_ends="<i8",
    events="u1",
    event_ends="<i8",
    messages="<u2",
)
columns_of(Job)
columns_of(JobOutcome, verdicts="u1", receipts=("<u8", RECEIPT_WORDS), missing=("u1", KEY_BYTES))


@dataclass(frozen=True, slots=True)
class Packed:
    """A buffer in pieces, the long ones in place."""

    parts: tuple[bytes | memoryview, ...]
    nbytes: int

    def write_to(self, room: memoryview) -> None:
        """Put it at the beginning of writable bytes. Raises FormatError if it is longer."""
        if self.nbytes > len(room):
            raise FormatError("packed", f"{self.nbytes} bytes", f"at most {len(room)}")
        at = 0
        for part in self.parts:
            room[at : at + len(part)] = part
            at += len(part)


class _Layout(NamedTuple):
    """How a dataclass is packed: its columns, its parts that have columns, and the rest with its type."""

    kind: type
    columns: dict[str, PackedColumn]
    parts: dict[str, _Layout]
    plain: tuple[str, ...]
    plain_type: Any

    def all_columns(self) -> Iterator[tuple[str, PackedColumn]]:
        """In the order of packing."""
        for name, column in self.columns.items():
            yield f"{self.kind.__name__}.{name}", column
        for part in self.parts.values():
            yield from part.all_columns()


_layouts: dict[type, _Layout] = {}


def _layout(kind: type) -> _Layout:
    if kind not in _layouts:
        _layouts[kind] = _laid_out(kind)
    return _layouts[kind]


def _laid_out(kind: type) -> _Layout:
    hints, columns = get_type_hints(kind), _formats[kind]
    names = [field.name for field in fields(kind) if field.name not in columns]
    parts = {name: _layout(hints[name]) for name in names if hints[name] in _formats}
    plain = tuple(name for name in names if name not in parts)
    types = (*(hints[name] for name in plain), *(part.plain_type for part in parts.values()))
    return _Layout(kind, columns, parts, plain, GenericAlias(tuple, types))


def _decode_header(layout: _Layout, header: memoryview) -> tuple[tuple[int, ...], tuple[Any, ...]]:
    counts = GenericAlias(tuple, (int,) * sum(1 for _ in layout.all_columns()))
    kind: Any = GenericAlias(tuple, (counts, layout.plain_type))
    decoded: tuple[tuple[int, ...], tuple[Any, ...]] = msgspec.msgpack.decode(header, type=kind)
    return decoded


def pack(value: Any) -> Packed:
    """The buffer of a dataclass that `columns_of` knows. Raises FormatError for a column of another type."""
    layout = _layout(type(value))
    found: list[NDArray[Any]] = []
    plain = _flatten(layout, value, found)
    header = msgspec.msgpack.encode((tuple(map(len, found)), plain))
    parts: list[bytes | memoryview] = [_LENGTH.pack(len(header)), header]
    at = _LENGTH.size + len(header)
    for column in found:
        start = _aligned(at)
        parts += [bytes(start - at), in_place(column)]
        at = start + column.nbytes
    return Packed(tuple(parts), at)


def packed(value: Any) -> NDArray[np.uint8]:
    """One buffer of it, copied. Raises as `pack` does."""
    pieces = pack(value)
    buffer = np.empty(pieces.nbytes, dtype=np.uint8)
    pieces.write_to(buffer.data)
    return buffer


def unpack(kind: type[T], data: memoryview, header_bytes_max: int = HEADER_BYTES_MAX) -> T:
    """What was packed, its columns views of these bytes. Raises FormatError naming what does not hold."""
    if len(data) < _LENGTH.size:
        raise FormatError("packed", f"{len(data)} bytes", f"at least {_LENGTH.size}")
    (header_bytes,) = _LENGTH.unpack_from(data)
    at = _LENGTH.size + header_bytes
    if header_bytes > header_bytes_max or at > len(data):
        raise FormatError(
            "packed.header", f"{header_bytes} bytes of {len(data)}", f"{header_bytes_max} at most"
        )
    try:
        counts, plain = _decode_header(_layout(kind), data[_LENGTH.size : at])
    except (msgspec.MsgspecError, ValueError) as error:
        raise FormatError("packed.header", str(error), kind.__name__) from error
    found: list[NDArray[Any]] = []
    for (name, column), count in zip(_layout(kind).all_columns(), counts, strict=True):
        start = _aligned(at)
        at = start + count * column.row_bytes
        if count < 0 or at > len(data):
            raise FormatError(name, f"{count} rows", f"what {len(data)} bytes have room for")
        found.append(_view(data, column, count, start))
    if at != len(data):
        raise FormatError("packed", f"{len(data)} bytes", f"{at} as its header says")
    value: T = _build(_layout(kind), plain, iter(found))
    return value


def _aligned(at: int) -> int:
    return math.ceil(at / ALIGN_BYTES) * ALIGN_BYTES


def _view(data: memoryview, column: PackedColumn, count: int, start: int) -> NDArray[Any]:
    shape = (count, column.width) if column.width else (count,)
    if not count:
        return np.empty(shape, dtype=column.dtype)
    flat = np.frombuffer(data, dtype=column.dtype, count=count * (column.width or 1), offset=start)
    return flat.reshape(shape)


def _flatten(layout: _Layout, value: Any, found: list[NDArray[Any]]) -> tuple[Any, ...]:
    """What is no column; the columns are added to those found."""
    for name, column in layout.columns.items():
        array = getattr(value, name)
        shape = (len(array), column.width) if column.width else (len(array),)
        if array.dtype != column.dtype or array.shape != shape:
            raise FormatError(
                f"{layout.kind.__name__}.{name}",
                f"{array.dtype} {array.shape}",
                f"{column.dtype} {shape}",
            )
        found.append(array)
    plain = [getattr(value, name) for name in layout.plain]
    return (*plain, *(_flatten(part, getattr(value, name), found) for name, part in layout.parts.items()))


def _build(layout: _Layout, plain: tuple[Any, ...], found: Iterator[NDArray[Any]]) -> Any:
    values: dict[str, Any] = dict(zip(layout.plain, plain, strict=False))
    values |= {name: next(found) for name in layout.columns}
    for (name, part), held in zip(layout.parts.items(), plain[len(layout.plain) :], strict=True):
        values[name] = _build(part, held, found)
    return layout.kind(**values)
