"""Attacks that aim: faults that strike when a replica is most vulnerable.

Blind faults seldom meet the short moments in which a rule of Raft matters: a vote that is not durable yet, a
leader that has just been elected or has just been replaced, an answer that outlives the one who asked. These
attacks watch for such moments, and draw from the seed whether and how they strike.
"""

from __future__ import annotations

from random import Random

from actors.consensus.raft import RaftError

from .figure_eight import FigureEight
from .replica import SimulatedReplica
from .world import RaftWorld

ATTACKS = ("assassin", "turncoat", "usurper", "amnesiac", "figure-8")


class Nemesis:
    """The attacks of one schedule, until `end_ms`."""

    def __init__(self, world: RaftWorld, rng: Random, enabled: set[str], end_ms: float) -> None:
        self.world = world
        self.rng = rng
        self.enabled = enabled
        self.end_ms = end_ms
        self._eight: FigureEight | None = None
        world.on_leader = self._on_leader
        world.on_vote = self._on_vote
        storms = {"usurper": self._usurp, "amnesiac": self._ask_again, "turncoat": self._split_vote}
        for name, storm in storms.items():
            if name in enabled:
                for _ in range(rng.randint(1, 3)):
                    world.at(rng.uniform(300.0, end_ms), storm)
        if "figure-8" in enabled:
            for _ in range(rng.randint(1, 3)):
                world.at(rng.uniform(300.0, end_ms), self._draw_eight)

    # --- building blocks ---------------------------------------------------------------------------------

    def _after(self, at_most_ms: float) -> float:
        return self.world.now_ms + at_most_ms * self.rng.random()

    def bounce(self, replica: SimulatedReplica, down_ms_max: float) -> None:
        """A crash and a quick restart."""
        self.world.crash(replica)
        self.world.at(self._after(down_ms_max), self.world.restart, replica)

    def isolate(self, replica: SimulatedReplica, for_ms: float) -> None:
        """Cuts a replica off from all others."""
        others = [member for member in self.world.replicas if member != replica.id]
        pairs = {(replica.id, other) for other in others} | {(other, replica.id) for other in others}
        self._cut(frozenset(pairs), for_ms)

    def _cut(self, pairs: frozenset[tuple[int, int]], for_ms: float) -> None:
        name = self.world.network.cut(pairs)
        self.world.at(self.world.now_ms + for_ms, self.world.network.heal, name)

    def _call_rivals(self) -> None:
        """Writes through the newest leader and reads through the ones that it replaced."""
        leaders = self.world.leaders()
        for replica in leaders[:1]:
            for _ in range(2):
                self.world.at(self._after(12.0), self.world.write, replica)
        for replica in leaders[1:]:
            for _ in range(3):
                self.world.at(self._after(80.0), self.world.read, replica)

    # --- attacks -----------------------------------------------------------------------------------------

    def _on_leader(self, replica: SimulatedReplica) -> None:
        """A replica has just won, and has not said so yet."""
        world, rng = self.world, self.rng
        if world.now_ms > self.end_ms:
            return
        if self._eight is not None and self._eight.on_leader(replica):
            return
        rivals = world.leaders()
        if len(rivals) > 1:
            self._call_rivals()
            if "usurper" in self.enabled and rng.random() < 0.7:
                self.isolate(rivals[1], rng.uniform(50.0, 250.0))
        if "assassin" in self.enabled and rng.random() < 0.7:
            for _ in range(rng.randint(0, 2)):
                world.at(self._after(4.0), world.write, replica)
            if rng.random() < 0.4:
                self.isolate(replica, rng.uniform(50.0, 300.0))
            else:
                world.at(self._after(rng.choice((1.0, 4.0, 4.0, 30.0))), self._strike, replica)

    def _strike(self, replica: SimulatedReplica) -> None:
        action = self.rng.randrange(6)
        if action == 0:
            self.bounce(replica, self.rng.choice((5.0, 300.0)))
        elif action == 1:
            self.isolate(replica, self.rng.uniform(50.0, 500.0))
        elif action == 2:
            replica.paused_until_ms = self._after(500.0)
        elif action < 5:
            others = [m for m in self.world.replicas if m != replica.id]
            self._cut(frozenset((replica.id, other) for other in others), self.rng.uniform(50.0, 300.0))
        else:
            friend = self.rng.choice(list(self.world.replicas))
            others = [m for m in self.world.replicas if m not in (replica.id, friend)]
            self._cut(frozenset((replica.id, other) for other in others), self.rng.uniform(50.0, 400.0))

    def _on_vote(self, replica: SimulatedReplica) -> None:
        """The replica has voted, and the vote is on its way to the disk."""
        if "turncoat" in self.enabled and self.world.now_ms < self.end_ms and self.rng.random() < 0.4:
            self.world.at(self._after(2.0 * self.world.write_ms_max), self.bounce, replica, 4.0)

    def _usurp(self) -> None:
        """Gets somebody elected behind a leader's back, while that leader may rely on a lease."""
        world, rng = self.world, self.rng
        leaders = world.leaders()
        if not leaders:
            return
        leader = leaders[0]
        rival = rng.choice([r for r in world.replicas.values() if r is not leader])
        if leader.raft is not None and rng.random() < 0.4:
            try:
                leader.raft.transfer_leadership(rival.id)
            except RaftError:
                return
            world.settle(leader)
            coup_ms = world.now_ms + 0.01
        else:
            deaf_ms = rng.uniform(150.0, 350.0)
            pairs = {(leader.id, rival.id), (rival.id, leader.id)}
            self._cut(frozenset(pairs), deaf_ms + 300.0)
            coup_ms = world.now_ms + deaf_ms
        world.at(coup_ms, self._coup, leader, rival)

    def _coup(self, leader: SimulatedReplica, rival: SimulatedReplica) -> None:
        world, rng = self.world, self.rng
        self.isolate(leader, 250.0)
        if rng.random() < 0.6:
            for replica in world.replicas.values():
                if replica not in (leader, rival):
                    self.bounce(replica, 1.0)
        for _ in range(4):
            world.at(self._after(100.0), world.write, rival)
            world.at(self._after(140.0), world.read, leader)

    def _ask_again(self) -> None:
        """A reader restarts and asks anew, while the answer to its old question is under way."""
        world, rng = self.world, self.rng
        for leader in world.leaders()[:1]:
            reader = rng.choice([r for r in world.replicas.values() if r is not leader])
            self.bounce(reader, 1.0)
            asked_ms = world.now_ms + 60.0
            world.at(asked_ms, world.read, reader)
            until_ms = asked_ms + rng.uniform(20.0, 140.0)
            world.at(asked_ms + 0.1, self._stall, leader, reader, until_ms)
            world.at(asked_ms + 5.0 * rng.random(), self.bounce, reader, 2.0)
            world.at(asked_ms + 10.0 * rng.random(), world.write, leader)
            for _ in range(8):
                world.at(until_ms + 4.0 * rng.random(), world.read, reader)

    def _draw_eight(self) -> None:
        leaders = self.world.leaders()
        if leaders and (self._eight is None or self._eight.is_over):
            self._eight = FigureEight(self.world, self.rng, leaders[0])

    def _stall(self, sender: SimulatedReplica, to: SimulatedReplica, until_ms: float) -> None:
        self.world.network.stalled[sender.id, to.id] = until_ms

    def _split_vote(self) -> None:
        """Candidates that cannot see each other compete for the vote of one replica in their middle."""
        world = self.world
        members = list(world.replicas)
        bridge = self.rng.choice(members)
        pairs = {(a, b) for a in members for b in members if bridge not in (a, b)}
        self._cut(frozenset(pairs), self.rng.uniform(200.0, 500.0))
        for replica in world.replicas.values():
            self.bounce(replica, 2.0)
