"""Calls that have a near way, as frames: what each takes and answers, written once.

Rules
1. A request has a number, and its answer the same; answers come in any order.
2. Columns of transactions are bytes in a frame; `rows_of` makes rows of them again.
3. What an actor raises is raised at its caller: FormatError as itself, anything else as NearCallError.
The frames are private to the actors of one node, which are of one version.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.ledger.delta import Delta
from actors.ledger.pending import DrawSummary
from actors.ledger.rows import ROW_BYTES, ROW_DTYPE, FormatError
from actors.local_socket import decoder

Bytes: TypeAlias = NDArray[np.uint8]


class NearError(ConnectionError):
    """A call over a line has no answer: it may have been carried out or not, as with an actor that died."""


class NearCallError(NearError):
    """The actor failed in a way that it has no error for."""


class AdmitCall(msgspec.Struct, frozen=True, array_like=True, tag=True, eq=False):
    """As `MempoolShard.admit`. origins: empty for none."""

    rows: Bytes
    payloads: Bytes
    durable: bool
    sources: tuple[str, ...]
    origins: NDArray[np.uint16]
    relayed: bool


class DrawCall(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """As `MempoolShard.draw_at_hand`."""

    rows_max: int
    payload_bytes_max: int
    height: int
    wait_s: float


class CommittedCall(msgspec.Struct, frozen=True, array_like=True, tag=True, eq=False):
    """Deltas of final blocks, as `committed` and `settle` take them."""

    deltas: tuple[Delta, ...]


class NearRequest(msgspec.Struct, frozen=True, array_like=True, eq=False):
    """A call."""

    number: int
    call: AdmitCall | DrawCall | CommittedCall


class Verdicts(msgspec.Struct, frozen=True, array_like=True, tag=True, eq=False):
    """(n,) uint8."""

    verdicts: Bytes


class AtHand(msgspec.Struct, frozen=True, array_like=True, tag=True, eq=False):
    """A draw with its columns. pending: rows that the shard holds, more than were asked for if nothing is
    drawn because of that."""

    summary: DrawSummary
    rows: Bytes
    payloads: Bytes
    pending: int


class NearFailure(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A call raised. format_error: what FormatError is made from, else empty."""

    what: str
    format_error: tuple[str, ...] = ()


class NearAnswer(msgspec.Struct, frozen=True, array_like=True, eq=False):
    """told: None where the call answers nothing."""

    number: int
    told: Verdicts | AtHand | NearFailure | None


decode_request = decoder(NearRequest)
decode_answer = decoder(NearAnswer)


def rows_of(column: Bytes) -> NDArray[Any]:
    """(n,) rows of the bytes of some. Raises FormatError for other lengths."""
    if column.nbytes % ROW_BYTES:
        raise FormatError("rows", f"{column.nbytes} bytes", f"a multiple of {ROW_BYTES}")
    return column.view(ROW_DTYPE)


def failed(error: Exception) -> NearFailure:
    """What to answer for an error."""
    if type(error) is FormatError:
        return NearFailure("FormatError", tuple(map(str, error.__reduce__()[1])))
    return NearFailure(f"{type(error).__name__}: {error}")


def error_of(answer: NearFailure) -> Exception:
    """Inverse of `failed`."""
    return FormatError(*answer.format_error) if answer.format_error else NearCallError(answer.what)
