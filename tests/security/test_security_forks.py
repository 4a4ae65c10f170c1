"""What contradicts a certificate, or what is committed, is refused or stops a node: once, for all to see."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest
from loguru import logger

from actors.consensus.raft import Entry, EntryKind, HardState, encode
from actors.consensus.raft.messages import AppendRequest
from actors.consensus.setbacks import PAUSE_MAX_S, Setbacks
from actors.ledger.block import Certificate, sign_proposal, sign_vote
from tests.consensus.consensus_network import FakeMember, FakeNetwork, run

LINES_MAX = 40


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What was logged."""
    said: list[str] = []
    sink = logger.add(lambda message: said.append(str(message)), format="{level} {message}")
    yield said
    logger.remove(sink)


async def at_work(network: FakeNetwork) -> tuple[FakeMember, FakeMember, FakeMember]:
    """The leader and the others, once all have committed something."""
    await network.until(lambda: all(m.disk.height >= 3 for m in network.members), "blocks")
    leader = await network.until(lambda: next((m for m in network.members if m.leads), None), "a leader")
    one, other = (m for m in network.members if m is not leader)
    return leader, one, other


@pytest.mark.parametrize("what", ["rewrites", "malformed"])
def test_a_leader_that_contradicts_what_is_committed_is_refused_and_does_not_fill_the_log(
    what: str, lines: list[str]
) -> None:
    async def scenario(network: FakeNetwork) -> None:
        leader, liar, victim = await at_work(network)
        assert victim.part.engine is not None
        raft = victim.part.engine.replica.raft
        first = raft.log.entry(raft.log.base_index + 1)
        rewritten = Entry(first.index, raft.term + 1, EntryKind.BLOCK, bytes([9]) * 32, 208)
        malformed = Entry(raft.log.last_index + 1, raft.term + 1, EntryKind.CONFIGURATION, payload=b"\xc1")
        previous, entry = (
            ((first.index - 1, raft.log.base_term), rewritten)
            if what == "rewrites"
            else ((raft.log.last_index, raft.log.last_term), malformed)
        )
        network.producing = False
        request = AppendRequest(liar.number, victim.number, raft.term + 1, *previous, 0, 1, (entry,))
        lines.clear()
        victim.part.engine.deliver(liar.identity, encode(request))

        def now_ms() -> int:
            return int(asyncio.get_running_loop().time() * 1000)

        await network.until(lambda: victim.convictions.avoids(liar.identity, now_ms()), "it is refused")
        assert victim.part.engine.interrupted is None
        goal = victim.disk.height + 5
        network.producing = True
        await network.until(lambda: min(leader.disk.height, victim.disk.height) >= goal, "they go on")
        assert [m.part.halted for m in network.members] == ["", "", ""]
        assert sum("is refused as a leader" in line for line in lines) == 1
        assert len(lines) <= LINES_MAX
        reasons = [why for _, why in victim.convictions.avoided(now_ms()).values()]
        assert "its leader says what no correct one does" in reasons[0]
        network.assert_agreement()

    run(41, scenario)


def fork(network: FakeNetwork, member: FakeMember, later_term: bool) -> None:
    """Have a stopped member's last committed block be another one, as certain as the true one."""
    disk, place = member.disk, network.genesis.hash()
    height = disk.height
    entries = [msgspec.msgpack.decode(entry, type=Entry) for entry in disk.entries]
    at = next(i for i, entry in enumerate(entries) if entry.digest == disk.hash_at(height))
    header = replace(disk.blocks[height][0], time_ms=disk.blocks[height][0].time_ms + 9)
    term = entries[at].term + later_term
    votes = sorted((s.public_key, sign_vote(s, place, header, term)) for s in network.signers[:2])
    disk.certificates[height] = Certificate(term, tuple(votes)).encode()
    disk.blocks = {h: block for h, block in disk.blocks.items() if h < height}
    disk.blocks[height] = header, sign_proposal(network.signers[0], place, header.hash())
    entries[at] = msgspec.structs.replace(entries[at], digest=header.hash(), term=term)
    disk.entries = [msgspec.msgpack.encode(entry) for entry in entries[: at + 1]]
    disk.hard_state = msgspec.msgpack.encode(HardState(term))


@pytest.mark.parametrize("later_term", [False, True])
@pytest.mark.parametrize("blocks_behind", [0, 1, 6])
def test_a_member_whose_committed_block_a_certificate_contradicts_stops_once_and_stays_stopped(
    later_term: bool, blocks_behind: int, lines: list[str]
) -> None:
    async def scenario(network: FakeNetwork) -> None:
        _, forked, other = await at_work(network)
        await forked.crash()
        fork(network, forked, later_term)
        goal = forked.disk.height + blocks_behind
        rest = [m for m in network.members if m is not forked]
        await network.until(lambda: all(m.disk.height >= goal for m in rest), "the others go on")
        lines.clear()
        forked.start()
        await network.until(lambda: forked.part.halted and forked.disk.halted, "it stops")
        assert "is certified, and this node committed" in forked.part.halted
        await network.until(lambda: forked.part.engine is None, "it takes no part any more")
        assert sum("this node stops" in line for line in lines) == 1
        goal = other.disk.height + 5
        await network.until(lambda: all(m.disk.height >= goal for m in rest), "the others go on")
        assert [m.part.halted for m in rest] == ["", ""]
        assert len(lines) <= LINES_MAX
        await forked.crash()
        forked.start()
        await network.until(lambda: forked.part.halted, "the next start knows it")
        assert "as it found before" in forked.part.halted

    # In the same term it learns of it once the leader's log no longer has the entries that it asks for.
    run(42, scenario, retain_entries=1000 if later_term else 50)


def test_what_fails_again_and_again_is_tried_ever_later_and_told_ever_more_seldom() -> None:
    setbacks = Setbacks()
    noted = [setbacks.note("A" if n % 2 else "B", 7) for n in range(4000)]
    assert sum(setback.told for setback in noted) == 22
    assert [s.pause_s for s in noted[:3]] == [0.0, 0.0, 0.0]
    assert noted[3].pause_s > 0
    assert noted[-1].pause_s == PAUSE_MAX_S
    assert setbacks.note("A", 8) == Setbacks().note("A", 8), "a block is a new beginning"
    many = Setbacks()
    assert sum(many.note(str(n), 7).told for n in range(10_000)) < 100
