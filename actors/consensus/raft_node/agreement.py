"""Raft as the rest of the node sees it: what `consensus/agreement.py` asks of an engine."""

from __future__ import annotations

import asyncio

from actors.consensus.agreement import EngineStatus
from actors.consensus.pipeline import PipelineBrokenError, Work
from actors.consensus.raft_node.lifecycle import ReplicaLifecycle
from actors.consensus.raft_node.membership import change_here, describe_members
from actors.ledger.block import Header
from actors.ledger.membership import ChangeOutcome, MemberStanding


class RaftAgreement(ReplicaLifecycle):
    """The loop around a replica, and what others may ask of it. Every answer is of this moment."""

    @property
    def takes_part(self) -> bool:
        """See `Agreement`, here and below."""
        return self.engine is not None

    def deliver(self, identity: bytes, body: bytes) -> None:
        """Messages that come while there is no replica are dropped, as if the wire had lost them."""
        if self.engine is not None:
            self.engine.deliver(identity, body)

    def others(self) -> list[bytes]:
        """Those of the configuration in force."""
        return self.engine.replica.others() if self.engine is not None else []

    def vote(self, digest: bytes) -> tuple[int, bytes] | None:
        """The vote is of the present term."""
        given = self.engine.ballots.again(digest) if self.engine is not None else None
        return None if given is None else (given.term, given.signature)

    async def submit_proven(self, work: Work) -> asyncio.Future[Header | None]:
        """Outside of the log: an observer's way, or one to a snapshot's block."""
        if self.pipeline is None:
            raise PipelineBrokenError("this node is recovering")
        return await self.pipeline.submit(work)

    async def read_height(self, timeout_s: float) -> int:
        """By ReadIndex (Raft dissertation, section 6.4). Raises RaftError without a leader."""
        if self.engine is None:
            raise TimeoutError("this node takes no part in consensus")
        return await self.engine.read_height(timeout_s)

    def members(self) -> list[MemberStanding]:
        """At the leader also how far each has come."""
        return describe_members(self.genesis, self.engine.replica if self.engine is not None else None)

    async def change(self, action: str, name: str) -> ChangeOutcome:
        """By joint consensus."""
        return await change_here(self.genesis, self.engine, action, name)

    def status(self) -> EngineStatus:
        """role: observer, starting, or the replica's."""
        if self.engine is None:
            role = "starting" if self.member else "observer"
            return EngineStatus(role, 0, b"", self.elections, self.recoveries)
        raft = self.engine.replica.raft
        leader = self.engine.replica.identity(raft.leader) if raft.leader else b""
        return EngineStatus(raft.role.value, raft.term, leader, self.elections, self.recoveries)

    def depths(self) -> dict[str, int]:
        """Of the pipeline."""
        depths = self.pipeline.depths() if self.pipeline is not None else {}
        if (engine := self.engine) is not None:
            depths |= {"appends_dropped": engine.appends.dropped, "messages_refused": engine.messages_refused}
        return depths

    def figures(self) -> dict[str, object]:
        """By this machine's monotonic clock."""
        engine = self.engine
        if engine is None or not engine.replica.leads:
            return {"leads": False}
        return {
            "leads": True,
            "term": engine.replica.raft.term,
            "led_since_ms": engine.led_since_ms,
            "led_commit_ms": engine.led_commit_ms,
            "commit_times_us": list(engine.commit_times_us),
        }
