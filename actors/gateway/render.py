"""Ledger records as the dictionaries that the JSON answers are made of."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.gateway import contract_render
from actors.gateway.contract_render import Contracts
from actors.ledger.block import Block, Header, decode_certificate
from actors.ledger.hashing import sha256, sha256_rows
from actors.ledger.pending import SenderPending
from actors.ledger.receipts import Output, Receipts
from actors.ledger.rows import (
    KIND_CALL,
    KIND_DEPLOY,
    KIND_EFFECTS,
    KIND_GOVERNED,
    KIND_TRANSFER,
    LEAF_PREFIX,
    ROW_DTYPE,
    row_matrix,
)
from actors.storage.interface import StoredTransaction

PENDING_STATES = ("ready", "in-block", "parked")
"""By the numbers that mempool shards give them (actors/mempool/pool.py)."""
KIND_NAMES = {
    KIND_TRANSFER: "transfer",
    KIND_DEPLOY: "deploy",
    KIND_CALL: "call",
    KIND_GOVERNED: "governed",
    KIND_EFFECTS: "effects",
}
NO_CONTRACTS: Contracts = {}
_RECEIPT = struct.Struct("<QQQQ")
_NUMBERS = ("version", "kind", "flags", "chain_tag", "nonce", "amount", "fee", "expiry_height")
_HEXES = ("sender", "recipient", "payload_hash", "signature")


def transaction(
    row: NDArray[Any],
    payload: bytes,
    height: int,
    position: int,
    receipt: dict[str, Any] | None,
) -> dict[str, Any]:
    """One transaction. row: (1,) of ROW_DTYPE. receipt: rendered, None where it was not read."""
    one = row[0]
    return {
        "id": sha256(LEAF_PREFIX + row.tobytes()).hex(),
        **{field: int(one[field]) for field in _NUMBERS},
        "kind_name": KIND_NAMES.get(int(one["kind"]), ""),
        **{field: one[field].tobytes().hex() for field in _HEXES},
        "payload": payload.hex(),
        "height": height,
        "position": position,
        "receipt": receipt,
    }


def stored_transaction(stored: StoredTransaction, contracts: Contracts = NO_CONTRACTS) -> dict[str, Any]:
    """One transaction as Storage answers it. contracts: those whose events are to be named."""
    row = np.frombuffer(stored.row, dtype=ROW_DTYPE, count=1)
    receipt = _receipt(stored.receipt, stored.output, contracts)
    return transaction(row, stored.payload, stored.height, stored.position, receipt)


def pending(held: SenderPending) -> dict[str, Any]:
    """A sender's pending transactions as a mempool shard answers them."""
    ids = sha256_rows(row_matrix(held.rows), LEAF_PREFIX)
    fields = ("nonce", "amount", "fee", "expiry_height")
    transactions = [
        {
            "id": tx_id.tobytes().hex(),
            **{field: int(row[field]) for field in fields},
            "recipient": row["recipient"].tobytes().hex(),
            "state": PENDING_STATES[state],
        }
        for row, tx_id, state in zip(held.rows, ids, held.states.tolist(), strict=True)
    ]
    numbers = {"nonce": held.nonce, "next_nonce": held.next_nonce, "height": held.height}
    return {**numbers, "transactions": transactions}


def _receipt(data: bytes, output: Output | None, contracts: Contracts) -> dict[str, Any]:
    status, fee, sender, recipient = _RECEIPT.unpack(data)
    plain = {"status": status, "fee": fee, "sender_balance": sender, "recipient_balance": recipient}
    return plain if output is None else {**plain, **contract_render.output(output, status, contracts)}


def receipts(
    all_of: Receipts, offset: int, page: range, contracts: Contracts = NO_CONTRACTS
) -> dict[str, Any]:
    """A page of a block's receipts: those of the rows in `page`, asked for from `offset` on."""
    outputs = {output.position: output for output in all_of.outputs}
    rows = [_receipt(all_of.rows[at].tobytes(), outputs.get(at), contracts) for at in page]
    return {"total": len(all_of.rows), "offset": offset, "receipts": rows}


def header(value: Header) -> dict[str, Any]:
    """A header with its hash."""
    return {
        "hash": value.hash().hex(),
        "height": value.height,
        "term": value.term,
        "time_ms": value.time_ms,
        "transaction_count": value.transaction_count,
        "payload_bytes": value.payload_bytes,
        "parent_hash": value.parent_hash.hex(),
        "transaction_root": value.transaction_root.hex(),
        "state_root": value.state_root.hex(),
        "receipts_root": value.receipts_root.hex(),
        "proposer": value.proposer.hex(),
    }


def block(value: Block, offset: int, limit: int) -> dict[str, Any]:
    """A block with `limit` of its transactions from `offset` on."""
    batch = value.batch
    starts = batch.payload_offsets
    page = [
        transaction(
            batch.rows[i : i + 1],
            batch.payloads[starts[i] : starts[i + 1]].tobytes(),
            value.header.height,
            i,
            None,
        )
        for i in range(min(offset, len(batch)), min(offset + limit, len(batch)))
    ]
    return {
        "header": header(value.header),
        "signature": value.signature.hex(),
        "offset": offset,
        "transactions": page,
    }


def certificate(height: int, data: bytes) -> dict[str, Any]:
    """The term and the votes of a certificate."""
    decoded = decode_certificate(data)
    return {
        "height": height,
        "term": decoded.term,
        "votes": [{"member": key.hex(), "signature": signature.hex()} for key, signature in decoded.votes],
        "certificate": data.hex(),
    }


def plain(value: Any) -> Any:
    """A value of any actor's answer as JSON can carry it: bytes as hexadecimal, arrays as lists."""
    if isinstance(value, msgspec.Struct):
        value = msgspec.structs.asdict(value)
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(entry) for entry in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, np.ndarray):
        return plain(value.tobytes() if value.dtype == np.uint8 else value.tolist())
    if isinstance(value, np.generic):
        return value.item()
    return value
