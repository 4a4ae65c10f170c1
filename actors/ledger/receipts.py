"""Receipts of a block as they are stored, hashed and served.

    32 bytes a row        status u64, fee u64, balances u64 of sender and recipient after it
    then, if any          MessagePack of an Output for each row of a serial kind, in their order

A row's leaf in the receipts' tree is made of its 32 bytes, and of its output's report where it has one, which
binds gas, results and events (contract_rules.py).
"""

from __future__ import annotations

import struct

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.contracts.running import EmittedEvent
from actors.ledger import merkle
from actors.ledger.accounts import RECEIPT_WORDS
from actors.ledger.block import InclusionProof
from actors.ledger.hashing import DIGEST_BYTES, Hasher, sha256
from actors.ledger.rows import LEAF_PREFIX, FormatError

RECEIPT_BYTES = 8 * RECEIPT_WORDS
_REPORT = struct.Struct("<Q32s32s")


class Output(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a row of a serial kind left besides the state. position: in its block. gas: used.

    results: the bytes of the function's results. events: in their order. message: of a requirement that did
    not hold; no receipt binds it.
    """

    position: int
    gas: int
    results: bytes = b""
    events: tuple[EmittedEvent, ...] = ()
    message: str = ""

    def report(self) -> bytes:
        """What the receipt says besides: 72 bytes."""
        leaves = b"".join(sha256(LEAF_PREFIX + encode_event(event)) for event in self.events)
        root = merkle.root(np.frombuffer(leaves, dtype=np.uint8).reshape(-1, DIGEST_BYTES))
        return _REPORT.pack(self.gas, sha256(self.results), root)


class Receipts(msgspec.Struct, frozen=True, array_like=True, eq=False):
    """rows: (n, RECEIPT_BYTES) uint8. outputs: of some of the rows, in their order."""

    rows: NDArray[np.uint8]
    outputs: tuple[Output, ...]

    def encode(self) -> tuple[memoryview, bytes]:
        """The bytes, in two parts."""
        return self.rows.reshape(-1).data, _ENCODER.encode(self.outputs) if self.outputs else b""

    def root(self, hash_rows: Hasher) -> bytes:
        """RFC 9162 root over them."""
        return merkle.root(self._leaves(hash_rows), hash_rows)

    def proof(self, position: int, hash_rows: Hasher) -> list[bytes]:
        """RFC 9162 proof of one of them. Raises IndexError where there is none."""
        return merkle.inclusion_proof(self._leaves(hash_rows), position, hash_rows)

    def output_at(self, position: int) -> Output | None:
        """What a row left besides, or None if its kind leaves nothing."""
        return next((output for output in self.outputs if output.position == position), None)

    def _leaves(self, hash_rows: Hasher) -> NDArray[np.uint8]:
        leaves = hash_rows(self.rows, LEAF_PREFIX)
        if self.outputs:
            leaves = np.array(leaves)
            for output in self.outputs:
                leaf = receipt_leaf(self.rows[output.position].tobytes(), output)
                leaves[output.position] = np.frombuffer(leaf, dtype=np.uint8)
        return leaves


class ReceiptProof(msgspec.Struct, frozen=True):
    """That a transaction left this receipt, and these events: `transaction` proves the transaction itself and
    has what makes its block final.

    receipt: RECEIPT_BYTES. output: None for a kind that leaves nothing besides; its message is empty, since
    no receipt binds it. proof: sibling hashes (RFC 9162) from the receipt's leaf to the receipts root.
    """

    transaction: InclusionProof
    receipt: bytes
    output: Output | None
    proof: list[bytes]

    def leads_to(self, receipts_root: bytes) -> bool:
        """Whether it is under this root, at the transaction's place."""
        at, size = self.transaction.index, self.transaction.size
        leaf = receipt_leaf(self.receipt, self.output)
        return len(self.receipt) == RECEIPT_BYTES and merkle.verify_inclusion(
            leaf, at, size, self.proof, receipts_root
        )


def receipt_leaf(receipt: bytes, output: Output | None) -> bytes:
    """Its hash in the receipts' tree."""
    return sha256(LEAF_PREFIX + receipt + (output.report() if output else b""))


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(tuple[Output, ...])


def encode_event(event: EmittedEvent) -> bytes:
    """The bytes that an event's leaf is made of: contract 32, number of the event u8, its bytes."""
    contract, number, data = event
    return contract + bytes((number,)) + data


def decode_receipts(data: bytes, count: int) -> Receipts:
    """Those of a block of `count` rows. Raises FormatError where length or form is not theirs."""
    if len(data) < count * RECEIPT_BYTES:
        raise FormatError("receipts", f"{len(data)} bytes", f"{RECEIPT_BYTES} for each of {count} rows")
    rows = np.frombuffer(data, dtype=np.uint8, count=count * RECEIPT_BYTES).reshape(count, RECEIPT_BYTES)
    rest = data[count * RECEIPT_BYTES :]
    try:
        outputs = _DECODER.decode(rest) if rest else ()
    except msgspec.DecodeError as error:
        raise FormatError("receipts.outputs", str(error), "outputs of rows") from error
    positions = [output.position for output in outputs]
    if positions != sorted(set(positions)) or (positions and not 0 <= positions[0] <= positions[-1] < count):
        raise FormatError("receipts.outputs", "rows out of order", f"rows of 0 to {count - 1}, each once")
    return Receipts(rows, outputs)
