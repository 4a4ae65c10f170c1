"""The transfer, plainly: `amount` from sender to recipient. Its compiled twin is in transfer_columns.py."""

from __future__ import annotations

from actors.ledger.accounts import U64_MAX, Account, State, Transaction, account_at
from actors.ledger.environment import Environment
from actors.ledger.verdict import Verdict


def apply_transfer(state: State, tx: Transaction, env: Environment) -> Verdict:
    """Apply one statically valid transfer to `state`, or leave it untouched and say why."""
    balance_min = env.prices.balance_min
    sender, to_self = account_at(state, tx.sender, env.height), tx.recipient == tx.sender
    if tx.nonce < sender.nonce:
        return Verdict.NONCE_REUSED
    if not sender.balance:
        return Verdict.INSUFFICIENT_BALANCE
    if tx.nonce > sender.nonce:
        return Verdict.NONCE_GAP
    if sender.balance < tx.amount + tx.fee:
        return Verdict.INSUFFICIENT_BALANCE
    recipient = account_at(state, tx.recipient, env.height)
    if not to_self and recipient.balance + tx.amount > U64_MAX:
        return Verdict.BALANCE_OVERFLOW
    if not recipient.balance and tx.amount < balance_min:
        return Verdict.RECIPIENT_BELOW_MINIMUM
    left = sender.balance - tx.fee - (0 if to_self else tx.amount)
    if 0 < left < balance_min:
        return Verdict.SENDER_BELOW_MINIMUM
    state[tx.sender] = Account(sender.nonce + 1, left)
    if not to_self:
        state[tx.recipient] = Account(recipient.nonce, recipient.balance + tx.amount)
    return Verdict.OK
