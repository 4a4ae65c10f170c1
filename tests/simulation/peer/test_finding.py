"""Kademlia at 1,000 nodes: lookups under churn, growth as log N, and an eclipse that fails.

Seeds are part of each test's id, so a failure prints the one to repeat. 10,000 nodes by hand:
`node.py simulate peers --nodes 10000`.
"""

import itertools

import pytest

from bench.simulation.peer.finding import Finding, attacked, hostile_share, log_fit, settled
from bench.simulation.peer.world import PeerWorld


@pytest.mark.parametrize("seed", [11])
def test_lookups_succeed_under_churn(seed: int, peer_nodes: int) -> None:
    """20 % of the nodes go silently within a minute, as many join, and lookups go on meanwhile."""
    finding = settled(seed, peer_nodes)
    finding.churn(0.2, window_s=60.0)
    stats = finding.lookups(300, window_s=60.0, settled_s=10.0)
    print(f"seed {seed}: {stats}")  # noqa: T201 - shown when the test fails
    assert stats.lookups >= 240
    assert stats.success >= 0.99


def test_hops_and_messages_grow_as_log_n() -> None:
    sizes = [64, 128, 256, 512, 1024]
    stats = [settled(21, size).lookups(300, window_s=10.0) for size in sizes]
    assert all(entry.success == 1.0 for entry in stats)
    for name, values in (
        ("hops", [entry.hops_mean for entry in stats]),
        ("messages", [entry.messages_mean for entry in stats]),
    ):
        offset, slope, residual = log_fit(sizes, values)
        print(f"{name} = {offset:.2f} + {slope:.2f} log2 N, residual {residual:.1%}: {values}")  # noqa: T201
        assert slope > 0
        assert residual < 0.2
        steps = [after - before for before, after in itertools.pairwise(values)]
        assert max(steps) <= 1.25 * steps[0], "a doubling of N costs more and more"


@pytest.mark.parametrize("seed", [31, 32])
def test_joining_from_three_seeds_builds_a_working_table(seed: int) -> None:
    finding = Finding(PeerWorld(seed))
    first = [finding.add() for _ in range(20)]
    for node in first:
        node.join([other.record for other in first if other is not node][:3])
    finding.world.run(30.0)
    for index in range(180):
        finding.world.after(index * 0.5, finding._join)
    finding.world.run(150.0)
    stats = finding.lookups(200, window_s=20.0)
    print(f"seed {seed}: {stats}")  # noqa: T201
    assert stats.nodes == 200
    assert stats.success >= 0.99


@pytest.mark.parametrize("seed", [41])
def test_eclipse_from_few_subnets_owns_no_honest_table(seed: int) -> None:
    finding = attacked(seed, 800, 160, subnet_limits=(2, 10))
    stats = finding.lookups(200, window_s=20.0)
    worst = max(hostile_share(finding, node) for node in finding.alive())
    print(f"seed {seed}: worst share {worst:.2f}, {stats}")  # noqa: T201
    assert worst < 0.5
    assert stats.success >= 0.99


@pytest.mark.parametrize("seed", [41])
def test_the_same_eclipse_succeeds_without_subnet_limits(seed: int) -> None:
    """The attack is real: it is the limits that defeat it."""
    finding = attacked(seed, 800, 160, subnet_limits=(0, 0))
    assert max(hostile_share(finding, node) for node in finding.alive()) > 0.5
    assert finding.lookups(100, window_s=10.0).success < 0.5


def test_one_seed_gives_one_run() -> None:
    first, second = (settled(51, 100).lookups(50, window_s=5.0) for _ in range(2))
    assert first == second
