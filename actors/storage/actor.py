"""The Storage shell: the one writer of state. Every Ray call, thread and clock of the room is here.

Calls run in concurrency groups of threads: `state` (1) executes large blocks, `disk` (1) tells what they
changed, `read` (2) answers, `health` (1). What makes blocks durable, and executes small ones, comes over two
lines instead (calls.py): the thread of each desk, `state` and `disk`, does the work itself, in turns with
the group of that name (writing.py). Two background threads belong to the shell: one keeps house
(housekeeping.py), the other syncs the log in durability mode `interval`. On machines with cores to spare the
state thread has helpers, which hash pieces of the state tree while it waits (storage.hash_threads).

    queue                                sender      receiver     bound
    speculative blocks (executed)        state       disk         state.SPECULATIVE_BLOCKS_MAX, then an error
    housekeeping (one event)             disk        background   1: a second request joins the first
"""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from actors.execution.contract_engine import ContractEngine
from actors.execution.functions import FunctionRunner
from actors.execution.spreading import SpreadingEngine
from actors.kernels.interface import Choice
from actors.kernels.selection import select
from actors.ledger.block import InclusionProof
from actors.ledger.contract_payloads import ROW_PAYLOAD_BYTES_MAX
from actors.ledger.delta import AccountState, AccountStates, ChainHead, Delta
from actors.ledger.genesis import Allocation, Genesis, decode_allocation
from actors.ledger.receipts import ReceiptProof
from actors.ledger.rows import decode_batch
from actors.local_socket import LocalRpcServer
from actors.settings import StorageSettings
from actors.shell import (
    ActorContext,
    Shell,
    freeze_long_lived,
    kernel_cache_dir,
    retain_large_buffers,
)
from actors.storage.chain import Chain
from actors.storage.contract_jobs import JobEngine
from actors.storage.contract_programs import ProgramShelf
from actors.storage.disk import Disk, wait_for
from actors.storage.disk_identity import settle
from actors.storage.errors import NotRetainedError
from actors.storage.functions import Functions
from actors.storage.history import Retention
from actors.storage.housekeeping import Housekeeper, Policy, offer
from actors.storage.interface import (
    AccountProof,
    Audit,
    Execute,
    Executed,
    FunctionRefusal,
    FunctionTried,
    LogRecord,
    RetainedHeights,
    StateValues,
    StoredLog,
    StoredTransaction,
    TransactionPlace,
    TryFunction,
)
from actors.storage.reads import Reader
from actors.storage.sharing import sharing
from actors.storage.writing import Writer
from actors.validator.parts.actor import PartValidators

OPTIONS: dict[str, Any] = {
    "max_restarts": -1,
    "max_task_retries": 0,
    "concurrency_groups": {"state": 1, "disk": 1, "read": 2, "health": 1},
}
OPEN_TRIES, OPEN_PAUSE_S = 50, 0.2
COPY_FOLDER = "db.copy"


class Storage(Shell):
    """Disk and state of one node. The constructor opens, recovers and verifies; a restart needs no more."""

    def __init__(
        self,
        context: ActorContext,
        settings: StorageSettings,
        genesis: Genesis,
        allocation_path: str,
        kernel_choice: Choice = "auto",
        open_tries: int = OPEN_TRIES,
    ) -> None:
        super().__init__(context)
        retain_large_buffers()
        started = time.perf_counter()
        self._settings = settings
        kernels = select(kernel_choice, kernel_cache_dir())
        self._stop = threading.Event()
        self._housekeeping = threading.Event()
        # A killed predecessor may need a moment to die before it lets the directory go.
        directory, reserve_bytes = Path(context.data_dir) / "db", settings.disk_reserve_mb << 20
        self._disk = wait_for(
            open_tries,
            lambda: time.sleep(OPEN_PAUSE_S),
            lambda: Disk(directory, reserve_bytes=reserve_bytes, files_open_max=settings.files_open_max),
        )
        try:
            self._chain = Chain(
                self._disk,
                genesis,
                lambda: _read_allocation(allocation_path),
                kernels.hash_rows,
                secrets.randbits(128),
                time.perf_counter_ns,
                sync=settings.durability == "sync",
                retention=Retention(settings.proof_heights_max, settings.proof_history_mb << 20),
            )
            log = self._chain.raft_log
            self._identity = settle(
                directory.parent, log.disk_identity(), log.put_disk_identity, secrets.token_bytes
            )
        except BaseException:
            self._disk.close()
            raise
        if self._identity.renewed:
            self.log.warning("this disk has a new identity: {}", self._identity.renewed)
        self._disk.alarm = self._on_full
        self._chain.state.tree.each = sharing(settings.hash_threads)
        own = ContractEngine(settings.contract_cells, kernel_cache_dir(), self.log.warning)
        validators = PartValidators(genesis.hash(), context.node)
        self._contracts = SpreadingEngine(own, validators.find, time.monotonic)
        self._chain.state.engine = JobEngine(
            self._contracts.run_all,
            self._contracts.parts,
            kernels.hash_rows,
            secrets.randbits(128),
            ProgramShelf(),
            self.log.warning,
        )
        self._runner = FunctionRunner()
        self._functions = Functions(self._runner, genesis.block_payload_bytes_max, self.log.critical)
        self._chain.functions = self._functions
        self._reader = Reader(self._chain)
        self._house = Housekeeper(self._chain, _policy(settings), self.log.info)
        self._writer = Writer(self._chain, time.perf_counter_ns, self._has_committed)
        self._background_error = ""
        self._threads = [threading.Thread(target=self._keep_house, name="housekeeping", daemon=True)]
        if settings.durability == "interval":
            self._threads.append(threading.Thread(target=self._sync_often, name="sync", daemon=True))
        for thread in self._threads:
            thread.start()
        self._housekeeping.set()
        self._desks = [LocalRpcServer(self._writer.answer, title) for title in ("state desk", "disk desk")]
        freeze_long_lived()
        self.log.info(
            "height {} recovered in {:.2f} s, {} accounts, kernels {} {}",
            self._chain.head.height,
            time.perf_counter() - started,
            self._chain.state.accounts.count,
            kernels.name,
            kernels.reason,
        )

    @ray.method(concurrency_group="state")
    def start(self) -> dict[str, object]:
        """Height, hash, state root (hex), number of accounts and supply of the committed state."""
        return {**self._reader.describe_head(), "supply": self._chain.state.committed_supply()}

    @ray.method(concurrency_group="state")
    def fence(self) -> tuple[int, ChainHead]:
        """A new epoch for the caller, and the head. Older epochs are refused from now on."""
        with self._writer.state_turn:
            epoch = self._chain.fence()
        self.log.info("epoch {} begins at height {}", epoch, self._chain.head.height)
        return epoch, self._reader.head()

    @ray.method(concurrency_group="state")
    def execute(self, epoch: int, request: Execute, *parts: NDArray[Any]) -> Executed:
        """Execute draws: parts are rows0, payloads0, rows1, payloads1, ... Raises StaleEpochError,
        HeightError, SpeculationLimitError, FormatError."""
        return self._writer.execute(epoch, request, parts)

    @ray.method(concurrency_group="state")
    def try_function(self, request: TryFunction) -> FunctionTried:
        """Run a governed function on the state after the last block executed. Raises FormatError."""
        return self._writer.try_function(request)

    @ray.method(concurrency_group="state")
    def refuse_function(self, function: bytes, height: int, reason: str) -> None:
        """Remember that members do not agree on a function: a batch of one row. Raises FormatError."""
        self._functions.refuse(decode_batch(function, 1, ROW_PAYLOAD_BYTES_MAX), height, reason)

    @ray.method(concurrency_group="read")
    def refused_functions(self) -> list[FunctionRefusal]:
        """Governed functions that this member refused, the newest last."""
        return self._functions.refusals()

    @ray.method(concurrency_group="state")
    def rollback(self, epoch: int, height: int) -> None:
        """Undo the executed blocks above `height`."""
        with self._writer.state_turn:
            self._chain.rollback(epoch, height)

    @ray.method(concurrency_group="disk")
    def compact_log(self, epoch: int, record: LogRecord) -> None:
        """Let the record's snapshot stand for the replicated log's entries up to its base."""
        with self._writer.disk_turn:
            self._chain.compact_log(epoch, record)

    @ray.method(concurrency_group="state")
    def replay(self, epoch: int, digests: list[bytes]) -> list[tuple[bytes, bytes]]:
        """Execute again persisted blocks above the head; see `Chain.replay`."""
        with self._writer.state_turn:
            return self._chain.replay(epoch, digests)

    @ray.method(concurrency_group="state")
    def raft_state(self, epoch: int) -> StoredLog:
        """The replicated log as it is on disk, for the holder of the epoch."""
        self._chain.require_epoch(epoch)
        return self._chain.raft_log.read()

    @ray.method(concurrency_group="read")
    def sealed_block(self, height: int, header: bytes, signature: bytes) -> NDArray[np.uint8]:
        """An executed block under its header, in the bytes that the wire carries, as (n,) uint8."""
        return np.frombuffer(self._reader.sealed_block(height, header, signature), dtype=np.uint8)

    @ray.method(concurrency_group="disk")
    def delta(self, height: int) -> Delta:
        """What a committed block has changed. Raises HeightError."""
        return self._writer.delta(height)

    @ray.method(concurrency_group="read")
    def head(self) -> ChainHead:
        """The last committed block."""
        return self._reader.head()

    @ray.method(concurrency_group="read")
    def account(self, key: bytes) -> AccountState:
        """An account at the head."""
        return self._reader.account(key)

    @ray.method(concurrency_group="read")
    def shard_accounts(self, shard: int, shards: int) -> AccountStates:
        """The accounts of a mempool shard."""
        return self._reader.shard_accounts(shard, shards)

    @ray.method(concurrency_group="read")
    def block(self, height: int) -> bytes | None:
        """Bytes of a committed block."""
        return self._reader.block(height)

    @ray.method(concurrency_group="read")
    def receipts(self, height: int) -> bytes | None:
        """Receipts of a committed block, 32 bytes a transaction."""
        return self._reader.receipts(height)

    @ray.method(concurrency_group="read")
    def sealed_headers(self, start: int, count: int) -> list[bytes]:
        """Committed headers with signature and certificate, from `start` on."""
        return self._reader.sealed_headers(start, count)

    @ray.method(concurrency_group="read")
    def bodies(self, start: int, count: int, bytes_max: int) -> list[bytes]:
        """Encoded batches of committed blocks, the first and more while they fit in `bytes_max`."""
        return self._reader.bodies(start, count, bytes_max)

    @ray.method(concurrency_group="read")
    def stored_block(self, height: int, digest: bytes) -> tuple[bytes, bytes] | None:
        """A block of this hash and its certificate, committed or only persisted; see `Reader`."""
        return self._reader.stored_block(height, digest)

    @ray.method(concurrency_group="read")
    def certificate(self, height: int) -> bytes | None:
        """Commit certificate of a block."""
        return self._reader.certificate(height)

    @ray.method(concurrency_group="read")
    def locate(self, tx_id: bytes) -> TransactionPlace | None:
        """Height and position of a committed transaction."""
        return self._reader.locate(tx_id)

    @ray.method(concurrency_group="read")
    def transaction(self, tx_id: bytes) -> StoredTransaction | None:
        """Row, payload, receipt and place of a committed transaction."""
        return self._reader.transaction(tx_id)

    @ray.method(concurrency_group="read")
    def inclusion_proof(self, tx_id: bytes) -> InclusionProof | None:
        """RFC 9162 proof of a committed transaction, with header, signature and certificate."""
        return self._reader.inclusion_proof(tx_id)

    @ray.method(concurrency_group="read")
    def receipt_proof(self, tx_id: bytes) -> ReceiptProof | None:
        """Proof of what a committed transaction left."""
        return self._reader.receipt_proof(tx_id)

    @ray.method(concurrency_group="read")
    def state_proof(self, key: bytes, height: int | None = None) -> AccountProof | RetainedHeights:
        """Proof of an account at a committed height, or which heights are kept where that one is not."""
        try:
            return self._reader.state_proof(key, height)
        except NotRetainedError as error:
            return _retained(error)

    @ray.method(concurrency_group="read")
    def state_values(self, keys: list[bytes], height: int | None = None) -> StateValues | RetainedHeights:
        """What keys hold at one committed height, or which heights are kept where that one is not."""
        try:
            return self._reader.state_values(keys, height)
        except NotRetainedError as error:
            return _retained(error)

    @ray.method(concurrency_group="read")
    def snapshot_offer(self) -> tuple[bytes, bytes]:
        """Manifest and sealed header of the newest snapshot to begin from; empty without one."""
        return offer(self._house, self._reader) or (b"", b"")

    @ray.method(concurrency_group="read")
    def snapshot_chunk(self, digest: bytes) -> bytes | None:
        """A chunk of a snapshot by its SHA-256."""
        return self._house.store.chunk(digest)

    @ray.method(concurrency_group="read")
    def snapshot_now(self) -> dict[str, object]:
        """A snapshot of the head, made if there is none: height, hash (hex), accounts, chunks, stored_bytes.
        Empty while the chain has no block."""
        kept = self._house.snapshot_now()
        return {} if kept is None else {**asdict(kept), "hash": kept.hash.hex()}

    @ray.method(concurrency_group="read")
    def copy_database(self) -> str:
        """The name of a folder beside the database that holds what it holds now, for `check`; it takes the
        place of an earlier one, and is its reader's to remove."""
        self._disk.copy(self._disk.directory.with_name(COPY_FOLDER))
        return COPY_FOLDER

    @ray.method(concurrency_group="read")
    def audit(self) -> Audit:
        """Recompute the state root from nothing and walk all blocks; see `Reader.audit`."""
        return self._reader.audit()

    @ray.method(concurrency_group="health")
    def desks(self) -> tuple[str, str]:
        """Where this node's Consensus, on the same machine, finds the desks `state` and `disk`."""
        state, disk = self._desks
        return state.name, disk.name

    @ray.method(concurrency_group="health")
    def stats(self) -> dict[str, object]:
        """Totals since the process began, by stage (µs), and the sizes of what is held."""
        chain = self._chain
        return {
            **self._writer.totals(),
            **asdict(self._house.totals),
            "queues": {"speculative_blocks": chain.state.executed_height - chain.head.height},
            "disk_bytes": self._disk.bytes_used(),
            "tree_bytes": chain.state.tree.bytes_used,
            "tree_nodes": chain.state.tree.nodes,
            "oldest_proof_height": chain.state.history.oldest,
            "proof_history_bytes": chain.state.history.bytes_used,
            "index_runs": chain.places.runs,
            "checkpoint_height": chain.checkpointer.last.height,
            "snapshot_height": self._house.newest_snapshot,
            "first_body_height": chain.base.bodies,
            "first_header_height": chain.base.headers,
            "durability": self._settings.durability,
            "background_error": self._background_error,
            "read_only": self._disk.full,
        }

    @ray.method(concurrency_group="health")
    def health(self) -> dict[str, object]:
        """Process figures, the head, and `stats`."""
        own = {**self.stats(), "contracts": self._contracts.facts()}
        return {**self.process_health(), **self._reader.describe_head(), **own}

    @ray.method(concurrency_group="disk")
    def stop(self) -> None:
        """Finish background work, sync, close the directory; idempotent."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._housekeeping.set()
        for desk in self._desks:
            desk.close()
        for thread in self._threads:
            thread.join()
        with self._writer.state_turn, self._writer.disk_turn:
            self._disk.sync()
            self._disk.close()
        self._contracts.close()
        self._runner.close()
        self.log.info("closed at height {}", self._chain.head.height)

    def _has_committed(self) -> None:
        if self._house.due():
            self._housekeeping.set()

    def _on_full(self, full: str) -> None:
        if full:
            self.log.critical("{}", full)
        else:
            self.log.warning("there is room on the disk again: writing goes on")

    def _keep_house(self) -> None:
        while True:
            self._housekeeping.wait()
            self._housekeeping.clear()
            if self._stop.is_set():
                return
            try:
                self._house.run(self._stop.is_set)
                self._background_error = ""
            except Exception as error:
                # Commits do not depend on it: say so loudly, and try again at the next occasion.
                self._background_error = str(error)
                self.log.exception("housekeeping failed; it will be tried again")

    def _sync_often(self) -> None:
        while not self._stop.wait(self._settings.interval_ms / 1000):
            try:
                self._disk.sync()
                self._background_error = ""
            except Exception as error:
                self._background_error = str(error)
                self.log.exception("syncing the log failed; it will be tried again")


def _policy(settings: StorageSettings) -> Policy:
    return Policy(
        settings.checkpoint_blocks,
        settings.snapshot_blocks,
        settings.snapshots_kept,
        settings.retention,
        settings.retain_blocks,
    )


def _retained(error: NotRetainedError) -> RetainedHeights:
    _, oldest, newest = error.args
    return RetainedHeights(oldest, newest)


def _read_allocation(path: str) -> Allocation:
    return decode_allocation(Path(path).read_bytes())
