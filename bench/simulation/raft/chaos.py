"""A schedule of faults, operations and client calls, all drawn from one seed.

Each seed turns on a random half of the faults ("swarm testing"): a schedule with every fault at once rarely
gets far enough to reach the deep states. After the chaos the network heals, and must make progress: a write
that begins then is applied by every member within `PROGRESS_MS_MAX`.
"""

from __future__ import annotations

from random import Random

from actors.consensus.raft import Raft, RaftError, RaftOptions

from .amnesia import MEMORY_FAULTS, Amnesia
from .linearizability import Operation, is_linearizable
from .nemesis import ATTACKS, Nemesis
from .network import Faults
from .replica import SimulatedReplica
from .violation import ViolationError
from .world import RaftWorld

PROGRESS_MS_MAX = 6000.0
LOST_MS = 1500.0  # watched after healing where progress is not promised
CLOCK_ERROR_MAX = 0.2
LEASE_CLOCK_ERROR = 0.05
FAULTS = ("loss", "duplicate", "straggle", "partition", "crash", "pause", "drift", "slow-disk")
OPERATIONS = ("snapshot", "transfer", "membership")
SETTINGS = ("lease", "tight", "crowded", "rash", "founding")
FEATURES = FAULTS + OPERATIONS + SETTINGS + ATTACKS + MEMORY_FAULTS


def _rash(raft_type: type[Raft]) -> type[Raft]:
    """The same core without the courtesies of pre-candidates: split votes are as safe, and many more."""
    rude = {"_goes_first": lambda *_: False, "_give_way": lambda *_: None}
    return type(raft_type.__name__, (raft_type,), rude)


class Schedule:
    """One seed's network and its storm."""

    def __init__(
        self, seed: int, raft_type: type[Raft] = Raft, features: frozenset[str] = frozenset()
    ) -> None:
        """`features` are turned on whatever the seed says, and the others then less often."""
        rng = Random(seed)
        self.rng = rng
        chance = 0.2 if features else 0.5
        self.enabled = {name for name in FEATURES if rng.random() < chance} | features
        voters = rng.choices((3, 5, 7), (70, 20, 10))[0]
        error = LEASE_CLOCK_ERROR if "lease" in self.enabled else CLOCK_ERROR_MAX
        self._last_write: Operation | None = None  # of those after healing
        self.chaos_ms = rng.uniform(600.0, 3000.0)
        self.world = RaftWorld(
            rng,
            voters,
            spares=2 if "membership" in self.enabled else 0,
            options=self._options(),
            raft_type=_rash(raft_type) if "rash" in self.enabled else raft_type,
            faults=self._faults(),
            clock_error=error if "drift" in self.enabled else 0.0,
            over_the_wire=rng.random() < 0.1,
            founded=not self.enabled & {"founding", "refound"},
        )
        self.world.write_ms_max = rng.choice((1.0, 4.0, 20.0))
        if "slow-disk" in self.enabled:
            self.world.slow_write_chance = 0.15

    def _options(self) -> RaftOptions:
        """Small windows at times, so that their edges are met; much the same patience for all at others."""
        rng = self.rng
        tight = "tight" in self.enabled
        return RaftOptions(
            election_timeout_ms_max=153 if "crowded" in self.enabled else 300,
            append_entries_max=rng.choice((1, 1, 3)) if tight else 256,
            append_bytes_max=3000 if tight else 1 << 24,
            inflight_entries_max=rng.randint(1, 6) if tight else 1024,
            inflight_bytes_max=5000 if tight else 1 << 26,
            uncommitted_entries_max=rng.randint(4, 12) if tight else 1024,
            committed_entries_max=2 if tight else 1024,
            snapshot_retry_ms=300,
            lease_reads="lease" in self.enabled,
            clock_rate_error_max=LEASE_CLOCK_ERROR,
        )

    def _faults(self) -> Faults:
        rng = self.rng
        return Faults(
            drop=rng.uniform(0.01, 0.15) if "loss" in self.enabled else 0.0,
            duplicate=rng.uniform(0.01, 0.2) if "duplicate" in self.enabled else 0.0,
            straggle=rng.uniform(0.02, 0.3) if "straggle" in self.enabled else 0.0,
            straggle_ms_max=rng.choice((20.0, 100.0, 400.0)),
        )

    # --- the run -----------------------------------------------------------------------------------------

    def run(self) -> list[Operation]:
        """Runs chaos, healing and progress. Returns the clients' history. Raises ViolationError."""
        world = self.world
        self._plan_storm()
        Nemesis(world, self.rng, self.enabled, self.chaos_ms)
        amnesia = Amnesia(world, self.rng, self.enabled, self.chaos_ms)
        world.run_until(self.chaos_ms)
        self._heal()
        if amnesia.may_be_stuck:
            world.run_until(world.now_ms + LOST_MS)
        else:
            self._await_progress(amnesia)
        if not is_linearizable(world.history):
            raise ViolationError("linearizability: no order of the operations explains the reads")
        return world.history

    def _plan_storm(self) -> None:
        rng, world = self.rng, self.world
        storms = {
            "partition": self._partition,
            "crash": self._crash,
            "pause": self._pause,
            "drift": self._drift,
            "snapshot": self._snapshot,
            "transfer": self._transfer,
            "membership": self._change_membership,
        }
        for name, storm in storms.items():
            if name in self.enabled:
                for _ in range(rng.randint(1, 8)):
                    world.at(rng.uniform(100.0, self.chaos_ms), storm)
        for _ in range(rng.randint(4, 24)):
            world.at(rng.uniform(150.0, self.chaos_ms), self._call)
        for _ in range(rng.randint(0, 2)):
            world.at(rng.uniform(150.0, self.chaos_ms), self._burst)

    def _heal(self) -> None:
        world = self.world
        world.network.heal_all()
        for member in tuple(world.twins):
            world.end_twin(member)
        world.slow_write_chance = 0.0
        world.write_ms_max = 2.0
        for replica in world.replicas.values():
            replica.paused_until_ms = min(replica.paused_until_ms, world.now_ms)
            world.restart(replica)

    def _await_progress(self, amnesia: Amnesia) -> None:
        world = self.world
        deadline_ms = world.now_ms + PROGRESS_MS_MAX
        while world.now_ms < deadline_ms:
            if self._last_write is None or self._last_write.returned_at > world.now_ms:
                for leader in world.leaders():
                    self._last_write = world.write(leader) or self._last_write
            if world.run_until(world.now_ms + 60.0, self._is_everywhere):
                return
        if amnesia.may_be_stuck:  # a change of members that was under way reached somebody after all
            return
        raise ViolationError(f"progress: nothing was committed everywhere in {PROGRESS_MS_MAX:.0f} ms")

    def _is_everywhere(self) -> bool:
        written = self._last_write
        if written is None or written.returned_at > self.world.now_ms:
            return False
        leaders = self.world.leaders()
        if not leaders or leaders[0].raft is None or leaders[0].raft.configuration.is_joint:
            return False
        leader, members = leaders[0].id, leaders[0].raft.configuration.members()
        return all(
            written.value in self.world.replicas[member].state
            for member in members
            if self._can_hear(member, leader)
        )

    def _can_hear(self, member: int, leader: int) -> bool:
        """One that slept until nobody whom it knows has a vote hears no leader (raft/membership.py).

        A network keeps a majority of its genesis among its voters, and passes blocks on beside Raft.
        """
        raft = self.world.replicas[member].raft
        return raft is None or leader in raft.configuration.members() or raft.leader == leader

    # --- client calls ------------------------------------------------------------------------------------

    def _call(self) -> None:
        replica = self._any_replica(favour_leader=0.6)
        if self.rng.random() < 0.5:
            self.world.read(replica)
        else:
            self.world.write(replica)

    def _burst(self) -> None:
        replica = self._any_replica(favour_leader=0.8)
        for _ in range(self.rng.randint(2, 6)):
            self.world.write(replica)

    def _any_replica(self, favour_leader: float) -> SimulatedReplica:
        leaders = self.world.leaders()
        if leaders and self.rng.random() < favour_leader:
            return self.rng.choice(leaders)
        return self.rng.choice(list(self.world.replicas.values()))

    # --- storms ------------------------------------------------------------------------------------------

    def _partition(self) -> None:
        world = self.world
        name = world.network.partition(list(world.replicas))
        world.at(world.now_ms + self.rng.uniform(50.0, 700.0), world.network.heal, name)

    def _crash(self) -> None:
        world, rng = self.world, self.rng
        victims = [self._any_replica(favour_leader=0.4)]
        if rng.random() < 0.15:
            victims = list(world.replicas.values())
        for replica in victims:
            world.crash(replica)
            world.at(world.now_ms + rng.choice((1.0, 30.0, 400.0)) * rng.random(), world.restart, replica)

    def _pause(self) -> None:
        replica = self._any_replica(favour_leader=0.5)
        replica.paused_until_ms = self.world.now_ms + self.rng.uniform(20.0, 600.0)

    def _drift(self) -> None:
        replica = self._any_replica(favour_leader=0.0)
        replica.clock.drift(self.world.now_ms, self.world.draw_rate())
        self.world.settle(replica)

    def _snapshot(self) -> None:
        for replica in list(self.world.replicas.values()):
            if self.rng.random() < 0.5:
                self.world.snapshot(replica, self.rng.choice((0, 0, 1, 3)))

    def _transfer(self) -> None:
        for replica in self.world.leaders():
            raft = replica.raft
            if raft is None or replica.paused_until_ms > self.world.now_ms:
                continue
            try:
                raft.transfer_leadership(self.rng.choice(list(self.world.replicas)))
            except RaftError:
                continue
            self.world.settle(replica)

    def _change_membership(self) -> None:
        """Asks a leader for a random change: any voters that it may have, the rest as learners or out."""
        rng = self.rng
        for replica in self.world.leaders():
            raft = replica.raft
            if raft is None or replica.paused_until_ms > self.world.now_ms:
                continue
            eligible = [m for m in self.world.replicas if m in raft.configuration.members()]
            voters = tuple(sorted(rng.sample(eligible, rng.randint(1, len(eligible)))))
            rest = [m for m in self.world.replicas if m not in voters]
            learners = tuple(m for m in rest if rng.random() < 0.7)
            try:
                raft.change_membership(voters, learners)
            except RaftError:
                continue
            self.world.settle(replica)
