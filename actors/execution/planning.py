"""What the rows of a job touch: each key a slot, before anything runs.

Slots are numbered in order of rows, accounts before entries, so no seed shows. A call that is not known to
touch only what is here (ledger/call_touches.py, rule 3) is `whole`: what it finds out when it runs is told as
missing, whoever runs it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.contracts.limits import ENTRY_TAG
from actors.contracts.touches import Mode
from actors.execution.job import KEY_BYTES
from actors.ledger.call_touches import KeyColumn, Plans, call_touches
from actors.ledger.hashing import Hasher
from actors.ledger.index import KeyIndex, key_words
from actors.ledger.rows import Batch

_CHUNK_AT = KEY_BYTES + 1


@dataclass(frozen=True, slots=True, eq=False)
class TouchPlan:
    """rows, slots, modes: (t,), who touches what, and how (contracts/touches.Mode): first all senders, then
    all recipients. keys: (k, 32) uint8 of the slots. whole: (n,) bool, of the rows.
    """

    rows: NDArray[np.int64]
    slots: NDArray[np.int64]
    modes: NDArray[np.uint8]
    keys: NDArray[np.uint8]
    whole: NDArray[np.bool_]

    def recipient_slots(self) -> NDArray[np.int64]:
        """(n,) the slot of each row's recipient."""
        return self.slots[len(self.whole) : 2 * len(self.whole)]


def plan_touches(batch: Batch, plans: Plans, hash_rows: Hasher, seed: int) -> TouchPlan:
    """Of transfers and calls. seed: 128 bits that strangers do not know."""
    count = len(batch)
    touches = call_touches(batch, plans)
    recipient_modes = np.full(count, Mode.WRITE, dtype=np.uint8)
    recipient_modes[touches.calls] = touches.contract_modes
    own = np.arange(count)
    rows = [own, own]
    modes = [np.full(count, Mode.WRITE, dtype=np.uint8), recipient_modes]
    keys = [batch.rows["sender"], batch.rows["recipient"]]
    for column in touches.columns:
        for key in _keys(column, hash_rows):
            rows.append(column.calls)
            modes.append(np.full(len(column.calls), column.mode, dtype=np.uint8))
            keys.append(key)
    joined = np.ascontiguousarray(np.concatenate(keys))
    index = KeyIndex(len(joined), seed)
    slots = index.insert(key_words(joined))
    whole = np.zeros(count, dtype=np.bool_)
    whole[touches.calls] = touches.whole
    unique = index.keys[: index.count].view(np.uint8).reshape(-1, KEY_BYTES)
    return TouchPlan(np.concatenate(rows), slots, np.concatenate(modes), unique, whole)


def _keys(column: KeyColumn, hash_rows: Hasher) -> list[NDArray[np.uint8]]:
    """(g, 32) keys in the state: one of an account, or one of each entry of a row."""
    if column.keys.shape[1] == KEY_BYTES:
        return [column.keys]
    found, messages = list[NDArray[np.uint8]](), column.keys
    for chunk in range(column.chunks):
        messages = messages if not chunk else messages.copy()
        messages[:, _CHUNK_AT] = chunk
        found.append(entry_keys(messages, hash_rows))
    return found


def entry_keys(messages: NDArray[np.uint8], hash_rows: Hasher) -> NDArray[np.uint8]:
    """(n, 32) keys in the state of entries. messages: (n, width) uint8, of each its contract, table, chunk
    and row (contracts/entries.py, rule 2)."""
    keys = np.empty((len(messages), KEY_BYTES), dtype=np.uint8)
    keys[:, : len(ENTRY_TAG)] = np.frombuffer(ENTRY_TAG, dtype=np.uint8)
    keys[:, len(ENTRY_TAG) :] = hash_rows(messages)[:, : KEY_BYTES - len(ENTRY_TAG)]
    return keys
