"""The whole state transition, plainly and serially: the reference that every faster twin must equal.

Validate each transaction, apply it, collect the fees, pay them to the proposer, remove what is empty, compute
the roots. What accounts and transactions cost, and which nonces they have: prices.py. No floats, no clock, no
dictionary order. Amounts are unsigned 64-bit integers; whatever would leave that range fails. Signatures are
not part of the transition: they are checked beside it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from actors.ledger import merkle, smt
from actors.ledger.hashing import sha256
from actors.ledger.prices import Prices, first_nonce
from actors.ledger.rows import KNOWN_KINDS, PAYLOAD_BYTES_MAX, ROW_VERSION, Batch
from actors.ledger.verdict import Verdict

U64_MAX = 2**64 - 1
RECEIPT_WORDS = 4
_ACCOUNT = struct.Struct("<QQ")
_RECEIPT = struct.Struct("<QQQQ")


@dataclass(frozen=True, slots=True)
class Account:
    """nonce: the nonce that the account's next transaction must carry."""

    nonce: int = 0
    balance: int = 0

    def encode(self) -> bytes:
        """16 bytes: the value in the state tree."""
        return _ACCOUNT.pack(self.nonce, self.balance)


State = dict[bytes, Account]


@dataclass(frozen=True, slots=True)
class Transaction:
    """One row, unpacked."""

    version: int
    kind: int
    flags: int
    chain_tag: int
    nonce: int
    amount: int
    fee: int
    expiry_height: int
    sender: bytes
    recipient: bytes
    payload_hash: bytes
    payload: bytes


def unpack(batch: Batch) -> list[Transaction]:
    """The rows of a batch as objects, for the reference and for people."""
    offsets = batch.payload_offsets
    return [
        Transaction(
            int(row["version"]),
            int(row["kind"]),
            int(row["flags"]),
            int(row["chain_tag"]),
            int(row["nonce"]),
            int(row["amount"]),
            int(row["fee"]),
            int(row["expiry_height"]),
            row["sender"].tobytes(),
            row["recipient"].tobytes(),
            row["payload_hash"].tobytes(),
            batch.payloads[offsets[i] : offsets[i + 1]].tobytes(),
        )
        for i, row in enumerate(batch.rows)
    ]


def static_verdict(tx: Transaction, chain_tag: int, height: int, prices: Prices) -> Verdict:
    """What can be said without the state. The first check that fails names the verdict."""
    checks = (
        (Verdict.BAD_VERSION, tx.version == ROW_VERSION),
        (Verdict.UNKNOWN_KIND, tx.kind in KNOWN_KINDS),
        (Verdict.BAD_FLAGS, tx.flags == 0),
        (Verdict.WRONG_CHAIN, tx.chain_tag == chain_tag),
        (Verdict.EXPIRED, height <= tx.expiry_height),
        (Verdict.AMOUNT_OVERFLOW, tx.amount + tx.fee <= U64_MAX),
        (Verdict.FEE_BELOW_MINIMUM, tx.fee >= prices.fee_min),
        (Verdict.NONCE_LIMIT, tx.nonce < U64_MAX),
        (
            Verdict.BAD_PAYLOAD,
            len(tx.payload) <= PAYLOAD_BYTES_MAX and tx.payload_hash == payload_hash(tx.payload),
        ),
    )
    return next((verdict for verdict, holds in checks if not holds), Verdict.OK)


def payload_hash(payload: bytes) -> bytes:
    """SHA-256 of a payload; 32 zero bytes stand for no payload."""
    return sha256(payload) if payload else bytes(32)


def account_at(state: State, key: bytes, height: int) -> Account:
    """The account of a key in the block at `height`; one that does not exist holds nothing.

    Within a block an emptied account stands in the state with balance 0, so that its nonces go on.
    """
    held = state.get(key, Account())
    return held if held.balance else Account(max(held.nonce, first_nonce(height)), 0)


def apply_transaction(state: State, tx: Transaction, height: int, prices: Prices) -> Verdict:
    """Apply one statically valid transfer to `state`, or leave it untouched and say why."""
    sender, to_self = account_at(state, tx.sender, height), tx.recipient == tx.sender
    if tx.nonce < sender.nonce:
        return Verdict.NONCE_REUSED
    if not sender.balance:
        return Verdict.INSUFFICIENT_BALANCE
    if tx.nonce > sender.nonce:
        return Verdict.NONCE_GAP
    if sender.balance < tx.amount + tx.fee:
        return Verdict.INSUFFICIENT_BALANCE
    recipient = account_at(state, tx.recipient, height)
    if not to_self and recipient.balance + tx.amount > U64_MAX:
        return Verdict.BALANCE_OVERFLOW
    if not recipient.balance and tx.amount < prices.balance_min:
        return Verdict.RECIPIENT_BELOW_MINIMUM
    left = sender.balance - tx.fee - (0 if to_self else tx.amount)
    if 0 < left < prices.balance_min:
        return Verdict.SENDER_BELOW_MINIMUM
    state[tx.sender] = Account(sender.nonce + 1, left)
    if not to_self:
        state[tx.recipient] = Account(recipient.nonce, recipient.balance + tx.amount)
    return Verdict.OK


def remove_empty(state: State) -> None:
    """An account that holds nothing does not exist."""
    for key in [key for key, account in state.items() if not account.balance]:
        del state[key]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of applying a block: a verdict a row, a receipt for each row that passed, and the fees in total."""

    verdicts: list[Verdict]
    receipts: list[bytes]
    fees: int


def apply_batch(
    state: State, batch: Batch, chain_tag: int, height: int, proposer: bytes, prices: Prices
) -> Outcome:
    """Apply the rows in order to `state`; a row that fails changes nothing. Fees go to the proposer last.

    A block is valid only if every row passes; a proposer leaves out those that do not. A receipt is 32 bytes:
    status (0 = applied), fee, and the balances of sender and recipient after the transaction.
    """
    verdicts, receipts, fees = [], [], 0
    for tx in unpack(batch):
        verdict = static_verdict(tx, chain_tag, height, prices)
        if verdict == Verdict.OK and fees + tx.fee > U64_MAX:
            verdict = Verdict.BALANCE_OVERFLOW
        if verdict == Verdict.OK:
            verdict = apply_transaction(state, tx, height, prices)
        verdicts.append(verdict)
        if verdict == Verdict.OK:
            fees += tx.fee
            after = state.get(tx.sender, Account()).balance, state.get(tx.recipient, Account()).balance
            receipts.append(_RECEIPT.pack(0, tx.fee, *after))
    earned = account_at(state, proposer, height)
    if earned.balance + fees > U64_MAX:
        raise OverflowError("the proposer's balance would exceed 2^64-1: the genesis supply is not conserved")
    if fees:
        state[proposer] = Account(earned.nonce, earned.balance + fees)
    remove_empty(state)
    return Outcome(verdicts, receipts, fees)


def state_root(state: State) -> bytes:
    """Root of the state tree."""
    return smt.root({key: account.encode() for key, account in state.items()})


def receipts_root(receipts: list[bytes]) -> bytes:
    """RFC 9162 root over the receipts."""
    leaves = [sha256(b"\x00" + receipt) for receipt in receipts]
    return merkle.root(np.frombuffer(b"".join(leaves), dtype=np.uint8).reshape(-1, 32))


def supply(state: State) -> int:
    """Sum of all balances: the same after every block."""
    return sum(account.balance for account in state.values())
