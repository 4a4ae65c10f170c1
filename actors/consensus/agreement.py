"""What a consensus engine is to the rest of a node, and what the rest of a node is to it.

    Agreement       what an engine does: takes part, orders, takes proven blocks, answers for what is final
    Dependencies    what it is given: pipeline stages and wire (`ports`), proofs, a builder of blocks, clocks
    Leadership      what a builder of blocks sees of the engine while this member leads

Rules
1. An engine makes the pipelines, one at a time, each on the last block that it holds, under an epoch that it
   takes from Storage (`fence`). Nothing enters a pipeline but by its engine.
2. A block is durable or voted for here only after the pipeline has found it valid: the engine is the
   pipeline's last stage, `ports.persist_stage`.
3. A block is final when the engine has `ports` publish it: once a height, in order, with its certificate on
   the disk.
4. The engine sends by `ports.send`, and is given what other members' engines sent by `deliver`: as bytes that
   nobody else reads, which may be lost, repeated and reordered.
5. All of it runs on one event loop.

`engines.py` chooses the engine of a network; nothing else outside its folder knows which it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from actors.consensus.block_body_cache import BlockBodyCache, Fetch, ReadBody
from actors.consensus.certifier import Certifier
from actors.consensus.convictions import Convictions
from actors.consensus.network_clock import NetworkClock
from actors.consensus.pipeline import Pipeline, Work
from actors.consensus.ports import NodePorts
from actors.consensus.stages import StageTimes
from actors.ledger.block import Header
from actors.ledger.delta import ChainHead
from actors.ledger.genesis import Genesis
from actors.ledger.membership import ChangeOutcome, MemberStanding
from actors.ledger.signing import Signer
from actors.settings import ConsensusSettings


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """Where one member's engine stands.

    role: in the engine's own words, "observer" where this node is no member. leader: an identity, empty while
    none is known. elections: leaders that this process saw take office. recoveries: how often it began anew
    from the disk.
    """

    role: str
    term: int
    leader: bytes
    elections: int
    recoveries: int


class Agreement(Protocol):
    """One node's engine: that of a member, or of an observer, which only takes proven blocks."""

    @property
    def ready(self) -> asyncio.Event:
        """Set once the node stands on the last block that it holds, and, alone in its network, leads."""
        ...

    @property
    def takes_part(self) -> bool:
        """False at an observer, and while a member recovers."""
        ...

    @property
    def head(self) -> ChainHead:
        """The last final block; NO_HEAD before it was looked up."""
        ...

    async def run(self) -> None:
        """Take part, recovering from whatever fails, until `halt`."""
        ...

    async def close(self) -> None:
        """End what `run` left under way when it was cancelled."""
        ...

    # --- what other members say ----------------------------------------------------------------------------

    def deliver(self, identity: bytes, body: bytes) -> None:
        """A message of another member's engine; what is not well-formed or not its own is dropped."""
        ...

    def others(self) -> list[bytes]:
        """Identities of the members to speak to at present, without this one."""
        ...

    def vote(self, digest: bytes) -> tuple[int, bytes] | None:
        """This member's vote for a block that is not final here, if it may give one: term and signature."""
        ...

    def heed(self, header: Header) -> None:
        """A certificate of this header has proved itself: hold it against what was done here."""
        ...

    def halt(self, reason: str) -> None:
        """This node's own state is proven wrong: stop for good."""
        ...

    # --- blocks, reads, members ----------------------------------------------------------------------------

    async def submit_proven(self, work: Work) -> asyncio.Future[Header | None]:
        """Put a block with its certificate into the pipeline; see `Pipeline.submit`. Raises
        PipelineBrokenError where there is none at the moment."""
        ...

    async def read_height(self, timeout_s: float) -> int:
        """A height, applied here, not below any that was final before the call. Raises TimeoutError, or what
        the engine has against it."""
        ...

    def members(self) -> list[MemberStanding]:
        """What each member of the genesis is now; see `Consensus.members`."""
        ...

    async def change(self, action: str, name: str) -> ChangeOutcome:
        """Change the members here, as `Consensus.change_member` has it; answers once it is in force."""
        ...

    # --- for people and benchmarks -------------------------------------------------------------------------

    def status(self) -> EngineStatus:
        """Role, term, leader and counts."""
        ...

    def trouble(self) -> dict[str, str]:
        """`halted`: why this node stopped; `standing`: what keeps it from its full part; empty if nothing."""
        ...

    def depths(self) -> dict[str, int]:
        """Queues of the pipeline, by name; empty while there is none."""
        ...

    def figures(self) -> dict[str, object]:
        """Times of this leader for benchmarks; see `Consensus.agreement`."""
        ...


class Leadership(Protocol):
    """What a builder of blocks sees of the engine while this member leads."""

    @property
    def may_propose(self) -> bool:
        """False while the network takes no blocks yet."""
        ...

    @property
    def height(self) -> int:
        """Of the last final block."""
        ...

    @property
    def advanced(self) -> asyncio.Event:
        """Set whenever a block becomes final; who waits clears it first."""
        ...

    @property
    def awaits_stragglers(self) -> bool:
        """True while a member that is far behind comes nearer: fewer and larger blocks let it arrive."""
        ...

    def hand_over(self) -> bool:
        """Begin to have another member lead; False where none can."""
        ...


class Builder(Protocol):
    """Where a leader's blocks come from."""

    async def run(self, leadership: Leadership, pipeline: Pipeline) -> None:
        """Put blocks into the pipeline until cancelled, which is when the member leads no more."""
        ...

    async def release(self) -> None:
        """Give back what was taken for blocks that did not become final."""
        ...


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What an engine needs of its node: its parts, its handles, and the errors that mean that one is down.

    storage is the actor's handle. catch_up takes proven blocks from other nodes. trace takes the lines of a
    trace of the engine's own kind, if anybody wants one. clock_us is monotonic, time is what headers say.
    """

    settings: ConsensusSettings
    genesis: Genesis
    signer: Signer
    storage: Any
    ports: NodePorts
    certifier: Certifier
    convictions: Convictions
    bodies: BlockBodyCache
    builder: Builder
    times: StageTimes
    fetch: Fetch
    read_body: ReadBody
    catch_up: Callable[[], Awaitable[None]]
    unreachable: tuple[type[Exception], ...]
    trace: Callable[[bytes], None] | None
    clock_us: Callable[[], int]
    time: NetworkClock
    rng: Random
