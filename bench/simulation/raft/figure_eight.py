"""The schedule of figure 8 of the Raft paper (section 5.4.2), steered as far as the seed lets it.

    1  the leader A puts a block on its own disk alone, and dies 2  B is elected by the others, puts another
    block there, on its own disk alone, and dies 3  A comes back and is elected: it sends the block of its
    older term, which now is on a majority's disks, and
       dies before an entry of its new term is there too
    4  B comes back and is elected, since its last entry is of a later term than A's block: it replaces that

Whoever takes a block of an older term on a majority's disks for decided is wrong in step 4. Some runs miss a
step: then the entry of the new term did arrive, or somebody else was elected.
"""

from __future__ import annotations

from random import Random

from .replica import SimulatedReplica
from .world import RaftWorld

ALONE_MS, PATIENCE_MS = 30.0, 1500.0
GIVEN_UP = 5


class FigureEight:
    """One attempt, from the leader `first` on."""

    def __init__(self, world: RaftWorld, rng: Random, first: SimulatedReplica) -> None:
        self._world, self._rng = world, rng
        self._first, self._second = first, first
        self._step = 1
        self._cuts: list[int] = []
        self._put_alone(first)
        world.at(world.now_ms + PATIENCE_MS, self._give_up)

    @property
    def is_over(self) -> bool:
        """True if nothing more will come of this attempt."""
        return self._step > 4

    def on_leader(self, replica: SimulatedReplica) -> bool:
        """`replica` has just won, and has not said so yet. True if that is a step of this schedule."""
        world = self._world
        if self._step == 1 and replica is not self._first:
            self._second, self._step = replica, 2
            self._put_alone(replica)
            world.at(world.now_ms + ALONE_MS + 1.0, self._return, self._first)
        elif self._step == 2 and replica is self._first:
            self._step = 3
            after_ms = self._rng.uniform(0.5, 4.0 + 2.0 * world.write_ms_max)
            world.at(world.now_ms + after_ms, self._crash, replica)
            world.at(world.now_ms + after_ms, self._return, self._second)
        elif self._step == 3 and replica is self._second:
            self._step = 4
            world.at(world.now_ms + 100.0 * self._rng.random(), self._return, self._first)
            for _ in range(2):
                world.at(world.now_ms + 20.0 * self._rng.random(), world.write, replica)
        else:
            return False
        return True

    def _put_alone(self, replica: SimulatedReplica) -> None:
        """A block on its disk and on nobody else's, then its end."""
        others = [member for member in self._world.replicas if member != replica.id]
        pairs = {(replica.id, other) for other in others} | {(other, replica.id) for other in others}
        self._cuts.append(self._world.network.cut(frozenset(pairs)))
        self._world.at(self._world.now_ms + 0.1, self._world.write, replica)
        self._world.at(self._world.now_ms + ALONE_MS, self._crash, replica)

    def _crash(self, replica: SimulatedReplica) -> None:
        if self._step < GIVEN_UP:  # nobody would bring it back once the attempt is given up
            self._world.crash(replica)

    def _return(self, replica: SimulatedReplica) -> None:
        if self._cuts:
            self._world.network.heal(self._cuts.pop(0))
        self._world.restart(replica)

    def _give_up(self) -> None:
        self._step = GIVEN_UP
        while self._cuts:
            self._world.network.heal(self._cuts.pop())
        for replica in (self._first, self._second):
            self._world.restart(replica)
