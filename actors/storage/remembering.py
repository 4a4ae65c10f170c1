"""Proofs at earlier heights after a restart: from undo logs on disk the tree's logs are computed again.

Rules
1. A block's account undo log is written with the block, in family `history`, and forgotten in the background
   once it is more than `heights_max` heights old.
2. Nothing waits for it: a restarted node serves at once, and older heights become provable a little later.
3. At every height what is computed must have the state root of the header; else nothing of it is used.

Theory of operation. The committed columns are taken back height by height through the undo logs on disk; what
each replaces on the way is what its block had written. A second tree is built at the oldest height and moved
forward with those values. Leaves hang into a tree in order of slot, so its nodes have the same numbers as
those of the tree that the node serves from, and the logs of its updates are logs of that tree as well.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from actors.ledger.delta import account_values
from actors.ledger.hashing import Hasher
from actors.ledger.rows import in_place
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


def undo_parts(undo: AccountUndo) -> tuple[bytes | memoryview, ...]:
    """Accounts before the block u64, count u64, then the columns slots i64 and old values 2 x u64."""
    return _HEAD.pack(undo.count, len(undo.slots)), in_place(undo.slots), in_place(undo.values)


def decode_undo(height: int, body: bytes) -> AccountUndo:
    """Inverse of `undo_parts`, joined. Raises CorruptionError when length and count disagree."""
    count, rows = _HEAD.unpack_from(body) if len(body) >= _HEAD.size else (0, -1)
    if len(body) != _HEAD.size + rows * _ENTRY_BYTES:
        raise CorruptionError(FAMILY, height_key(height).hex(), f"{len(body)} bytes for {rows} accounts")
    slots = np.frombuffer(body, dtype=np.int64, count=rows, offset=_HEAD.size)
    values = np.frombuffer(body, dtype=np.uint64, offset=_HEAD.size + 8 * rows).reshape(rows, 2)
    return AccountUndo(count, slots, values)


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
    (keys, nonces, balances), _ = state.columns_at(newest)
    made: list[tuple[int, NDArray[np.uint64], NDArray[np.uint64]]] = []
    count = len(keys)
    for undo in undos:  # newest first
        made.append((count, nonces[undo.slots], balances[undo.slots]))
        nonces[undo.slots], balances[undo.slots] = undo.values[:, 0], undo.values[:, 1]
        count = undo.count
    tree = build_tree(keys[:count], nonces[:count], balances[:count], hash_rows)
    height, found = newest - len(undos), list[UndoLogs]()
    _require_root(height, tree.root, root_of)
    for undo, (after, new_nonces, new_balances) in zip(reversed(undos), reversed(made), strict=True):
        if stop():
            return 0
        values = account_values(new_nonces, new_balances)
        found.append(
            UndoLogs(undo, tree.update(undo.slots, values, keys[undo.count : after], new_balances != 0))
        )
        height += 1
        _require_root(height, tree.root, root_of)
    return state.remember(found, newest)


def _require_root(height: int, root: bytes, root_of: RootOf) -> None:
    expected = root_of(height)
    if root != expected:
        what = (
            f"leads to the state root {root.hex()}, the header has {expected.hex() if expected else 'none'}"
        )
        raise CorruptionError(FAMILY, height_key(height).hex(), what)


def _on_disk(disk: Disk, newest: int, retention: Retention, root_of: RootOf) -> list[AccountUndo]:
    """Undo logs of the newest heights, newest first, within the retention's bounds.

    A tree's log takes about five times the bytes of an account undo log.
    """
    found: list[AccountUndo] = []
    size = 0
    while len(found) < min(retention.heights_max, newest):
        height = newest - len(found)
        body = disk.get(FAMILY, height_key(height))
        size += 6 * len(body or b"")
        if body is None or size > retention.bytes_max or root_of(height - 1) is None:
            break
        found.append(decode_undo(height, body))
    return found
