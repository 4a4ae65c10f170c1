"""Receipts of a block that was executed, as columns: their bytes and their root, without an object a call.

`receipts.Receipts` is the same for readers, of single outputs, and the definition: property tests hold the
two against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.ledger import merkle
from actors.ledger.hashing import DIGEST_BYTES, Hasher, sha256
from actors.ledger.output_columns import EVENT_HEAD_BYTES, OutputColumns, output_columns
from actors.ledger.output_kernels import (
    CALL_BYTES_MAX,
    EVENT_MORE_BYTES_MAX,
    encode_calls,
    find_events,
)
from actors.ledger.receipts import RECEIPT_BYTES, Output
from actors.ledger.rows import LEAF_PREFIX

_REPORT_BYTES = 8 + 2 * DIGEST_BYTES
_NOTHING = sha256(b"")


@dataclass(frozen=True, slots=True, eq=False)
class ReceiptColumns:
    """rows: (n, RECEIPT_BYTES) uint8. outputs: of some of the rows, in their order."""

    rows: NDArray[np.uint8]
    outputs: OutputColumns

    def encode(self) -> tuple[memoryview, bytes]:
        """As `Receipts.encode`."""
        return self.rows.reshape(-1).data, encode_outputs(self.outputs) if len(self.outputs.places) else b""

    def root(self, hash_rows: Hasher) -> bytes:
        """As `Receipts.root`."""
        leaves = hash_rows(self.rows, LEAF_PREFIX)
        places = self.outputs.places
        if len(places):
            leaves = np.array(leaves)
            long = np.concatenate([self.rows[places], reports(self.outputs, hash_rows)], axis=1)
            leaves[places] = hash_rows(long, LEAF_PREFIX)
        return merkle.root(leaves, hash_rows)


def encode_outputs(outputs: OutputColumns) -> bytes:
    """MessagePack of a tuple of `Output`s."""
    heads = [msgspec.msgpack.encode(text) for text in outputs.texts] or [b"\xa0"]
    texts = np.frombuffer(b"".join(heads), dtype=np.uint8)
    text_ends = np.cumsum([len(head) for head in heads], dtype=np.int64)
    widths = np.diff(text_ends, prepend=0)
    calls, events = len(outputs.places), len(outputs.events) // EVENT_HEAD_BYTES
    room = (
        5
        + calls * CALL_BYTES_MAX
        + events * EVENT_MORE_BYTES_MAX
        + len(outputs.results)
        + len(outputs.events)
        + int(widths[outputs.messages].sum())
    )
    out = np.empty(room, dtype=np.uint8)
    columns: list[NDArray[Any]] = [
        outputs.places,
        outputs.gas,
        outputs.results,
        outputs.result_ends,
        outputs.events,
        outputs.event_ends,
        outputs.messages,
        texts,
    ]
    end = encode_calls(*map(_writeable, columns), text_ends, out)
    return out[:end].tobytes()


def _writeable(column: NDArray[Any]) -> NDArray[Any]:
    """As kernels are compiled for: what came from elsewhere is copied."""
    return column if column.flags.writeable else column.copy()


def reports(outputs: OutputColumns, hash_rows: Hasher) -> NDArray[np.uint8]:
    """(c, 72) uint8: what `Output.report` says of each."""
    calls = len(outputs.places)
    told = np.empty((calls, _REPORT_BYTES), dtype=np.uint8)
    told[:, :8] = np.ascontiguousarray(outputs.gas, dtype="<u8").view(np.uint8).reshape(calls, 8)
    starts = np.concatenate([[0], outputs.result_ends[:-1]]).astype(np.int64)
    widths = outputs.result_ends - starts
    told[:, 8 : 8 + DIGEST_BYTES] = _hashes(outputs.results, starts, widths, hash_rows, b"")
    told[:, 8 + DIGEST_BYTES :] = _event_roots(outputs, hash_rows)
    return told


def _hashes(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    widths: NDArray[np.int64],
    hash_rows: Hasher,
    prefix: bytes,
) -> NDArray[np.uint8]:
    """(m, 32) of parts of a blob: those of one width together."""
    hashes = np.empty((len(starts), DIGEST_BYTES), dtype=np.uint8)
    for width in np.unique(widths).tolist():
        mine = np.flatnonzero(widths == width)
        if not width and not prefix:
            hashes[mine] = np.frombuffer(_NOTHING, dtype=np.uint8)
        else:
            hashes[mine] = hash_rows(data[starts[mine][:, None] + np.arange(width)], prefix)
    return hashes


def _event_roots(outputs: OutputColumns, hash_rows: Hasher) -> NDArray[np.uint8]:
    """(c, 32) roots over the events of each call; calls with equally many together."""
    most = len(outputs.events) // EVENT_HEAD_BYTES
    starts, widths = (np.empty(most, dtype=np.int64) for _ in range(2))
    counts = np.empty(len(outputs.places), dtype=np.int64)
    columns = _writeable(outputs.events), _writeable(outputs.event_ends)
    found = find_events(*columns, starts, widths, counts)
    leaves = np.empty((found, DIGEST_BYTES), dtype=np.uint8)
    for width in np.unique(widths[:found]).tolist():
        mine = np.flatnonzero(widths[:found] == width)
        whole = outputs.events[starts[mine][:, None] + np.arange(EVENT_HEAD_BYTES + width)]
        without_width = np.delete(whole, (EVENT_HEAD_BYTES - 2, EVENT_HEAD_BYTES - 1), axis=1)
        leaves[mine] = hash_rows(without_width, LEAF_PREFIX)
    roots = np.empty((len(counts), DIGEST_BYTES), dtype=np.uint8)
    firsts = np.cumsum(counts) - counts
    for count in np.unique(counts).tolist():
        mine = np.flatnonzero(counts == count)
        if not count:
            roots[mine] = np.frombuffer(merkle.EMPTY_ROOT, dtype=np.uint8)
        else:
            roots[mine] = _roots(leaves[firsts[mine][:, None] + np.arange(count)], hash_rows)
    return roots


def _roots(leaves: NDArray[np.uint8], hash_rows: Hasher) -> NDArray[np.uint8]:
    """(c, 32) roots of trees of equally many leaves: (c, k, 32)."""
    while leaves.shape[1] > 1:
        trees, size, _ = leaves.shape
        pairs = np.ascontiguousarray(leaves[:, : size // 2 * 2]).reshape(-1, 2 * DIGEST_BYTES)
        above = hash_rows(pairs, merkle.NODE_PREFIX).reshape(trees, size // 2, DIGEST_BYTES)
        leaves = np.concatenate([above, leaves[:, size // 2 * 2 :]], axis=1)
    return leaves[:, 0]


def warm(hash_rows: Hasher) -> None:
    """Compile what receipts of calls need."""
    output = Output(0, 1, b"r", ((bytes(DIGEST_BYTES), 0, b"f"),), "m")
    columns = ReceiptColumns(np.zeros((1, RECEIPT_BYTES), dtype=np.uint8), output_columns([output]))
    columns.encode()
    columns.root(hash_rows)
