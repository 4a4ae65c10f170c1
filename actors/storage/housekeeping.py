"""What storage does beside commits: merges of the index, checkpoints, snapshots, pruning. Waits for nobody.

One call of `run` does what is due, in this order, since pruning may take only what a checkpoint and a
snapshot have made superfluous. Snapshots are taken at multiples of `snapshot_blocks`, so that all nodes make
the same ones; a multiple that this process cannot go back to (it was restarted after it) is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from actors.ledger.block import HEADER_BYTES, decode_header
from actors.storage.chain import Chain
from actors.storage.errors import NotRetainedError
from actors.storage.formats import Head, height_key
from actors.storage.pruning import Mode, due, prune
from actors.storage.reads import Reader
from actors.storage.remembering import forget, remember
from actors.storage.snapshot_store import Kept, SnapshotStore, sealed_header
from actors.storage.tx_index import FAN_OUT


@dataclass(frozen=True, slots=True)
class Policy:
    """checkpoint_blocks, snapshot_blocks: heights between two; no snapshots for 0.

    snapshots_kept: the newest ones. mode, retain_blocks: see pruning.py.
    """

    checkpoint_blocks: int
    snapshot_blocks: int
    snapshots_kept: int
    mode: Mode
    retain_blocks: int


@dataclass(slots=True)
class Totals:
    """Since the process began. remembered: heights before it that became provable again."""

    checkpoints: int = 0
    merges: int = 0
    snapshots: int = 0
    heights_pruned: int = 0
    remembered: int = 0


@dataclass(slots=True)
class Housekeeper:
    """Background work of one chain. `run` belongs to one thread; `due` may be asked by any."""

    chain: Chain
    policy: Policy
    say: Callable[[str], None]
    totals: Totals = field(default_factory=Totals)
    store: SnapshotStore = field(init=False)
    newest_snapshot: int = field(init=False)
    _passed_over: int = 0
    _has_remembered: bool = False

    def __post_init__(self) -> None:
        chain = self.chain
        self.store = SnapshotStore(chain.disk, chain.genesis, chain.hash_rows)
        self.newest_snapshot = max(self.store.heights(), default=0)

    def due(self) -> bool:
        """Whether `run` would do something now."""
        merge = self.chain.head.height % FAN_OUT == 0
        return merge or self._checkpoint_due() or bool(self._snapshot_height())

    def run(self, stop: Callable[[], bool]) -> None:
        """Do what is due; gives up between steps when `stop` says so."""
        if not self._has_remembered:
            self._has_remembered = True
            self._remember(stop)
        while self.chain.places.merge(self.chain.head.height, stop):
            self.totals.merges += 1
        for step in (self._checkpoint, self._snapshot, self._prune):
            if stop():
                return
            step()

    def _remember(self, stop: Callable[[], bool]) -> None:
        chain = self.chain
        try:
            self.totals.remembered = remember(
                chain.disk, chain.state, chain.hash_rows, lambda height: root_at(chain, height), stop
            )
        except NotRetainedError as error:
            self.say(f"earlier heights stay without proofs: {error}")
        else:
            self.say(f"{self.totals.remembered} earlier heights can be proven again")

    def _checkpoint_due(self) -> bool:
        since = self.chain.head.height - self.chain.checkpointer.last.height
        return since >= self.policy.checkpoint_blocks

    def _checkpoint(self) -> None:
        if self._checkpoint_due():
            pages = self.chain.checkpointer.write(self.chain.state, self.chain.sync)
            self.totals.checkpoints += 1
            heights_max = self.chain.state.history.retention.heights_max
            forget(self.chain.disk, self.chain.head.height - heights_max + 1)
            self.say(f"checkpoint at height {self.chain.checkpointer.last.height}: {pages} pages")

    def _snapshot_height(self) -> int:
        """The newest multiple at which there is no snapshot yet; 0 when there is none to make."""
        every, height = self.policy.snapshot_blocks, self.chain.head.height
        wanted = height // every * every if every else 0
        return wanted if wanted > max(self.newest_snapshot, self._passed_over) else 0

    def _snapshot(self) -> None:
        height = self._snapshot_height()
        if not height:
            return
        try:
            self.make_snapshot(height)
        except NotRetainedError as error:
            self._passed_over = height
            self.say(f"no snapshot at height {height}: {error}")
            return
        self.store.prune(self.policy.snapshots_kept)

    def snapshot_now(self) -> Kept | None:
        """The snapshot of the head, made if there is none; None while the chain has no block. Raises as
        `SnapshotStore.make`."""
        height = self.chain.head.height
        if height and height not in self.store.heights():
            self.make_snapshot(height)
            self.store.prune(self.policy.snapshots_kept)
        return next((kept for kept in self.store.kept() if kept.height == height), None)

    def make_snapshot(self, height: int) -> bytes:
        """Make the snapshot of a committed height; its hash. Raises as `SnapshotStore.make`."""
        sealed = sealed_header(self.chain.disk, height)
        manifest = self.store.make(self.chain.state, height, sealed, head_at(self.chain, height))
        self.newest_snapshot = max(self.newest_snapshot, height)
        self.totals.snapshots += 1
        self.say(f"snapshot at height {height}: {manifest.accounts} accounts, {manifest.hash().hex()}")
        return manifest.hash()

    def _prune(self) -> None:
        base = due(self.chain, self.policy.mode, self.policy.retain_blocks, self.newest_snapshot)
        # One pruning for many blocks: each compacts.
        if base.bodies - self.chain.base.bodies >= max(1, self.policy.retain_blocks // 4):
            pruned = prune(self.chain, base)
            self.totals.heights_pruned += pruned.heights
            self.say(f"pruned {pruned.heights} heights; bodies begin at {base.bodies}")


def head_at(chain: Chain, height: int) -> Head:
    """What the head was when a committed height was the last. Its header and those above it must be kept."""
    head = chain.head
    transactions = head.transactions
    for above in range(height + 1, head.height + 1):
        body = chain.disk.get("headers", height_key(above)) or b""
        transactions -= decode_header(body[:HEADER_BYTES]).transaction_count
    return Head(height, transactions, chain.hash_at(height))


def root_at(chain: Chain, height: int) -> bytes | None:
    """State root in the header at a height; None where that is not kept."""
    if height == 0:
        return bytes.fromhex(chain.genesis.state_root)
    body = chain.disk.get("headers", height_key(height))
    return None if body is None else decode_header(body[:HEADER_BYTES]).state_root


def offer(housekeeper: Housekeeper, reader: Reader) -> tuple[bytes, bytes] | None:
    """(manifest, sealed header) of the newest snapshot that a new node can go on from here."""
    for height in reversed(housekeeper.store.heights()):
        manifest, sealed = housekeeper.store.manifest(height), reader.sealed_headers(height, 1)
        if manifest is not None and sealed and height + 1 >= housekeeper.chain.base.bodies:
            return manifest, sealed[0]
    return None
