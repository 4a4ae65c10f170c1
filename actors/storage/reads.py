"""What others may read: committed state and committed blocks, each answer of one height. Any thread."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.ledger import merkle
from actors.ledger.block import HEADER_BYTES, Block, Header, InclusionProof, decode_header
from actors.ledger.delta import AccountState, AccountStates, ChainHead
from actors.ledger.genesis import exact_sum
from actors.ledger.ics23 import encode
from actors.ledger.receipts import ReceiptProof, Receipts, decode_receipts
from actors.ledger.rows import FormatError, shard_of
from actors.ledger.signing import KEY_BYTES, SIGNATURE_BYTES
from actors.ledger.succession import Parent, as_parent, genesis_as_parent, succession_fault
from actors.storage.accounts import entries_among
from actors.storage.chain import Chain
from actors.storage.errors import CorruptionError, HeightError
from actors.storage.formats import height_key
from actors.storage.interface import (
    VALUES_KEYS_MAX,
    AccountProof,
    Audit,
    StateValues,
    StoredTransaction,
    TransactionPlace,
)
from actors.storage.proofs import prove
from actors.storage.state import build_tree

BLOCKS_CACHED = 8


@dataclass(frozen=True, slots=True, eq=False)
class Indexed:
    """A block with its ids, (n, 32) uint8."""

    block: Block
    ids: NDArray[np.uint8]


class Reader:
    """Reads of a chain."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, Indexed] = OrderedDict()

    def head(self) -> ChainHead:
        """The last committed block."""
        chain = self._chain
        with chain.state.lock:
            return ChainHead(chain.head.height, chain.head.hash, chain.head_state_root, chain.head_time_ms)

    def describe_head(self) -> dict[str, object]:
        """The last committed block, and how far execution and the disk are ahead of it, for people."""
        chain = self._chain
        with chain.state.lock:
            return {
                **self.head().describe(),
                "transactions": chain.head.transactions,
                "accounts": chain.state.committed_existing(),
                "executed_height": chain.state.executed_height,
                "persisted_height": chain.persisted_height,
            }

    def account(self, key: bytes) -> AccountState:
        """An account. Raises FormatError for a wrong length."""
        if len(key) != 32:
            raise FormatError("account", f"{len(key)} bytes", "32 bytes")
        height, nonce, balance = self._chain.state.committed_account(key)
        return AccountState(nonce, balance, height)

    def shard_accounts(self, shard: int, shards: int) -> AccountStates:
        """All accounts whose mempool shard this is."""
        if not 0 <= shard < shards:
            raise FormatError("shard", shard, f"0 to {shards - 1}")
        height, columns = self._chain.state.committed_columns()
        mine = (columns.balances != 0) & ~entries_among(columns.keys)
        if shards > 1:
            mine &= shard_of(columns.keys, shards) == shard
        return AccountStates(height, columns.keys[mine], columns.nonces[mine], columns.balances[mine])

    def block(self, height: int) -> bytes | None:
        """The bytes of a committed block."""
        if not 0 < height <= self._chain.head.height:
            return None
        return self._chain.disk.get("blocks", height_key(height))

    def certificate(self, height: int) -> bytes | None:
        """The commit certificate of a block."""
        if not 0 < height <= self._chain.head.height:
            return None
        return self._chain.disk.get("certificates", height_key(height))

    def receipts(self, height: int) -> bytes | None:
        """Receipts of a committed block's transactions, as `decode_receipts` reads them."""
        if not 0 < height <= self._chain.head.height:
            return None
        return self._chain.disk.get("receipts", height_key(height)) or b""

    def sealed_headers(self, start: int, count: int) -> list[bytes]:
        """Committed headers from `start` on, each with signature and certificate (`SealedHeader`)."""
        found = []
        for height in range(start, min(start + count, self._chain.head.height + 1)):
            certificate, head = self.certificate(height), self._chain.disk.get("headers", height_key(height))
            if certificate is None or head is None:
                break
            found.append(head + certificate)
        return found

    def bodies(self, start: int, count: int, bytes_max: int) -> list[bytes]:
        """Encoded batches of committed blocks from `start` on: the first, and more while they fit."""
        found: list[bytes] = []
        size = 0
        for height in range(start, start + count):
            block = self.block(height)
            size += len(block or b"")
            if block is None or (found and size > bytes_max):
                break
            found.append(block[HEADER_BYTES + SIGNATURE_BYTES :])
        return found

    def sealed_block(self, height: int, header: bytes, signature: bytes) -> bytes:
        """An executed, not yet committed block in the bytes that the wire carries.

        Raises HeightError when it is not (any more) executed here.
        """
        executed = self._chain.state.block_at(height)
        if executed is None:
            raise HeightError("sealed_block", height, self._chain.state.executed_height)
        return Block(decode_header(header), signature, executed.batch).encode()

    def stored_block(self, height: int, digest: bytes) -> tuple[bytes, bytes] | None:
        """(block, certificate) on disk at a height if its header hash is `digest`; the certificate is empty
        for a block that is not committed here."""
        key, disk = height_key(height), self._chain.disk
        header = disk.get("headers", key)
        if header is None or decode_header(header[:HEADER_BYTES]).hash() != digest:
            return None
        body = disk.get("blocks", key)
        return None if body is None else (body, disk.get("certificates", key) or b"")

    def locate(self, tx_id: bytes) -> TransactionPlace | None:
        """Height and position of a committed transaction. Raises FormatError for a wrong length."""
        found = self._find(tx_id)
        return None if found is None else TransactionPlace(found[0], found[1])

    def transaction(self, tx_id: bytes) -> StoredTransaction | None:
        """Row, payload, receipt and place of a committed transaction."""
        found = self._find(tx_id)
        if found is None:
            return None
        height, position, indexed = found
        batch = indexed.block.batch
        begin, end = batch.payload_offsets[position : position + 2]
        receipts = self._receipts(height, len(batch))
        return StoredTransaction(
            row=batch.matrix[position].tobytes(),
            payload=batch.payloads[begin:end].tobytes(),
            receipt=receipts.rows[position].tobytes(),
            height=height,
            position=position,
            output=receipts.output_at(position),
        )

    def inclusion_proof(self, tx_id: bytes) -> InclusionProof | None:
        """RFC 9162 proof that a transaction is in its block, with what signs the block."""
        found = self._find(tx_id)
        if found is None:
            return None
        return self._inclusion(*found)

    def receipt_proof(self, tx_id: bytes) -> ReceiptProof | None:
        """RFC 9162 proof of what a transaction left, beside that of the transaction."""
        found = self._find(tx_id)
        if found is None:
            return None
        height, position, indexed = found
        receipts = self._receipts(height, len(indexed.ids))
        output = receipts.output_at(position)
        return ReceiptProof(
            transaction=self._inclusion(height, position, indexed),
            receipt=receipts.rows[position].tobytes(),
            output=None if output is None else msgspec.structs.replace(output, message=""),
            proof=receipts.proof(position, self._chain.hash_rows),
        )

    def _receipts(self, height: int, count: int) -> Receipts:
        return decode_receipts(self._chain.disk.get("receipts", height_key(height)) or b"", count)

    def _inclusion(self, height: int, position: int, indexed: Indexed) -> InclusionProof:
        return InclusionProof(
            height=height,
            index=position,
            size=len(indexed.ids),
            leaf=indexed.ids[position].tobytes(),
            proof=merkle.inclusion_proof(indexed.ids, position, self._chain.hash_rows),
            header=indexed.block.header.encode(),
            signature=indexed.block.signature,
            certificate=self.certificate(height) or b"",
        )

    def state_proof(self, key: bytes, height: int | None = None) -> AccountProof:
        """Proof of an account at a committed height, the newest by default.

        Raises FormatError, NotRetainedError.
        """
        proven = prove(self._chain.state, key, height)
        stored = height_key(proven.height)
        sealed = self._chain.disk.get("headers", stored) if proven.height else b""
        if sealed is None:
            raise CorruptionError("headers", stored.hex(), "missing")
        value, proof = proven.value, proven.proof
        return AccountProof(
            key=key,
            height=proven.height,
            value=value,
            nonce=int.from_bytes((value or b"")[:8], "little"),
            balance=int.from_bytes((value or b"")[8:], "little"),
            siblings=proof.siblings,
            leaf_path=proof.leaf_path,
            leaf_value_hash=proof.leaf_value_hash,
            ics23=encode(proven.ics23) if proven.ics23 else b"",
            header=sealed[:HEADER_BYTES],
            signature=sealed[HEADER_BYTES:],
            certificate=self.certificate(proven.height) or b"",
        )

    def state_values(self, keys: list[bytes], height: int | None = None) -> StateValues:
        """What keys hold at a committed height, the newest by default.

        Raises FormatError, NotRetainedError.
        """
        if len(keys) > VALUES_KEYS_MAX:
            raise FormatError("keys", f"{len(keys)} keys", f"at most {VALUES_KEYS_MAX}")
        for number, key in enumerate(keys):
            if len(key) != KEY_BYTES:
                raise FormatError(f"keys[{number}]", f"{len(key)} bytes", f"{KEY_BYTES} bytes")
        at, values = self._chain.state.values_of(keys, height)
        return StateValues(at, tuple(values))

    def _find(self, tx_id: bytes) -> tuple[int, int, Indexed] | None:
        if len(tx_id) != 32:
            raise FormatError("id", f"{len(tx_id)} bytes", "32 bytes")
        for height, position in self._chain.places.candidates(tx_id):
            if height < self._chain.base.bodies:
                continue  # a run goes when all its blocks are gone
            indexed = self._indexed(height)
            if indexed.ids[position].tobytes() == tx_id:
                return height, position, indexed
        return None

    def _indexed(self, height: int) -> Indexed:
        with self._lock:
            if height in self._cache:
                self._cache.move_to_end(height)
                return self._cache[height]
        block = self._chain.block(height)
        indexed = Indexed(block, block.batch.ids(self._chain.hash_rows))
        with self._lock:
            self._cache[height] = indexed
            while len(self._cache) > BLOCKS_CACHED:
                self._cache.popitem(last=False)
        return indexed

    def audit(self) -> Audit:
        """Recompute root and supply from the accounts alone, and check all committed blocks' headers."""
        chain = self._chain
        with chain.state.lock:
            height, columns = chain.state.committed_columns()
            root = chain.head_state_root
        recomputed = build_tree(columns, chain.hash_rows).root
        checked, problem = self._walk(height)
        if recomputed != root:
            problem = problem or f"state root at {height}: {recomputed.hex()} from the accounts"
        supply, expected = exact_sum(columns.coins), chain.genesis.supply
        if supply != expected:
            problem = problem or f"supply at {height}: {supply}, {expected} by the genesis"
        return Audit(height, checked, problem, recomputed, supply, expected)

    def _walk(self, height: int) -> tuple[int, str]:
        start = self._chain.base.bodies
        parent = Parent(start - 1, self._chain.hash_at(start - 1), 0)
        if start == 1:
            parent = genesis_as_parent(self._chain.genesis)
        for at in range(start, height + 1):
            try:
                parent = as_parent(self._check_block(at, parent))
            except (CorruptionError, HeightError, FormatError) as error:
                return at - start, f"block {at}: {error}"
        return height - start + 1, ""

    def _check_block(self, height: int, parent: Parent) -> Header:
        """Header of a block that is what it says; raises CorruptionError naming the field."""
        chain, key = self._chain, height_key(height)
        block = chain.block(height)
        header = block.header
        receipts = decode_receipts(chain.disk.get("receipts", key) or b"", len(block.batch))
        if fault := succession_fault(header, parent):
            raise CorruptionError("blocks", key.hex(), fault)
        for field, stored, found in (
            ("headers", chain.disk.get("headers", key), header.encode() + block.signature),
            ("transaction_root", header.transaction_root, self._root(block.batch.ids(chain.hash_rows))),
            ("receipts_root", header.receipts_root, receipts.root(chain.hash_rows)),
            ("certificate", chain.disk.get("certificates", key) is not None, True),
        ):
            if stored != found:
                raise CorruptionError("blocks", key.hex(), f"{field} does not agree")
        return header

    def _root(self, leaves: NDArray[np.uint8]) -> bytes:
        return merkle.root(leaves, self._chain.hash_rows)
