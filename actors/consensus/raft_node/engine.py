"""The loop around the replica: carries out what the core asks, in the order that keeps it safe.

    input (message, proposal, timer, completed write)
      -> pump: take the core's effects
           messages               sent at once
           write                  -> write lane: on disk with the block it names, then the messages that wait
           committed              -> apply lane: certificate, commit in Storage, publish
           votes                  -> the certifier

Rules
1. Inputs do not overlap: everything here runs on one event loop, and `pump` never awaits.
2. A block enters the log only when this node has executed it and found it valid. So an acknowledgement that
   it is durable says also that it is valid, and the node's vote rides on it: what is committed has its
   certificate at the same moment. When a block may be signed, `raft/signing.py` alone says.
3. A small block rides on the requests that name it, so that it needs no way of its own.
4. Writes become durable one after the other. A block and the entry that names it are one write.
5. Whatever fails in a lane ends this engine (`failed`); its owner starts anew from the disk.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from actors.consensus.certifier import Certifier
from actors.consensus.pipeline import Sealed
from actors.consensus.raft import (
    Effects,
    Entry,
    EntryKind,
    Message,
    Proposal,
    RaftError,
    Role,
    SnapshotOffer,
    Write,
    decode,
    encode,
)
from actors.consensus.raft.messages import BODIES_PER_MESSAGE_MAX, BODY_BYTES_MAX, OF_LEADERS, AppendRequest
from actors.consensus.raft_node.ballots import Ballots, Sign, ride
from actors.consensus.raft_node.coming import ComingRequests
from actors.consensus.raft_node.engine_ports import EnginePorts
from actors.consensus.raft_node.replica import Replica, encode_write
from actors.consensus.raft_node.stragglers import Stragglers
from actors.ledger.block import Certificate, Header

TICK_MS_MAX = 10
LATE_TICK_MS = 30
HEIR_SILENT_MS_MAX = 500
COMMIT_TIMES_MAX = 4096
CERTIFICATE_WAIT_S = 0.25
RIDING_MAX = 64


class OvertakenError(RuntimeError):
    """A block that was on its way into the log was overtaken by another leader's."""


@dataclass(slots=True)
class _Waiting:
    sealed: Sealed
    durable: asyncio.Future[None]


class Engine:
    """See the module's text. `sign` and `headers` are those of `Ballots`, `clock_us` is monotonic."""

    def __init__(
        self,
        replica: Replica,
        certifier: Certifier,
        ports: EnginePorts,
        sign: Sign,
        clock_us: Callable[[], int],
        retain_entries: int,
        headers: Sequence[Header] = (),
    ) -> None:
        self.replica, self.certifier = replica, certifier
        self._ports, self._sign, self._clock_us = ports, sign, clock_us
        self._identity = replica.identity(replica.raft.id)
        self._retain_entries = retain_entries
        self._waiting: dict[bytes, _Waiting] = {}
        self._to_write: asyncio.Queue[tuple[Write, tuple[Message, ...]]] = asyncio.Queue()
        self._to_apply: asyncio.Queue[Entry] = asyncio.Queue()
        self._riding: OrderedDict[bytes, bytes] = OrderedDict()
        self.ballots = Ballots(replica, sign, headers)
        self._committed_at_once: dict[bytes, Any] = {}
        self._committed_height = replica.head.height
        self._reads: dict[int, asyncio.Future[int]] = {}
        self._reads_asked = 0
        self._known = (replica.raft.role, replica.raft.leader, replica.raft.term)
        self.avoids: Callable[[bytes], bool] = lambda _: False
        self.appends = ComingRequests()
        self._stragglers = Stragglers()
        self.interrupted: AppendRequest | None = None
        self.snapshot_offer: SnapshotOffer | None = None
        self.changed = asyncio.Event()
        self.advanced = asyncio.Event()
        self.drained = asyncio.Event()
        self.drained.set()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.elections = self.messages_refused = 0
        self.led_since_ms = self.led_commit_ms = 0
        self._heard_ms: dict[bytes, int] = {}
        self.late_ms_max = 0
        self.on_silence: Callable[[str], None] = lambda _: None
        self._proposed_us: dict[bytes, int] = {}
        self.commit_times_us: deque[int] = deque(maxlen=COMMIT_TIMES_MAX)
        self._watch: Callable[[], None] = lambda: None
        self._tasks = [
            asyncio.create_task(self._lane(step)) for step in (self._write, self._apply, self._tick)
        ]
        self.pump()

    def _clock_ms(self) -> int:
        return self._clock_us() // 1000

    def watch(self, look: Callable[[], None]) -> None:
        """Call `look` at every tick of this engine, at most TICK_MS_MAX after anything happened."""
        self._watch = look

    @property
    def now_ms(self) -> int:
        """By the replica's monotonic clock."""
        return self._clock_ms()

    # --- what a builder of blocks sees -------------------------------------------------------------------

    @property
    def may_propose(self) -> bool:
        """False until the network has been founded."""
        return self.replica.raft.is_founded

    @property
    def height(self) -> int:
        """Of the last block that is committed and applied here."""
        return self.replica.head.height

    @property
    def awaits_stragglers(self) -> bool:
        """See stragglers.py."""
        return self._stragglers.are_coming(self.replica.raft.followers(), self._clock_ms())

    # --- inputs ------------------------------------------------------------------------------------------

    def deliver(self, identity: bytes, body: bytes) -> None:
        """One message of another member. What is malformed or not its sender's is counted and dropped, and so
        is what a member says as a leader or candidate, or of a later term, that this node refuses as such."""
        try:
            message = decode(body)
            if self.replica.identity(message.sender) != identity:
                raise IndexError(f"a message of member {message.sender} came from another identity")
            if self.avoids(identity) and self._leads_on(message):
                self.messages_refused += 1
                return
            self._heard_ms[identity] = self._clock_ms()
            if isinstance(message, AppendRequest):
                self.appends.put(message)
            else:
                self.step(message)
        except (RaftError, IndexError):
            self.messages_refused += 1

    def _leads_on(self, message: Message) -> bool:
        return isinstance(message, OF_LEADERS) or message.term > self.replica.raft.term

    def forsake(self, member: int) -> None:
        """This member proved to be no leader to follow: drop what it has sent, and let another be elected."""
        self.appends.forsake(member)
        if self.interrupted is not None and self.interrupted.sender == member:
            self.interrupted = None
        self.replica.raft.forsake(member, self._clock_ms())
        self.pump()

    def step(self, message: Message) -> None:
        """Let the core take a message. Raises ProtocolViolationError."""
        try:
            self.replica.raft.step(message, self._clock_ms())
        finally:
            self.pump()

    def hand_over(self) -> bool:
        """Begin to have the voter lead that has most of the log; False where no other one answers."""
        heir = self.replica.heir(HEIR_SILENT_MS_MAX)
        if heir is None:
            return False
        try:
            self.replica.raft.transfer_leadership(heir)
        except RaftError:  # it is being handed over already
            return False
        self.pump()
        return True

    def propose(self, sealed: Sealed, size_bytes: int) -> asyncio.Future[None]:
        """Append this leader's own block; the future ends when it is durable here. Raises RaftError."""
        proposal = Proposal(sealed.digest, size_bytes, sealed.header.term)
        self.replica.raft.propose(proposal, self._clock_ms())
        self._proposed_us[sealed.digest] = self._clock_us()
        if self.rides(sealed):
            self._riding[sealed.digest] = sealed.body
            if len(self._riding) > RIDING_MAX:
                self._riding.popitem(last=False)
        return self._enter(sealed)

    @staticmethod
    def rides(sealed: Sealed) -> bool:
        """Whether a block of ours is small enough to ride on the requests that name it."""
        return 0 < len(sealed.body) <= BODY_BYTES_MAX

    def accept(self, request: AppendRequest, sealed: Sealed) -> asyncio.Future[None]:
        """Append the one block of a leader's request. Raises OvertakenError when the core did not take it."""
        entry, log = request.entries[0], self.replica.raft.log
        self.replica.raft.step(request, self._clock_ms())
        if log.term_at(entry.index) != entry.term:
            self.pump()
            raise OvertakenError(f"block {sealed.header.height} of term {entry.term} was overtaken")
        return self._enter(sealed)

    def _enter(self, sealed: Sealed) -> asyncio.Future[None]:
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[sealed.digest] = _Waiting(sealed, durable)
        self.ballots.know(sealed.digest, sealed.header)
        self.pump()
        return durable

    async def read_height(self, timeout_s: float) -> int:
        """A height from which a linearizable read may be answered, applied here. Raises RaftError without a
        leader, TimeoutError when it does not confirm itself in time."""
        self._reads_asked += 1
        number = self._reads_asked
        answer = self._reads[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                self.replica.raft.read(number, self._clock_ms())
                self.pump()
                index = await answer
                while self.replica.applied_index < index:
                    self.advanced.clear()
                    await self.advanced.wait()
        finally:
            del self._reads[number]
        return self.replica.head.height

    # --- effects -----------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Take and start whatever the core wants done."""
        raft = self.replica.raft
        while True:
            for vote in self.ballots.take():
                raft.sign(vote)
            while raft.has_effects:
                self._start(raft.take_effects())
            was, now = self._known, (raft.role, raft.leader, raft.term)
            if now == was:
                return
            self._known = now
            self._on_change(was, now)

    def _start(self, effects: Effects) -> None:
        self._send(effects.messages)
        for received in effects.votes:
            vote, header = received.vote, self.ballots.header(received.vote.digest)
            if header is not None and vote.term <= self.replica.raft.term:
                identity = self.replica.identity(received.member)
                self.certifier.add_vote(identity, header, vote.term, vote.signature)
        if effects.write is not None:
            self.drained.clear()
            self._to_write.put_nowait((effects.write, effects.messages_after_write))
        for entry in effects.committed:
            if (proposed_us := self._proposed_us.pop(entry.digest, 0)) and self.replica.leads:
                self.commit_times_us.append(self._clock_us() - proposed_us)
            self._to_apply.put_nowait(entry)
        for ready in effects.reads:
            if (answer := self._reads.get(ready.read_id)) and not answer.done():
                answer.set_result(ready.index)
        for number in effects.reads_failed:
            if (answer := self._reads.get(number)) and not answer.done():
                answer.set_exception(OvertakenError("the leader lost its office"))
        if effects.snapshot_offer is not None:
            self.snapshot_offer = effects.snapshot_offer
            self.changed.set()

    def _send(self, messages: tuple[Message, ...]) -> None:
        if messages:
            self._ports.send([(self.replica.identity(m.to), encode(self._loaded(m))) for m in messages])

    def _loaded(self, message: Message) -> Message:
        """A request with the small blocks that it names. One that is not at hand any more is fetched."""
        if not isinstance(message, AppendRequest):
            return message
        named = [self._riding[e.digest] for e in message.entries if e.digest in self._riding]
        if not named:
            return message
        return msgspec.structs.replace(message, bodies=tuple(named[:BODIES_PER_MESSAGE_MAX]))

    def _on_change(self, was: tuple[Role, Any, int], now: tuple[Role, Any, int]) -> None:
        """Another role, leader or term."""
        if now[1] is not None and now[1:] != was[1:]:
            self.elections += 1
        if now[0] is Role.LEADER:
            self.led_since_ms, self.led_commit_ms = self._clock_ms(), 0
            self._proposed_us.clear()
            self._riding.clear()
        if Role.LEADER in (was[0], now[0]):
            self.changed.set()
        if was[1] is not None and now[1] is None:
            self._tell_silence(was[0])

    def _tell_silence(self, was: Role) -> None:
        """A leader was given up, this replica's own office or another's: say what was heard of whom."""
        now_ms = self._clock_ms()
        heard = [
            f"{identity.hex()[:8]} {now_ms - self._heard_ms[identity]} ms ago"
            for identity in self.replica.others()
            if identity in self._heard_ms
        ]
        said = ", ".join(heard) or "nobody"
        self.on_silence(f"{was.value} without a leader: heard {said}; held up {self.late_ms_max} ms at most")

    # --- lanes -------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Stop the lanes. Who waits for a block learns that it was overtaken."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for waiting in self._waiting.values():
            if not waiting.durable.done():
                waiting.durable.set_exception(OvertakenError("this replica starts anew"))
                waiting.durable.exception()
        if not self.failed.done():
            self.failed.cancel()

    async def _lane(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            while True:
                await step()
        except Exception as error:  # noqa: BLE001 -- every failure must reach the owner, none may be swallowed
            if not self.failed.done():
                self.failed.set_exception(error)
                self.failed.exception()

    async def _tick(self) -> None:
        raft = self.replica.raft
        due_ms = min(raft.next_deadline_ms, self._clock_ms() + TICK_MS_MAX)
        await asyncio.sleep(max(due_ms - self._clock_ms(), 0) / 1000)
        late_ms = self._clock_ms() - due_ms
        self.late_ms_max = max(self.late_ms_max, late_ms)
        if late_ms > LATE_TICK_MS:
            await asyncio.sleep(0.002)  # this process was held up: first hear what has arrived meanwhile
        raft.tick(self._clock_ms())
        self.pump()
        self._watch()

    async def _write(self) -> None:
        write, messages = await self._to_write.get()
        digests = [entry.digest for entry in write.entries if entry.kind is EntryKind.BLOCK]
        blocks = [self._waiting[digest] for digest in digests]
        await self._make_durable(write, [block.sealed for block in blocks])
        for digest, block in zip(digests, blocks, strict=True):
            del self._waiting[digest]
            if not block.durable.done():
                block.durable.set_result(None)
        raft = self.replica.raft
        raft.persisted(write.ticket)
        votes = self.ballots.take()
        loaded = ride(messages, votes)
        if loaded is None:
            for vote in votes:
                raft.sign(vote)
        self._send(messages if loaded is None else loaded)
        if self._to_write.empty():
            self.drained.set()
        self.pump()

    async def _make_durable(self, write: Write, blocks: list[Sealed]) -> None:
        """Blocks first: no entry may be durable before its block is."""
        for sealed in blocks[:-1]:
            await self._ports.write(sealed, b"", None)
        if blocks:
            last = blocks[-1]
            certificate = self._own_certificate(last, write.entries[-1].term) if len(blocks) == 1 else b""
            delta = await self._ports.write(last, certificate, encode_write(write))
            if certificate:
                self._committed_height = last.header.height
                self._committed_at_once[last.digest] = delta
        elif not write.is_barrier:
            await self._ports.write(None, b"", encode_write(write))

    def _own_certificate(self, sealed: Sealed, term: int) -> bytes:
        """In a network of one member, its vote alone commits a block in the write that makes it durable; the
        write ends with an entry of `term`."""
        alone = len(self.replica.members) == 1 and self.replica.leads
        if not alone or sealed.header.height != self._committed_height + 1:
            return b""
        return Certificate(term, ((self._identity, self._sign(sealed.header, term)),)).encode()

    async def _apply(self) -> None:
        entry = await self._to_apply.get()
        if entry.kind is EntryKind.BLOCK:
            await self._finish(entry.digest, self.replica.head.height + 1)
        elif self.replica.leads and entry.term == self.replica.raft.term and entry.kind is EntryKind.NOOP:
            self.led_commit_ms = self._clock_ms()
        self.replica.applied(entry)
        self.ballots.forget(entry.digest)
        self.advanced.set()
        record = self.replica.compaction(self._retain_entries)
        if record is not None:
            await self._ports.compact(record)

    async def _finish(self, digest: bytes, height: int) -> None:
        delta = self._committed_at_once.pop(digest, None)
        if delta is None:
            header = self.ballots.header(digest)
            if header is None:
                raise OvertakenError(f"block {height} was committed and is not known here")
            certificate = await self._certificate(header, digest)
            delta = await self._ports.commit(height, certificate)
            self._committed_height = height
            if self.replica.leads:
                self._ports.announce(header, certificate)
        self.certifier.forget(digest)
        await self._ports.publish(height, digest, delta)

    async def _certificate(self, header: Header, digest: bytes) -> bytes:
        """The votes mostly came with the acknowledgements that committed the block; else ask for them."""
        while not (certificate := await self.certifier.wait(digest, CERTIFICATE_WAIT_S)):
            await self._ports.find_certificate(header)
        return certificate
