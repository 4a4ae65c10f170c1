"""Checkpoints of the accounts: pages of consecutive slots, written in the background.

Rules. A checkpoint at height h with n accounts promises that every page holds its slots below n with values
as of height h or later. Replaying the deltas above h on top restores the state at the head exactly: deltas
carry whole values, so an account that a page already holds in a later state passes through older values and
ends right; accounts above n are made by deltas, in order of slot.

So no commit waits for a checkpoint: pages are read one at a time under the state's lock, only those touched
since the last checkpoint are written, and the promise is renewed by one small value at the end. A crash
before it leaves the old promise, which the newer pages still keep.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from actors.storage.accounts import Accounts
from actors.storage.disk import Disk
from actors.storage.errors import CorruptionError
from actors.storage.formats import Checkpoint, decode_checkpoint, decode_page, encode_page, height_key
from actors.storage.state import State

PAGE_ACCOUNTS = 4096
_META_KEY = b"checkpoint"


def load(disk: Disk, accounts: Accounts) -> Checkpoint:
    """Fill empty `accounts` from the pages. Raises CorruptionError naming what is missing or short."""
    body = disk.get("meta", _META_KEY)
    if body is None:
        raise CorruptionError("meta", _META_KEY.hex(), "missing")
    checkpoint = decode_checkpoint(body)
    accounts.reserve(checkpoint.accounts)
    for page in range(-(-checkpoint.accounts // PAGE_ACCOUNTS)):
        value = disk.get("accounts", height_key(page))
        wanted = min(PAGE_ACCOUNTS, checkpoint.accounts - page * PAGE_ACCOUNTS)
        columns = decode_page(page, value or b"")
        if (found := len(columns.keys)) < wanted:
            raise CorruptionError("accounts", height_key(page).hex(), f"{found} of {wanted} accounts")
        accounts.put(columns if found == wanted else columns.take(slice(0, wanted)))
    if accounts.count != checkpoint.accounts:
        raise CorruptionError("accounts", "", f"{accounts.count} keys for {checkpoint.accounts} accounts")
    return checkpoint


class Checkpointer:
    """Knows which pages are out of date. `touch` and `write` may run in different threads."""

    def __init__(self, disk: Disk, checkpoint: Checkpoint) -> None:
        self._disk = disk
        self._lock = threading.Lock()
        self._dirty: set[int] = set()
        self.last = checkpoint

    def touch(self, slots: NDArray[np.int64]) -> None:
        """A block that is committed under the same hold of the state's lock changed these slots."""
        pages = np.unique(slots // PAGE_ACCOUNTS).tolist()
        with self._lock:
            self._dirty.update(pages)

    def write(self, state: State, sync: bool) -> int:
        """Write a checkpoint of the committed state; returns the number of pages written."""
        with state.lock:
            promise = Checkpoint(state.height, state.committed_count())
            with self._lock:
                pages, self._dirty = sorted(self._dirty), set()
        try:
            for page in pages:
                start = page * PAGE_ACCOUNTS
                _, columns = state.committed_columns(start, min(start + PAGE_ACCOUNTS, promise.accounts))
                batch = self._disk.batch()
                batch.put("accounts", height_key(page), encode_page(columns))
                batch.write(sync=False)
            batch = self._disk.batch()
            batch.put("meta", _META_KEY, promise.encode())
            batch.write(sync)
        except BaseException:
            with self._lock:
                self._dirty.update(pages)
            raise
        self.last = promise
        return len(pages)
