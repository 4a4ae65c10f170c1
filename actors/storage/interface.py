"""What crosses between Storage and the node's other rooms, each of it written once.

The same structs are arguments and answers in the cores, through Ray, and over a local socket (calls.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.ledger.block import InclusionProof
from actors.ledger.delta import AccountState, AccountStates, ChainHead, Delta
from actors.ledger.receipts import Output, ReceiptProof


class LogRecord(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """One write of the replicated log, in bytes that its replica alone reads; empty where there is nothing.

    first_index: of entries[0]; entries follow each other. snapshot: the log is to hold nothing but this;
    base_index and base are its index and what describes it. halted: why the chain is proven wrong, as text.
    """

    hard_state: bytes = b""
    snapshot: bytes = b""
    base_index: int = 0
    base: bytes = b""
    first_index: int = 0
    entries: tuple[bytes, ...] = ()
    halted: bytes = b""


class StoredLog(msgspec.Struct, frozen=True, array_like=True):
    """The log as the disk has it. Entries follow each other from base_index + 1; `base` describes the last
    one that compaction dropped. Empty bytes where there is nothing.

    disk: the identity of this memory. halted: why it is proven wrong, as text.
    """

    hard_state: bytes
    snapshot: bytes
    base_index: int
    base: bytes
    entries: tuple[bytes, ...]
    disk: bytes = b""
    halted: bytes = b""


class TryFunction(msgspec.Struct, frozen=True, array_like=True):
    """Run the governed function of one row, as if it were in the block at `height` with this time.

    parent: hash of the block before, which must be the last one executed. function: a batch of one row.
    digest: SHA-256 of the effects that the leader has found, empty where this member leads. runs: so many
    times, which must agree.
    """

    height: int
    parent: bytes
    time_ms: int
    function: bytes
    digest: bytes = b""
    runs: int = 1


class FunctionTried(msgspec.Struct, frozen=True, array_like=True, eq=False):
    """verdict: 0, or why there are no effects (UNAVAILABLE where the state is another one), with words for
    people. digest: SHA-256 of `effects`, (n,) uint8 as effects.py encodes them."""

    verdict: int
    digest: bytes = b""
    effects: NDArray[np.uint8] | None = None
    reason: str = ""


class FunctionRefusal(msgspec.Struct, frozen=True, array_like=True):
    """A governed function that this member refused to have in the block at `height`. id: of its row."""

    id: bytes
    height: int
    sender: bytes
    reason: str


class Execute(msgspec.Struct, frozen=True, array_like=True, tag=True, eq=False):
    """Execute draws as the block at `height`; the draws' columns go beside it: rows, payloads, rows, ...

    order: which rows of the concatenated draws, in which order; None takes them as they come. sealed: header
    and signature of a block that has them already, b"" for a proposal of ours. time_ms: what the header says
    or will say. A strict execution in which a row failed leaves everything as it was and answers with empty
    roots. proven: the block is certified, or was found valid here before, so effects of a governed function
    in it are taken as they are.
    """

    height: int
    strict: bool
    proposer: bytes
    order: NDArray[np.int64] | None = None
    sealed: bytes = b""
    time_ms: int = 0
    proven: bool = False


class Executed(msgspec.Struct, frozen=True, array_like=True, tag=True, eq=False):
    """Answers Execute. verdicts: (n,) uint8 of all rows; count, payload_bytes: of those that passed.

    conflicts: by kind. stages_us: microseconds by stage. waiting: a governed function among the rows, as a
    batch of one, which needs a block of its own.
    """

    height: int
    verdicts: NDArray[np.uint8]
    count: int = 0
    payload_bytes: int = 0
    state_root: bytes = b""
    receipts_root: bytes = b""
    transaction_root: bytes = b""
    fees: int = 0
    conflicts: dict[str, int] = {}
    stages_us: dict[str, int] = {}
    waiting: bytes = b""


class Persist(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Write the executed block at `height` under its header, and commit it if a certificate comes with it.

    record: what the replicated log writes, made durable together with the block.
    """

    height: int
    header: bytes
    signature: bytes
    certificate: bytes = b""
    record: LogRecord | None = None


class Commit(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Commit the oldest block that was persisted without a certificate.

    Without `sync` the next synced write makes the commitment durable: for a replicated log, which finds again
    after a crash what a majority holds.
    """

    height: int
    certificate: bytes
    sync: bool = True


class Written(msgspec.Struct, frozen=True, array_like=True):
    """What persisting or committing one block did. stages_us is empty when it was done before."""

    height: int
    hash: bytes
    transactions: int
    committed: bool
    bytes_written: int
    stages_us: dict[str, int]


class TransactionPlace(msgspec.Struct, frozen=True):
    """Where a committed transaction stands. position: in its block, from 0 on."""

    height: int
    position: int


class StoredTransaction(msgspec.Struct, frozen=True):
    """A committed transaction: row of ROW_BYTES, payload, receipt of 32 bytes, and where it stands.

    output: what it left besides, if its kind has such (ledger/receipts.py).
    """

    row: bytes
    payload: bytes
    receipt: bytes
    height: int
    position: int
    output: Output | None = None


class AccountProof(msgspec.Struct, frozen=True):
    """Proof of an account against the state root of a committed header.

    value is None and nonce and balance are 0 for an account that does not exist; ics23 is empty where ICS-23
    has no proof; at height 0 the root is the genesis' and header, signature, certificate are empty.
    """

    key: bytes
    height: int
    value: bytes | None
    nonce: int
    balance: int
    siblings: tuple[bytes, ...]
    leaf_path: bytes | None
    leaf_value_hash: bytes | None
    ics23: bytes
    header: bytes
    signature: bytes
    certificate: bytes


class RetainedHeights(msgspec.Struct, frozen=True):
    """The heights whose states are kept, in place of a proof at another one."""

    oldest: int
    newest: int


VALUES_KEYS_MAX = 1024


class StateValues(msgspec.Struct, frozen=True):
    """What keys of the state hold at one committed height: an account its ACCOUNT_BYTES, an entry of a
    contract its bytes, and what does not exist nothing."""

    height: int
    values: tuple[bytes, ...]


class Audit(msgspec.Struct, frozen=True):
    """What a chain is by its accounts and blocks alone. problem: the first fault, or "".

    state_root: computed anew from the accounts. supply: their balances, supply_expected: the genesis'.
    """

    height: int
    blocks_checked: int
    problem: str
    state_root: bytes
    supply: int
    supply_expected: int


class BlockStore(Protocol):
    """What executes and becomes durable on the way of every block, under the caller's epoch; see calls.py.

    rows: how many rows the block has, which decides the way that its delta takes: the delta of a block that
    is committed by the call, or a reference to it.
    """

    async def execute(self, epoch: int, request: Execute, parts: Sequence[Any]) -> Executed: ...

    async def persist(self, epoch: int, request: Persist, rows: int) -> Delta | Awaitable[Delta] | None: ...

    async def commit(self, epoch: int, request: Commit, rows: int) -> Delta | Awaitable[Delta] | None: ...

    async def append_record(self, epoch: int, record: LogRecord) -> None: ...


class StorageFace(Protocol):
    """The actor `Storage`, whose methods say what each call does; see actors/faces.py."""

    def fence(self) -> Awaitable[tuple[int, ChainHead]]: ...

    def execute(self, epoch: int, request: Execute, *parts: NDArray[Any]) -> Awaitable[Executed]: ...

    def try_function(self, request: TryFunction) -> Awaitable[FunctionTried]: ...

    def refuse_function(self, function: bytes, height: int, reason: str) -> Awaitable[None]: ...

    def refused_functions(self) -> Awaitable[list[FunctionRefusal]]: ...

    def rollback(self, epoch: int, height: int) -> Awaitable[None]: ...

    def compact_log(self, epoch: int, record: LogRecord) -> Awaitable[None]: ...

    def replay(self, epoch: int, digests: list[bytes]) -> Awaitable[list[tuple[bytes, bytes]]]: ...

    def raft_state(self, epoch: int) -> Awaitable[StoredLog]: ...

    def sealed_block(self, height: int, header: bytes, signature: bytes) -> Awaitable[NDArray[np.uint8]]: ...

    def delta(self, height: int) -> Awaitable[Delta]: ...

    def head(self) -> Awaitable[ChainHead]: ...

    def account(self, key: bytes) -> Awaitable[AccountState]: ...

    def shard_accounts(self, shard: int, shards: int) -> Awaitable[AccountStates]: ...

    def block(self, height: int) -> Awaitable[bytes | None]: ...

    def receipts(self, height: int) -> Awaitable[bytes | None]: ...

    def sealed_headers(self, start: int, count: int) -> Awaitable[list[bytes]]: ...

    def bodies(self, start: int, count: int, bytes_max: int) -> Awaitable[list[bytes]]: ...

    def stored_block(self, height: int, digest: bytes) -> Awaitable[tuple[bytes, bytes] | None]: ...

    def certificate(self, height: int) -> Awaitable[bytes | None]: ...

    def locate(self, tx_id: bytes) -> Awaitable[TransactionPlace | None]: ...

    def transaction(self, tx_id: bytes) -> Awaitable[StoredTransaction | None]: ...

    def inclusion_proof(self, tx_id: bytes) -> Awaitable[InclusionProof | None]: ...

    def receipt_proof(self, tx_id: bytes) -> Awaitable[ReceiptProof | None]: ...

    def state_proof(
        self, key: bytes, height: int | None = None
    ) -> Awaitable[AccountProof | RetainedHeights]: ...

    def state_values(
        self, keys: list[bytes], height: int | None = None
    ) -> Awaitable[StateValues | RetainedHeights]: ...

    def snapshot_offer(self) -> Awaitable[tuple[bytes, bytes]]: ...

    def snapshot_chunk(self, digest: bytes) -> Awaitable[bytes | None]: ...

    def snapshot_now(self) -> Awaitable[dict[str, object]]: ...

    def copy_database(self) -> Awaitable[str]: ...

    def desks(self) -> Awaitable[tuple[str, str]]: ...

    def health(self) -> Awaitable[dict[str, object]]: ...
