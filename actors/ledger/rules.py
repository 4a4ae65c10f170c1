"""The whole state transition, plainly and serially: the reference that every faster twin must equal.

A block: it follows its parent (succession.py), its body is the one that its header commits to, every
transaction is valid and applied as its kind says (kinds.py), the fees go to the proposer, what is empty goes,
and the roots are those of the header. What accounts and transactions cost, and which nonces they have:
prices.py. No floats, no clock, no dictionary order. Amounts are unsigned 64-bit integers; whatever would
leave that range fails. Signatures are not part of the transition: they are checked beside it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from actors.contracts.limits import ENTRY_TAG
from actors.ledger import merkle
from actors.ledger.accounts import (
    RECEIPT_WORDS,
    U64_MAX,
    Account,
    Entries,
    State,
    Transaction,
    account_at,
    payload_hash,
    remove_empty,
    state_root,
    unpack,
)
from actors.ledger.block import Block, Header
from actors.ledger.contract_rules import RowApplied
from actors.ledger.environment import Environment
from actors.ledger.genesis import Genesis
from actors.ledger.governed_payloads import is_approved
from actors.ledger.governed_rules import apply_governed, is_governed
from actors.ledger.hashing import sha256
from actors.ledger.kinds import KINDS, CompiledRule, PairedRule
from actors.ledger.ledger_view import PlainLedger
from actors.ledger.rows import ROW_VERSION, WORD_SENDER, Batch
from actors.ledger.succession import Parent, succession_fault
from actors.ledger.verdict import Verdict

_RECEIPT = struct.Struct("<QQQQ")
assert _RECEIPT.size == 8 * RECEIPT_WORDS


def static_verdict(tx: Transaction, env: Environment) -> Verdict:
    """What can be said without the state. The first check that fails names the verdict."""
    kind = KINDS.get(tx.kind)
    if tx.version != ROW_VERSION:
        return Verdict.BAD_VERSION
    if kind is None:
        return Verdict.UNKNOWN_KIND
    checks = (
        (Verdict.BAD_FLAGS, tx.flags == 0),
        (Verdict.WRONG_CHAIN, tx.chain_tag == env.chain_tag),
        (Verdict.EXPIRED, env.height <= tx.expiry_height),
        (Verdict.AMOUNT_OVERFLOW, tx.amount + tx.fee <= U64_MAX),
        (Verdict.FEE_BELOW_MINIMUM, tx.fee >= kind.fee_min(tx, env.prices)),
        (Verdict.NONCE_LIMIT, tx.nonce < U64_MAX),
        (
            Verdict.BAD_PAYLOAD,
            len(tx.payload) <= kind.payload_bytes_max and tx.payload_hash == payload_hash(tx.payload),
        ),
        (Verdict.RESERVED_KEY, not (tx.sender.startswith(ENTRY_TAG) or tx.recipient.startswith(ENTRY_TAG))),
    )
    failed = next((verdict for verdict, holds in checks if not holds), Verdict.OK)
    failed = failed or kind.check(tx)
    if not failed and kind.governed and not is_approved(tx, env.governors):
        return Verdict.NOT_APPROVED
    return failed


def apply_transaction(
    state: State, tx: Transaction, env: Environment, entries: Entries | None = None, gas_used: int = 0
) -> RowApplied:
    """Apply one statically valid transaction to the state, or leave it untouched and say why.

    gas_used: by the rows of the block before it.
    """
    rule = KINDS[tx.kind].rule
    if isinstance(rule, CompiledRule):
        verdict = rule.apply(state, tx, env)
        return RowApplied(verdict, 0 if verdict else tx.fee)
    if isinstance(rule, PairedRule):
        return RowApplied(rule.elsewhere)
    ledger = PlainLedger(state, {} if entries is None else entries)
    return rule.apply(ledger, tx, env, env.prices.block_gas_max - gas_used)


def touched(tx: Transaction) -> list[bytes]:
    """Keys of the accounts that a transaction of a known kind may read or write, sender first."""
    return [tx.sender if word == WORD_SENDER else tx.recipient for word in KINDS[tx.kind].touches]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of applying a block: a verdict a row, a receipt for each row that passed, and the fees in total.

    applied: what came of each row that passed.
    """

    verdicts: list[Verdict]
    receipts: list[bytes]
    fees: int
    applied: list[RowApplied]


def apply_batch(state: State, batch: Batch, env: Environment, entries: Entries | None = None) -> Outcome:
    """Apply the rows in order to `state` and `entries`; a row that does not pass changes nothing. Fees go to
    the proposer last.

    A block is valid only if every row passes; a proposer leaves out those that do not. A receipt is 32 bytes:
    status (0, or why a call has failed), fee, and the balances of sender and recipient after the transaction;
    of a serial kind it goes on with the report of its output (receipts.py).
    """
    if is_governed(batch):
        return _governed(state, batch, env)
    verdicts, receipts, passed, fees, gas_used = [], [], list[RowApplied](), 0, 0
    entries = {} if entries is None else entries
    for tx in unpack(batch):
        verdict = static_verdict(tx, env)
        if verdict == Verdict.OK and fees + tx.fee > U64_MAX:
            verdict = Verdict.BALANCE_OVERFLOW
        applied = RowApplied(verdict)
        if verdict == Verdict.OK:
            applied = apply_transaction(state, tx, env, entries, gas_used)
        verdicts.append(applied.verdict)
        if applied.verdict == Verdict.OK:
            fees, gas_used = fees + applied.fee, gas_used + applied.gas
            passed.append(applied)
            receipts.append(receipt(state, tx, env, applied))
    _pay(state, env, fees)
    return Outcome(verdicts, receipts, fees, passed)


def _governed(state: State, batch: Batch, env: Environment) -> Outcome:
    """A block of a governed function and its effects."""
    rows = unpack(batch)
    verdicts = [static_verdict(tx, env) for tx in rows]
    if verdicts[0]:
        return Outcome([verdicts[0], verdicts[1] or Verdict.BAD_EFFECTS], [], 0, [])
    if verdicts[1]:
        return Outcome([Verdict.NEEDS_EFFECTS, verdicts[1]], [], 0, [])
    applied = apply_governed(state, rows[0], batch.ids()[0].tobytes(), rows[1], env)
    passed = [each for each in applied if each.verdict == Verdict.OK]
    receipts = [receipt(state, tx, env, each) for tx, each in zip(rows, passed, strict=False)]
    fees = sum(each.fee for each in passed)
    _pay(state, env, fees)
    return Outcome([each.verdict for each in applied], receipts, fees, passed)


def _pay(state: State, env: Environment, fees: int) -> None:
    """Give the fees to the proposer, and remove what holds nothing."""
    earned = account_at(state, env.proposer, env.height)
    if earned.balance + fees > U64_MAX:
        raise OverflowError("the proposer's balance would exceed 2^64-1: the genesis supply is not conserved")
    if fees:
        state[env.proposer] = Account(earned.nonce, earned.balance + fees)
    remove_empty(state)


def receipt(state: State, tx: Transaction, env: Environment, applied: RowApplied) -> bytes:
    """Of a row that passed, on the state right after it."""
    after = [account_at(state, key, env.height).balance for key in touched(tx)]
    own = _RECEIPT.pack(applied.status, applied.fee, *[*after, 0][:2])
    return own if isinstance(KINDS[tx.kind].rule, CompiledRule) else own + applied.output(0).report()


def receipts_root(receipts: list[bytes]) -> bytes:
    """RFC 9162 root over the receipts."""
    leaves = [sha256(b"\x00" + receipt) for receipt in receipts]
    return merkle.root(np.frombuffer(b"".join(leaves), dtype=np.uint8).reshape(-1, 32))


class InvalidBlockError(ValueError):
    """A block that no correct member makes; the message says what is wrong with it."""


def apply_block(
    state: State, parent: Parent, block: Block, genesis: Genesis, entries: Entries | None = None
) -> Outcome:
    """Make `state` that of after `block`, or raise InvalidBlockError. Signatures are checked beside it."""
    entries = {} if entries is None else entries
    header, batch = block.header, block.batch
    _require(succession_fault(header, parent))
    _require(body_fault(header, batch, genesis))
    outcome = apply_batch(state, batch, environment_of(header, genesis), entries)
    refused = [(row, verdict) for row, verdict in enumerate(outcome.verdicts) if verdict != Verdict.OK]
    _require(f"row {refused[0][0]} is {refused[0][1].name}" if refused else "")
    _require(_root_fault("receipts_root", header.receipts_root, receipts_root(outcome.receipts)))
    _require(_root_fault("state_root", header.state_root, state_root(state, entries)))
    return outcome


def environment_of(header: Header, genesis: Genesis) -> Environment:
    """What the rows of this header's block see."""
    prices, governors = genesis.prices, genesis.governed_by
    return Environment(genesis.chain_tag, header.height, header.proposer, prices, header.time_ms, governors)


def body_fault(header: Header, batch: Batch, genesis: Genesis) -> str:
    """Why these transactions are not the body that the header commits to, or nothing."""
    if header.proposer not in genesis.member_keys:
        return "the proposer is no member of the genesis"
    if header.transaction_count != len(batch) or header.payload_bytes != len(batch.payloads):
        return f"it counts {header.transaction_count} transactions and {header.payload_bytes} payload bytes"
    if len(batch) > genesis.block_transactions_max or len(batch.payloads) > genesis.block_payload_bytes_max:
        return "it is larger than the genesis allows"
    return _root_fault("transaction_root", header.transaction_root, merkle.root(batch.ids()))


def _root_fault(name: str, said: bytes, computed: bytes) -> str:
    return "" if said == computed else f"{name} is {said.hex()}, computed {computed.hex()}"


def _require(fault: str) -> None:
    if fault:
        raise InvalidBlockError(fault)
