"""Checking proofs offline, trusting a genesis alone. Imports neither Ray nor RocksDB; opens no connection.

The chain of reasons, each link a check that has a name:

    genesis       names the members, and the state root of height 0
    chain         each given block names the one before it as its parent, at the next height
    signature     each given block is signed by its proposer, a member
    certificate   more than half of the members voted for the last given block, and so for all before it
    body          where a block came with its transactions: they are those under its transaction root
    proof         the transaction, or the account or entry or its absence, is under that root of that block

A block file holds header (200 bytes) ‖ signature (64), then the batch, the certificate, or both in this
order: what the API serves as /v1/blocks/H/raw and /v1/blocks/H/header. A proof file is the API's JSON of a
state proof or an inclusion proof, or ICS-23 `CommitmentProof` bytes of a state proof.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import msgspec

from actors.contracts.limits import ENTRY_TAG
from actors.ledger import ics23, smt
from actors.ledger.block import (
    HEADER_BYTES,
    Certificate,
    Header,
    InclusionProof,
    decode_certificate,
    decode_header,
    verify_proposal,
)
from actors.ledger.genesis import Genesis
from actors.ledger.hashing import sha256
from actors.ledger.merkle import root, verify_inclusion
from actors.ledger.rows import BATCH_HEADER_BYTES, ROW_BYTES, Batch, FormatError, decode_batch
from actors.ledger.signing import SIGNATURE_BYTES
from actors.ledger.succession import as_parent, genesis_as_parent, succession_fault
from actors.sdk.inclusion_proof import InclusionDocument, ProofError, from_hex

_BATCH_MAGIC = b"RCB1"
_BATCH_SIZES = struct.Struct("<4xIQ")
_ACCOUNT = struct.Struct("<QQ")
PROOF_FILE_BYTES_MAX = 1 << 20
BLOCKS_MAX = 100_000


class StateProofDocument(msgspec.Struct, frozen=True):
    """The API's state proof. value, leaf_path, leaf_value_hash and all hashes are hexadecimal."""

    key: str
    height: int
    value: str | None
    siblings: list[str]
    leaf_path: str | None
    leaf_value_hash: str | None
    header: str
    signature: str
    certificate: str


@dataclass(frozen=True, slots=True, eq=False)
class GivenBlock:
    """A block as it came: with or without its certificate, with or without its transactions."""

    header: Header
    signature: bytes
    certificate: Certificate | None
    batch: Batch | None


def read_block(data: bytes, genesis: Genesis) -> GivenBlock:
    """Take a block file apart. Raises ProofError naming the part that is malformed."""
    start = HEADER_BYTES + SIGNATURE_BYTES
    if len(data) < start:
        raise ProofError("block", f"{len(data)} bytes, at least {start} expected")
    try:
        header, rest, batch = decode_header(data[:HEADER_BYTES]), data[start:], None
        if rest[:4] == _BATCH_MAGIC:
            stop = len(rest)
            if len(rest) >= BATCH_HEADER_BYTES:
                count, payload_bytes = _BATCH_SIZES.unpack_from(rest)
                stop = BATCH_HEADER_BYTES + count * ROW_BYTES + payload_bytes
            bounds = genesis.block_transactions_max, genesis.block_payload_bytes_max
            batch, rest = decode_batch(rest[:stop], *bounds), rest[stop:]
        certificate = decode_certificate(rest) if rest else None
    except FormatError as error:
        raise ProofError(error.field, str(error)) from error
    return GivenBlock(header, data[HEADER_BYTES:start], certificate, batch)


def verify_chain(genesis: Genesis, blocks: list[GivenBlock]) -> None:
    """Check that blocks, oldest first, are final. Raises ProofError naming the check that fails."""
    if not blocks:
        raise ProofError("block", "none is given")
    members, network = genesis.member_keys, genesis.hash()
    _require_links(genesis, [block.header for block in blocks])
    for block in blocks:
        header, at = block.header, f"block {block.header.height}"
        if header.proposer not in members:
            raise ProofError("signature.proposer", f"{at}: the proposer is no member of the genesis")
        if not verify_proposal(network, header, block.signature):
            raise ProofError("signature", f"{at}: it is not the proposer's")
        if block.certificate is not None and not block.certificate.verify(network, header, members):
            raise ProofError("certificate", f"{at}: it is not that of a majority of the members")
        if block.batch is not None and root(block.batch.ids()) != header.transaction_root:
            raise ProofError("body", f"{at}: the transactions are not those of the header")
    if blocks[-1].certificate is None:
        raise ProofError("certificate", f"block {blocks[-1].header.height} came without one")


def _require_links(genesis: Genesis, headers: list[Header]) -> None:
    """Each header follows the one before it, and block 1 the genesis. Raises ProofError."""
    parents = [as_parent(header) for header in headers[:-1]]
    if headers[0].height == 1:
        parents.insert(0, genesis_as_parent(genesis))
    for parent, header in zip(parents, headers[-len(parents) :] if parents else [], strict=True):
        if fault := succession_fault(header, parent):
            raise ProofError("chain", f"block {header.height}: {fault}")


def verify(genesis: Genesis, blocks: list[bytes], proof: bytes, account: bytes | None) -> dict[str, Any]:
    """Check a proof file against block files, oldest first; without any, against the JSON proof's own header.

    account: what an ICS-23 proof is about; needed for absence, compared otherwise. Returns what is proven.
    Raises ProofError naming the check that fails.
    """
    given = [read_block(data, genesis) for data in blocks]
    document = _document(proof) if proof.lstrip()[:1] == b"{" else None
    if document is not None and (document.height or isinstance(document, InclusionDocument)):
        given = _with_own_block(genesis, given, document)
    if isinstance(document, StateProofDocument) and document.height == 0:
        return _state(document, bytes.fromhex(genesis.state_root), account, genesis.hash())
    verify_chain(genesis, given)
    height = given[-1].header.height if document is None else document.height
    header = next((block.header for block in given if block.header.height == height), None)
    if header is None:
        raise ProofError("height", f"the proof is of height {height}, which is not among the blocks")
    if isinstance(document, StateProofDocument):
        return _state(document, header.state_root, account, header.hash())
    if isinstance(document, InclusionDocument):
        return _inclusion(document.decoded(), header)
    return {**_ics23(proof, header.state_root, account), "height": height, "block": header.hash().hex()}


def _document(data: bytes) -> StateProofDocument | InclusionDocument:
    try:
        if b'"siblings"' in data:
            return msgspec.json.decode(data, type=StateProofDocument)
        return msgspec.json.decode(data, type=InclusionDocument)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProofError("proof", f"is no proof of the API: {error}") from error


def _with_own_block(
    genesis: Genesis, given: list[GivenBlock], document: StateProofDocument | InclusionDocument
) -> list[GivenBlock]:
    """The given blocks, with what the JSON proof says of its block where that is missing."""
    sealed = (from_hex("block", text) for text in (document.header, document.signature, document.certificate))
    own = read_block(b"".join(sealed), genesis)
    if not given:
        return [own]
    last = given[-1]
    if last.certificate is None and last.header == own.header:
        given = [*given[:-1], GivenBlock(last.header, last.signature, own.certificate, last.batch)]
    return given


def _state(
    document: StateProofDocument, state_root: bytes, account: bytes | None, block: bytes
) -> dict[str, Any]:
    key = from_hex("key", document.key)
    if account is not None and account != key:
        raise ProofError("key", "the proof is of another account")
    value, path, value_hash = (
        None if text is None else from_hex("proof", text)
        for text in (document.value, document.leaf_path, document.leaf_value_hash)
    )
    siblings = tuple(from_hex("siblings", node) for node in document.siblings)
    if not smt.verify(state_root, key, value, smt.StateProof(siblings, path, value_hash)):
        raise ProofError("proof", "does not lead to the state root")
    return {**_leaf(key, value), "height": document.height, "block": block.hex()}


def verify_entry(genesis: Genesis, key: bytes, document: dict[str, Any]) -> tuple[int, bytes]:
    """At which height, and what an entry of a contract is there; empty where there is none. document: the
    API's state proof. Raises ProofError naming the check that fails."""
    proven = verify(genesis, [], msgspec.json.encode(document), key)
    if proven.get("entry") != key.hex():
        raise ProofError("proof", "is not that of an entry")
    return int(proven["height"]), bytes.fromhex(proven["value"])


def verify_proof(genesis: Genesis, tx_id: bytes, proof: InclusionProof) -> Header:
    """Header of the final block that holds `tx_id`. Raises ProofError naming the check that fails."""
    if proof.leaf != tx_id:
        raise ProofError("leaf", "the proof is for another transaction")
    try:
        header, certificate = decode_header(proof.header), decode_certificate(proof.certificate)
    except FormatError as error:
        raise ProofError(error.field, str(error)) from error
    if header.height != proof.height:
        raise ProofError("header.height", f"{header.height}, and not {proof.height} as claimed")
    _inclusion(proof, header)
    verify_chain(genesis, [GivenBlock(header, proof.signature, certificate, None)])
    return header


def _inclusion(proof: InclusionProof, header: Header) -> dict[str, Any]:
    if header.transaction_count != proof.size:
        raise ProofError("size", f"the block has {header.transaction_count} transactions")
    if not verify_inclusion(proof.leaf, proof.index, proof.size, proof.proof, header.transaction_root):
        raise ProofError("proof", "does not lead to the transaction root")
    return {
        "verified": True,
        "proves": "inclusion",
        "id": proof.leaf.hex(),
        "position": proof.index,
        "height": header.height,
        "block": header.hash().hex(),
    }


def _ics23(data: bytes, state_root: bytes, account: bytes | None) -> dict[str, Any]:
    try:
        proof = ics23.decode(data)
    except FormatError as error:
        raise ProofError(error.field, str(error)) from error
    if isinstance(proof, ics23.Existence):
        if account is not None and account != proof.key:
            raise ProofError("key", "the proof is of another account")
        if not ics23.verify_presence(state_root, proof.key, proof.value, data):
            raise ProofError("proof", "does not lead to the state root")
        return _leaf(proof.key, proof.value)
    if account is None:
        raise ProofError("key", "an ICS-23 absence proof proves a range; say which account it is about")
    if not ics23.verify_absence(state_root, account, data):
        raise ProofError("proof", "does not show that this account is absent under the state root")
    return _leaf(account, None)


def _leaf(key: bytes, value: bytes | None) -> dict[str, Any]:
    """What a leaf of the state says: an account, or an entry of a contract, which keys tell apart."""
    proves = {"verified": True, "proves": "absence" if value is None else "presence"}
    if key.startswith(ENTRY_TAG):
        return {**proves, "entry": key.hex(), "path": sha256(key).hex(), "value": (value or b"").hex()}
    if value is not None and len(value) != _ACCOUNT.size:
        raise ProofError("value", f"{len(value)} bytes, {_ACCOUNT.size} expected")
    nonce, balance = _ACCOUNT.unpack(value) if value is not None else (0, 0)
    return {
        **proves,
        "account": key.hex(),
        "path": sha256(key).hex(),
        "nonce": nonce,
        "balance": balance,
    }
