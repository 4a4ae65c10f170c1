"""What the caller hands to a kernel: a record of 64-bit fields, and how the code reads the rows it names."""

from __future__ import annotations

from .algebra import Lanes
from .emitter import I64, Emitter, Value

FIELDS = (
    "keys",
    "key_step",
    "signatures",
    "signature_step",
    "messages",
    "message_step",
    "order",
    "rows",
    "template",
    "blocks",
    "tables",
    "scratch",
    "out",
)
"""Addresses of the columns and bytes between rows; the numbers of the rows to work on, and how many there
are, at least one; the template of SHA-512 and its blocks; the address of a key's tables for each row to
work on; scratch memory of SCRATCH_BYTES; and where verdicts go: of eight lanes one bit a row, in two bytes
for each sixteen rows begun, and of one lane a byte a row, an even number of them. A kernel reads the fields
that it needs, and the others may be zero."""


def field(emitter: Emitter, name: str) -> Value:
    """The field as an integer."""
    return emitter.load(I64, emitter.offset(emitter["call"], 8 * FIELDS.index(name)), 8)


def pointer(emitter: Emitter, name: str) -> Value:
    """The field as an address."""
    return emitter.pointer(field(emitter, name))


def lane_entries(emitter: Emitter, name: str, first: Value) -> list[Value]:
    """An entry a lane of an array of one entry a row, from ``first``; past the end, the last one again."""
    array, rows = pointer(emitter, name), field(emitter, "rows")
    positions = [emitter.row_or_last(emitter.add(first, lane), rows) for lane in range(emitter.lanes)]
    return [emitter.load(I64, emitter.scaled(array, position, 8), 8) for position in positions]


def column_pointers(emitter: Emitter, name: str, numbers: list[Value]) -> list[Value]:
    """The addresses of those rows in the column of keys, signatures or messages."""
    base, step = pointer(emitter, f"{name}s"), field(emitter, f"{name}_step")
    return [emitter.scaled(base, number, step) for number in numbers]


def load_keys(lanes: Lanes, numbers: list[Value]) -> list[Value]:
    """The four words of the keys of those rows."""
    return lanes.gather_keys(column_pointers(lanes.emitter, "key", numbers))
