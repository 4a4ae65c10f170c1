"""The node behind the HTTP face: submissions, commit waits and reads in one place. Knows no Ray.

Rows in flight (being admitted or awaited) are counted and bounded, in total and for each client; above the
bound a submission raises BusyError or ShareError at once and nothing is submitted. Deltas of blocks may come
out of order or, across a restart of this gateway or of its neighbours, not at all: a height that was skipped
and does not come within SKIPPED_GRACE_S is read from Storage, if anybody waits for a commit at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.gateway.backend import (
    BatchLimits,
    BusyError,
    NoMempoolError,
    StoppingError,
    Submission,
    UnavailableError,
    Wait,
)
from actors.gateway.fates import Fates, Owner
from actors.gateway.head_state import HeadState
from actors.gateway.node_health import NodeHealth
from actors.gateway.readiness import Readiness
from actors.gateway.reads import Reads
from actors.gateway.shares import ClientShares
from actors.gateway.submit import Admit, Gatherer, Splitter
from actors.gateway.waits import CommitWaits, waits_on
from actors.ledger.block import decode_block
from actors.ledger.delta import AccountState, ChainHead, Delta
from actors.ledger.genesis import Genesis
from actors.ledger.hashing import Hasher, sha256_rows
from actors.ledger.membership import MemberStanding
from actors.ledger.pending import SenderPending
from actors.ledger.rows import Batch, shard_of
from actors.ledger.source import RowSources
from actors.ledger.verdict import Verdict
from actors.settings import GatewaySettings
from actors.storage.interface import StorageFace

ADMIT_TIMEOUT_S = 10.0
STATUS_TIMEOUT_S = 5.0
READ_INDEX_TIMEOUT_S = 5.0
APPLY_POLL_S = 0.005
SKIPPED_HEIGHTS_MAX = 256
UNSEEN_HEIGHTS = 16  # newest blocks to look at while no delta has come since the gateway started
SKIPPED_GRACE_S = 0.5
ABANDON_AFTER_S = 3.0


class Service(Reads):
    """The node's other actors, given as plain calls; what is not here of its reads is in `reads.py`.

    hash_seed: 128 bits that strangers do not know, which key its hash tables.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        genesis: Genesis,
        shards: Sequence[Admit],
        storage: StorageFace,
        status: Callable[[], Awaitable[dict[str, Any]]],
        hash_seed: int,
        hash_rows: Hasher = sha256_rows,
        neighbours: NodeHealth | None = None,
        read_index: Callable[[], Awaitable[int]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        members: Callable[[], Awaitable[list[MemberStanding]]] | None = None,
        pending: Sequence[Callable[[bytes], Awaitable[SenderPending]]] = (),
    ) -> None:
        super().__init__(storage, settings.cache_blocks)
        self.genesis, self.hash_seed = genesis, hash_seed
        self.limits = BatchLimits(settings.batch_rows_max, settings.batch_payload_bytes_max)
        self._inflight = ClientShares(
            "rows in flight", settings.inflight_rows_max, settings.client_rows_share
        )
        self._splitter, self._shards = Splitter(shards, ADMIT_TIMEOUT_S), max(len(shards), 1)
        wait_s = settings.single_wait_ms / 1000
        self._gatherers = {durable: Gatherer(self._splitter, durable, wait_s) for durable in (False, True)}
        self._waits: CommitWaits[Owner] = CommitWaits(settings.inflight_rows_max)
        grace_s = settings.gap_grace_ms / 1000
        self._fates = Fates(self._waits, self._catch_up_with_head, settings.commit_timeout_s, grace_s, clock)
        self._pending = list(pending)
        self._status = status
        self._hash_rows = hash_rows
        self._neighbours = neighbours or NodeHealth({}, None)
        self._read_index, self._clock = read_index, clock
        storage_health, peer_health = self._neighbours.asking("storage"), self._neighbours.asking("peer")
        self.readiness = Readiness(
            self._node, storage_health or super().head, peer_health, members, clock, settings.lag_max_s
        )
        self._accounts = HeadState(hash_seed)
        self._staleness_max_s = settings.staleness_max_ms / 1000
        self._current_at_s = float("-inf")
        self._head: ChainHead | None = None
        self._expected: int | None = None  # the height whose delta should come next
        self._skipped: set[int] = set()
        self._catching_up: asyncio.Task[None] | None = None
        self._stopping = False
        self.counters = {"accepted": 0, "refused": 0, "committed": 0, "timed_out": 0, "busy": 0}

    @property
    def inflight_rows(self) -> int:
        """Rows being admitted or awaited."""
        return self._inflight.held

    # -- submissions ------------------------------------------------------------------------------------

    async def submit(self, batch: Batch, wait: Wait, source: str = "") -> Submission:
        """Offer a batch to the mempool and wait as asked. Raises BusyError at the bound of rows in flight."""
        return await self._counted(batch, wait, source, partial(self._admit, source))

    async def submit_single(self, batch: Batch, wait: Wait, source: str = "") -> Submission:
        """As `submit` for one row, gathered with others that arrive at about the same time.

        A row that committed earlier is answered as committed, whatever was asked: submitting is idempotent.
        """

        async def admit(single: Batch, durable: bool) -> NDArray[np.uint8]:
            return np.array([await self._gatherers[durable].admit(single, source)], dtype=np.uint8)

        submission = await self._counted(batch, wait, source, admit)
        if submission.verdicts[0] == Verdict.NONCE_REUSED:
            located = await self.locate(batch.ids()[0].tobytes())
            if located is not None:
                return Submission(np.zeros(1, dtype=np.uint8), submission.pending, located.height)
        return submission

    async def _counted(
        self,
        batch: Batch,
        wait: Wait,
        client: str,
        admit: Callable[[Batch, bool], Awaitable[NDArray[np.uint8]]],
    ) -> Submission:
        if self._stopping:
            raise StoppingError
        try:
            self._inflight.take(client, len(batch))
        except BusyError:
            self.counters["busy"] += 1
            raise
        try:
            if wait is Wait.COMMITTED:
                submission = await self._submit_and_wait(batch, client, admit)
            else:
                verdicts = await admit(batch, wait is Wait.DURABLE)
                parked = np.flatnonzero(verdicts == Verdict.PARKED)
                verdicts = np.where(verdicts == Verdict.PARKED, Verdict.OK, verdicts).astype(np.uint8)
                submission = Submission(verdicts, np.empty(0, dtype=np.int64), parked=parked)
        finally:
            self._inflight.give(client, len(batch))
        refused = int(np.count_nonzero(submission.verdicts))
        self.counters["refused"] += refused
        self.counters["accepted"] += len(batch) - refused
        return submission

    async def _submit_and_wait(
        self, batch: Batch, client: str, admit: Callable[[Batch, bool], Awaitable[NDArray[np.uint8]]]
    ) -> Submission:
        done: Owner = asyncio.get_running_loop().create_future()
        places = shard_of(batch.rows["sender"], self._shards)
        ticket = self._waits.register(batch.ids(self._hash_rows), places, done)
        try:
            verdicts = await admit(batch, False)
            self._waits.close(ticket, ~waits_on(verdicts), verdicts)
            if ticket.waiting:
                await self._fates.wait(ticket, batch, verdicts, partial(self._admit, client))
            if ticket.waiting:
                await self._read_skipped()
            self.counters["timed_out"] += ticket.waiting
            return Submission(ticket.verdicts, ticket.pending(), ticket.height)
        finally:
            self._waits.cancel(ticket)

    def stop(self) -> None:
        """Answer whoever waits for a commit, and whoever submits from now on, that this node stops (503)."""
        self._stopping = True
        for ticket in self._waits.tickets():
            if not ticket.owner.done():
                ticket.owner.set_exception(StoppingError())

    async def _admit(self, client: str, batch: Batch, durable: bool = False) -> NDArray[np.uint8]:
        return await self._splitter.admit(batch, durable, RowSources((client,)))

    async def pending(self, key: bytes) -> SenderPending:
        """What a mempool shard holds of one sender. Raises NoMempoolError at a node without one."""
        if not self._pending:
            raise NoMempoolError
        sender = np.frombuffer(key, dtype=np.uint8).reshape(1, 32)
        return await self._pending[int(shard_of(sender, len(self._pending))[0])](key)

    # -- what the node publishes ------------------------------------------------------------------------

    def committed(self, delta: Delta) -> None:
        """A block is final: move the head, and answer whoever waits for its transactions.

        Any order of heights is fine, and so is the same height twice.
        """
        height = delta.height
        self._accounts.published(delta.accounts())
        if height == self._accounts.top:
            self._current_at_s = self._clock()
        expected = self._expected
        if expected is not None and height > expected:
            self._skipped.update(range(max(expected, height - SKIPPED_HEIGHTS_MAX), height))
            for oldest in sorted(self._skipped)[: max(0, len(self._skipped) - SKIPPED_HEIGHTS_MAX)]:
                self._skipped.discard(oldest)
            if self._catching_up is None:
                self._catching_up = asyncio.get_running_loop().create_task(self._catch_up())
        self._expected = max(expected or 0, height + 1)
        if self._head is None or height > self._head.height:
            self._head = ChainHead(height, delta.hash, delta.state_root, delta.time_ms)
        self._settle(height, delta.ids)

    def dropped(self, ids: NDArray[np.uint8], verdicts: NDArray[np.uint8]) -> None:
        """Transactions left the mempool without a block; whoever waits for them gets these verdicts."""
        self._wake(self._waits.dropped(ids, verdicts))

    async def shard_died(self, shard: int) -> None:
        """A mempool shard is away, and with it what was accepted there and is not in a block.

        Whoever waits for that is asked to submit it again, once what was drawn before has had its time.
        """
        before = self._waits.moment
        await asyncio.sleep(ABANDON_AFTER_S)
        self._wake(self._waits.abandon(shard, before))

    def _settle(self, height: int, ids: NDArray[np.uint8]) -> None:
        self._skipped.discard(height)
        self.counters["committed"] += len(ids)
        self._wake(self._waits.committed(height, ids))

    def _wake(self, tickets: Sequence[Any]) -> None:
        for ticket in tickets:
            if not ticket.owner.done():
                ticket.owner.set_result(None)

    async def _catch_up(self) -> None:
        """Until no height is missing: give the deltas time to come, then read what did not."""
        try:
            while self._skipped:
                await asyncio.sleep(SKIPPED_GRACE_S)
                await self._read_skipped()
        finally:
            self._catching_up = None

    async def _read_skipped(self) -> None:
        """Settle the blocks whose deltas never came, newest last; stops where Storage does not answer.

        A height is forgotten when nobody waits, or when Storage does not have it.
        """
        for height in sorted(self._skipped):
            try:
                data = await self.block(height) if len(self._waits) else None
            except (UnavailableError, BusyError):
                return
            if data is None:
                self._skipped.discard(height)
            elif height in self._skipped:
                batch = decode_block(
                    data, self.genesis.block_transactions_max, self.genesis.block_payload_bytes_max
                ).batch
                self._settle(height, batch.ids(self._hash_rows))

    async def _catch_up_with_head(self) -> None:
        """Settle every block that Storage has committed by now. Raises UnavailableError."""
        height = (await super().head()).height
        expected = height + 1 - UNSEEN_HEIGHTS if self._expected is None else self._expected
        self._skipped.update(range(max(expected, height + 1 - SKIPPED_HEIGHTS_MAX, 1), height + 1))
        self._expected = max(expected, height + 1)
        await self._read_skipped()
        if self._skipped and min(self._skipped) <= height:
            raise UnavailableError("storage")

    # -- reads ------------------------------------------------------------------------------------------

    async def account(self, key: bytes, linearizable: bool = False) -> AccountState:
        """An account, and the committed height that it is of.

        Bounded by default: as of a head that was news here at most `gateway.staleness_max_ms` ago.
        Linearizable: as of a height not below any that was committed anywhere before the call.
        """
        if linearizable:
            return await self._account_not_before(key, await self._index_to_read_at())
        now_s = self._clock()
        if now_s - self._current_at_s < self._staleness_max_s:
            known = self._accounts.get(key)
            if known is not None:
                return known
        account = await super().account(key)
        self._learn(key, account, now_s)
        return account

    def _learn(self, key: bytes, account: AccountState, asked_s: float) -> None:
        self._accounts.read_from_storage(key, account)
        self._confirm(account.height, asked_s)

    def _confirm(self, height: int, asked_s: float) -> None:
        """Storage said its height: if no delta was missing when it was asked, what is known was current."""
        if self._accounts.top is not None and height <= self._accounts.top:
            self._current_at_s = max(self._current_at_s, asked_s)

    async def _index_to_read_at(self) -> int:
        if self._read_index is None:
            raise UnavailableError("consensus")
        try:
            async with asyncio.timeout(READ_INDEX_TIMEOUT_S):
                return int(await self._read_index())
        except TimeoutError:
            raise UnavailableError("consensus") from None

    async def _account_not_before(self, key: bytes, height: int) -> AccountState:
        """The account as soon as Storage has committed `height`. Raises UnavailableError if it does not."""
        try:
            async with asyncio.timeout(READ_INDEX_TIMEOUT_S):
                while (account := await super().account(key)).height < height:
                    await asyncio.sleep(APPLY_POLL_S)
        except TimeoutError:
            raise UnavailableError("storage") from None
        return account

    async def head(self) -> ChainHead:
        """The newest committed block; as old as bounded reads may be."""
        now_s = self._clock()
        if self._head is None or now_s - self._current_at_s >= self._staleness_max_s:
            head = await super().head()
            self._confirm(head.height, now_s)
            if self._expected is None:
                self._expected = head.height + 1
            if self._head is None or head.height > self._head.height:
                self._head = head
        return self._head

    async def committed_height(self) -> int:
        """The height that Storage has committed by now."""
        return (await super().head()).height

    async def status(self) -> dict[str, Any]:
        """What consensus says of the node, its peers, and this gateway's own figures.

        Parts that do not answer are named in `away` of `node`, and what only they know is left out.
        """
        away: list[str] = []

        async def told(part: str, call: Awaitable[Any]) -> Any:
            try:
                return await call
            except (UnavailableError, BusyError):
                away.append(part)
                return None

        calls = told("consensus", self._node()), told("peer", self.peers()), told("storage", self.head())
        node, peers, head = await asyncio.gather(*calls)
        known = head or self._head
        node = {**(node or {}), "peers": peers or [], "away": sorted(away)}
        return {"node": node, "gateway": self.figures(), "head": known.describe() if known else {}}

    async def validators(self) -> dict[str, Any]:
        """Number of Validators and what Consensus says of their queue. Raises UnavailableError."""
        node = await self._node()
        return {"validators": node.get("validators", 0), "pool": node.get("validator_pool", {})}

    async def _node(self) -> dict[str, Any]:
        """Consensus' status; callers at the same time share one call. Raises UnavailableError."""
        try:
            async with asyncio.timeout(STATUS_TIMEOUT_S):
                status: dict[str, Any] = await self._shared.call("status", self._status)
                return status
        except TimeoutError:
            raise UnavailableError("consensus") from None

    async def actors(self) -> dict[str, dict[str, Any] | None]:
        """Health of each actor that this gateway can ask; None where one does not answer in time."""
        answers: dict[str, dict[str, Any] | None] = await self._shared.call("actors", self._neighbours.actors)
        return answers

    async def peers(self) -> list[dict[str, Any]]:
        """The other nodes that this one knows; empty on a node without a Peer. Raises UnavailableError."""
        answers: list[dict[str, Any]] = await self._shared.call("peers", self._neighbours.peers)
        return answers

    async def scale_validators(self, count: int) -> dict[str, Any]:
        """Have `count` Validators: their number, who was added and removed. Raises UnavailableError."""
        return await self._neighbours.scale_validators(count)

    async def snapshot_now(self) -> dict[str, Any]:
        """A snapshot of the head, made if there is none; empty without a block. Raises UnavailableError."""
        return dict(await self._storage.snapshot_now())

    async def copy_database(self) -> str:
        """The folder in the node's own that holds what its database holds now. Raises UnavailableError."""
        return await self._storage.copy_database()

    async def ready(self) -> tuple[dict[str, bool], tuple[str, ...]]:
        """Which parts answer, and the reasons that speak against this node; see `readiness.py`."""
        return await self.readiness.now()

    def stale(self) -> str:
        """Why what is read here may be old, or ""."""
        return self.readiness.stale

    def figures(self) -> dict[str, object]:
        """Counters, what is in flight, and the caches."""
        blocks = self.blocks
        return {
            "rows": dict(self.counters),
            "ready": not self.readiness.reasons,
            "unready_reasons": list(self.readiness.reasons),
            "inflight_rows": self.inflight_rows,
            "awaited_rows": len(self._waits),
            "reads_inflight": self.inflight,
            "skipped_heights": len(self._skipped),
            "cached_blocks": len(blocks),
            "cache_hits": blocks.hits,
            "cache_misses": blocks.misses,
            "account_hits": self._accounts.hits,
            "account_misses": self._accounts.misses,
        }
