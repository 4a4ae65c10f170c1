"""Proofs at earlier heights after a restart: from undo logs on disk the tree's logs are computed again.

Rules
1. A block's account undo log is written with the block, in family `history`, and forgotten in the background
   once it is more than `heights_max` heights old.
2. Nothing waits for it: a restarted node serves at once, and older heights become provable a little later.
3. At every height what is computed must have the state root of the header; else nothing of it is used.

Theory of operation. The committed columns are taken back height by height through the undo logs on disk; what
each replaces on the way is what its block had written; entries' values go back and forth as bytes. A second
tree is built at the oldest height and moved forward with those values. Leaves hang into a tree in order of
slot, so its nodes have the same numbers as those of the tree that the node serves from, and the logs of its
updates are logs of that tree as well.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.ledger.hashing import Hasher
from actors.ledger.rows import in_place
from actors.storage.accounts import NO_VALUES, StateColumns, entries_among
from actors.storage.disk import Disk
from actors.storage.errors import CorruptionError
from actors.storage.formats import height_key
from actors.storage.history import Retention, UndoLogs
from actors.storage.state import State, build_tree
from actors.storage.transition import AccountUndo

FAMILY = "history"
RootOf = Callable[[int], bytes | None]
_HEAD = struct.Struct("<QQ")
_ENTRY_BYTES = 24
_Bytes = NDArray[np.uint8]
_Words = NDArray[np.uint64]


def undo_parts(undo: AccountUndo, old_values: _Bytes) -> tuple[bytes | memoryview, ...]:
    """Accounts before the block u64, count u64, then the columns slots i64 and old values 2 x u64; and the
    old values of the entries among them, one after the other."""
    head = _HEAD.pack(undo.count, len(undo.slots))
    return head, in_place(undo.slots), in_place(undo.values), in_place(old_values)


def decode_undo(height: int, body: bytes) -> tuple[AccountUndo, _Bytes]:
    """Inverse of `undo_parts`, joined; rows of entries' values mean nothing. Raises CorruptionError when
    length and count disagree."""
    count, rows = _HEAD.unpack_from(body) if len(body) >= _HEAD.size else (0, -1)
    if rows < 0 or len(body) < _HEAD.size + rows * _ENTRY_BYTES:
        raise CorruptionError(FAMILY, height_key(height).hex(), f"{len(body)} bytes for {rows} accounts")
    slots = np.frombuffer(body, dtype=np.int64, count=rows, offset=_HEAD.size)
    values = np.frombuffer(body, dtype=np.uint64, count=2 * rows, offset=_HEAD.size + 8 * rows)
    of_entries = np.frombuffer(body, dtype=np.uint8, offset=_HEAD.size + _ENTRY_BYTES * rows)
    return AccountUndo(count, slots, values.reshape(rows, 2)), of_entries


def forget(disk: Disk, below: int) -> None:
    """Remove undo logs below a height."""
    batch = disk.batch()
    batch.delete_range(FAMILY, height_key(0), height_key(max(0, below)))
    batch.write(sync=False)


def remember(disk: Disk, state: State, hash_rows: Hasher, root_of: RootOf, stop: Callable[[], bool]) -> int:
    """Make the heights below the recovered one provable; how many became so. Any thread, once.

    root_of: state root in the header at a height, None where there is no header. Raises NotRetainedError when
    commits have overtaken it, CorruptionError for damaged logs.
    """
    newest = state.history.oldest
    undos = _on_disk(disk, newest, state.history.retention, root_of)
    if not undos:
        return 0
    going_back = _GoingBack(state.columns_at(newest)[0])
    made = [going_back.take_back(newest - at, *each) for at, each in enumerate(undos)]  # newest first
    tree = build_tree(going_back.columns(), hash_rows)
    height, found = newest - len(undos), list[UndoLogs]()
    _require_root(height, tree.root, root_of)
    for (undo, old_values), after in zip(reversed(undos), reversed(made), strict=True):
        if stop():
            return 0
        paths = hash_rows(after.keys[int(np.searchsorted(undo.slots, undo.count)) :])
        log = tree.update_paths(undo.slots, after.hashes(hash_rows), paths, after.balances != 0)
        found.append(UndoLogs(undo, log, old_values))
        height += 1
        _require_root(height, tree.root, root_of)
    return state.remember(found, newest, tree.sparse)


class _GoingBack:
    """Columns that lose one block after the other, the newest first."""

    def __init__(self, newest: StateColumns) -> None:
        self._keys, self._count = newest.keys, len(newest.keys)
        self._nonces, self._balances = newest.nonces.copy(), newest.balances.copy()
        self._mine = entries_among(newest.keys)
        self._values = dict(self._cut(np.arange(len(newest.keys)), newest.balances, newest.values))

    def _cut(self, slots: NDArray[np.int64], widths: _Words, values: _Bytes) -> Iterator[tuple[int, _Bytes]]:
        """(slot, value) of the entries among ascending slots whose values lie one after the other."""
        mine = self._mine[slots]
        ends = np.cumsum(widths[mine], dtype=np.int64)
        for slot, width, end in zip(slots[mine].tolist(), widths[mine].tolist(), ends.tolist(), strict=True):
            yield slot, values[end - width : end]

    def take_back(self, height: int, undo: AccountUndo, old_values: _Bytes) -> StateColumns:
        """Undo a block; what it had made of the slots it touched. Raises CorruptionError for a wrong log."""
        slots, widths = undo.slots, undo.values[:, 1]
        if widths[self._mine[slots]].sum(dtype=np.int64) != len(old_values):
            raise CorruptionError(
                FAMILY, height_key(height).hex(), "values of entries are not as wide as said"
            )
        made = self.columns(slots)
        self._nonces[slots], self._balances[slots] = undo.values[:, 0], widths
        self._values.update(self._cut(slots, widths, old_values))
        self._count = undo.count
        return made

    def columns(self, slots: NDArray[np.int64] | None = None) -> StateColumns:
        """Of these slots, or of all that the block had which is left last."""
        at: Any = slice(0, self._count) if slots is None else slots
        mine = np.flatnonzero(self._mine[at]) if slots is None else slots[self._mine[slots]]
        values = [self._values[slot] for slot in mine.tolist()]
        flat = np.concatenate(values) if values else NO_VALUES
        return StateColumns(self._keys[at], self._nonces[at].copy(), self._balances[at].copy(), flat)


def _require_root(height: int, root: bytes, root_of: RootOf) -> None:
    expected = root_of(height)
    if root != expected:
        what = (
            f"leads to the state root {root.hex()}, the header has {expected.hex() if expected else 'none'}"
        )
        raise CorruptionError(FAMILY, height_key(height).hex(), what)


def _on_disk(
    disk: Disk, newest: int, retention: Retention, root_of: RootOf
) -> list[tuple[AccountUndo, _Bytes]]:
    """Undo logs of the newest heights, newest first, within the retention's bounds.

    A tree's log takes about five times the bytes of an account undo log.
    """
    found: list[tuple[AccountUndo, _Bytes]] = []
    size = 0
    while len(found) < min(retention.heights_max, newest):
        height = newest - len(found)
        body = disk.get(FAMILY, height_key(height))
        size += 6 * len(body or b"")
        if body is None or size > retention.bytes_max or root_of(height - 1) is None:
            break
        found.append(decode_undo(height, body))
    return found
