"""Bounds of what a contract may be and do. All are part of the protocol: members must agree on them."""

from __future__ import annotations

SOURCE_BYTES_MAX = 64 * 1024
PROGRAM_BYTES_MAX = 32 * 1024
NAME_CHARS_MAX = 48
MESSAGE_BYTES_MAX = 64
FUNCTIONS_MAX = 64
PARAMS_MAX = 32
RESULTS_MAX = 16
REGISTERS_MAX = 256
FRAME_BYTES_MAX = 8 * 1024
OPERATIONS_MAX = 4096  # of a program, nested ones counted
OPERANDS_MAX = 32  # of one operation
NESTING_MAX = 16
CALL_DEPTH_MAX = 8  # of functions within a contract
CONTRACTS_DEPTH_MAX = 4  # of contracts that call contracts, the first counted
LOOP_ITERATIONS_MAX = 1024  # of one loop
STEPS_MAX = 1 << 20  # operations of one call at worst, loops and calls multiplied out, other contracts apart
TABLES_MAX = 32
KEYS_MAX = 4
KEY_BYTES_MAX = 128
COLUMNS_MAX = 32
VALUE_BYTES_MAX = 512
ENTRY_BYTES_MAX = 64  # a longer value is stored as several entries
EVENTS_MAX = 32
EVENT_BYTES_MAX = 512
IMPORTS_MAX = 8
MESSAGES_MAX = 128
ARRAY_MAX = 256
BYTES_MAX = 64  # N of Bytes[N]
ARGUMENTS_BYTES_MAX = 2048
EVENTS_PER_CALL_MAX = 64
ENTRY_TAG = b"entry\x00\x00\x00"
"""What the keys of entries begin with, and no account's key: so that neither can take the other's place."""
