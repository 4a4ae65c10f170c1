"""What is made of a block before it has to become durable, so that its writing does not wait for it.

    execute -> ids, transaction root      beside the state transition
            -> entries, on their way      while the block's signatures still are being checked
               to the disk

Rules
- The ids and the root belong to the rows that passed; a proposal's rows that fail are left out of both.
- What a block that comes with its header writes is made ahead, AHEAD_AFTER_S after its execution, so that the
  answer leaves first; and all but the header is written, unsynced. The header follows when the block is
  persisted, with the sync that makes all of it durable. Without a header there is no block: what was written
  ahead of one that never came counts for nothing, and the next block at its height writes over it.
- So nothing is written ahead at a height that has a header on the disk, nor of a block that was undone or is
  persisted under another header. Both are looked at under the lock under which it is written; whoever undoes
  a block takes that lock, and who persists one waits for what is under way. Who persists a block in another's
  place removes all that was written from its height on, what is ahead too: that is made again (`replacing`).
- All is made when the block is persisted if that is wanted sooner, if it is one of ours, if the header is
  another one, and for all but AHEAD_BLOCKS_MAX blocks, which bounds the memory.
- A block of less than ASIDE_ROWS_MIN rows is not worth another thread.

Threads: `identify` and `executed` belong to the state thread, `entries` and `forget` to the disk thread,
`forget_above` to either while no block is being persisted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from threading import Event, Lock

import numpy as np
from numpy.typing import NDArray

from actors.ledger import merkle
from actors.ledger.block import HEADER_BYTES, Block, Header, decode_header
from actors.ledger.delta import Delta
from actors.ledger.hashing import Hasher
from actors.ledger.rows import Batch
from actors.storage import tx_index
from actors.storage.disk import Disk
from actors.storage.errors import DiskFullError
from actors.storage.formats import delta_parts, height_key, seal
from actors.storage.remembering import undo_parts
from actors.storage.state import ExecutedBlock, delta_of
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
    """What is still to be written of a block, as (family, key, sealed value), the header first; its delta and
    its part of the index; the bytes that were written ahead."""

    values: list[tuple[str, bytes, bytes]]
    delta: Delta
    run: Run
    bytes_ahead: int = 0


@dataclass(slots=True, eq=False)
class _Ready:
    block: ExecutedBlock
    identified: Identified
    sealed: bytes
    wanted: Event = field(default_factory=Event)
    stale: bool = False
    ahead: Future[Entries] | None = None


class Preparer:
    """Prepares the blocks of one chain. keeps_undo: undo logs of accounts are written with a block."""

    def __init__(self, disk: Disk, hash_rows: Hasher, keeps_undo: bool, clock_ns: Callable[[], int]) -> None:
        self._disk, self._hash_rows, self._keeps_undo, self._clock_ns = disk, hash_rows, keeps_undo, clock_ns
        self._aside = ThreadPoolExecutor(2, thread_name_prefix="prepare")
        self._lock = Lock()
        self._ready: dict[int, _Ready] = {}

    def identify(self, batch: Batch) -> Callable[[], Identified]:
        """Begin to hash the rows of a batch; what is returned waits for the result."""
        if len(batch) < ASIDE_ROWS_MIN:
            return lambda: self._hashed(batch)
        return self._aside.submit(self._hashed, batch).result

    def executed(
        self, block: ExecutedBlock, verdicts: NDArray[np.uint8], identified: Identified, sealed: bytes
    ) -> Identified:
        """A block was executed: what its rows that passed are called, once more if some have failed.

        sealed: its header and the proposer's signature, b"" while it has none.
        """
        if len(block.batch) != len(verdicts):
            identified = self._identified(identified.ids[verdicts == 0], self._clock_ns())
        self._ready[block.height] = ready = _Ready(block, identified, sealed)
        if sealed and len(block.batch) >= ASIDE_ROWS_MIN and len(self._ready) <= AHEAD_BLOCKS_MAX:
            ready.ahead = self._aside.submit(self._write_ahead, ready)
        return identified

    def identified(self, height: int) -> Identified:
        """Of a block that was executed and is not forgotten."""
        return self._ready[height].identified

    def entries(self, header: Header, signature: bytes) -> Entries:
        """What to write of the executed block at the header's height, under this header.

        What was made ahead is answered once: if it could not be written, all of it is made again.
        """
        ready = self._ready[header.height]
        ready.wanted.set()
        ahead, ready.ahead = ready.ahead, None
        if ahead is not None and not ready.stale and ready.sealed == header.encode() + signature:
            return ahead.result()
        with self._lock:
            ready.stale = True
        return self._made(header, signature, ready.block, ready.identified.ids)

    @contextmanager
    def replacing(self, height: int) -> Iterator[None]:
        """While what is on the disk from this height on is removed: of the blocks above, what was written
        ahead counts for nothing, and nothing is written ahead before it is gone."""
        with self._lock:
            for at, ready in list(self._ready.items()):
                ready.stale |= at > height
            yield

    def forget(self, height: int) -> None:
        """The block is written."""
        del self._ready[height]

    def forget_above(self, height: int) -> None:
        """Blocks above a height have not happened: nothing is written ahead of them from now on."""
        with self._lock:
            for at in [at for at in self._ready if at > height]:
                self._ready.pop(at).stale = True

    def _hashed(self, batch: Batch) -> Identified:
        began = self._clock_ns()
        return self._identified(batch.ids(self._hash_rows), began)

    def _identified(self, ids: NDArray[np.uint8], began_ns: int) -> Identified:
        hashed = self._clock_ns()
        root = merkle.root(ids, self._hash_rows)
        return Identified(ids, root, (hashed - began_ns) // 1000, (self._clock_ns() - hashed) // 1000)

    def _write_ahead(self, ready: _Ready) -> Entries:
        """Make all entries, and write all but the header, which comes last and makes the block."""
        soon = ready.wanted.wait(AHEAD_AFTER_S)
        header, signature = decode_header(ready.sealed[:HEADER_BYTES]), ready.sealed[HEADER_BYTES:]
        entries = self._made(header, signature, ready.block, ready.identified.ids)
        if soon:
            return entries
        batch = self._disk.batch()
        for family, key, value in entries.values[1:]:
            batch.put_sealed(family, key, value)
        with self._lock:
            if ready.stale or self._disk.get("headers", height_key(header.height)) is not None:
                return entries
            try:
                size = batch.write(sync=False)
            except DiskFullError:  # whoever persists the block meets it too, and says so
                return entries
        return replace(entries, values=entries.values[:1], bytes_ahead=size)

    def _made(
        self, header: Header, signature: bytes, block: ExecutedBlock, ids: NDArray[np.uint8]
    ) -> Entries:
        key = height_key(block.height)
        delta = delta_of(header, block, ids)
        parts: list[tuple[str, tuple[bytes | memoryview, ...]]] = [
            ("headers", (header.encode(), signature)),
            ("blocks", Block(header, signature, block.batch).parts()),
            ("receipts", block.receipts.encode()),
            ("deltas", delta_parts(delta)),
        ]
        if self._keeps_undo:
            parts.append(("history", undo_parts(block.undo, block.old_values)))
        run, pages = tx_index.block_run(block.height, ids)
        values = [(family, key, seal(family, key, *each)) for family, each in parts]
        values += [(tx_index.FAMILY, at, seal(tx_index.FAMILY, at, page)) for at, page in pages]
        return Entries(values, delta, run)
