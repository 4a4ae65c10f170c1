"""What compiled code and Python agree on: records of 64-bit fields, slots of tables, and how a call ended.

1. Addresses are those of NumPy arrays that outlive the call. What holds one value for each call is a column.
2. A slot of a table is a key of 32 bytes; its value; the number of the call that has journalled it last
   (u64); whether a call has changed it (u32); and of an account the contract that it is
   (u32). An entry's value is its bytes, zeros behind them, and how many they are: none is no entry, and all
   of it is zero then. An account's value is its nonce and its balance.
3. A record of the journal is the address of a slot and its value before the call.
4. A contract is a record that begins with its address. It knows its public functions, and what each of its
   imports leads to. Those of the contract that runs are in the record of the call, and are changed while
   another one runs that it calls.
5. What all programs need, the search in tables and hashing, is compiled once (runtime.py) and called by its
   address, which the record of the call has.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from actors.contracts.limits import ENTRY_BYTES_MAX

CALL = (
    "entries",  # the tables
    "accounts",
    "sha256",  # addresses of what the runtime does: see hashing.py, seeking.py and table_code.py
    "sha256_pair",
    "seek_entry",
    "balance",
    "move_coins",
    "count_entries",
    "find_accounts",
    "undo_entries",
    "undo_accounts",
    "suppose_account",
    "is_supposing",  # whether what is missing is put in as if it were absent, while there is room
    "function",  # of all calls: its address, and the contract's record
    "contract_called",
    "frames_begin",
    "rows",  # calls, and the number of the next one
    "next_row",
    "stopped",  # why the loop ended before the last one (Stop), else 0
    "key",  # where the key is made that is looked for; then the one that was missing
    "hints",  # rows that were looked for before the call (HINT), and where they end
    "hints_end",
    "row",  # where a row of a table of several entries is put together
    "message",  # where is what is hashed
    "arguments",  # columns: of arguments, senders, origins, coins, limits of gas
    "arguments_step",
    "senders",
    "origins",
    "amounts",
    "gas",
    "sender",  # of the contract that runs: who called it, coins, itself, its depth, and where its frames are:
    "amount",  # arrays, and what functions hand to each other
    "contract",
    "depth",
    "frames",
    "origin",
    "height",
    "time_ms",
    "first_nonce",  # of an account that comes to be
    "failures",  # columns: failure, its message and contract, gas, results, entries created and removed
    "messages",
    "failed_in",
    "gas_used",
    "results",
    "results_step",
    "created",
    "removed",
    "events",  # of all calls, one behind the other: contract, number u8, width u16, fields
    "events_max",
    "events_used",
    "events_of_call",  # how many the call that runs has emitted
    "event_ends",  # a column: where the events of a call end
)
"""What the loop is given."""

CONTRACT_FACTS = ("sender", "amount", "contract", "depth", "frames")
"""What is another one's while another contract runs."""
CONTRACT = (
    *("address", "", "", ""),
    "number",  # in the list of those that are linked
    "functions",  # by their numbers
    "functions_count",
    "links",  # by the numbers of its imports
)
"""A contract."""
PUBLIC_FUNCTION = (
    "code",
    "arguments_bytes",
    "results_bytes",
    "accepts_coins",
    "hints_code",  # see hints.py
    "hints_count",
    "",
    "",
)
"""A function of a contract; its code is 0 if nobody else may call it."""
HINT_MESSAGE_BYTES = 192
HINT = (*[""] * (HINT_MESSAGE_BYTES // 8), "slot", "blocks", "first", *[""] * 5)
"""An entry that a call is likely to look for: the message whose hash is its key, its slot or 0, how many
blocks the message has, and where the search for its key began."""
HINT_KEY_AT = HINT_MESSAGE_BYTES + 24
LINK = ("failure", "contract", "code")
"""What an import leads to, or why to nothing."""
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
    "written",  # numbers of slots that calls have changed, in the order in which they first did (u32)
    "written_used",
    "room",  # slots that there is memory for
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
ACCOUNTS = SlotShape("accounts", 64, 16)
VALUE_AT = KEY_BYTES
NONCE_AT, BALANCE_AT = VALUE_AT, VALUE_AT + 8
CONTRACT_AT, NO_CONTRACT = 60, 0xFFFFFFFF
"""In a slot of an account: a number from 1, or that it is none; 0 if that is not known."""
WIDTH_AT = VALUE_AT + ENTRY_BYTES_MAX


class Stop(IntEnum):
    """Why the loop ended before a call, which has left nothing. Failures have smaller numbers."""

    MISSING_ENTRY = 0xF0  # of the key that is told
    MISSING_ACCOUNT = 0xF1
    NO_ROOM = 0xF2  # in a journal, or for events
    MALFORMED_ENTRY = 0xF3  # it is not as long as what is kept there
    UNKNOWN_PROGRAM = 0xF4  # of an account that is called: whether it is a contract


EVENT_HEAD_BYTES = KEY_BYTES + 3
"""Of an event, before its fields: contract, number u8, and how many bytes they are, u16."""
STATUS_BITS = 8
"""A status is 0, a Stop or a failure, with the number of its message above these bits."""
