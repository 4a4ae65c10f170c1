"""What the compiled loop over a job's rows is given besides the record of a call (native/layout.py).

Fields of 64 bits, as there. What is counted or summed goes on where the loop stopped, when it runs again.
"""

from __future__ import annotations

BLOCK = (
    "rows",  # and payloads, in row order; the number of the next row, and where its payload is
    "rows_count",
    "payloads",
    "next_row",
    "payload_at",
    "fee_min",  # prices
    "balance_min",
    "gas_per_unit",
    "entry_deposit",
    "gas_max",
    "gas_left",  # of the block
    "gas_used",
    "fees",
    "contracts",  # records, by the numbers that accounts have
    "deposits",  # the account of deposits, or 0 if it is not known, and its key
    "deposits_key",
    "verdicts",  # columns: of rows; of those that passed; of calls among them
    "receipts",
    "passed",
    "places",
    "gas",
    "result_ends",
    "event_ends",
    "messages",
    "calls",
    "results",  # of all calls, one behind the other
    "results_max",
    "results_used",
    "window",  # of rows that come next, what was found for each (WINDOW_ROW); the hints of all of them
    "window_begin",
    "window_end",
    "hints",
)
WINDOW_ROW = ("sender", "recipient", "hints", "hints_end")
"""Slots, or 0; and where its hints are (contracts/native/layout.HINT)."""
NO_MESSAGE = 0xFFFFFFFF
MESSAGE_BITS = 8
"""A message is the number of its contract, and below these bits its own there."""
