"""The state transition over columns, compiled: the fast twin of `rules.apply_batch`.

Rules, in the order that decides which verdict a row gets: static checks, total of fees, nonce used, whether
there is a sender, nonce too high, balance of the sender, balance of the recipient, what either may have at
least. Rows apply in block order, a row that fails changes nothing, and the fees go to the proposer after the
last row. An account exists while its balance is not zero (ledger/prices.py); the slot of one that was emptied
stays, with its last nonce, and is taken up again when the account is made anew.

Theory of operation: one pass over the rows. The first time a row writes an account, the account's slot and
old values go to the undo log, so the log holds each touched account once. Slots for new accounts are taken
only by rows that pass. Undo writes the old values back and gives the new slots back, which restores the
columns and the index exactly.

Accounts lie at random in columns that exceed the caches, so the pass looks ahead: for a row FAR ahead it asks
for the places in the key table, for a row NEAR ahead for what stands in the slots found there.

Conflicts. A row reads and writes its sender's nonce and balance and its recipient's balance; whatever two
rows share of these orders them. The wave of a row is one more than the latest wave of an earlier row that
touched one of its accounts: the longest chain of conflicts that ends in it. Rows of one wave are independent
of each other. `Conflicts` counts them; fees, which all go to one account, are summed aside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from actors.ledger.checks import static_verdicts
from actors.ledger.index import KEY_WORDS, find_slot, home_of, insert_slot
from actors.ledger.prices import FREE, Prices, first_nonce
from actors.ledger.rows import (
    KIND_TRANSFER,
    ROW_DTYPE,
    ROW_VERSION,
    WORD_AMOUNT,
    WORD_FEE,
    WORD_NONCE,
    WORD_RECIPIENT,
    WORD_SENDER,
    Batch,
)
from actors.ledger.rules import RECEIPT_WORDS
from actors.ledger.verdict import Verdict
from actors.storage.accounts import Accounts
from actors.storage.prefetch import prefetch

_OK = int(Verdict.OK)
_NONCE_REUSED = int(Verdict.NONCE_REUSED)
_NONCE_GAP = int(Verdict.NONCE_GAP)
_INSUFFICIENT = int(Verdict.INSUFFICIENT_BALANCE)
_OVERFLOW = int(Verdict.BALANCE_OVERFLOW)
_RECIPIENT_BELOW = int(Verdict.RECIPIENT_BELOW_MINIMUM)
_SENDER_BELOW = int(Verdict.SENDER_BELOW_MINIMUM)
_ZERO, _ONE = np.uint64(0), np.uint64(1)
FAR, NEAR = 24, 12
PARTIES = (WORD_SENDER, WORD_RECIPIENT)


@njit(cache=True, inline="always")
def _log(slot, nonces, balances, waves, log_slots, log_values, logged):  # type: ignore[no-untyped-def]
    """Keep the old values of an account that this block has not touched before. Returns how many are kept."""
    if waves[slot] == 0:
        log_slots[logged] = slot
        log_values[logged, 0] = nonces[slot]
        log_values[logged, 1] = balances[slot]
        logged += 1
    return logged


@njit(cache=True, nogil=True)
def _find_homes(words, table, hash_key, homes):  # type: ignore[no-untyped-def]
    """homes[i]: where in the key table the searches for sender and recipient of row i begin."""
    for i in range(len(words)):
        for party in range(2):
            at = PARTIES[party]
            homes[i, party] = home_of(
                table, hash_key, words[i, at], words[i, at + 1], words[i, at + 2], words[i, at + 3]
            )


@njit(cache=True, inline="always")
def _look_ahead(homes, i, table, keys, nonces, balances, waves):  # type: ignore[no-untyped-def]
    """Ask for what rows FAR and NEAR behind row i will need."""
    if i + FAR < len(homes):
        prefetch(table, homes[i + FAR, 0])
        prefetch(table, homes[i + FAR, 1])
    if i + NEAR < len(homes):
        for party in range(2):
            slot = np.int64(table[homes[i + NEAR, party]])
            if slot >= 0:
                prefetch(keys, slot)
                prefetch(nonces, slot)
                prefetch(balances, slot)
                prefetch(waves, slot)


@njit(cache=True, inline="always")
def _find(words, i, at, table, keys, home):  # type: ignore[no-untyped-def]
    """Slot of the key in row i from word `at` on, or -1."""
    return find_slot(table, keys, home, words[i, at], words[i, at + 1], words[i, at + 2], words[i, at + 3])


@njit(cache=True, inline="always")
def _insert(words, i, at, table, keys, count, home):  # type: ignore[no-untyped-def]
    return insert_slot(
        table, keys, count, home, words[i, at], words[i, at + 1], words[i, at + 2], words[i, at + 3]
    )


@njit(cache=True)
def _judge(words, i, fees, sender, recipient, nonces, balances, first_nonce, balance_min):  # type: ignore[no-untyped-def]
    """Verdict of row i, which passed the static checks (so amount + fee does not wrap)."""
    fee, amount = words[i, WORD_FEE], words[i, WORD_AMOUNT]
    if fees + fee < fees:
        return _OVERFLOW
    nonce, balance = first_nonce, _ZERO
    if sender >= 0:
        nonce, balance = nonces[sender], balances[sender]
        if balance == _ZERO:
            nonce = max(nonce, first_nonce)
    if words[i, WORD_NONCE] < nonce:
        return _NONCE_REUSED
    if balance == _ZERO:
        return _INSUFFICIENT
    if words[i, WORD_NONCE] != nonce:
        return _NONCE_GAP
    if balance < amount + fee:
        return _INSUFFICIENT
    left = balance - fee
    if recipient != sender:
        left -= amount
        held = balances[recipient] if recipient >= 0 else _ZERO
        if held + amount < amount:
            return _OVERFLOW
        if held == _ZERO and amount < balance_min:
            return _RECIPIENT_BELOW
    if left != _ZERO and left < balance_min:
        return _SENDER_BELOW
    return _OK


@njit(cache=True, nogil=True)
def _run(  # type: ignore[no-untyped-def]
    words,
    verdicts,
    table,
    keys,
    count,
    homes,
    nonces,
    balances,
    waves,
    log_slots,
    log_values,
    receipts,
    widths,
    first_nonce,
    balance_min,
):
    """Apply the rows whose verdict is 0, fees aside. Returns (count, logged, passed, fees).

    widths[w]: rows in wave w; all zero before.
    """
    logged, passed, fees = 0, 0, _ZERO
    for i in range(len(words)):
        _look_ahead(homes, i, table, keys, nonces, balances, waves)
        if verdicts[i] != _OK:
            continue
        sender = _find(words, i, WORD_SENDER, table, keys, homes[i, 0])
        recipient = _find(words, i, WORD_RECIPIENT, table, keys, homes[i, 1])
        verdicts[i] = _judge(words, i, fees, sender, recipient, nonces, balances, first_nonce, balance_min)
        if verdicts[i] != _OK:
            continue
        fee, amount = words[i, WORD_FEE], words[i, WORD_AMOUNT]
        if recipient < 0:
            recipient = _insert(words, i, WORD_RECIPIENT, table, keys, count, homes[i, 1])
            count += 1
        wave = max(waves[sender], waves[recipient]) + 1
        widths[wave] += 1
        logged = _log(sender, nonces, balances, waves, log_slots, log_values, logged)
        waves[sender] = wave
        nonces[sender] += _ONE
        balances[sender] -= amount + fee
        logged = _log(recipient, nonces, balances, waves, log_slots, log_values, logged)
        waves[recipient] = wave
        if balances[recipient] == _ZERO and recipient != sender:
            nonces[recipient] = max(nonces[recipient], first_nonce)
        balances[recipient] += amount
        fees += fee
        receipts[passed, 0] = _ZERO
        receipts[passed, 1] = fee
        receipts[passed, 2] = balances[sender]
        receipts[passed, 3] = balances[recipient]
        passed += 1
    return count, logged, passed, fees


@njit(cache=True, nogil=True)
def _pay(  # type: ignore[no-untyped-def]
    proposer,
    fees,
    table,
    keys,
    count,
    hash_key,
    nonces,
    balances,
    waves,
    log_slots,
    log_values,
    logged,
    first_nonce,
):
    """Give the fees to the proposer. Returns (count, logged, whether they do not fit the balance)."""
    home = home_of(table, hash_key, proposer[0, 0], proposer[0, 1], proposer[0, 2], proposer[0, 3])
    earner = _find(proposer, 0, 0, table, keys, home)
    overflows = earner >= 0 and balances[earner] + fees < fees
    if fees != _ZERO and not overflows:
        if earner < 0:
            earner = _insert(proposer, 0, 0, table, keys, count, home)
            count += 1
        logged = _log(earner, nonces, balances, waves, log_slots, log_values, logged)
        if balances[earner] == _ZERO:
            nonces[earner] = max(nonces[earner], first_nonce)
        balances[earner] += fees
    for k in range(logged):
        waves[log_slots[k]] = 0
    return count, logged, overflows


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Rows of a block that passed, by what they share with others.

    parallel: rows that can run beside another one, serial: rows alone in their wave, waves: the longest chain
    of rows each of which needs the one before.
    """

    parallel: int = 0
    serial: int = 0
    waves: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class AccountUndo:
    """What a block changed: (m,) int64 slots in ascending order, (m, 2) uint64 old nonces and balances.

    count: accounts before the block. Slots from `count` on are accounts that the block made.
    """

    count: int
    slots: NDArray[np.int64]
    values: NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """verdicts: (n,) uint8. receipts: (passed, 4) uint64. fees: total of the rows that passed."""

    verdicts: NDArray[np.uint8]
    receipts: NDArray[np.uint64]
    fees: int
    undo: AccountUndo
    conflicts: Conflicts


def apply_batch(
    accounts: Accounts, batch: Batch, chain_tag: int, height: int, proposer: bytes, prices: Prices
) -> Applied:
    """Apply a batch to `accounts` exactly as `rules.apply_batch` does to a dictionary.

    Raises OverflowError, with `accounts` as before, when the fees do not fit the proposer's balance.
    """
    rows = len(batch)
    verdicts = static_verdicts(batch, chain_tag, height, prices)
    accounts.reserve(2 * rows + 1)
    before, index = accounts.count, accounts.index
    log_slots = np.empty(2 * rows + 1, dtype=np.int64)
    log_values = np.empty((2 * rows + 1, 2), dtype=np.uint64)
    receipts = np.empty((rows, RECEIPT_WORDS), dtype=np.uint64)
    earner = np.frombuffer(proposer, dtype=np.uint64).reshape(1, KEY_WORDS)
    columns = (accounts.nonces, accounts.balances, accounts.waves)
    widths = np.zeros(rows + 2, dtype=np.int32)
    first = np.uint64(first_nonce(height))
    homes = np.empty((rows, 2), dtype=np.uint64)
    _find_homes(batch.words, index.table, index.hash_key, homes)
    count, logged, passed, fees = _run(
        batch.words, verdicts, index.table, index.keys, before, homes, *columns,
        log_slots, log_values, receipts, widths, first, np.uint64(prices.balance_min),
    )  # fmt: skip
    index.count, logged, overflows = _pay(
        earner, np.uint64(fees), index.table, index.keys, count, index.hash_key, *columns,
        log_slots, log_values, logged, first,
    )  # fmt: skip
    order = np.argsort(log_slots[:logged])
    undo = AccountUndo(before, log_slots[:logged][order], log_values[:logged][order])
    if overflows:
        undo_batch(accounts, undo)
        raise OverflowError("the proposer's balance would exceed 2^64-1: the genesis supply is not conserved")
    alone = int(np.count_nonzero(widths == 1))
    conflicts = Conflicts(passed - alone, alone, int(np.count_nonzero(widths)))
    return Applied(verdicts, receipts[:passed], int(fees), undo, conflicts)


def undo_batch(accounts: Accounts, undo: AccountUndo) -> None:
    """Put `accounts` back to what they were before the block. Blocks are undone last first."""
    accounts.nonces[undo.slots] = undo.values[:, 0]
    accounts.balances[undo.slots] = undo.values[:, 1]
    accounts.truncate(undo.count)


def warm() -> None:
    """Compile the kernels for the two layouts of rows they meet: writable, and read-only out of Ray."""
    for writeable in (True, False):
        rows = np.zeros(1, dtype=ROW_DTYPE)
        rows["version"], rows["kind"] = ROW_VERSION, KIND_TRANSFER
        rows.flags.writeable = writeable
        accounts = Accounts(16, 0)
        undo_batch(
            accounts, apply_batch(accounts, Batch(rows, np.empty(0, np.uint8)), 0, 0, bytes(32), FREE).undo
        )
        keys, column = rows["sender"].copy(), np.ones(1, dtype=np.uint64)
        keys.flags.writeable = writeable
        accounts.put(keys, column, column)
        accounts.find(bytes(32))
        accounts.columns_at(np.zeros(1, dtype=np.int64))
        accounts.index.rebuild()
