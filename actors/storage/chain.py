"""The chain on disk and in memory: executing, persisting, committing, fencing. Knows no Ray.

Rules
- Only the holder of the current epoch writes. `fence` raises the epoch, synced, and drops speculation.
- A block is persisted at the height after the last persisted one, if its header says what was executed.
- Persisting is one write batch: block, header, receipts, delta, index run, and, if a certificate came with
  it, certificate and head. Acknowledged means that the batch is as durable as the durability mode says. What
  comes without its header may be written before (see preparing.py): a height without one has no block.
- A block is committed once its certificate is written. What is committed never changes: persisting it again
  answers the same, another block at its height is refused.
- Persisted but uncommitted blocks survive restarts on disk; in memory they must be executed again, which is
  what `replay` does. Persisting another block over one removes it and those above it.
- What the replicated log writes rides in the same batch as the block that it names.

Threads: execute, rollback, fence in the state thread; persist, commit in the disk thread. `_writing` keeps
fence and rollback out while a block is being written, so that memory and disk never part.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from actors.ledger.block import HEADER_BYTES, Block, Header, decode_block, decode_certificate, decode_header
from actors.ledger.block_time import time_fault
from actors.ledger.contract_payloads import ROW_PAYLOAD_BYTES_MAX
from actors.ledger.delta import Delta
from actors.ledger.environment import Environment
from actors.ledger.genesis import Allocation, Genesis
from actors.ledger.governed_rules import is_governed
from actors.ledger.hashing import Hasher
from actors.ledger.rows import Batch, FormatError, decode_batch
from actors.ledger.signing import SIGNATURE_BYTES
from actors.ledger.verdict import Verdict
from actors.storage.disk import HEAD_KEY, Disk, DiskBatch
from actors.storage.errors import ConflictError, HeaderError, HeightError, StaleEpochError
from actors.storage.formats import Head, decode_delta, height_key
from actors.storage.functions import Functions
from actors.storage.history import Retention
from actors.storage.interface import (
    Commit,
    Execute,
    FunctionTried,
    LogRecord,
    Persist,
    TryFunction,
    Written,
)
from actors.storage.preparing import Entries, Preparer
from actors.storage.raft_log import RaftLog
from actors.storage.recovery import base_of, head_root, head_time_ms, recover
from actors.storage.state import ExecutedBlock, Execution
from actors.storage.transaction_index import TransactionIndex
from actors.storage.transition import Conflicts
from actors.storage.tx_index import Run

PERSIST_STAGES = ("encode", "write")
_EPOCH_KEY = b"epoch"
_AFTER_ALL_HEIGHTS = b"\xff" * 9
_PER_HEIGHT = ("blocks", "headers", "receipts", "deltas", "history")


@dataclass(frozen=True, slots=True, eq=False)
class Persisted:
    """A block that is on disk. run: its part of the transaction index."""

    delta: Delta
    run: Run


def _written(persisted: Persisted, committed: bool, size: int, stages_us: dict[str, int]) -> Written:
    delta = persisted.delta
    return Written(delta.height, delta.hash, len(delta.ids), committed, size, stages_us)


class Chain:
    """One network's chain in one directory."""

    def __init__(
        self,
        disk: Disk,
        genesis: Genesis,
        read_allocation: Callable[[], Allocation],
        hash_rows: Hasher,
        seed: int,
        clock_ns: Callable[[], int],
        sync: bool = True,
        retention: Retention = Retention(),
    ) -> None:
        self.disk, self.genesis, self.hash_rows, self.sync = disk, genesis, hash_rows, sync
        recovered = recover(disk, genesis, read_allocation, seed, hash_rows, retention)
        self.state, self.head, self.checkpointer = recovered
        self.places = TransactionIndex(disk, self.head.height)
        self.raft_log = RaftLog(disk)
        self.head_state_root = head_root(disk, genesis, self.head)
        self.head_time_ms = head_time_ms(disk, genesis, self.head)
        self.base, self.governors = base_of(disk), genesis.governed_by
        self.epoch = int.from_bytes(disk.get("meta", _EPOCH_KEY) or b"", "little")
        self.functions: Functions | None = None  # without it no function is run, and so none voted for
        self._clock_ns = clock_ns
        self._preparer = Preparer(disk, hash_rows, retention.heights_max > 0, clock_ns)
        self._writing = threading.Lock()
        self._persisted: list[Persisted] = []

    @property
    def persisted_height(self) -> int:
        """Height of the last block that is executed and on disk."""
        return self.head.height + len(self._persisted)

    def fence(self) -> int:
        """Begin a new epoch: calls of older ones fail from now on, and speculation is dropped."""
        with self._writing:
            batch = self.disk.batch()
            batch.put("meta", _EPOCH_KEY, (self.epoch + 1).to_bytes(8, "little"))
            batch.write(sync=True)
            self.epoch += 1
            self._drop_above(self.head.height)
            return self.epoch

    def rollback(self, epoch: int, height: int) -> None:
        """Undo the executed blocks above `height`. Raises HeightError below the committed height."""
        with self._writing:
            self.require_epoch(epoch)
            self._drop_above(height)

    def _drop_above(self, height: int) -> None:
        self.state.undo_above(height)
        self._preparer.forget_above(height)
        del self._persisted[max(height - self.head.height, 0) :]

    def require_epoch(self, epoch: int) -> None:
        """Raises StaleEpochError for any epoch but the current one."""
        if epoch != self.epoch:
            raise StaleEpochError(epoch, self.epoch)

    def execute(self, epoch: int, request: Execute, batch: Batch) -> Execution:
        """Execute a batch speculatively; see `State.execute`. Raises FormatError above a bound.

        Of a block that has its header and signature what is to be written is prepared at once.
        """
        self.require_epoch(epoch)
        started, proposer = self._clock_ns(), request.proposer
        if len(proposer) != 32:
            raise FormatError("proposer", f"{len(proposer)} bytes", "32 bytes")
        for field, got, limit in (
            ("block.transactions", len(batch), self.genesis.block_transactions_max),
            ("block.payload_bytes", len(batch.payloads), self.genesis.block_payload_bytes_max),
        ):
            if got > limit:
                raise FormatError(field, got, f"at most {limit}")
        claimed = int(batch.rows["payload_bytes"].sum(dtype=np.uint64))
        if claimed != len(batch.payloads):
            raise FormatError("payloads", f"{len(batch.payloads)} bytes", f"{claimed} bytes as in the rows")
        identified = self._preparer.identify(batch)
        env = self._environment(request.height, proposer, request.time_ms)
        if request.strict and not request.proven and self._effects_differ(batch, env):
            verdicts = np.array([Verdict.EFFECTS_DIFFER, Verdict.OK], dtype=np.uint8)
            return Execution(verdicts, None, Conflicts())
        function_us = (self._clock_ns() - started) // 1000
        done = self.state.execute(batch, env, request.strict, self._clock_ns)
        if self.functions is not None:
            done = replace(done, waiting=self.functions.waiting(batch, done.verdicts))
        if done.block is None:
            return done
        if is_governed(batch):
            done.stages_us["function"] = function_us
        of_rows = self._preparer.executed(done.block, done.verdicts, identified(), request.sealed)
        stages_us = {**done.stages_us, "ids": of_rows.ids_us, "transaction_root": of_rows.root_us}
        return replace(done, transaction_root=of_rows.root, stages_us=stages_us)

    def _environment(self, height: int, proposer: bytes, time_ms: int) -> Environment:
        genesis = self.genesis
        return Environment(genesis.chain_tag, height, proposer, genesis.prices, time_ms, self.governors)

    def _effects_differ(self, batch: Batch, env: Environment) -> bool:
        """Whether a block has effects of a governed function that are not those found here."""
        if not is_governed(batch) or env.height != self.state.executed_height + 1:
            return False
        if self.functions is None:
            return True
        return bool(self.functions.verify(self.state.accounts, batch, env, self._executed_hash()))

    def _executed_hash(self) -> bytes:
        """Of the last block executed, or what stands for it while it has no header: its state."""
        block = self.state.block_at(self.state.executed_height)
        return block.state_root if block is not None else self.head_state_root

    def try_function(self, request: TryFunction) -> FunctionTried:
        """Run a governed function on the state after the last block executed, if that is the one asked for.
        Raises FormatError for a row that is malformed."""
        function = decode_batch(request.function, 1, ROW_PAYLOAD_BYTES_MAX)
        if len(function) != 1:
            raise FormatError("function", f"{len(function)} rows", "1")
        at = self.state.executed_height
        elsewhere = FunctionTried(int(Verdict.UNAVAILABLE), reason=f"this member is at height {at}")
        if request.height != at + 1 or at != self.persisted_height or self.hash_at(at) != request.parent:
            return elsewhere
        if self.functions is None:
            return FunctionTried(int(Verdict.FUNCTION_REFUSED), reason="this member runs no functions")
        env = self._environment(request.height, bytes(32), request.time_ms)
        common = self.state.accounts, function, env, self._executed_hash()
        if request.digest:
            return self.functions.hold_against(*common, request.digest)
        return self.functions.attempt(*common, request.runs)

    def persist(self, epoch: int, request: Persist) -> tuple[Written, Delta]:
        """Write the block at a height, and commit it if a certificate comes with it.

        Returns what was done and the delta. Doing it again answers the same. Raises StaleEpochError,
        HeightError out of order, HeaderError when the header is not of the executed block, ConflictError when
        another block is committed at this height, FormatError for malformed bytes.
        """
        height, signature = request.height, request.signature
        with self._writing:
            self.require_epoch(epoch)
            header = decode_header(request.header)
            if len(signature) != SIGNATURE_BYTES:
                raise FormatError("signature", f"{len(signature)} bytes", f"{SIGNATURE_BYTES} bytes")
            if request.certificate:
                decode_certificate(request.certificate)
            if header.height != height:
                raise HeaderError("height", header.height, height)
            if height > self.persisted_height:
                return self._write_block(header, request)
            if request.record is not None:
                self._write_record(request.record)
            if height <= self.head.height:
                return self._again(height, header.hash())
            persisted = self._persisted[height - self.head.height - 1]
            if persisted.delta.hash != header.hash():
                raise HeaderError("hash", header.hash().hex(), persisted.delta.hash.hex())
            if request.certificate:
                return self._commit(Commit(height, request.certificate))
            return _written(persisted, False, 0, {}), persisted.delta

    def commit(self, epoch: int, request: Commit) -> tuple[Written, Delta]:
        """Commit the oldest block persisted without a certificate. Raises HeightError out of order."""
        height = request.height
        with self._writing:
            self.require_epoch(epoch)
            decode_certificate(request.certificate)
            if 0 < height <= self.head.height:
                return self._again(height, self.hash_at(height))
            return self._commit(request)

    def replay(self, epoch: int, digests: list[bytes]) -> list[tuple[bytes, bytes]]:
        """Execute and hold again blocks that follow the head on disk; their (header, signature).

        digests: header hashes, in order, from the height after the last persisted one on. This node found
        them valid before it persisted them, so signatures are not checked again; every root is. Raises
        CorruptionError or HeaderError when disk and digests disagree.
        """
        replayed = []
        for digest in digests:
            block = self.block(self.persisted_height + 1)
            header = block.header
            if header.hash() != digest:
                raise HeaderError("hash", header.hash().hex(), digest.hex())
            request = Execute(header.height, True, header.proposer, time_ms=header.time_ms, proven=True)
            self.execute(epoch, request, block.batch)
            self.persist(epoch, Persist(header.height, header.encode(), block.signature))
            replayed.append((header.encode(), block.signature))
        return replayed

    def append_record(self, epoch: int, record: LogRecord) -> None:
        """Make a write of the replicated log durable by itself."""
        with self._writing:
            self.require_epoch(epoch)
            self._write_record(record)

    def _write_record(self, record: LogRecord) -> None:
        batch = self.disk.batch()
        self.raft_log.put(batch, record)
        self._write(batch)

    def compact_log(self, epoch: int, record: LogRecord) -> None:
        """See `RaftLog.compact`."""
        with self._writing:
            self.require_epoch(epoch)
            batch = self.disk.batch()
            self.raft_log.compact(batch, record)
            self._write(batch)

    def hash_at(self, height: int) -> bytes:
        """Hash of a block on disk, the genesis' at 0. Raises HeightError where there is none."""
        if height == 0:
            return self.genesis.hash()
        if height == self.head.height:
            return self.head.hash
        if self.head.height < height <= self.persisted_height:
            return self._persisted[height - self.head.height - 1].delta.hash
        body = self.disk.get("headers", height_key(height))
        if body is None and height < self.base.headers:
            raise HeightError("hash", height, f"at least {self.base.headers}: those before are pruned")
        if body is None:
            raise HeightError("hash", height, f"at most {self.persisted_height}")
        return decode_header(body[:HEADER_BYTES]).hash()

    def _again(self, height: int, wanted: bytes) -> tuple[Written, Delta]:
        committed = self.hash_at(height)
        if committed != wanted:
            raise ConflictError(height, wanted.hex(), committed.hex())
        delta = self.delta_at(height)
        return Written(height, committed, len(delta.ids), True, 0, {}), delta

    def delta_at(self, height: int) -> Delta:
        """What a committed block has changed. Raises HeightError."""
        if not 0 < height <= self.head.height:
            raise HeightError("delta", height, f"1..{self.head.height}")
        body = self.disk.get("deltas", height_key(height))
        if body is None:
            raise HeightError("delta", height, f"at least {self.base.bodies}: those before are pruned")
        return decode_delta(body, self.block(height).batch.ids(self.hash_rows))

    def block(self, height: int) -> Block:
        """A block on disk, decoded. Raises HeightError where there is none, CorruptionError when damaged."""
        data = self.disk.get("blocks", height_key(height))
        if data is None:
            raise HeightError("block", height, f"at most {self.persisted_height}")
        return decode_block(data, self.genesis.block_transactions_max, self.genesis.block_payload_bytes_max)

    def _write_block(self, header: Header, request: Persist) -> tuple[Written, Delta]:
        height, marks = header.height, [self._clock_ns()]
        block = self.state.block_at(height)
        if height != self.persisted_height + 1 or block is None:
            raise HeightError("persist", height, min(self.persisted_height, self.state.executed_height) + 1)
        identified = self._preparer.identified(height)
        self._require_header(header, block, identified.root)
        entries, batch = self._preparer.entries(header, request.signature), self.disk.batch()
        persisted, replaces = Persisted(entries.delta, entries.run), self._replaces(header)
        with self._preparer.replacing(height) if replaces else nullcontext():
            self._put_block(batch, header, entries, replaces)
            if request.record is not None:
                self.raft_log.put(batch, request.record)
            if request.certificate:
                self._put_commit(batch, persisted, request.certificate)
            marks.append(self._clock_ns())
            size = entries.bytes_ahead + self._write(batch, commits=bool(request.certificate))
        marks.append(self._clock_ns())
        self._persisted.append(persisted)
        self._preparer.forget(height)
        if request.certificate:
            self._advance()
        spans = [(b - a) // 1000 for a, b in pairwise(marks)]
        stages_us = dict(zip(PERSIST_STAGES, spans, strict=True))
        return _written(persisted, bool(request.certificate), size, stages_us), persisted.delta

    def _require_header(self, header: Header, block: ExecutedBlock, transaction_root: bytes) -> None:
        for field, executed in (
            ("parent_hash", self.hash_at(header.height - 1)),
            ("transaction_count", len(block.batch)),
            ("payload_bytes", len(block.batch.payloads)),
            ("transaction_root", transaction_root),
            ("state_root", block.state_root),
            ("receipts_root", block.receipts_root),
            ("proposer", block.proposer),
        ):
            got = getattr(header, field)
            if got != executed:
                named = (v.hex() if isinstance(v, bytes) else v for v in (got, executed))
                raise HeaderError(field, *named)
        parent_ms = self._persisted[-1].delta.time_ms if self._persisted else self.head_time_ms
        if time_fault(header.time_ms, parent_ms):
            raise HeaderError("time_ms", header.time_ms, f"at least {parent_ms}, its parent's")

    def _replaces(self, header: Header) -> bool:
        """Whether another block stands at its height."""
        old = self.disk.get("headers", height_key(header.height))
        return old is not None and decode_header(old[:HEADER_BYTES]).hash() != header.hash()

    def _put_block(self, batch: DiskBatch, header: Header, entries: Entries, replaces: bool) -> None:
        if replaces:
            key = height_key(header.height)
            for family in _PER_HEIGHT:
                batch.delete_range(family, key, _AFTER_ALL_HEIGHTS)
            self.places.drop_from(batch, header.height)
        for family, at, value in entries.values:
            batch.put_sealed(family, at, value)

    def _head_with(self, persisted: Persisted) -> Head:
        delta = persisted.delta
        return Head(delta.height, self.head.transactions + len(delta.ids), delta.hash)

    def _put_commit(self, batch: DiskBatch, persisted: Persisted, certificate: bytes) -> None:
        batch.put("certificates", height_key(persisted.delta.height), certificate)
        batch.put("meta", HEAD_KEY, self._head_with(persisted).encode())

    def _commit(self, request: Commit) -> tuple[Written, Delta]:
        if request.height != self.head.height + 1 or not self._persisted:
            raise HeightError("commit", request.height, self.head.height + 1)
        persisted, started = self._persisted[0], self._clock_ns()
        batch = self.disk.batch()
        self._put_commit(batch, persisted, request.certificate)
        size = self._write(batch, request.sync, commits=True)
        self._advance()
        stages_us = {"write": (self._clock_ns() - started) // 1000}
        return _written(persisted, True, size, stages_us), persisted.delta

    def _write(self, batch: DiskBatch, sync: bool = True, commits: bool = False) -> int:
        """Write a batch, synced where durability and `sync` say so; a synced one makes all before it durable.

        commits: the batch commits the block after the head. Returns its bytes.
        """
        size = batch.write(self.sync and sync)
        if self.sync and sync:
            try:
                self.disk.mark.write(self.head.height + commits)
            except OSError as error:  # the mark may be behind; the batch is written and must count as such
                self.disk.alarm(f"{self.disk.directory}: the mark of what was acknowledged: {error}")
        return size

    def _advance(self) -> None:
        """The oldest persisted block is committed on disk: let readers see it."""
        persisted = self._persisted[0]
        head = self._head_with(persisted)
        self.places.add(persisted.run)
        with self.state.lock:
            block = self.state.commit()
            self.head, self.head_state_root = head, persisted.delta.state_root
            self.head_time_ms = persisted.delta.time_ms
            del self._persisted[0]
            # Under the same lock: a checkpoint that promises this height must know these pages.
            self.checkpointer.touch(block.undo.slots)
