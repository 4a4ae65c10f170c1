"""Tables of entries and of accounts that compiled code works on: open addressing, filled by the host.

What the state has not, an absent entry or an account without coins, is put in, too: then it is known.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.contracts.limits import ENTRY_BYTES_MAX
from actors.contracts.native import table_code
from actors.contracts.native.filling import fill
from actors.contracts.native.layout import (
    ACCOUNTS,
    CONTRACT_AT,
    ENTRIES,
    KEY_BYTES,
    TABLE,
    VALUE_AT,
    SlotShape,
)
from actors.contracts.native.runtime import runtime

SLOTS_MAX = 1 << 30
JOURNAL_RECORDS = 256
_FIRST_SLOTS = 64
_LINE_BYTES = 64
_U64_MAX = (1 << 64) - 1
_POINTER, _INTEGER = ctypes.c_void_p, ctypes.c_int64


class HashTable:
    """Slots of one shape. seed: 128 bits that decide where keys lie, and no result."""

    def __init__(self, shape: SlotShape, seed: int) -> None:
        self._shape = shape
        self._record = np.zeros(len(TABLE), np.uint64)
        self._slots = _lines(_FIRST_SLOTS, shape.slot_bytes)
        self._written = np.zeros(0, np.uint32)
        self._journal = np.zeros((0, shape.record_bytes), np.uint8)
        self._place = runtime().function(table_code.place(shape), _POINTER, _POINTER, _POINTER, _INTEGER)
        self._locate = runtime().function(table_code.locate(shape), _POINTER, _POINTER, _POINTER)
        self._reindex: Callable[..., None] = runtime().function(table_code.reindex(shape), _POINTER)
        self._fill = runtime().function(fill(shape), *[_POINTER] * 4, _INTEGER)
        self._set("hash_key_0", seed & _U64_MAX)
        self._set("hash_key_1", seed >> 64 & _U64_MAX)
        self._index = np.zeros(0, np.uint32)
        self._fit(0)
        self.grow_journal(JOURNAL_RECORDS)

    def __len__(self) -> int:
        return int(self._record[TABLE.index("used")])

    @property
    def record_address(self) -> int:
        """For the loop."""
        return self._record.ctypes.data

    @property
    def journal_records(self) -> int:
        """How many slots a call may write."""
        return len(self._journal)

    def grow_journal(self, records: int) -> None:
        """Room for so many slots that a call writes."""
        self._journal = np.zeros((records, self._shape.record_bytes), np.uint8)
        self._set("journal", self._journal.ctypes.data)
        self._set("journal_max", records)

    def put(self, keys: NDArray[np.uint8], values: NDArray[np.uint8]) -> None:
        """Set slots, one a row. What is new counts as unchanged."""
        rows = len(keys)
        if keys.shape != (rows, KEY_BYTES) or values.shape != (rows, self._shape.value_bytes):
            raise ValueError(f"keys of shape {keys.shape} and values of shape {values.shape}")
        keys, values = np.ascontiguousarray(keys, np.uint8), np.ascontiguousarray(values, np.uint8)
        self._fit(rows)
        self._place(self.record_address, keys.ctypes.data, values.ctypes.data, rows)

    def fill(self, keys: NDArray[np.uint8], values: NDArray[Any], more: NDArray[Any]) -> None:
        """Put all of an empty table in. keys: (rows, 32), each once; values and more: see filling.py."""
        rows = len(keys)
        self._slots = _lines(max(rows, _FIRST_SLOTS), self._shape.slot_bytes)
        self._written = np.zeros(0, np.uint32)
        self._fit(rows)
        columns = [np.ascontiguousarray(column) for column in (keys, values, more)]
        self._fill(self.record_address, *[column.ctypes.data for column in columns], rows)

    def reserve(self, more: int) -> None:
        """Room for so many slots besides those that are there."""
        self._fit(more)

    def slot_address(self, slot: int) -> int:
        """Where it lies, as long as the table does not grow."""
        return int(self._slots.ctypes.data) + slot * self._shape.slot_bytes

    def slot_of(self, key: bytes) -> int | None:
        """The number of its slot, or None if it is not there."""
        found = ctypes.c_int64(0)
        self._locate(self.record_address, key, ctypes.byref(found))
        return (found.value - self._slots.ctypes.data) // self._shape.slot_bytes if found.value else None

    def value_at(self, slot: int) -> bytes:
        """The value of a slot."""
        return self.values()[slot].tobytes()

    def change(self, slot: int, value: bytes) -> None:
        """Give a slot another value."""
        self.values()[slot] = np.frombuffer(value, np.uint8)
        self._slots[slot, self._shape.changed_at] = 1

    def keys(self) -> NDArray[np.uint8]:
        """Of all slots, in the order in which they came."""
        return self._slots[: len(self), :KEY_BYTES]

    def values(self) -> NDArray[np.uint8]:
        """Of all slots, likewise."""
        return self._slots[: len(self), VALUE_AT : VALUE_AT + self._shape.value_bytes]

    def changed(self) -> NDArray[np.bool_]:
        """Of all slots, whether a call has written them, even if it was undone."""
        return self._slots[: len(self), self._shape.changed_at] != 0

    def words(self) -> NDArray[np.uint64]:
        """Of all slots, all that is in them."""
        return self._slots[: len(self)].view(np.uint64)

    def written(self) -> NDArray[np.uint32]:
        """Numbers of those slots."""
        return self._written[: int(self._record[TABLE.index("written_used")])]

    def _set(self, field: str, value: int) -> None:
        self._record[TABLE.index(field)] = value

    def _fit(self, more: int) -> None:
        """Room for more slots."""
        needed = len(self) + more
        if needed > SLOTS_MAX:
            raise MemoryError(f"{needed} slots in a table: {SLOTS_MAX} at most")
        if needed > len(self._slots):
            slots = _lines(max(needed, 2 * len(self._slots)), self._shape.slot_bytes)
            slots[: len(self)] = self._slots[: len(self)]
            self._slots = slots
        self._set("slots", self._slots.ctypes.data)
        self._set("room", len(self._slots))
        if len(self._written) < len(self._slots):
            written = np.zeros(len(self._slots), np.uint32)
            written[: len(self._written)] = self._written
            self._written = written
            self._set("written", written.ctypes.data)
        if 2 * len(self._slots) > len(self._index):
            self._index = np.zeros(1 << (2 * len(self._slots) - 1).bit_length(), np.uint32)
            self._set("index", self._index.ctypes.data)
            self._set("mask", len(self._index) - 1)
            self._reindex(self.record_address)


def _lines(rows: int, width_bytes: int) -> NDArray[np.uint8]:
    """Zeros that begin where a line of the processor's caches does."""
    memory = np.zeros(rows * width_bytes + _LINE_BYTES, np.uint8)
    begin = -memory.ctypes.data % _LINE_BYTES
    return memory[begin : begin + rows * width_bytes].reshape(rows, width_bytes)


def entry_value(entry: bytes) -> bytes:
    """An entry as the value of a slot."""
    return entry.ljust(ENTRY_BYTES_MAX, b"\0") + len(entry).to_bytes(8, "little")


def account_value(nonce: int, balance: int) -> bytes:
    """An account as the value of a slot."""
    return nonce.to_bytes(8, "little") + balance.to_bytes(8, "little")


def balance_of(value: bytes) -> int:
    """Of the account that is the value of a slot."""
    return int.from_bytes(value[8:16], "little")


def entry_of(value: bytes) -> bytes:
    """The entry that is the value of a slot."""
    return value[: value[ENTRY_BYTES_MAX]]


class EntryTable(HashTable):
    """Entries of the state, by their keys."""

    def __init__(self, seed: int) -> None:
        super().__init__(ENTRIES, seed)

    def put_entries(self, entries: dict[bytes, bytes]) -> None:
        """What is in the state: empty bytes where there is no entry."""
        keys = np.frombuffer(b"".join(entries), np.uint8).reshape(-1, KEY_BYTES)
        rows = [entry_value(entry) for entry in entries.values()]
        self.put(keys, np.frombuffer(b"".join(rows), np.uint8).reshape(-1, ENTRIES.value_bytes))

    def items(self, changed_only: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Keys and entries; empty bytes where there is none."""
        for key, value, changed in zip(self.keys(), self.values(), self.changed(), strict=True):
            if changed or not changed_only:
                yield key.tobytes(), entry_of(value.tobytes())


class AccountTable(HashTable):
    """Balances of addresses. All coins together are fewer than 2^64, so that no sum leaves its 64 bits."""

    def __init__(self, seed: int) -> None:
        super().__init__(ACCOUNTS, seed)
        self._coins = 0

    def put_balances(self, balances: dict[bytes, int]) -> None:
        """Of addresses that are not there yet. Raises ValueError for too many coins."""
        self._coins += sum(balances.values())
        if self._coins > _U64_MAX or min(balances.values(), default=0) < 0:
            raise ValueError(f"{self._coins} coins: 2^64 are too many")
        keys = np.frombuffer(b"".join(balances), np.uint8).reshape(-1, KEY_BYTES)
        held = np.zeros((len(keys), 2), np.uint64)
        held[:, 1] = list(balances.values())
        self.put(keys, held.view(np.uint8))

    def set_contract(self, slot: int, number: int) -> None:
        """Which contract an account is, counted from 1."""
        self._slots[slot, CONTRACT_AT : CONTRACT_AT + 4] = np.frombuffer(
            number.to_bytes(4, "little"), np.uint8
        )

    def items(self, changed_only: bool = False) -> Iterator[tuple[bytes, int]]:
        """Addresses and their coins."""
        held = np.ascontiguousarray(self.values()).view(np.uint64)
        for key, (_, balance), changed in zip(self.keys(), held, self.changed(), strict=True):
            if changed or not changed_only:
                yield key.tobytes(), int(balance)
