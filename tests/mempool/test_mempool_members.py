"""Three members, each with a pool, a lossy gossip between them, and a leader that changes in the middle of
blocks: whatever was accepted anywhere is committed once, or its node says why not.

Everything is drawn from one seed, which a failure names.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from actors.ledger.delta import AccountStates
from actors.ledger.prices import FREE
from actors.ledger.rows import ROW_DTYPE, Batch
from actors.ledger.verdict import Verdict
from actors.mempool.outbox import Outbox, ReofferScheduler
from actors.mempool.pool import Pool, PoolBounds
from tests.mempool.test_mempool_pool import NO_BYTES, TAG, key

MEMBERS, SENDERS, BALANCE = 3, 5, 60
NEVER = 2**64 - 1


def row_of(sender: int, nonce: int, amount: int, fee: int, expiry: int) -> Batch:
    row = np.zeros(1, dtype=ROW_DTYPE)
    row["version"], row["kind"], row["chain_tag"] = 1, 1, TAG
    row["nonce"], row["amount"], row["fee"], row["expiry_height"] = nonce, amount, fee, expiry
    row["sender"] = key(sender)
    return Batch(row, NO_BYTES)


@dataclass(slots=True)
class Member:
    """A node's pool, what it offers to others, and the deltas that have not reached it yet."""

    pool: Pool
    outbox: Outbox
    again: ReofferScheduler
    read: list[int] = field(default_factory=lambda: [0] * MEMBERS)
    deltas: list[Any] = field(default_factory=list)
    accepted: dict[bytes, bytes] = field(default_factory=dict)
    lost: set[bytes] = field(default_factory=set)

    def admit(self, batch: Batch, own: bool) -> None:
        verdicts = self.pool.static(batch)
        self.pool.screen(batch, verdicts)
        taken = self.pool.insert(batch, verdicts, own=own)
        if own and len(taken):
            rows = batch.take(taken)
            self.outbox.add(rows, np.zeros(len(taken), dtype=np.uint8))
            self.accepted |= {row.tobytes(): row["sender"].tobytes() for row in rows.rows}
        self.note_losses()

    def note_losses(self) -> None:
        rows, _ = self.pool.take_lost()
        self.lost |= {row.tobytes() for row in rows}

    def settle_one(self) -> None:
        if self.deltas:
            self.pool.settle(self.deltas.pop(0))
            self.note_losses()


class World:
    """The members and the chain that they agree on."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.nonces, self.balances = [0] * SENDERS, [BALANCE] * SENDERS
        self.height, self.leader, self.clock_s = 1, 0, 0.0
        self.committed: list[bytes] = []
        self.members = [self._member(number) for number in range(MEMBERS)]
        self.stale: set[int] = set()
        self._publish(range(SENDERS))
        for member in self.members:
            member.settle_one()

    def _member(self, number: int) -> Member:
        pool = Pool(PoolBounds(24, 4, 8, age_blocks=5), TAG, seed=number, prices=FREE)
        outbox = Outbox(8, 64)
        return Member(pool, outbox, ReofferScheduler(pool, 1.0, 6, 0.25))

    def _publish(self, senders: Any) -> None:
        chosen = sorted(senders)
        keys = np.stack([key(who) for who in chosen]) if chosen else np.empty((0, 32), dtype=np.uint8)
        columns = (
            np.array([of[who] for who in chosen], dtype=np.uint64) for of in (self.nonces, self.balances)
        )
        delta = AccountStates(self.height, keys, *columns)
        for member in self.members:
            member.deltas.append(delta)

    def submit(self) -> None:
        who, at = self.random.randrange(SENDERS), self.random.choice(self.members)
        nonce = self.nonces[who] + self.random.choice([0, 0, 0, 1, 1, 2, 5])
        expiry = self.random.choice([NEVER, NEVER, self.height + 4])
        at.admit(row_of(who, nonce, self.random.choice([0, 1, 30]), self.random.randint(0, 20), expiry), True)

    def gossip(self, loss: float) -> None:
        """Everybody reads everybody's outbox; what is lost on the way is not sent again."""
        for number, reader in enumerate(self.members):
            for other, writer in enumerate(self.members):
                if other != number:
                    summary, batch = writer.outbox.since(reader.read[other], 16)
                    reader.read[other] = summary.next
                    if len(batch) and self.random.random() >= loss:
                        reader.admit(batch, False)

    def offer_again(self) -> None:
        self.clock_s += 1.0
        for member in self.members:
            member.again.offer(member.outbox, self.clock_s)

    def execute(self, rows: Any) -> tuple[list[Verdict], list[int], list[int]]:
        nonces, balances, verdicts = list(self.nonces), list(self.balances), []
        for row in rows:
            who = int.from_bytes(row["sender"].tobytes(), "little")
            cost = int(row["amount"]) + int(row["fee"])
            if int(row["nonce"]) != nonces[who]:
                verdicts.append(
                    Verdict.NONCE_REUSED if int(row["nonce"]) < nonces[who] else Verdict.NONCE_GAP
                )
            elif cost > balances[who]:
                verdicts.append(Verdict.INSUFFICIENT_BALANCE)
            else:
                verdicts.append(Verdict.OK)
                nonces[who], balances[who] = nonces[who] + 1, balances[who] - cost
        return verdicts, nonces, balances

    def block(self, committed: bool) -> None:
        """The leader draws and executes; then the block is committed everywhere, or given up."""
        member = self.members[self.leader]
        member.again.drawn(self.clock_s)
        drawn = member.pool.draw(6, 0, self.height + 1)
        verdicts, nonces, balances = self.execute(drawn.batch.rows)
        member.pool.resolve(drawn.draw, np.array(verdicts, dtype=np.uint8))
        member.note_losses()
        if not committed:
            return
        done = [row for row, v in zip(drawn.batch.rows, verdicts, strict=True) if v == Verdict.OK]
        self.committed += [row.tobytes() for row in done]
        self.nonces, self.balances, self.height = nonces, balances, self.height + 1
        self._publish({int.from_bytes(row["sender"].tobytes(), "little") for row in done})

    def depose(self) -> None:
        """Another member leads; the old one may learn of it later."""
        self.stale.add(self.leader)
        self.leader = self.random.randrange(MEMBERS)
        self.step_down(self.leader)

    def step_down(self, number: int) -> None:
        self.members[number].pool.release()
        self.members[number].note_losses()
        self.stale.discard(number)

    def step(self) -> None:
        action = self.random.randrange(12)
        if action < 4:
            self.submit()
        elif action < 6:
            self.gossip(loss=0.5)
        elif action < 8:
            self.block(committed=True)
        elif action == 8:
            self.block(committed=False)
            self.depose()
        elif action == 9:
            self.random.choice(self.members).settle_one()
        elif action == 10 and self.stale:
            self.step_down(self.random.choice(sorted(self.stale)))
        else:
            self.offer_again()

    def calm_down(self) -> None:
        """Nothing is lost any more, and one member leads."""
        for number in range(MEMBERS):
            self.step_down(number)
        for _ in range(40):
            self.offer_again()
            self.gossip(loss=0.0)
            self.block(committed=True)
            for member in self.members:
                while member.deltas:
                    member.settle_one()


@pytest.mark.parametrize("seed", range(16))
def test_accepted_rows_are_committed_once_or_their_node_says_why_not(seed: int) -> None:
    world = World(seed)
    for _ in range(150):
        world.step()
    world.calm_down()
    assert len(world.committed) == len(set(world.committed)), f"seed {seed}: a row was committed twice"
    done = set(world.committed)
    for number, member in enumerate(world.members):
        held = member.pool._live_slots(False)
        pending = {words.tobytes() for words in member.pool.arena.columns.words[held]}
        for row, sender in member.accepted.items():
            if row in done or row in member.lost:
                continue
            who = int.from_bytes(sender, "little")
            nonce = int(np.frombuffer(row, dtype=ROW_DTYPE)["nonce"][0])
            told = f"seed {seed}: member {number}, sender {who}, nonce {nonce}"
            # Another row with its nonce was committed, or one before it never came.
            assert nonce < world.nonces[who] or (row in pending and nonce > world.nonces[who]), told


def test_the_world_really_loses_returns_and_replaces() -> None:
    """So that the test above cannot pass by nothing happening."""
    worlds = [World(seed) for seed in range(5)]
    offered_again = 0
    for world in worlds:
        for _ in range(150):
            before = [member.outbox.total for member in world.members]
            world.offer_again()
            offered_again += sum(m.outbox.total - b for m, b in zip(world.members, before, strict=True))
            world.step()
    assert sum(len(world.committed) for world in worlds) > 50
    assert sum(len(member.lost) for world in worlds for member in world.members) > 10
    assert offered_again > 50


def test_who_comes_back_empty_is_offered_everything_in_one_round() -> None:
    """However often its rows were looked at before: rounds come less and less often, and this is not one."""
    world = World(1)
    others = world.members[1:]
    for member in others:
        for sender in range(SENDERS):
            for nonce in range(4):
                member.admit(row_of(sender, nonce, 1, nonce + 1, NEVER), True)
        assert member.pool.depth == 4 * SENDERS
    for _ in range(12):
        world.offer_again()
    world.members[0] = world._member(0)
    world._publish(range(SENDERS))
    world.members[0].settle_one()
    for number, reader in enumerate(world.members):
        reader.read = [member.outbox.total for member in world.members]
        assert not len(others[0].outbox.since(reader.read[1], 16)[1]), number
    for member in others:
        member.again.anew()
    slices = 0
    while slices == 0 or min(member.again.rest_s(world.clock_s) for member in others) < 1.0:
        for member in others:
            assert member.again.offer(member.outbox, world.clock_s) <= 6
        world.gossip(loss=0.0)
        world.clock_s += 0.25
        slices += 1
    assert slices == 5  # four chains of four rows each, and one of the last: no chain is torn in two
    assert world.members[0].pool.depth == 4 * SENDERS
    assert [member.again.rest_s(world.clock_s) for member in others] == [np.inf] * 2
