"""Entries that a call is likely to look for, told before it runs: so keys are hashed side by side, and what
they lead to is on its way from memory when the call wants it.

For each public function there is `void hints(ptr row, ptr arguments, ptr out)`. It writes the messages whose
hashes are the keys of the rows that `touches_of` knows, one record HINT each, as many as `hints_count` says.
A hint is used only for the very message that it was made of: whatever is told here, no result depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from actors.contracts.native.code import Code, FieldRecord, constant
from actors.contracts.native.hashing import blocks_of
from actors.contracts.native.layout import HINT, HINT_MESSAGE_BYTES, KEY_BYTES
from actors.contracts.native.rows import pad
from actors.contracts.touches import FunctionTouches, Piece, PieceSource, RowTouch
from actors.kernels.emitter import I8, I64, POINTER, VOID, Value
from actors.kernels.sha256 import BLOCK_BYTES

HINTS_MAX = 8
"""Of one function."""


class RowPlaces(NamedTuple):
    """Where in a row of a block its parts are."""

    sender: int
    recipient: int
    amount: int


def hints_symbol(function: int) -> str:
    """Of a function's code."""
    return f"hints_{function}"


def hinted(touches: FunctionTouches) -> list[tuple[RowTouch, int]]:
    """Rows, each with a number of a chunk."""
    found = [
        (row, chunk)
        for row in touches.rows
        for chunk in range(row.chunks)
        if blocks_of(_message_bytes(row)) * BLOCK_BYTES <= HINT_MESSAGE_BYTES
    ]
    return found[:HINTS_MAX]


def _message_bytes(row: RowTouch) -> int:
    return KEY_BYTES + 2 + sum(piece.width for piece in row.row)


def emit_hints(code: Code, touches: FunctionTouches, places: RowPlaces) -> None:
    """The function of `hints_symbol`."""
    row, arguments, out = code.function(
        hints_symbol(touches.function), VOID, [POINTER, POINTER, POINTER], internal=False
    )
    for number, (touched, chunk) in enumerate(hinted(touches)):
        at = code.offset(out, number * 8 * len(HINT))
        code.copy(at, code.offset(row, places.recipient), KEY_BYTES)
        for offset, value in enumerate((touched.table, chunk)):
            code.store(constant(I8, value), code.offset(at, KEY_BYTES + offset))
        _write_pieces(code, touched.row, row, arguments, code.offset(at, KEY_BYTES + 2), places)
        width = _message_bytes(touched)
        pad(code, at, width)
        FieldRecord(code, at, HINT).set("blocks", constant(I64, blocks_of(width)))
    code.end()


def _write_pieces(
    code: Code, pieces: Sequence[Piece], row: Value, arguments: Value, target: Value, places: RowPlaces
) -> None:
    begins = {
        PieceSource.ARGUMENTS: arguments,
        PieceSource.SENDER: code.offset(row, places.sender),
        PieceSource.RECIPIENT: code.offset(row, places.recipient),
        PieceSource.AMOUNT: code.offset(row, places.amount),
    }
    at = 0
    for piece in pieces:
        place = code.offset(target, at)
        if piece.source is PieceSource.CONSTANT:
            for number, byte in enumerate(piece.data):
                code.store(constant(I8, byte), code.offset(place, number))
        else:
            code.copy(place, code.offset(begins[piece.source], piece.offset), piece.width)
        at += piece.width
