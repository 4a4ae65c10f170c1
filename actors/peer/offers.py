"""Transactions as gossip carries them, and what becomes of an offer once the mempool has judged its rows.

An offer is a header and a batch as `ledger.rows` encodes it: version (u8), standing (u8), 6 zero bytes, the
sender's clock (u64, milliseconds). The standing is the kind of source that the rows came from at the node
that took them in; a member's word for it counts, anybody else's rows are anonymous. The clock makes rows that
are offered once more a new item, which nodes that have seen the first one look at again.

Rules
1. An offer whose rows all were new here, or known here to the bit, travels on as it is.
2. Of any other offer only the rows that were new here travel on, as an offer of their own that does not go
   back to who sent them. So nothing is passed on that this node has not verified, and
3. a row that no honest node passes on (forged, malformed, of another chain) condemns who sent it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from actors.ledger.rows import BATCH_HEADER_BYTES, ROW_BYTES, Batch, FormatError, decode_batch, encode_batch
from actors.ledger.source import KINDS
from actors.ledger.verdict import Verdict as Judgement
from actors.peer.gossip import ItemVerdict

OFFER_ROWS_MAX = 4_096
OFFER_BYTES_MAX = 1 << 20
VERSION = 1
_HEADER = struct.Struct("<BB6xQ")
HEADER_BYTES = _HEADER.size
_ROOM_BYTES = OFFER_BYTES_MAX - HEADER_BYTES - BATCH_HEADER_BYTES
_CONDEMNED = np.array(
    [
        Judgement.WRONG_CHAIN,
        Judgement.AMOUNT_OVERFLOW,
        Judgement.NONCE_LIMIT,
        Judgement.BAD_PAYLOAD,
        Judgement.BAD_SIGNATURE,
        Judgement.RESERVED_KEY,
        Judgement.WRONG_ADDRESS,
        Judgement.NOT_APPROVED,
    ],
    dtype=np.uint8,
)


class UnknownVersionError(FormatError):
    """The offer is of a later version: not this node's to judge."""


def encode_offers(batch: Batch, kinds: NDArray[np.uint8], time_ms: int) -> Iterator[bytes]:
    """Offers of a batch, none longer than the bounds. kinds: (n,) indices into KINDS of the rows."""
    for kind in np.unique(kinds):
        mine = kinds == kind
        for part in _pieces(batch if mine.all() else batch.take(mine)):
            yield _HEADER.pack(VERSION, int(kind), time_ms) + encode_batch(part)


def _pieces(batch: Batch) -> Iterator[Batch]:
    ends = np.arange(1, len(batch) + 1) * ROW_BYTES + batch.payload_offsets[1:]
    start, start_bytes = 0, 0
    while start < len(batch):
        stop = int(np.searchsorted(ends, start_bytes + _ROOM_BYTES, side="right"))
        stop = min(stop, start + OFFER_ROWS_MAX)
        if start == 0 and stop == len(batch):
            yield batch
        else:
            yield batch.take(np.arange(start, stop))
        start, start_bytes = stop, int(ends[stop - 1])


def decode_offer(body: bytes) -> tuple[str, Batch]:
    """(standing, rows). Raises FormatError naming the field, UnknownVersionError for a later version."""
    if len(body) < HEADER_BYTES:
        raise FormatError("offer.header", f"{len(body)} bytes", f"at least {HEADER_BYTES}")
    version, standing, _ = _HEADER.unpack_from(body)
    if version != VERSION:
        raise UnknownVersionError("offer.version", version, VERSION)
    if standing >= len(KINDS):
        raise FormatError("offer.standing", standing, f"below {len(KINDS)}")
    batch = decode_batch(memoryview(body)[HEADER_BYTES:], OFFER_ROWS_MAX, OFFER_BYTES_MAX)
    if not len(batch):
        raise FormatError("offer.rows", 0, "at least 1")
    return KINDS[standing], batch


def outcome(verdicts: NDArray[np.uint8]) -> tuple[ItemVerdict, NDArray[np.bool_]]:
    """(what gossip does with the whole offer, (n,) which rows then travel on by themselves)."""
    new = verdicts == Judgement.OK
    nothing = np.zeros(len(verdicts), dtype=np.bool_)
    if np.isin(verdicts, _CONDEMNED).any():
        return ItemVerdict.REJECT, new
    if new.any() and (new | (verdicts == Judgement.DUPLICATE)).all():
        return ItemVerdict.ACCEPT, nothing
    return ItemVerdict.IGNORE, new
