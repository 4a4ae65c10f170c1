"""What compiled code and Python agree on: records of 64-bit fields, slots of tables, and how a call ended.

1. Addresses are those of NumPy arrays that outlive the call. What holds one value for each call is a column.
2. A slot of a table is a key of 32 bytes; its value; the number of the call that has journalled it last; and
   whether a call has changed it. An entry's value is its bytes, zeros behind them, and how many they are:
   none is no entry, and all of it is zero then. An account's value is its balance.
3. A record of the journal is the address of a slot and its value before the call.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from actors.contracts.limits import ENTRY_BYTES_MAX

CALL = (
    "entries",  # the tables
    "accounts",
    "rows",  # calls, and the number of the next one
    "next_row",
    "stopped",  # why the loop ended before the last one (Stop), else 0
    "key",  # where the key is made that is looked for; then the one that was missing
    "row",  # where a row of a table of several entries is put together
    "message",  # where is what is hashed
    "frames",  # arrays, and what functions hand to each other
    "arguments",  # columns: of arguments, senders, origins, coins, limits of gas
    "arguments_step",
    "senders",
    "origins",
    "amounts",
    "gas",
    "sender",  # of the call that runs
    "origin",
    "amount",
    "contract",  # of all calls
    "height",
    "time_ms",
    "failures",  # columns: failure, message, gas, results, entries created and removed
    "messages",
    "gas_used",
    "results",
    "results_step",
    "created",
    "removed",
    "events",  # of all calls, one behind the other: the number of the event, and its fields
    "events_max",
    "events_used",
    "events_of_call",  # how many the call that runs has emitted
    "event_ends",  # a column: where the events of a call end
)
"""What the loop is given."""

TABLE = (
    "slots",
    "used",
    "index",  # at a key's hash, or behind it: the number of its slot, counted from 1
    "mask",
    "hash_key_0",
    "hash_key_1",
    "stamp",  # number of the call that runs
    "journal",
    "journal_max",
    "journal_used",
)
"""A table."""

KEY_BYTES = 32


class SlotShape(NamedTuple):
    """Slots of a table."""

    name: str
    slot_bytes: int
    value_bytes: int

    @property
    def stamp_at(self) -> int:
        """Where the number of the call is."""
        return KEY_BYTES + self.value_bytes

    @property
    def changed_at(self) -> int:
        """Where it says whether a call has changed it."""
        return self.stamp_at + 8

    @property
    def record_bytes(self) -> int:
        """Bytes of a record of the journal."""
        return 8 + self.value_bytes


ENTRIES = SlotShape("entries", 128, ENTRY_BYTES_MAX + 8)
ACCOUNTS = SlotShape("accounts", 64, 8)
VALUE_AT = KEY_BYTES
WIDTH_AT = VALUE_AT + ENTRY_BYTES_MAX


class Stop(IntEnum):
    """Why the loop ended before a call, which has left nothing. Failures have smaller numbers."""

    MISSING_ENTRY = 0xF0  # of the key that is told
    MISSING_ACCOUNT = 0xF1
    NO_ROOM = 0xF2  # in a journal, or for events
    MALFORMED_ENTRY = 0xF3  # it is not as long as what is kept there


STATUS_BITS = 8
"""A status is 0, a Stop or a failure, with the number of its message above these bits."""
