"""The transfer, compiled: the fast twin of `transfer.apply_transfer`, over a span of rows."""

from __future__ import annotations

import numpy as np
from numba import njit

from actors.ledger.columns import COUNT, FEES, LOGGED, PASSED, find, look_ahead, make, touch
from actors.ledger.rows import WORD_AMOUNT, WORD_FEE, WORD_NONCE, WORD_RECIPIENT, WORD_SENDER
from actors.ledger.verdict import Verdict

_OK = int(Verdict.OK)
_NONCE_REUSED = int(Verdict.NONCE_REUSED)
_NONCE_GAP = int(Verdict.NONCE_GAP)
_INSUFFICIENT = int(Verdict.INSUFFICIENT_BALANCE)
_OVERFLOW = int(Verdict.BALANCE_OVERFLOW)
_RECIPIENT_BELOW = int(Verdict.RECIPIENT_BELOW_MINIMUM)
_SENDER_BELOW = int(Verdict.SENDER_BELOW_MINIMUM)
_ZERO, _ONE = np.uint64(0), np.uint64(1)


@njit(cache=True)
def _judge(c, words, i, fees, sender, recipient, first_nonce, balance_min):  # type: ignore[no-untyped-def]
    """Verdict of row i, which passed the static checks (so amount + fee does not wrap)."""
    fee, amount = words[i, WORD_FEE], words[i, WORD_AMOUNT]
    if fees + fee < fees:
        return _OVERFLOW
    nonce, balance = first_nonce, _ZERO
    if sender >= 0:
        nonce, balance = c.nonces[sender], c.balances[sender]
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
        held = c.balances[recipient] if recipient >= 0 else _ZERO
        if held + amount < amount:
            return _OVERFLOW
        if held == _ZERO and amount < balance_min:
            return _RECIPIENT_BELOW
    if left != _ZERO and left < balance_min:
        return _SENDER_BELOW
    return _OK


@njit(cache=True, nogil=True)
def run_transfers(c, words, verdicts, homes, first_nonce, balance_min):  # type: ignore[no-untyped-def]
    """Apply the rows whose verdict is 0, as columns.py says. c: Columns. homes: (rows, 2)."""
    count, logged = np.int64(c.totals[COUNT]), np.int64(c.totals[LOGGED])
    passed, fees = np.int64(c.totals[PASSED]), c.totals[FEES]
    for i in range(len(words)):
        look_ahead(c, homes, i, 2)
        if verdicts[i] != _OK:
            continue
        sender = find(c, words, i, WORD_SENDER, homes[i, 0])
        recipient = find(c, words, i, WORD_RECIPIENT, homes[i, 1])
        verdicts[i] = _judge(c, words, i, fees, sender, recipient, first_nonce, balance_min)
        if verdicts[i] != _OK:
            continue
        fee, amount = words[i, WORD_FEE], words[i, WORD_AMOUNT]
        if recipient < 0:
            recipient = make(c, words, i, WORD_RECIPIENT, homes[i, 1], count)
            count += 1
        wave = max(c.waves[sender], c.waves[recipient]) + 1
        c.widths[wave] += 1
        logged = touch(c, sender, wave, logged)
        c.nonces[sender] += _ONE
        c.balances[sender] -= amount + fee
        logged = touch(c, recipient, wave, logged)
        if c.balances[recipient] == _ZERO and recipient != sender:
            c.nonces[recipient] = max(c.nonces[recipient], first_nonce)
        c.balances[recipient] += amount
        fees += fee
        c.receipts[passed, 0] = _ZERO
        c.receipts[passed, 1] = fee
        c.receipts[passed, 2] = c.balances[sender]
        c.receipts[passed, 3] = c.balances[recipient]
        passed += 1
    c.totals[COUNT], c.totals[LOGGED], c.totals[PASSED], c.totals[FEES] = count, logged, passed, fees
