"""The Consensus shell: draws from the shards, drives the pipeline, signs, commits, publishes.

It holds references to rows, never rows. Whatever fails between here and Storage ends in `_recover`: take a
new epoch (which fences every older incarnation of this actor and drops what was executed but not persisted),
give the drawn transactions back to their shards, and go on from what Storage says is committed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError

from actors.consensus.ordering import merge_by_rank, split_by_draw
from actors.consensus.pipeline import (
    BlockRefusedError,
    Pipeline,
    PipelineBrokenError,
    Position,
    Sealed,
    Work,
)
from actors.consensus.publishing import Publisher
from actors.consensus.replica import Effects, SoleReplica
from actors.consensus.stages import StageTimes
from actors.ledger.block import Certificate, Header, decode_header, sign_proposal, sign_vote
from actors.ledger.genesis import Genesis
from actors.ledger.signing import Signer
from actors.settings import ConsensusSettings
from actors.shell import ActorContext, Shell, first_line, freeze_long_lived
from actors.validator.actor import ValidatorPool, ValidatorsUnavailableError

OPTIONS: dict[str, Any] = {"max_restarts": -1, "max_task_retries": 0, "max_concurrency": 64}
_RETRY_PAUSE_S = 0.1
_IDLE_PAUSE_S = 0.025
_DRAW_TIMEOUT_S = 5.0
TERM = 1


class Consensus(Shell):
    """One replica. `validators` serve its pipeline; `shards` feed it; `gateways` are told of commits."""

    async def __init__(  # type: ignore[misc]
        self,
        context: ActorContext,
        settings: ConsensusSettings,
        genesis: Genesis,
        identity_path: str,
        storage: Any,
        pool: ValidatorPool,
        shards: Sequence[Any],
        follower_names: Sequence[str],
    ) -> None:
        super().__init__(context)
        self._settings, self._genesis = settings, genesis
        self._signer = Signer(bytes.fromhex(Path(identity_path).read_text().strip()))
        self._storage, self._pool, self._shards = storage, pool, list(shards)
        self._follower_names = list(follower_names)
        self._leads = self._signer.public_key in genesis.member_keys
        self._times = StageTimes()
        self._paused = False
        self._head: dict[str, Any] = {}
        self._epoch = 0
        self._pipeline: Pipeline
        self._replica: SoleReplica
        self._blocks = self._transactions = self._recoveries = 0
        self._event_us_max = 0
        self._ready = asyncio.Event()
        self._publisher = Publisher(unreachable=(RayError,))
        for number, shard in enumerate(self._shards):
            self._publisher.add(f"shard-{number}", shard.settle.remote)
        self._main = asyncio.create_task(self._run())
        freeze_long_lived()

    async def start(self) -> dict[str, object]:
        """Returns once this replica leads and stands on Storage's head."""
        await self._ready.wait()
        return {
            "height": self._replica.commit_height,
            "term": TERM,
            "role": self._role,
            "identity": self._signer.public_key.hex(),
        }

    async def stop(self) -> None:
        """Commit what is under way, then propose no more."""
        self._paused = True
        deadline = time.monotonic() + _DRAW_TIMEOUT_S
        while self._pipeline.depths()["inflight"] and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        self._main.cancel()

    async def health(self) -> dict[str, object]:
        """Process facts, role and queue depths."""
        return {**self.process_health(), "role": self._role, "recoveries": self._recoveries, **self._depths()}

    async def status(self) -> dict[str, object]:
        """Where the chain stands, what the pipeline did and how long each stage took."""
        return {
            **self._head,
            "term": TERM,
            "role": self._role,
            "identity": self._signer.public_key.hex(),
            "blocks": self._blocks,
            "transactions": self._transactions,
            "validators": len(self._pool.workers),
            "mempool_shards": len(self._shards),
            "recoveries": self._recoveries,
            "queues": self._depths(),
            "stages_us_per_tx": self._times.us_per_transaction(),
            "validator_pool": self._pool.statistics(),
        }

    @property
    def _role(self) -> str:
        return "leader" if self._leads else "observer"

    async def validate_blocks(
        self, blocks: list[tuple[bytes, bytes, bytes, Any, Any]]
    ) -> list[dict[str, object]]:
        """Validate and commit blocks that somebody else made.

        Each is (header, signature, certificate, rows, payloads), the last two as references. The certificate
        has been verified by who fetched the block; it may be empty at a member, whose own vote then makes it.
        Answers height and hash of each block, or the reason why it was refused.
        """
        await self._ready.wait()
        outcomes = []
        for header_bytes, signature, certificate, rows, payloads in blocks:
            header = decode_header(header_bytes)
            if not certificate and not self._leads:
                raise ValueError(f"block {header.height}: an observer commits only what has a certificate")
            work = Work(
                (rows, payloads),
                header.transaction_count,
                header=header,
                signature=signature,
                certificate=certificate,
            )
            outcomes.append(await self._pipeline.submit(work))
        results: list[dict[str, object]] = []
        for outcome in await asyncio.gather(*outcomes, return_exceptions=True):
            if isinstance(outcome, Header):
                results.append({"height": outcome.height, "hash": outcome.hash().hex()})
            elif isinstance(outcome, BlockRefusedError):
                self.log.warning("{}", outcome)
                results.append({"height": outcome.height, "refused": outcome.reason, "row": outcome.row})
            else:
                results.append({"refused": str(outcome), "row": None})
        return results

    async def read_index(self) -> int:
        """A height not below any that was committed, and thus acknowledged, before the call.

        State at this height or a later one is a linearizable read.
        """
        await self._ready.wait()
        return self._replica.commit_height

    async def reset_times(self) -> None:
        """Forget the stage times so far, as a benchmark does after its warm-up."""
        self._times.reset()

    # the loop

    async def _run(self) -> None:
        while True:
            try:
                await self._recover()
                await self._produce()
            except (RayError, PipelineBrokenError, ValidatorsUnavailableError, TimeoutError) as error:
                self._recoveries += 1
                self.log.warning("recovering after {}: {}", type(error).__name__, first_line(error))
                await asyncio.sleep(_RETRY_PAUSE_S)

    async def _recover(self) -> None:
        """Stand on Storage's committed head under a new epoch, with every drawn transaction given back."""
        if self._ready.is_set():
            await self._pipeline.close()
        self._epoch, head = await self._storage.fence.remote()
        for shard in self._shards:
            await asyncio.wait_for(self._patiently(shard.release), _DRAW_TIMEOUT_S)
        self._head = dict(head)
        self._replica = SoleReplica(TERM, head["height"])
        position = Position(head["height"], bytes.fromhex(head["hash"]), TERM)
        self._pipeline = Pipeline(
            _NodeStages(self),
            position,
            self._signer.public_key,
            self._genesis.member_keys,
            self._settings.blocks_inflight_max,
            lambda: time.perf_counter_ns() // 1000,
            lambda: time.time_ns() // 1_000_000,
            self._times,
        )
        self.log.info("epoch {}: leading from height {}", self._epoch, head["height"])
        self._ready.set()

    async def _patiently(self, method: Any) -> Any:
        while True:
            try:
                return await method.remote()
            except RayError:
                await asyncio.sleep(_RETRY_PAUSE_S)

    async def _produce(self) -> None:
        """Propose whenever there is something to propose, at most once a block interval."""
        interval_s = self._settings.block_interval_ms / 1000
        while True:
            began = time.monotonic()
            if self._pipeline.broken.done():
                raise PipelineBrokenError(str(self._pipeline.broken.exception()))
            proposed = self._leads and not self._paused and await self._propose_once()
            pause_s = interval_s if proposed else max(interval_s, _IDLE_PAUSE_S)
            await asyncio.sleep(max(0.0, pause_s - (time.monotonic() - began)))

    async def _propose_once(self) -> bool:
        """Draw and submit one block; False when no shard had anything."""
        if not self._shards:
            return False
        began = time.perf_counter_ns()
        share = -(-self._genesis.block_transactions_max // len(self._shards))
        payload_share = self._genesis.block_payload_bytes_max // len(self._shards)
        draws = await asyncio.gather(*(self._draw(shard, share, payload_share) for shard in self._shards))
        filled = [(shard, draw) for shard, draw in zip(self._shards, draws, strict=True) if draw is not None]
        if not filled:
            return False
        order = merge_by_rank([draw[0]["ranks"] for _, draw in filled])
        self._times.add("draw", (time.perf_counter_ns() - began) / 1000, len(order))
        parts = [part for _, draw in filled for part in draw[1:]]

        def resolve(verdicts: NDArray[np.uint8]) -> None:
            counts = [draw[0]["count"] for _, draw in filled]
            for (shard, draw), of_draw in zip(filled, split_by_draw(verdicts, order, counts), strict=True):
                if of_draw.any():
                    shard.resolve.remote(draw[0]["draw"], of_draw)

        await self._pipeline.submit(Work(parts, len(order), order=order, on_executed=resolve))
        return True

    async def _draw(self, shard: Any, rows_max: int, payload_bytes_max: int) -> tuple[Any, Any, Any] | None:
        """Ranked rows of one shard, by reference; None if it has none or is restarting."""
        height = self._pipeline.next_height
        summary, rows, payloads = shard.draw.options(num_returns=3).remote(
            rows_max, payload_bytes_max, height
        )
        try:
            told = await asyncio.wait_for(summary, _DRAW_TIMEOUT_S)
        except (RayError, TimeoutError) as error:
            self.log.warning("no draw from a shard: {}", first_line(error))
            return None
        return (told, rows, payloads) if told["count"] else None

    def _depths(self) -> dict[str, int]:
        return self._pipeline.depths() if self._ready.is_set() else {}

    async def committed(self, sealed: Sealed, delta: Any) -> None:
        """Bookkeeping after a commit, and publication to whoever follows."""
        header = sealed.header
        self._blocks += 1
        self._transactions += header.transaction_count
        self._head = {
            "height": header.height,
            "hash": sealed.digest.hex(),
            "state_root": header.state_root.hex(),
            "time_ms": header.time_ms,
        }
        self._find_followers()
        await self._publisher.publish(header.height, delta)

    def _find_followers(self) -> None:
        """Gateways and Peer start after Consensus and are found by name when they are there."""
        for name in [name for name in self._follower_names if name not in self._publisher.names]:
            try:
                follower = ray.get_actor(name)
            except ValueError:
                continue
            self._publisher.add(name, follower.committed.remote)


class _NodeStages:
    """The pipeline's view of this node's actors."""

    def __init__(self, owner: Consensus) -> None:
        self._owner, self._epoch = owner, owner._epoch

    async def verify(self, parts: Sequence[Any], count: int) -> NDArray[np.bool_]:
        return await self._owner._pool.verify(parts[0], count)

    async def transaction_root(
        self, order: NDArray[np.int64] | None, parts: Sequence[Any]
    ) -> tuple[bytes, int]:
        return await self._owner._pool.transaction_root(order, parts)

    async def execute(
        self,
        height: int,
        strict: bool,
        proposer: bytes,
        order: NDArray[np.int64] | None,
        parts: Sequence[Any],
    ) -> dict[str, Any]:
        return await self._owner._storage.execute.remote(self._epoch, height, strict, proposer, order, *parts)

    async def rollback(self, height: int) -> None:
        await self._owner._storage.rollback.remote(self._epoch, height)

    def seal(self, header: Header) -> bytes:
        return sign_proposal(self._owner._signer, header.hash())

    async def commit(self, sealed: Sealed) -> None:
        """Ask the replica, persist, tell the replica, publish what it says is committed."""
        owner, header = self._owner, sealed.header
        effects = owner._replica.propose(header.height, sealed.digest)
        certificate = sealed.certificate or self._vote(effects)
        told, delta = owner._storage.persist.options(num_returns=2).remote(
            self._epoch, header.height, header.encode(), sealed.signature, certificate
        )
        await told
        if owner._replica.persisted(header.height, sealed.digest).commit_height == header.height:
            await owner.committed(sealed, delta)

    def _vote(self, effects: Effects) -> bytes:
        signer = self._owner._signer
        return Certificate(tuple((signer.public_key, sign_vote(signer, d)) for d in effects.votes)).encode()
