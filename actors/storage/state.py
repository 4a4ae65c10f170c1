"""The state in memory: accounts, their tree, and the blocks executed on top of what is committed.

Rules
- Blocks are executed at consecutive heights. A block is speculative until it is committed, and can be undone,
  last first, exactly.
- Readers see committed values only, all of one height.

Theory of operation. The columns hold the newest executed state. Each speculative block keeps the old values
of the accounts it touched, so the committed value of an account is the old value in the oldest block that
touched it, or else the column's. Committing moves the block's undo logs to `history`, through which earlier
heights can be proven; nothing else moves.

Threads: `execute` and `undo_above` belong to one thread (the state thread); `commit` may come from another;
readers from any. `lock` guards the columns and the undo logs; it is held for a transition or a read, never
while hashing. The tree is changed by the state thread alone, under `history.tree_lock`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from actors.contracts.limits import ENTRY_TAG
from actors.ledger.block import Header
from actors.ledger.delta import Delta
from actors.ledger.environment import Environment
from actors.ledger.genesis import exact_sum
from actors.ledger.hashing import Hasher, sha256_rows
from actors.ledger.receipt_columns import ReceiptColumns
from actors.ledger.receipts import RECEIPT_BYTES
from actors.ledger.rows import Batch
from actors.storage.accounts import Accounts, StateColumns, entries_among
from actors.storage.contract_jobs import JobEngine
from actors.storage.errors import HeightError, SpeculationLimitError
from actors.storage.history import History, Retention, UndoLogs
from actors.storage.transition import AccountUndo, Applied, Conflicts, apply_batch, undo_batch
from actors.storage.tree import StateTree, TreeUndo

SPECULATIVE_BLOCKS_MAX = 128


@dataclass(frozen=True, slots=True, eq=False)
class ExecutedBlock:
    """A block that was executed: the rows that passed, and everything its header must say.

    touched: what it touched as it is after it, in ascending order of slot; what has
    balance 0 is removed, and the nonce is the next after its last. undo, tree_undo: the way back; old_values:
    what the entries among the undo's slots held, one value after the other.
    """

    height: int
    proposer: bytes
    batch: Batch
    receipts: ReceiptColumns
    fees: int
    state_root: bytes
    receipts_root: bytes
    touched: StateColumns
    undo: AccountUndo
    old_values: NDArray[np.uint8]
    tree_undo: TreeUndo


def delta_of(header: Header, block: ExecutedBlock, ids: NDArray[np.uint8]) -> Delta:
    """What a block changes once it is committed under this header. ids: (n, 32) uint8 of its rows."""
    kinds, widths, values = block.touched.in_delta()
    facts = header.time_ms, header.hash(), block.state_root, ids
    return Delta(block.height, block.touched.keys, kinds, widths, values, *facts)


@dataclass(frozen=True, slots=True, eq=False)
class Execution:
    """verdicts: (n,) uint8 in the executed order. block: None if a strict execution met a failing row.

    transaction_root: of the rows that passed; only a chain knows it. waiting: see `Executed`.
    """

    verdicts: NDArray[np.uint8]
    block: ExecutedBlock | None
    conflicts: Conflicts
    stages_us: dict[str, int] = field(default_factory=dict)
    transaction_root: bytes = b""
    waiting: bytes = b""


class State:
    """Accounts at a committed height, and speculative blocks above it."""

    def __init__(
        self,
        accounts: Accounts,
        height: int,
        hash_rows: Hasher = sha256_rows,
        retention: Retention = Retention(),
    ) -> None:
        self.engine: JobEngine | None = None  # without one contracts are interpreted, row by row
        self.lock = threading.RLock()
        self.accounts = accounts
        self.height = height
        self.blocks: list[ExecutedBlock] = []
        self._undos: list[AccountUndo] = []
        self._hash_rows = hash_rows
        self.tree = build_tree(accounts.columns(), hash_rows)
        self.history = History(self.tree, height, retention, self._release)

    @property
    def executed_height(self) -> int:
        """Height of the newest executed block."""
        return self.height + len(self.blocks)

    def _release(self, undo: AccountUndo) -> None:
        self.accounts.release(undo.slots, undo.values[:, 0], undo.values[:, 1])

    def execute(
        self,
        batch: Batch,
        env: Environment,
        strict: bool,
        clock_ns: Callable[[], int],
    ) -> Execution:
        """Execute a batch as the block that `env` describes.

        strict: any failing row leaves the state untouched. Otherwise failing rows are left out. Raises
        HeightError out of order, SpeculationLimitError at the bound, OverflowError as `apply_batch`.
        """
        height = env.height
        if height != self.executed_height + 1:
            raise HeightError("execute", height, self.executed_height + 1)
        if len(self.blocks) >= SPECULATIVE_BLOCKS_MAX:
            raise SpeculationLimitError(len(self.blocks), SPECULATIVE_BLOCKS_MAX)
        started = clock_ns()
        with self.lock:
            applied = apply_batch(self.accounts, batch, env, self.engine, self._hash_rows)
            failed = bool(applied.verdicts.any())
            if strict and failed:
                undo_batch(self.accounts, applied.undo)
                return Execution(applied.verdicts, None, applied.conflicts)
            # Readers undo through this list, so it must show the block before the lock is let go.
            self._undos.append(applied.undo)
        try:
            kept = batch.take(applied.verdicts == 0) if failed else batch
            block, stages_us = self._finish(height, env.proposer, kept, applied, clock_ns, started)
        except BaseException:
            with self.lock:
                undo_batch(self.accounts, self._undos.pop())
            raise
        with self.lock:
            self.blocks.append(block)
        return Execution(applied.verdicts, block, applied.conflicts, stages_us)

    def _finish(
        self,
        height: int,
        proposer: bytes,
        batch: Batch,
        applied: Applied,
        clock_ns: Callable[[], int],
        started: int,
    ) -> tuple[ExecutedBlock, dict[str, int]]:
        """Roots and record of a block whose rows are applied. The tree is updated last."""
        accounts, undo = self.accounts, applied.undo
        touched = accounts.columns_at(undo.slots)
        old = accounts.resolved(touched.keys, undo.values[:, 0].copy(), undo.values[:, 1])
        moved = clock_ns()
        receipts = ReceiptColumns(_rows(applied.receipts), applied.outputs)
        receipts_root = receipts.root(self._hash_rows)
        receipted = clock_ns()
        fresh = int(np.searchsorted(undo.slots, undo.count))
        new_paths = self._hash_rows(touched.keys[fresh:])
        hashes = touched.hashes(self._hash_rows)
        tree_undo = self.history.update(undo.slots, hashes, new_paths, touched.balances != 0)
        done = clock_ns()
        block = ExecutedBlock(
            height, proposer, batch, receipts, applied.fees, self.tree.root, receipts_root,
            touched, undo, old.values, tree_undo,
        )  # fmt: skip
        marks = (
            ("transition", moved - started),
            ("receipts_root", receipted - moved),
            ("state_root", done - receipted),
        )
        return block, {name: ns // 1000 for name, ns in marks}

    def undo_above(self, height: int) -> None:
        """Undo the blocks above `height`. Raises HeightError below the committed height."""
        if height < self.height:
            raise HeightError("rollback", height, self.height)
        while self.executed_height > height:
            with self.lock:
                self.blocks.pop()
                undo_batch(self.accounts, self._undos.pop())
            self.history.undo()

    def block_at(self, height: int) -> ExecutedBlock | None:
        """The speculative block at a height."""
        with self.lock:
            at = height - self.height - 1
            return self.blocks[at] if 0 <= at < len(self.blocks) else None

    def commit(self) -> ExecutedBlock:
        """Make the oldest speculative block final."""
        with self.lock:
            self.height += 1
            self._undos.pop(0)
            block = self.blocks.pop(0)
            self.history.commit(block.undo, block.tree_undo)
            return block

    def committed_count(self) -> int:
        """Slots in use in the committed state."""
        return self._undos[0].count if self._undos else self.accounts.count

    def committed_existing(self) -> int:
        """Accounts that exist in the committed state."""
        with self.lock:
            balances = self.accounts.balances[: self.committed_count()].copy()
            for undo in reversed(self._undos):
                there = int(np.searchsorted(undo.slots, len(balances)))
                balances[undo.slots[:there]] = undo.values[:there, 1]
            balances[self.accounts.entry_slots(np.arange(len(balances)))] = 0
        return int(np.count_nonzero(balances))

    def committed_columns(self, start: int = 0, stop: int | None = None) -> tuple[int, StateColumns]:
        """(height, the committed slots in start..stop-1), as copies."""
        with self.lock:
            count = self.committed_count()
            end = count if stop is None else min(stop, count)
            return self.height, self._taken_back(min(start, end), end, self._undos)

    def _taken_back(self, start: int, stop: int, undos: list[AccountUndo]) -> StateColumns:
        """Slots start..stop-1 as they were before the blocks of these logs, which are in order."""
        accounts, part = self.accounts, slice(start, stop)
        nonces, balances = accounts.nonces[part].copy(), accounts.balances[part].copy()
        for undo in reversed(undos):
            low, high = np.searchsorted(undo.slots, (start, stop))
            at = undo.slots[low:high] - start
            nonces[at], balances[at] = undo.values[low:high, 0], undo.values[low:high, 1]
        return accounts.resolved(accounts.keys_at(part), nonces, balances)

    def columns_at(self, height: int) -> tuple[StateColumns, NDArray[np.uint8]]:
        """Slots in use at a committed height, as copies, and (n, 32) paths of their keys.

        Paths of committed slots never change, so these are views. Raises NotRetainedError.
        """
        with self.history.tree_lock:
            paths = self.tree.paths
        with self.lock:
            undos = [*self.history.undos_after(height), *self._undos]
            count = undos[0].count if undos else self.accounts.count
            return self._taken_back(0, count, undos), paths[:count]

    def remember(self, found: list[UndoLogs], newest: int, sparse: bool) -> int:
        """Make heights before `newest` provable; how many. See `History.remember`.

        sparse: whether at any of them a slot was empty that is in use by now.
        """
        with self.lock:
            self.tree.sparse |= sparse
            return self.history.remember(found, newest, self._with_rows)

    def _with_rows(self, undo: AccountUndo, old_values: NDArray[np.uint8]) -> AccountUndo:
        """The log with rows for the values that entries had."""
        if not len(old_values):
            return undo
        values, mine = undo.values.copy(), entries_among(self.accounts.keys_at(undo.slots))
        values[mine, 0] = self.accounts.entries.put(old_values, values[mine, 1])
        return AccountUndo(undo.count, undo.slots, values)

    def committed_account(self, key: bytes) -> tuple[int, int, int]:
        """(height, nonce, balance) of a key in the committed state; zeros if it is of no account."""
        with self.lock:
            slot = self.accounts.find(key)
            if not 0 <= slot < self.committed_count() or key.startswith(ENTRY_TAG):
                return self.height, 0, 0
            for undo in self._undos:
                at = int(np.searchsorted(undo.slots, slot))
                if at < len(undo.slots) and undo.slots[at] == slot:
                    nonce, balance = undo.values[at]
                    break
            else:
                nonce, balance = self.accounts.nonces[slot], self.accounts.balances[slot]
            return self.height, int(nonce) if balance else 0, int(balance)

    def values_at(self, slots: list[int], height: int) -> list[tuple[bytes, bytes]]:
        """(key, value in the tree) of slots that existed at a committed height. Raises NotRetainedError."""
        with self.lock:
            undos = [*self.history.undos_after(height), *self._undos]
            return [self._value_at(slot, undos) for slot in slots]

    def values_of(self, keys: Sequence[bytes], height: int | None = None) -> tuple[int, list[bytes]]:
        """The committed height, the newest by default, and what each key has in the tree there, empty where
        it has no leaf. Raises NotRetainedError."""
        with self.lock:
            at = self.height if height is None else height
            undos = [*self.history.undos_after(at), *self._undos]
            count = undos[0].count if undos else self.accounts.count
            slots = [self.accounts.find(key) for key in keys]
            return at, [self._value_at(slot, undos)[1] if 0 <= slot < count else b"" for slot in slots]

    def _value_at(self, slot: int, undos: list[AccountUndo]) -> tuple[bytes, bytes]:
        accounts = self.accounts
        pair = np.array([accounts.nonces[slot], accounts.balances[slot]])
        for undo in undos:
            at = int(np.searchsorted(undo.slots, slot))
            if at < len(undo.slots) and undo.slots[at] == slot:
                pair = undo.values[at]
                break
        keys = accounts.keys_at(slice(slot, slot + 1))
        if not pair[1]:
            return keys.tobytes(), b""
        _, _, values = accounts.resolved(keys, pair[:1].copy(), pair[1:]).in_delta()
        return keys.tobytes(), values.tobytes()

    def committed_supply(self) -> int:
        """Sum of all committed balances."""
        return exact_sum(self.committed_columns()[1].coins)


def build_tree(columns: StateColumns, hash_rows: Hasher = sha256_rows) -> StateTree:
    """The tree over slots 0..n-1, from nothing; those that hold nothing have no leaf."""
    tree = StateTree(hash_rows)
    if len(columns.keys):
        paths = hash_rows(columns.keys)
        slots = np.arange(len(paths))
        tree.update_paths(slots, columns.hashes(hash_rows), paths, columns.balances != 0)
    return tree


def _rows(receipts: NDArray[np.uint64]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(receipts).view(np.uint8).reshape(len(receipts), RECEIPT_BYTES)
