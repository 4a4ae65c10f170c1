"""Members whose clocks are wrong, by years: blocks stay in the right time, and nobody stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from actors.consensus.convictions import REFUSED_MS_MIN, Convictions
from actors.ledger.block import Header
from tests.consensus.consensus_network import FakeMember, FakeNetwork
from tests.consensus.consensus_network import run as run_network

NOON_MS, YEAR_MS = 1_800_000_000_000, 365 * 86_400_000


def run(seed: int, scenario: Callable[[FakeNetwork], Awaitable[None]], told: bool = True) -> None:
    def at_noon(network: FakeNetwork) -> None:
        network.clocks_told = told
        for member in network.members:
            member.time_ms = NOON_MS

    run_network(seed, scenario, at_noon)


async def at_work(network: FakeNetwork) -> tuple[FakeMember, list[FakeMember]]:
    """The leader and the others, once all have committed something and heard each other."""
    await network.until(lambda: all(m.disk.height >= 3 for m in network.members), "blocks")
    if network.clocks_told:
        await network.until(lambda: all(skew_ms(m) is not None for m in network.members), "clocks are told")
    leader = await network.until(lambda: next((m for m in network.members if m.leads), None), "a leader")
    return leader, [m for m in network.members if m is not leader]


async def grow(network: FakeNetwork, members: list[FakeMember], blocks: int = 10) -> None:
    goal = max(m.disk.height for m in members) + blocks
    await network.until(lambda: all(m.disk.height >= goal for m in members), "more blocks")


def times(member: FakeMember) -> list[int]:
    return [member.disk.blocks[height][0].time_ms for height in range(1, member.disk.height + 1)]


def assert_in_time(network: FakeNetwork) -> None:
    """Everywhere in order, and nothing further ahead of the right clocks than is allowed."""
    network.assert_agreement()
    bound_ms = network.settings.clock_ahead_ms_max
    for member in network.members:
        assert times(member) == sorted(times(member))
        assert times(member)[-1] <= NOON_MS + 60_000 + bound_ms, "the right clocks are at noon and run on"
        assert not member.part.halted
        assert not member.convictions.describe(), "a wrong clock is no lie"


@pytest.mark.parametrize("off_ms", [YEAR_MS, -YEAR_MS, 3_600_000])
def test_a_leader_that_hears_that_its_clock_is_wrong_leads_on_by_the_others(off_ms: int) -> None:
    async def scenario(network: FakeNetwork) -> None:
        leader, others = await at_work(network)
        leader.time_ms += off_ms
        term = leader.part.engine.replica.raft.term  # type: ignore[union-attr]
        await grow(network, network.members, 20)
        assert leader.part.engine.replica.raft.term == term  # type: ignore[union-attr]
        assert_in_time(network)
        assert min(times(others[0])) >= NOON_MS
        assert "clock is" in str(leader.timekeeper.describe()["clock"])

    run(51, scenario)


def test_a_leader_years_ahead_that_hears_nothing_gets_no_majority_and_is_replaced() -> None:
    async def scenario(network: FakeNetwork) -> None:
        leader, others = await at_work(network)
        leader.time_ms += YEAR_MS
        await network.until(lambda: any(m.leads for m in others), "one of the others leads")
        await grow(network, network.members)
        assert_in_time(network)
        assert all(m.convictions.avoids(leader.identity, now_ms()) for m in others)

    run(52, scenario, told=False)


def test_a_leader_years_behind_that_hears_nothing_repeats_the_time_of_the_chain() -> None:
    async def scenario(network: FakeNetwork) -> None:
        leader, _ = await at_work(network)
        leader.time_ms -= YEAR_MS
        at = leader.disk.height
        await grow(network, network.members)
        assert leader.leads
        assert set(times(leader)[at + 8 :]) == {NOON_MS}
        assert_in_time(network)

    run(53, scenario, told=False)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("off_ms", [YEAR_MS, -YEAR_MS])
def test_a_follower_whose_clock_is_wrong_follows_on(told: bool, off_ms: int) -> None:
    async def scenario(network: FakeNetwork) -> None:
        leader, (follower, _) = await at_work(network)
        follower.time_ms += off_ms
        for member in network.members:
            member.time_ms += 20_000  # or the leader would only repeat what is certified
        await grow(network, network.members, 30)
        assert leader.leads
        assert not follower.convictions.avoids(leader.identity, now_ms())
        assert_in_time(network)

    run(54, scenario, told)


@pytest.mark.parametrize("told", [True, False])
def test_a_member_that_starts_with_a_clock_years_behind_catches_up(told: bool) -> None:
    async def scenario(network: FakeNetwork) -> None:
        _, (late, _) = await at_work(network)
        await late.crash()
        rest = [m for m in network.members if m is not late]
        for member in rest:
            member.time_ms += 20_000
        await grow(network, rest, 20)
        late.time_ms = 0
        late.start()
        await grow(network, network.members)
        assert_in_time(network)

    run(55, scenario, told)


@pytest.mark.parametrize("off_ms", [YEAR_MS, -YEAR_MS])
def test_two_of_three_go_on_though_one_of_their_clocks_is_wrong(off_ms: int) -> None:
    async def scenario(network: FakeNetwork) -> None:
        leader, (other, away) = await at_work(network)
        network.cut = {away.number}
        for wrong in (leader, other):
            wrong.time_ms += off_ms
            await grow(network, [leader, other], 20)
            wrong.time_ms -= off_ms
        network.cut = set()
        await grow(network, network.members)
        assert_in_time(network)

    run(56, scenario)


def test_a_member_that_lies_about_the_time_moves_nobody() -> None:
    async def scenario(network: FakeNetwork) -> None:
        leader, (liar, other) = await at_work(network)
        liar.time_ms = 2**63
        await network.until(lambda: liar.timekeeper.describe()["clock"], "it is told that it is wrong")
        await grow(network, network.members, 20)
        assert leader.timekeeper.describe()["clock"] == ""
        assert other.timekeeper.describe()["clock"] == ""
        assert_in_time(network)

    run(57, scenario)


def test_a_leader_refused_for_its_time_is_heard_again_when_that_is_certified() -> None:
    convictions, leader = Convictions(bytes(32)), b"\x01" * 32
    header = Header(1, 1, YEAR_MS, 1, 0, bytes(32), bytes(32), bytes(32), bytes(32), leader)
    assert convictions.refuse_time(leader, header, "early", 0) == REFUSED_MS_MIN
    assert not convictions.describe()
    assert not convictions.acquit(replace(header, time_ms=YEAR_MS + 1))
    assert convictions.avoids(leader, 1)
    assert convictions.acquit(header)
    assert not convictions.avoids(leader, 1)
    assert not convictions.contradiction(header), "its own clock was wrong, not its state"
    convictions.refuse_time(leader, header, "early", 0)
    convictions.refuse(leader, replace(header, height=2), b"", "a false root", 0)
    assert convictions.acquit(header)
    assert convictions.avoids(leader, 1), "the false root stands"


def skew_ms(member: FakeMember) -> object:
    return member.timekeeper.describe()["clock_skew_ms"]


def now_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1000)
