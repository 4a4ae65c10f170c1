"""What the JSON of the API looks like: bodies that are read, and answers as the OpenAPI document shows them.

64-bit amounts are JSON integers up to 2^64-1. JavaScript's JSON.parse is exact to 2^53-1 only, so bodies may
carry them as decimal strings too. Keys, hashes, signatures and payloads are lower-case hexadecimal.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from actors.gateway.contract_models import EventOut
from actors.gateway.model_types import (
    U64,
    BlockTimeOut,
    Hex32,
    Hex64,
    HexPayload,
    InclusionOut,
    IntegerOut,
    U64Out,
)
from actors.ledger.accounts import payload_hash
from actors.ledger.contract_payloads import PAYLOAD_BYTES_MAX_OF
from actors.ledger.rows import (
    KIND_TRANSFER,
    NEVER_EXPIRES_HEIGHT,
    PAYLOAD_BYTES_MAX,
    ROW_DTYPE,
    ROW_VERSION,
    Batch,
)
from actors.settings import WORKERS_MAX


class TransactionIn(BaseModel):
    """One signed transaction. The signature covers the 144 bytes before it in the row."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: int = Field(ROW_VERSION, ge=0, le=255)
    kind: int = Field(KIND_TRANSFER, ge=0, le=255, description="1 is a transfer, 2 a deployment, 3 a call")
    flags: int = Field(0, ge=0, le=65_535)
    chain_tag: U64 = Field(description="first 8 bytes of the genesis hash, little-endian; see /v1/status")
    nonce: U64
    amount: U64 = Field(description="smallest units")
    fee: U64 = 0
    expiry_height: U64 = Field(NEVER_EXPIRES_HEIGHT, description="last height it may be in a block at")
    sender: Hex32
    recipient: Hex32
    payload: HexPayload = ""
    payload_hash: Hex32 | None = Field(None, description="computed from the payload when absent")
    signature: Hex64

    @field_validator("payload")
    @classmethod
    def _within_kind(cls, payload: str, known: ValidationInfo) -> str:
        bytes_max = PAYLOAD_BYTES_MAX_OF.get(known.data.get("kind", KIND_TRANSFER), PAYLOAD_BYTES_MAX)
        if len(payload) > 2 * bytes_max:
            raise ValueError(f"a payload of this kind has {bytes_max} bytes at most")
        return payload

    def batch(self) -> Batch:
        """A batch of this one row."""
        payload = bytes.fromhex(self.payload)
        row = np.zeros(1, dtype=ROW_DTYPE)
        for field in ("version", "kind", "flags", "chain_tag", "nonce", "amount", "fee", "expiry_height"):
            row[field] = getattr(self, field)
        digest = payload_hash(payload) if self.payload_hash is None else bytes.fromhex(self.payload_hash)
        row["payload_bytes"] = len(payload)
        row["sender"] = np.frombuffer(bytes.fromhex(self.sender), dtype=np.uint8)
        row["recipient"] = np.frombuffer(bytes.fromhex(self.recipient), dtype=np.uint8)
        row["payload_hash"] = np.frombuffer(digest, dtype=np.uint8)
        row["signature"] = np.frombuffer(bytes.fromhex(self.signature), dtype=np.uint8)
        return Batch(row, np.frombuffer(payload, dtype=np.uint8))


class Submitted(BaseModel):
    """A transaction that got as far as was waited for. height: of its block, when it is committed.

    state: where it stands: pending, parked (it waits for a nonce before it that is missing:
    waits_for_nonce) or committed. Submitting the same transaction again answers with it too.
    """

    id: str
    status: str
    height: U64Out | None
    state: str
    waits_for_nonce: U64Out | None


class PendingRowOut(BaseModel):
    """One pending transaction. state: ready, in-block (its fate is being decided) or parked."""

    id: str
    nonce: U64Out
    amount: U64Out
    fee: U64Out
    expiry_height: U64Out
    recipient: str
    state: str


class PendingOut(BaseModel):
    """Pending transactions of an account at this node, by nonce.

    nonce: what its next committed transaction must carry. next_nonce: the first one from there on that no
    pending transaction has; parked ones wait for it. height: that expiry is judged by; the next block's is
    one more.
    """

    key: str
    nonce: U64Out
    next_nonce: U64Out
    height: U64Out
    transactions: list[PendingRowOut]


class RefusedRow(BaseModel):
    """One row of a batch that was not taken."""

    index: int
    code: int
    verdict: str
    field: str
    advice: str


class BatchSubmitted(BaseModel):
    """Outcome of a batch: only the refused rows are listed. height: highest block with one of its rows.

    parked: accepted rows that wait for a nonce before them that is missing, by index; a row whose commit is
    waited for is among the rejected ones instead, with the verdict PARKED, and is kept.
    """

    accepted: int
    parked: list[int]
    rejected: list[RefusedRow]
    wait: str
    height: U64Out | None


class ProblemOut(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    limit: int | str | None = None
    code: int | None = Field(None, description="verdict code of a refused transaction")
    verdict: str | None = None
    height: int | None = Field(
        None, description="of a transaction that is not found: no block up to here has it"
    )
    rows: list[RefusedRow] | None = None


class AccountOut(BaseModel):
    """An account at a committed height. nonce: the nonce its next transaction must carry."""

    key: str
    nonce: U64Out
    balance: U64Out
    height: U64Out


class ReceiptOut(BaseModel):
    """What applying a transaction did: status 0 is applied; balances are those right after it.

    Of a deployment or a call also: gas that it used; failure: why it failed, which the status is the number
    of; message: of a requirement that did not hold; results: their bytes; events.
    """

    status: int
    fee: U64Out
    sender_balance: U64Out
    recipient_balance: U64Out
    gas: IntegerOut | None = None
    failure: str | None = None
    message: str | None = None
    results: str | None = None
    events: list[EventOut] | None = None


class ReceiptPageOut(BaseModel):
    """Receipts of a block's transactions from `offset` on, in the order of the block. total: of the block."""

    height: U64Out
    total: int
    offset: int
    receipts: list[ReceiptOut]


class TransactionOut(BaseModel):
    """One transaction of a block."""

    id: str
    version: int
    kind: int
    kind_name: str
    flags: int
    chain_tag: U64Out
    nonce: U64Out
    amount: U64Out
    fee: U64Out
    expiry_height: U64Out
    sender: str
    recipient: str
    payload: str
    payload_hash: str
    signature: str
    height: U64Out
    position: int
    receipt: ReceiptOut | None


class HeaderOut(BaseModel):
    """A block header; `hash` is what the parent link and the votes refer to."""

    hash: str
    height: U64Out
    term: U64Out
    time_ms: BlockTimeOut
    transaction_count: int
    payload_bytes: int
    parent_hash: str
    transaction_root: str
    state_root: str
    receipts_root: str
    proposer: str


class BlockOut(BaseModel):
    """A block: header, the proposer's signature, and one page of its transactions."""

    header: HeaderOut
    signature: str
    offset: int
    transactions: list[TransactionOut]


class BlockPageOut(BaseModel):
    """Headers in falling height. next: `before` of the following page, null after the first block."""

    blocks: list[HeaderOut]
    next: U64Out | None


class VoteOut(BaseModel):
    """One member's vote for a block."""

    member: str
    signature: str


class CertificateOut(BaseModel):
    """The votes that make a block final, all of one leader's term, and their bytes in hexadecimal."""

    height: U64Out
    term: U64Out
    votes: list[VoteOut]
    certificate: str


class ProofOut(InclusionOut):
    """The same of a transaction, with its id."""

    id: str


class StateProofOut(BaseModel):
    """An account in the sparse Merkle tree of ICS-23's `smtSpec`, with what makes the state root final.

    value: nonce and balance, little-endian, 8 bytes each; null where there is no such account. siblings: from
    the root down. leaf_path, leaf_value_hash: the leaf where the key's path ends, null where there is none.
    ics23: the same as `CommitmentProof` bytes.
    """

    key: str
    height: U64Out
    value: str | None
    nonce: U64Out
    balance: U64Out
    siblings: list[str]
    leaf_path: str | None
    leaf_value_hash: str | None
    ics23: str
    header: str
    signature: str
    certificate: str


class StatusOut(BaseModel):
    """The network, its head, the limits of this gateway, and figures of the node."""

    network: str
    chain_id: str
    chain_tag: U64Out
    head: dict[str, Any]
    limits: dict[str, int]
    node: dict[str, Any]
    gateway: dict[str, Any]


class ActorsOut(BaseModel):
    """What each actor says of itself: process facts, queue depths, counters; null where one is away."""

    actors: dict[str, dict[str, Any] | None]


class ShardOut(BaseModel):
    """One mempool shard; null figures while it is away."""

    shard: str
    depth: int | None
    inflight: int | None
    capacity: int | None


class MempoolOut(BaseModel):
    """Pending transactions of all shards."""

    depth: int
    capacity: int
    shards: list[ShardOut]


class PeersOut(BaseModel):
    """Other nodes that this one is connected to or knows."""

    peers: list[dict[str, Any]]


class MemberOut(BaseModel):
    """A member of the network: it votes for blocks."""

    name: str
    identity: str
    address: str


class ValidatorsOut(BaseModel):
    """Validator workers, and what consensus says of their queue."""

    validators: int
    pool: dict[str, Any]


class ScaleIn(BaseModel):
    """How many Validators to have."""

    model_config = ConfigDict(extra="forbid")

    validators: int = Field(ge=1, le=WORKERS_MAX, strict=True)


class ScaledOut(BaseModel):
    """Validators there are now, and by name who came and went."""

    validators: int
    added: list[str]
    removed: list[str]


class MaintenanceIn(BaseModel):
    """What is to be done with the node's disk while it runs."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["snapshot", "copy"]


class MaintainedOut(BaseModel):
    """What was done. snapshot: the one of the head. folder: that of the copy, in the node's own folder."""

    action: str
    snapshot: dict[str, Any] | None = None
    folder: str | None = None


class HealthOut(BaseModel):
    """The process answers."""

    status: str


class ReadyOut(BaseModel):
    """Whether the node serves what it says. parts: which answer. reasons: what speaks against it."""

    ready: bool
    parts: dict[str, bool]
    reasons: list[str]
