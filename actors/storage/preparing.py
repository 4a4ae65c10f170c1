"""What is made of a block before it has to become durable, so that its writing does not wait for it.

    execute -> ids, transaction root      beside the state transition
            -> entries for the disk       while the block's signatures still are being checked

Rules
- The ids and the root belong to the rows that passed; a proposal's rows that fail are left out of both.
- Entries can only be made ahead for a block that comes with its header. For one of ours, and where the header
  that is persisted is another one, they are made when it is persisted. So it is for all but
  AHEAD_BLOCKS_MAX blocks, which bounds the memory.
- Entries are begun when they are wanted, or AHEAD_AFTER_S after the execution: its answer leaves first.
- A block of less than ASIDE_ROWS_MIN rows is not worth another thread: its ids are hashed at once, its
  entries made when it is persisted.

Threads: `identify` and `executed` belong to the state thread, `entries` and `forget` to the disk thread,
`forget_above` to either while no block is being written. What runs aside reads columns that no longer change,
and neither state nor disk.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

import numpy as np
from numpy.typing import NDArray

from actors.ledger import merkle
from actors.ledger.block import HEADER_BYTES, Block, Header, decode_header
from actors.ledger.hashing import Hasher
from actors.ledger.rows import Batch, in_place
from actors.storage import tx_index
from actors.storage.formats import Delta, height_key, seal
from actors.storage.remembering import undo_parts
from actors.storage.state import Executed
from actors.storage.tx_index import Run

ASIDE_ROWS_MIN, AHEAD_BLOCKS_MAX, AHEAD_AFTER_S = 1_024, 16, 0.005


@dataclass(frozen=True, slots=True, eq=False)
class Identified:
    """ids: (n, 32) uint8. root: of their tree. ids_us, root_us: what hashing them took."""

    ids: NDArray[np.uint8]
    root: bytes
    ids_us: int
    root_us: int


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """What is written of a block, as (family, key, sealed value); its delta; its part of the index."""

    values: list[tuple[str, bytes, bytes]]
    delta: Delta
    run: Run


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    block: Executed
    identified: Identified
    sealed: bytes
    ahead: Future[Entries] | None
    wanted: Event


class Preparer:
    """Prepares the blocks of one chain. keeps_undo: undo logs of accounts are written with a block."""

    def __init__(self, hash_rows: Hasher, keeps_undo: bool, clock_ns: Callable[[], int]) -> None:
        self._hash_rows, self._keeps_undo, self._clock_ns = hash_rows, keeps_undo, clock_ns
        self._aside = ThreadPoolExecutor(2, thread_name_prefix="prepare")
        self._ready: dict[int, _Ready] = {}

    def identify(self, batch: Batch) -> Callable[[], Identified]:
        """Begin to hash the rows of a batch; what is returned waits for the result."""
        if len(batch) < ASIDE_ROWS_MIN:
            return lambda: self._hashed(batch)
        return self._aside.submit(self._hashed, batch).result

    def executed(
        self, block: Executed, verdicts: NDArray[np.uint8], identified: Identified, sealed: bytes
    ) -> Identified:
        """A block was executed: what its rows that passed are called, once more if some have failed.

        sealed: its header and the proposer's signature, b"" while it has none.
        """
        if len(block.batch) != len(verdicts):
            identified = self._identified(identified.ids[verdicts == 0], self._clock_ns())
        ahead, wanted = None, Event()
        if sealed and len(block.batch) >= ASIDE_ROWS_MIN and len(self._ready) < AHEAD_BLOCKS_MAX:
            header, signature = decode_header(sealed[:HEADER_BYTES]), sealed[HEADER_BYTES:]
            ahead = self._aside.submit(self._made_later, wanted, header, signature, block, identified.ids)
        self._ready[block.height] = _Ready(block, identified, sealed, ahead, wanted)
        return identified

    def identified(self, height: int) -> Identified:
        """Of a block that was executed and is not forgotten."""
        return self._ready[height].identified

    def entries(self, header: Header, signature: bytes) -> Entries:
        """What to write of the executed block at the header's height, under this header."""
        ready = self._ready[header.height]
        ready.wanted.set()
        if ready.ahead is not None and ready.sealed == header.encode() + signature:
            return ready.ahead.result()
        return self._made(header, signature, ready.block, ready.identified.ids)

    def forget(self, height: int) -> None:
        """The block is written."""
        del self._ready[height]

    def forget_above(self, height: int) -> None:
        """Blocks above a height have not happened."""
        self._ready = {at: ready for at, ready in self._ready.items() if at <= height}

    def _hashed(self, batch: Batch) -> Identified:
        began = self._clock_ns()
        return self._identified(batch.ids(self._hash_rows), began)

    def _identified(self, ids: NDArray[np.uint8], began_ns: int) -> Identified:
        hashed = self._clock_ns()
        root = merkle.root(ids, self._hash_rows)
        return Identified(ids, root, (hashed - began_ns) // 1000, (self._clock_ns() - hashed) // 1000)

    def _made_later(
        self, wanted: Event, header: Header, signature: bytes, block: Executed, ids: NDArray[np.uint8]
    ) -> Entries:
        wanted.wait(AHEAD_AFTER_S)
        return self._made(header, signature, block, ids)

    def _made(self, header: Header, signature: bytes, block: Executed, ids: NDArray[np.uint8]) -> Entries:
        key = height_key(block.height)
        delta = Delta(
            block.height,
            header.time_ms,
            header.hash(),
            block.state_root,
            block.keys,
            block.nonces,
            block.balances,
        )
        parts: list[tuple[str, tuple[bytes | memoryview, ...]]] = [
            ("headers", (header.encode(), signature)),
            ("blocks", Block(header, signature, block.batch).parts()),
            ("receipts", (in_place(block.receipts),)),
            ("deltas", delta.parts()),
        ]
        if self._keeps_undo:
            parts.append(("history", undo_parts(block.undo)))
        run, pages = tx_index.block_run(block.height, ids)
        values = [(family, key, seal(family, key, *each)) for family, each in parts]
        values += [(tx_index.FAMILY, at, seal(tx_index.FAMILY, at, page)) for at, page in pages]
        return Entries(values, delta, run)
