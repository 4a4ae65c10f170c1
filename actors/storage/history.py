"""Undo logs of committed blocks, kept so that the state at their heights can still be proven.

Bounds: `Retention`. At the bound the oldest height is forgotten; asking for it raises NotRetainedError. The
logs live in memory: right after a restart the oldest height is the one that was recovered, until those before
it have been computed again (remembering.py).

Threads: `update` and `undo` belong to the state thread; `commit` and `undos_after` are called under the
state's lock; `locate` by readers. `tree_lock` keeps readers and changes of the tree apart; it is never taken
together with the state's lock but by `remember`, which hashes nothing, so that no commit waits for hashing.
That is why the tree's logs are trimmed by the next update and not by the commit that makes them superfluous.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from actors.storage.errors import NotRetainedError
from actors.storage.transition import AccountUndo
from actors.storage.tree import StateTree, TreeUndo
from actors.storage.tree_view import ABOVE, BELOW, LoggedUpdate, TreeView


@dataclass(frozen=True, slots=True)
class Retention:
    """How many heights below the committed one can be proven, and how much memory they may take."""

    heights_max: int = 1024
    bytes_max: int = 128 << 20


@dataclass(frozen=True, slots=True)
class UndoLogs:
    """The logs of a block that was committed before this process began; old_values: of entries, as bytes."""

    undo: AccountUndo
    log: TreeUndo
    old_values: NDArray[np.uint8]


Keep = Callable[[AccountUndo, NDArray[np.uint8]], AccountUndo]


@dataclass(frozen=True, slots=True)
class Located:
    """A leaf, or with slot -1 an empty place, and the siblings from the root down to it."""

    slot: int
    siblings: tuple[bytes, ...]


class History:
    """Changes a tree, and finds leaves in it as it was at a committed height.

    oldest: the oldest height that can be proven.
    """

    def __init__(
        self, tree: StateTree, height: int, retention: Retention, release: Callable[[AccountUndo], None]
    ) -> None:
        """release: is told of every log that is forgotten, under the state's lock."""
        self.tree_lock = threading.Lock()
        self._tree, self.retention, self._release = tree, retention, release
        self._logs: deque[LoggedUpdate] = deque()
        self._tree_height = self._committed = self.oldest = height
        self._undos: deque[tuple[AccountUndo, int]] = deque()
        self.bytes_used = 0

    def update(
        self,
        slots: NDArray[np.int64],
        value_hashes: NDArray[np.uint8],
        new_paths: NDArray[np.uint8],
        present: NDArray[np.bool_],
    ) -> TreeUndo:
        """As `StateTree.update_paths`, for the next block."""
        with self.tree_lock:
            log = self._tree.update_paths(slots, value_hashes, new_paths, present)
            self._logs.append(LoggedUpdate(log))
            self._tree_height += 1
            while self._tree_height - len(self._logs) < self.oldest:
                self._logs.popleft()
        return log

    def undo(self) -> None:
        """Undo the newest update."""
        with self.tree_lock:
            self._tree.undo(self._logs.pop().log)
            self._tree_height -= 1

    def commit(self, undo: AccountUndo, log: TreeUndo) -> None:
        """The next block is final: keep its logs, and forget the oldest ones at the bound."""
        size = undo.slots.nbytes + undo.values.nbytes + log.bytes_used
        self._undos.append((undo, size))
        self.bytes_used += size
        while len(self._undos) > self.retention.heights_max or self.bytes_used > self.retention.bytes_max:
            forgotten, size = self._undos.popleft()
            self.bytes_used -= size
            self._release(forgotten)
        self._committed += 1
        self.oldest = self._committed - len(self._undos)

    def remember(self, found: list[UndoLogs], newest: int, keep: Keep) -> int:
        """Put the logs of the blocks up to `newest` before those that are held; how many were put.

        keep: gives the entries' values rows. 0 when the oldest height is no longer `newest`: commits have
        overtaken. Under the state's lock.
        """
        with self.tree_lock:
            if self.oldest != newest or self._tree_height - len(self._logs) != newest:
                return 0
            for each in reversed(found):
                undo = keep(each.undo, each.old_values)
                size = undo.slots.nbytes + undo.values.nbytes + each.log.bytes_used
                self._undos.appendleft((undo, size))
                self._logs.appendleft(LoggedUpdate(each.log))
                self.bytes_used += size
                self.oldest -= 1
            return len(found)

    def undos_after(self, height: int) -> list[AccountUndo]:
        """Account undo logs of the committed blocks above `height`, oldest first. Raises NotRetainedError."""
        self._require(height)
        return [undo for undo, _ in islice(self._undos, height - self.oldest, None)]

    def locate(self, path: bytes, height: int) -> tuple[Located, Located | None, Located | None]:
        """Where `path` ends at a height; if its leaf is not there, also the leaves next below and above.

        Raises NotRetainedError.
        """
        for update in self._logs_after(height):
            _ = update.sorted  # outside the lock, since it takes long for a large block
        with self.tree_lock:
            view = TreeView(self._tree, self._slice(height))
            _, ref = view.walk(path)
            own = Located(-ref - 1 if ref else -1, view.siblings(path))
            if ref and self._tree.path_of(own.slot) == path:
                return own, None, None
            below, above = (self._neighbour(view, path, side) for side in (BELOW, ABOVE))
            return own, below, above

    def _neighbour(self, view: TreeView, path: bytes, side: int) -> Located | None:
        slot = view.neighbour(path, side)
        return None if slot < 0 else Located(slot, view.siblings(self._tree.path_of(slot)))

    def _logs_after(self, height: int) -> list[LoggedUpdate]:
        with self.tree_lock:
            return self._slice(height)

    def _slice(self, height: int) -> list[LoggedUpdate]:
        self._require(height)
        return list(islice(self._logs, height - (self._tree_height - len(self._logs)), None))

    def _require(self, height: int) -> None:
        if not self.oldest <= height <= self._committed:
            raise NotRetainedError(height, self.oldest, self._committed)
