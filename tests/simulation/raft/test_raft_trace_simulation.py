"""Traces of simulated networks, under faults that the trace specification of etcd-io/raft can follow."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from actors.consensus.raft import DurableState, Raft, RaftOptions, TraceRecord, to_ndjson
from bench.simulation.raft import try_schedule
from bench.simulation.raft.network import Faults
from bench.simulation.raft.world import RaftWorld
from tests.consensus.raft.trace_specification import Specification
from tests.consensus.raft.trace_state import UnreadableError, events_of

SEEDS = 8
STORM_MS = 1200.0
SETTLED_MS = 2600.0


def traced(on_trace: Callable[[TraceRecord], None]) -> type[Raft]:
    class Traced(Raft):
        """Tells what it does, wherever it is made."""

        def __init__(
            self,
            member: int,
            durable: DurableState,
            rng: Random,
            now_ms: int,
            options: RaftOptions,
            incarnation: int,
            disk: bytes,
        ) -> None:
            super().__init__(member, durable, rng, now_ms, options, incarnation, on_trace, disk)

    return Traced


def trace_of(
    seed: int, founded: bool = True, faults: Faults | None = None, partitions: int = 0
) -> list[bytes]:
    """Clients and faults, then quiet, in which the leader is killed and returns."""
    lines: list[bytes] = []
    rng = Random(seed)
    world = RaftWorld(
        rng,
        rng.choice((1, 3, 5)),
        0,
        RaftOptions(),
        traced(lambda record: lines.append(to_ndjson(record, len(lines)))),
        faults,
        founded=founded,
    )
    world.write_ms_max = rng.choice((1.0, 4.0, 20.0))

    def call() -> None:
        replica = rng.choice(world.leaders() or list(world.replicas.values()))
        if rng.random() < 0.5:
            world.read(replica)
        else:
            world.write(replica)

    def part() -> None:
        name = world.network.partition(list(world.replicas))
        world.at(world.now_ms + rng.uniform(50.0, 400.0), world.network.heal, name)

    for _ in range(12):
        world.at(rng.uniform(0.0, STORM_MS), call)
    for _ in range(partitions):
        world.at(rng.uniform(100.0, STORM_MS), part)
    world.run_until(STORM_MS)
    world.network.heal_all()
    world.run_until(SETTLED_MS)
    leader = world.leaders()[0]
    world.snapshot(leader, retain_entries=1000)  # so that it knows what it has applied
    world.crash(leader)
    world.run_until(SETTLED_MS + rng.choice((1.0, 400.0)))
    world.restart(leader)
    world.run_until(SETTLED_MS + 1000.0)
    call()
    world.run_until(SETTLED_MS + 1100.0)
    return lines


@pytest.mark.parametrize("founded", [True, False], ids=["founded", "founding"])
def test_the_specification_reads_a_network_from_its_first_term(founded: bool) -> None:
    for seed in range(SEEDS):
        Specification(trace_of(seed, founded)).read()


def test_messages_may_be_overtaken() -> None:
    for seed in range(SEEDS):
        Specification(trace_of(seed, faults=Faults(straggle=0.2))).read()


def test_in_a_storm_it_stops_only_at_a_term_that_came_with_an_unknown_message() -> None:
    whole = 0
    for seed in range(2 * SEEDS):
        read = Specification(trace_of(seed, faults=Faults(drop=0.05), partitions=2))
        try:
            read.read()
            whole += 1
        except UnreadableError:
            event = read.events[read.position]
            assert event["name"] == "BecomeFollower", (seed, event)
            assert event["state"]["term"] > read.servers[event["nid"]].term, (seed, event)
    assert whole >= SEEDS


def test_whatever_happens_the_lines_are_whole() -> None:
    lines: list[bytes] = []
    tracing = traced(lambda record: lines.append(to_ndjson(record, len(lines))))
    for seed in range(40):
        lines.clear()
        assert try_schedule(seed, tracing)[1] is None
        assert len(events_of(lines)) == len(lines) > 50
