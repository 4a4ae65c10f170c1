"""The whole state transition, plainly and serially: the reference that every faster twin must equal.

Validate each transaction, apply it, collect the fees, pay them to the proposer, compute the roots. No floats,
no clock, no dictionary order. Amounts are unsigned 64-bit integers; whatever would leave that range fails.
Signatures are not part of the transition: they are checked beside it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from actors.ledger import merkle, smt
from actors.ledger.hashing import sha256
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


def static_verdict(tx: Transaction, chain_tag: int, height: int) -> Verdict:
    """What can be said without the state. The first check that fails names the verdict."""
    checks = (
        (Verdict.BAD_VERSION, tx.version == ROW_VERSION),
        (Verdict.UNKNOWN_KIND, tx.kind in KNOWN_KINDS),
        (Verdict.BAD_FLAGS, tx.flags == 0),
        (Verdict.WRONG_CHAIN, tx.chain_tag == chain_tag),
        (Verdict.EXPIRED, height <= tx.expiry_height),
        (Verdict.AMOUNT_OVERFLOW, tx.amount + tx.fee <= U64_MAX),
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


def apply_transaction(state: State, tx: Transaction) -> Verdict:
    """Apply one statically valid transfer to `state`, or leave it untouched and say why."""
    sender = state.get(tx.sender, Account())
    if tx.nonce < sender.nonce:
        return Verdict.NONCE_REUSED
    if tx.nonce > sender.nonce:
        return Verdict.NONCE_GAP
    if sender.balance < tx.amount + tx.fee:
        return Verdict.INSUFFICIENT_BALANCE
    paid = Account(sender.nonce + 1, sender.balance - tx.amount - tx.fee)
    recipient = paid if tx.recipient == tx.sender else state.get(tx.recipient, Account())
    if recipient.balance + tx.amount > U64_MAX:
        return Verdict.BALANCE_OVERFLOW
    _put(state, tx.sender, paid)
    _put(state, tx.recipient, Account(recipient.nonce, recipient.balance + tx.amount))
    return Verdict.OK


def _put(state: State, key: bytes, account: Account) -> None:
    """An account that holds nothing and has sent nothing does not exist."""
    if account == Account():
        state.pop(key, None)
    else:
        state[key] = account


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of applying a block: a verdict a row, a receipt for each row that passed, and the fees in total."""

    verdicts: list[Verdict]
    receipts: list[bytes]
    fees: int


def apply_batch(state: State, batch: Batch, chain_tag: int, height: int, proposer: bytes) -> Outcome:
    """Apply the rows in order to `state`; a row that fails changes nothing. Fees go to the proposer last.

    A block is valid only if every row passes; a proposer leaves out those that do not. A receipt is 32 bytes:
    status (0 = applied), fee, and the balances of sender and recipient after the transaction.
    """
    verdicts, receipts, fees = [], [], 0
    for tx in unpack(batch):
        verdict = static_verdict(tx, chain_tag, height)
        if verdict == Verdict.OK and fees + tx.fee > U64_MAX:
            verdict = Verdict.BALANCE_OVERFLOW
        if verdict == Verdict.OK:
            verdict = apply_transaction(state, tx)
        verdicts.append(verdict)
        if verdict == Verdict.OK:
            fees += tx.fee
            after = state.get(tx.sender, Account()).balance, state.get(tx.recipient, Account()).balance
            receipts.append(_RECEIPT.pack(0, tx.fee, *after))
    earned = state.get(proposer, Account())
    if earned.balance + fees > U64_MAX:
        raise OverflowError("the proposer's balance would exceed 2^64-1: the genesis supply is not conserved")
    _put(state, proposer, Account(earned.nonce, earned.balance + fees))
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
