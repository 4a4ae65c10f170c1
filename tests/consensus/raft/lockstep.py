"""A small network for tests: messages arrive in order, writes succeed, and time moves when it is told to."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

from actors.consensus.raft import (
    BlockVote,
    DurableState,
    Effects,
    Entry,
    EntryKind,
    HardState,
    Message,
    Proposal,
    Raft,
    RaftOptions,
    Role,
    SnapshotMeta,
    TraceRecord,
    Write,
    genesis,
)

DIGEST = b"\xab" * 32


def proposal(number: int = 0, size_bytes: int = 100, term: int = 0) -> Proposal:
    return Proposal(number.to_bytes(32, "big"), size_bytes, term)


def block_vote(index: int) -> BlockVote:
    return BlockVote(index, 1, DIGEST, b"\x01" * 64)


def block(index: int, term: int) -> Entry:
    return Entry(index, term, EntryKind.BLOCK, DIGEST, 100)


def role_of(raft: Raft) -> Role:
    """Its role now, whatever it was when last looked at."""
    return raft.role


def start(
    member: int = 1,
    voters: tuple[int, ...] = (1, 2, 3),
    durable: DurableState | None = None,
    options: RaftOptions | None = None,
    now_ms: int = 0,
    incarnation: int = 0,
) -> Raft:
    return Raft(member, durable or genesis(voters), Random(member), now_ms, options, incarnation)


def with_log(*terms: int, member: int = 2, applied_index: int = 0) -> Raft:
    """A follower of three whose durable log has one block of each term."""
    entries = tuple(block(index, term) for index, term in enumerate(terms, start=1))
    durable = DurableState(
        genesis((1, 2, 3)).snapshot, HardState(max(terms)), entries=entries, applied_index=applied_index
    )
    return start(member, durable=durable)


class Lockstep:
    """Replicas whose messages are delivered in the order sent, until none is left."""

    def __init__(
        self,
        voters: tuple[int, ...] = (1, 2, 3),
        spares: tuple[int, ...] = (),
        options: RaftOptions | None = None,
        on_trace: Callable[[TraceRecord], None] | None = None,
    ) -> None:
        self.now_ms = 0
        self._options, self._on_trace, self._genesis = options, on_trace, genesis(voters)
        self.replicas = {member: self._start(member, self._genesis) for member in (*voters, *spares)}
        self.inbox: deque[Message] = deque()
        self.cut: set[int] = set()
        self.lost: Callable[[Message], bool] = lambda message: False
        self.delivered: list[Message] = []
        self.held_writes: dict[int, deque[tuple[Write, tuple[Message, ...]]]] = {}
        self.committed: dict[int, list[Entry]] = {member: [] for member in self.replicas}
        self.effects: dict[int, list[Effects]] = {member: [] for member in self.replicas}
        self.settle()

    def __getitem__(self, member: int) -> Raft:
        return self.replicas[member]

    def _start(self, member: int, durable: DurableState) -> Raft:
        return Raft(member, durable, Random(member), self.now_ms, self._options, on_trace=self._on_trace)

    def restart(self, member: int) -> None:
        """Starts a replica anew from what it has written and applied. It has taken no snapshots."""
        hard_state, entries = HardState(), list[Entry]()
        for write in (effects.write for effects in self.effects[member]):
            if write is not None and write.hard_state is not None:
                hard_state = write.hard_state
            if write is not None and write.entries:
                entries[write.entries[0].index - 1 :] = write.entries
        applied_index = self.committed[member][-1].index if self.committed[member] else 0
        durable = DurableState(
            self._genesis.snapshot, hard_state, entries=tuple(entries), applied_index=applied_index
        )
        self.replicas[member] = self._start(member, durable)
        self.settle()

    def hold_writes(self, member: int) -> None:
        """From now on this replica's writes wait for `release_writes`."""
        self.held_writes.setdefault(member, deque())

    def release_writes(self, member: int) -> None:
        for write, messages in self.held_writes.pop(member):
            self.inbox += messages
            self.replicas[member].persisted(write.ticket)
        self.settle()

    def settle(self) -> None:
        """Carries out all effects and delivers all messages."""
        self._take_all()
        while self.inbox:
            message = self.inbox.popleft()
            if {message.sender, message.to} & self.cut or message.to not in self.replicas:
                continue
            if self.lost(message):
                continue
            self.delivered.append(message)
            self.replicas[message.to].step(message, self.now_ms)
            self._take_all()

    def _take_all(self) -> None:
        for member, raft in self.replicas.items():
            while raft.has_effects:
                effects = raft.take_effects()
                self.effects[member].append(effects)
                self.inbox += effects.messages
                self.committed[member] += effects.committed
                if effects.write is None:
                    continue
                if member in self.held_writes:
                    self.held_writes[member].append((effects.write, effects.messages_after_write))
                else:
                    self.inbox += effects.messages_after_write
                    raft.persisted(effects.write.ticket)

    def run(self, for_ms: int) -> None:
        """Lets time pass, with a tick a millisecond."""
        for _ in range(for_ms):
            self.now_ms += 1
            for raft in self.replicas.values():
                if raft.id not in self.cut:
                    raft.tick(self.now_ms)
            self.settle()

    def elect(self, member: int) -> Raft:
        """Makes `member` the leader by letting its election timer alone expire."""
        raft = self.replicas[member]
        self.now_ms += raft.options.election_timeout_ms_max + 1
        raft.tick(self.now_ms)
        self.settle()
        assert raft.role is Role.LEADER
        return raft

    def leader(self) -> Raft:
        leaders = [raft for raft in self.replicas.values() if raft.role is Role.LEADER]
        return max(leaders, key=lambda raft: raft.term)

    def propose(self, member: int, *numbers: int) -> None:
        for number in numbers:
            self.replicas[member].propose(proposal(number), self.now_ms)
        self.settle()

    def digests(self, member: int) -> list[int]:
        """The numbers of the blocks that `member` has committed."""
        entries = self.committed[member]
        return [int.from_bytes(e.digest, "big") for e in entries if e.kind is EntryKind.BLOCK]

    def snapshot(self, member: int, retain_entries: int = 0) -> SnapshotMeta:
        raft = self.replicas[member]
        taken = raft.snapshot_at(raft.handed_index, DIGEST)
        raft.compact(taken, retain_entries)
        return taken
