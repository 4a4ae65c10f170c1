"""Checks a directory that no node has open: every stored byte, and the chain from its first block.

Rules
1. Nothing is written. Each value of each column family is read and its seal checked.
2. Every block is checked by itself (parent, signatures, roots), then executed again, and what was stored
   beside it (header, receipts, delta) must be the bytes that come out. Of a value that differs, the offset of
   the first wrong byte is named; where nothing says what the bytes should be, the key is.
3. Accounts and entries on disk must hash to the head's state root, and the accounts add up to the supply;
   each contract that the execution deployed must have its program there, which is verified anew. The
   transaction index must hold every transaction of every kept block and nothing else.

Theory of operation. Execution begins with the genesis if block 1 is there. In a directory whose first blocks
are not there it begins with the oldest snapshot after which all blocks are. The index is compared as a sum:
each entry is mixed into 64 bits, and the entries of a run must add up to what those of its blocks add up to,
which needs no memory for either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from actors.ledger import merkle
from actors.ledger.block import (
    HEADER_BYTES,
    Block,
    Header,
    SealedHeader,
    decode_block,
    decode_certificate,
    decode_header,
)
from actors.ledger.delta import NO_IDS, Delta
from actors.ledger.genesis import Allocation, Genesis, exact_sum
from actors.ledger.hashing import Hasher, prefixes, sha256
from actors.ledger.rows import FormatError
from actors.ledger.rules import environment_of
from actors.ledger.succession import Parent, as_parent, genesis_as_parent, succession_fault
from actors.storage import pages, tx_index
from actors.storage.accounts import Accounts, StateColumns, entries_among, funded, of_delta
from actors.storage.contract_check import deployed, program_fault
from actors.storage.disk import FAMILIES, HEAD_KEY, Disk
from actors.storage.errors import CorruptionError, StorageError
from actors.storage.findings import Findings, Problem
from actors.storage.formats import (
    Head,
    decode_delta,
    decode_head,
    delta_parts,
    height_key,
    seal,
    unseal,
)
from actors.storage.history import Retention
from actors.storage.raft_log import FAMILY, halted
from actors.storage.recovery import base_of, head_root
from actors.storage.snapshot_store import SnapshotStore
from actors.storage.snapshots import decode_manifest, open_chunk
from actors.storage.state import ExecutedBlock, State, build_tree, delta_of
from actors.storage.tx_index import Run

Progress = Callable[[str, int], None]


def check(
    disk: Disk,
    genesis: Genesis,
    read_allocation: Callable[[], Allocation],
    hash_rows: Hasher,
    progress: Progress = lambda _text, _done: None,
) -> dict[str, object]:
    """Check an open directory; see `Findings.report`. Raises WrongNetworkError and SchemaError."""
    if not disk.require_network(genesis.hash(), genesis.network):
        raise CorruptionError("meta", b"network".hex(), "missing: this directory holds no chain")
    found = Findings()
    checking = _Check(disk, genesis, read_allocation, hash_rows, found, progress)
    for step in (
        checking.seals,
        checking.verdict,
        checking.chain,
        checking.accounts,
        checking.index,
        checking.snapshots,
    ):
        try:
            step()
        except CorruptionError as error:
            found.add(Problem(*error.args))
        except (StorageError, FormatError, ValueError, LookupError) as error:
            found.add(Problem(step.__name__, "", f"{type(error).__name__}: {error}"))
    return found.report()


def unopened(error: CorruptionError) -> dict[str, object]:
    """The report on a directory that RocksDB cannot even open."""
    found = Findings()
    found.add(Problem(*error.args))
    return found.report()


class _Check:
    def __init__(
        self,
        disk: Disk,
        genesis: Genesis,
        read_allocation: Callable[[], Allocation],
        hash_rows: Hasher,
        found: Findings,
        progress: Progress,
    ) -> None:
        self._disk, self._genesis, self._read_allocation = disk, genesis, read_allocation
        self._hash_rows, self._found, self._progress = hash_rows, found, progress
        self._members, self._base = genesis.member_keys, base_of(disk)
        self._state: State | None = None
        self._sums: dict[int, int] = {}
        self._rows: dict[int, int] = {}
        self._contracts: list[bytes] = []

    def seals(self) -> None:
        """Read every value of every family."""
        for family in FAMILIES:
            count = 0
            try:
                for key, value in self._disk.scan_raw(family):
                    count += 1
                    self._found.value_bytes += len(value)
                    try:
                        unseal(family, key, value)
                    except CorruptionError as error:
                        self._found.add(Problem(*error.args))
                    self._progress(f"reading {family}", count)
            except CorruptionError as error:
                self._found.add(Problem(*error.args))
            self._found.values[family] = count

    def verdict(self) -> None:
        """Whether this chain was proven wrong while it was in use."""
        if why := halted(self._disk):
            self._found.add(Problem(FAMILY, "halted", why.decode(errors="replace")))

    def chain(self) -> None:
        """Walk the committed chain; execute it again where there is a state to begin with."""
        head = self._head()
        start, first = self._base.headers, self._base.bodies
        self._found.height, self._found.transactions = head.height, head.transactions
        self._state = self._first_state(first - 1)
        parent = genesis_as_parent(self._genesis) if start == 1 else Parent(start - 1, b"", 0)
        for height in range(start, head.height + 1):
            header = self._header(height, parent)
            parent = as_parent(header)
            self._found.headers += 1
            if height >= first:
                self._block(height, header)
            self._progress("checking blocks", height)
        if head.height and parent.hash != head.hash:
            raise CorruptionError(
                "meta", HEAD_KEY.hex(), f"names {head.hash.hex()}, the chain {parent.hash.hex()}"
            )

    def _head(self) -> Head:
        body = self._disk.get("meta", HEAD_KEY)
        if body is None:
            raise CorruptionError("meta", HEAD_KEY.hex(), "missing")
        return decode_head(body)

    def _first_state(self, height: int) -> State | None:
        """The genesis if every block is there, else the oldest snapshot from which all blocks are."""
        if height == 0:
            allocation = self._read_allocation()
            columns = funded(allocation.keys, allocation.balances)
            return self._state_of(0, [columns], bytes.fromhex(self._genesis.state_root))
        store = SnapshotStore(self._disk, self._genesis, self._hash_rows)
        for at in store.heights():
            if at >= height:
                manifest = decode_manifest(store.manifest(at) or b"")
                chunks = (store.chunk(entry.hash) or b"" for entry in manifest.entries)
                parts = [open_chunk(manifest, n, body, self._hash_rows) for n, body in enumerate(chunks)]
                return self._state_of(at, parts, manifest.state_root)
        return None

    def _state_of(self, height: int, parts: list[StateColumns], root: bytes) -> State:
        accounts = Accounts(sum(len(part.keys) for part in parts), seed=1)
        for columns in parts:
            accounts.put(columns)
        state = State(accounts, height, self._hash_rows, Retention(0, 0))
        if state.tree.root != root:
            raise CorruptionError("genesis", "", f"the allocation does not hash to {root.hex()}")
        self._found.replayed_from = height
        return state

    def snapshots(self) -> None:
        """Every manifest folds to its root, and every chunk it names is there and what its name says."""
        store = SnapshotStore(self._disk, self._genesis, self._hash_rows)
        for height in store.heights():
            for entry in decode_manifest(store.manifest(height) or b"").entries:
                if sha256(store.chunk(entry.hash) or b"") != entry.hash:
                    what = f"is not the chunk that the manifest at {height} names"
                    raise CorruptionError("snapshots", (b"c" + entry.hash).hex(), what)
                self._progress("checking snapshots", height)

    def _header(self, height: int, parent: Parent) -> Header:
        """The header at a height, proven. Raises CorruptionError naming what does not hold."""
        key = height_key(height)
        body, certificate = self._disk.get("headers", key), self._disk.get("certificates", key)
        if body is None or certificate is None:
            raise CorruptionError("headers" if body is None else "certificates", key.hex(), "missing")
        header = decode_header(body[:HEADER_BYTES])
        sealed = SealedHeader(header, body[HEADER_BYTES:], decode_certificate(certificate))
        if fault := succession_fault(header, parent):
            raise CorruptionError("headers", key.hex(), fault)
        if wrong := sealed.verify(self._genesis.hash(), self._members):
            family = "certificates" if wrong == "certificate" else "headers"
            raise CorruptionError(family, key.hex(), f"the {wrong} does not verify")
        return header

    def _block(self, height: int, header: Header) -> None:
        key = height_key(height)
        body, genesis = self._disk.get("blocks", key), self._genesis
        if body is None:
            raise CorruptionError("blocks", key.hex(), "missing")
        block = decode_block(body, genesis.block_transactions_max, genesis.block_payload_bytes_max)
        if block.header != header:
            raise CorruptionError("blocks", key.hex(), "holds another header than the family of headers")
        ids = block.batch.ids(self._hash_rows)
        if merkle.root(ids, self._hash_rows) != header.transaction_root:
            raise CorruptionError(
                "blocks", key.hex(), "the transactions do not hash to the root in the header"
            )
        self._sums[height], self._rows[height] = _block_sum(height, ids), len(ids)
        self._found.blocks += 1
        if self._state is not None and height > self._found.replayed_from:
            self._execute(self._state, block, key)

    def _execute(self, state: State, block: Block, key: bytes) -> None:
        """Execute a block again and compare all that comes out."""
        header = block.header
        execution = state.execute(block.batch, environment_of(header, self._genesis), True, lambda: 0)
        executed = execution.block
        if executed is None:
            row = int(np.flatnonzero(execution.verdicts)[0])
            raise CorruptionError("blocks", key.hex(), f"row {row} is not valid when executed again")
        for name in ("state_root", "receipts_root"):
            if getattr(header, name) != getattr(executed, name):
                raise CorruptionError("headers", key.hex(), f"{name} differs from what execution gives")
        for family, expected in self._expected(block, executed):
            self._compare(family, key, expected)
        self._compare_delta(key, delta_of(header, executed, NO_IDS))
        self._contracts += deployed(block.batch, executed.receipts)
        state.commit()
        self._found.executed += 1

    @staticmethod
    def _expected(block: Block, executed: ExecutedBlock) -> Iterator[tuple[str, bytes]]:
        header = block.header
        yield "headers", header.encode() + block.signature
        yield "receipts", b"".join(executed.receipts.encode())

    def _compare_delta(self, key: bytes, expected: Delta) -> None:
        """Entries in any order, which is that of slots: those of emptied accounts may have been given up."""
        with suppress(CorruptionError):  # then the comparison says where
            stored = decode_delta(self._disk.get("deltas", key) or b"")
            if _bytes_of(stored.by_key()) == _bytes_of(expected.by_key()):
                return
        self._compare("deltas", key, _bytes_of(expected))

    def _compare(self, family: str, key: bytes, expected: bytes) -> None:
        stored = self._disk.raw(family, key)
        wanted = seal(family, key, expected)
        if stored == wanted:
            return
        if stored is None:
            self._found.add(Problem(family, key.hex(), "missing"))
            return
        offset = first_difference(stored, wanted)
        what = f"byte {offset} of {len(stored)} is not what executing the block again gives"
        self._found.sharpen(Problem(family, key.hex(), what, offset))

    def accounts(self) -> None:
        """Pages and the deltas after them must hash to the head's state root; each program must be whole."""
        head = self._head()
        accounts = Accounts(self._genesis.accounts, seed=1)
        checkpoint = pages.load(self._disk, accounts)
        for height in range(checkpoint.height + 1, head.height + 1):
            body = self._disk.get("deltas", height_key(height))
            if body is None:
                raise CorruptionError("deltas", height_key(height).hex(), "missing")
            accounts.put(of_delta(decode_delta(body)))
        columns = accounts.columns()
        root, supply = build_tree(columns, self._hash_rows).root, exact_sum(columns.coins)
        self._found.accounts, self._found.supply = int(np.count_nonzero(columns.coins)), supply
        self._found.entries = int(np.count_nonzero(columns.balances[entries_among(columns.keys)]))
        self._found.state_root = root.hex()
        expected = head_root(self._disk, self._genesis, head)
        if root != expected:
            self._found.add(
                Problem("accounts", self._wrong_page(columns), f"hash to {root.hex()}, not {expected.hex()}")
            )
        if supply != self._genesis.supply:
            what = f"balances add up to {supply}, the supply is {self._genesis.supply}"
            self._found.add(Problem("accounts", self._wrong_page(columns), what))
        self._programs(accounts)

    def _programs(self, accounts: Accounts) -> None:
        for address in self._contracts:
            if fault := program_fault(accounts, address, self._genesis.prices.weights):
                self._found.add(Problem("accounts", "", f"contract {address.hex()}: {fault}"))
            self._found.contracts += 1
            self._progress("checking contracts", self._found.contracts)

    def _wrong_page(self, columns: StateColumns) -> str:
        """Key of the first page that differs from the executed state; empty where nothing was executed."""
        if self._state is None or self._found.executed != self._found.height:
            return ""
        truth = self._state.accounts.columns()
        size = min(len(columns.keys), len(truth.keys))
        hashes = truth.hashes(self._hash_rows), columns.hashes(self._hash_rows)
        for right, found in ((truth.keys, columns.keys), hashes):
            different = np.flatnonzero((right[:size] != found[:size]).any(1))
            if len(different):
                return height_key(int(different[0]) // pages.PAGE_ACCOUNTS).hex()
        return ""

    def index(self) -> None:
        """Runs must hold what the kept blocks hold, in order."""
        if len(self._sums) != self._found.height - self._base.bodies + 1:
            return  # the walk ended early and has said why
        covered = self._base.bodies
        for run in sorted(_runs(self._disk), key=lambda run: run.first):
            if run.first > self._found.height:
                continue
            if run.stop <= covered:
                continue
            self._run(run)
            covered = max(covered, run.stop)
        if covered != self._found.height + 1:
            raise CorruptionError("tx_index", "", f"there is no run for block {covered}")

    def _run(self, run: Run) -> None:
        total = rows = 0
        kept = self._base.bodies
        for page, fence in enumerate(run.fences, start=1):
            key = run.key(page)
            body = self._disk.get("tx_index", key)
            if body is None:
                raise CorruptionError("tx_index", key.hex(), "missing")
            prefixes, heights, positions = tx_index.decode_page(body)
            if prefixes[0] != fence or (prefixes[1:] < prefixes[:-1]).any():
                raise CorruptionError("tx_index", key.hex(), "is not in order")
            mine = heights >= kept
            total += _mixed_sum(prefixes[mine], heights[mine], positions[mine])
            rows += int(mine.sum())
            self._progress("checking the index", page)
        heights_of_run = range(max(run.first, kept), run.stop)
        expected = sum(self._sums[height] for height in heights_of_run)
        if (total - expected) % 2**64 or rows != sum(self._rows[height] for height in heights_of_run):
            raise CorruptionError("tx_index", run.key(0).hex(), "does not hold what its blocks hold")


def _bytes_of(delta: Delta) -> bytes:
    return b"".join(delta_parts(delta))


def first_difference(got: bytes, wanted: bytes) -> int:
    """Offset of the first byte that differs, the shorter length where one is the beginning of the other."""
    size = min(len(got), len(wanted))
    pair = np.frombuffer(got, np.uint8, size), np.frombuffer(wanted, np.uint8, size)
    different = np.flatnonzero(pair[0] != pair[1])
    return int(different[0]) if len(different) else size


def _runs(disk: Disk) -> Iterator[Run]:
    for key, body in disk.scan("tx_index"):
        if tx_index.split_key(key)[2] == 0:
            yield tx_index.decode_run(key, body)


def _block_sum(height: int, ids: NDArray[np.uint8]) -> int:
    heights = np.full(len(ids), height, dtype=np.uint64)
    return _mixed_sum(prefixes(ids), heights, np.arange(len(ids), dtype=np.uint32))


def _mixed_sum(first: NDArray[np.uint64], heights: NDArray[np.uint64], positions: NDArray[np.uint32]) -> int:
    """Sum of the entries, each mixed into 64 bits, modulo 2^64."""
    mixed = (first ^ (heights << np.uint64(32)) ^ positions) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29)) ^ heights) * np.uint64(0xBF58476D1CE4E5B9)
    return int((mixed ^ (mixed >> np.uint64(32)) ^ positions).sum(dtype=np.uint64))
