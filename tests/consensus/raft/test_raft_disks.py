"""Founding, disks that are lost, and how a voter gets its vote back."""

from __future__ import annotations

from random import Random

import pytest

from actors.consensus.raft import (
    Configuration,
    DurableState,
    Entry,
    EntryKind,
    HardState,
    MembershipError,
    Message,
    Raft,
    RaftOptions,
    Role,
    genesis,
)
from actors.consensus.raft import messages as wire
from actors.consensus.raft.errors import FoundingError
from actors.consensus.raft.membership import configuration_entry
from actors.consensus.raft.records import AWAITED

from .lockstep import Lockstep, block_vote, proposal, role_of


def disk(member: int, life: int = 0) -> bytes:
    return bytes([member, life]) * 8


class Disks(Lockstep):
    """A network whose members have disks, which they may lose."""

    def __init__(self, voters: tuple[int, ...] = (1, 2, 3), **options: object) -> None:
        super().__init__(voters)
        self.voters = voters
        self.options = RaftOptions(**options)  # type: ignore[arg-type]
        for member in voters:
            self.begin(member)

    def begin(self, member: int, life: int = 0) -> Raft:
        """`member` starts with an empty disk."""
        raft = Raft(
            member, genesis(self.voters), Random(member), self.now_ms, self.options, disk=disk(member, life)
        )
        self.replicas[member] = raft
        self.committed[member] = []
        self.settle()
        return raft

    def resume(self, member: int, life: int, *entries: Entry) -> None:
        """`member` starts from a disk that has these entries."""
        durable = DurableState(genesis(self.voters).snapshot, HardState(5), entries=entries)
        raft = Raft(member, durable, Random(member), self.now_ms, self.options, disk=disk(member, life))
        self.replicas[member] = raft
        self.committed[member] = []
        self.settle()


def founding(index: int, term: int, *lives: int) -> Entry:
    """An entry that names these disks of 1, 2, 3 and so on."""
    disks = tuple((member, disk(member, life)) for member, life in enumerate(lives, start=1))
    return configuration_entry(index, term, Configuration(tuple(m for m, _ in disks), disks=disks))


def founded(*voters: int) -> Disks:
    network = Disks(voters or (1, 2, 3))
    network.run(1000)
    assert network.leader().is_founded
    return network


# --- founding ---------------------------------------------------------------------------------------------


def test_a_network_names_the_disks_of_all_before_its_first_block() -> None:
    network = founded()
    leader = network.leader()
    assert leader.configuration.disks == ((1, disk(1)), (2, disk(2)), (3, disk(3)))
    network.propose(leader.id, 1)
    assert network.digests(1) == network.digests(2) == network.digests(3) == [1]
    assert all(network[member].may_sign for member in (1, 2, 3))


def test_nothing_is_final_while_a_member_is_missing() -> None:
    network = Disks()
    network.cut = {3}
    network.run(1000)
    assert all(network[member].role is not Role.LEADER for member in (1, 2))
    network[1].tick(network.now_ms + 1000)
    assert 3 in network[1].founding_waits_for
    assert 1 not in network[1].founding_waits_for
    network.cut = set()
    network.run(1000)
    network.propose(network.leader().id, 1)
    assert network.digests(3) == [1]


def test_an_entry_that_not_all_acknowledge_founds_nothing() -> None:
    network = Disks()
    network.lost = lambda m: m.to == 3 and isinstance(m, wire.AppendRequest)
    network.run(1000)
    leader = network.leader()
    assert leader.configuration.disks
    assert leader.founding_waits_for == (3,)
    assert not leader.is_founded
    assert leader.commit_index == 0
    with pytest.raises(FoundingError, match="waiting for 3"):
        leader.propose(proposal(1), network.now_ms)


def test_a_member_that_loses_its_disk_meanwhile_is_named_anew() -> None:
    network = Disks()
    network.lost = lambda m: m.to == 3 and isinstance(m, wire.AppendRequest)
    network.run(1000)
    other = next(m for m in (1, 2) if m != network.leader().id)
    network.begin(other, life=1)
    network.lost = lambda m: False
    network.run(1000)
    assert network.leader().configuration.disk_of(other) == disk(other, 1)
    assert network.leader().is_founded


def test_a_network_of_one_is_founded_at_once() -> None:
    network = founded(1)
    network.propose(1, 1)
    assert network.digests(1) == [1]


def test_a_majority_founds_where_the_operator_says_so() -> None:
    network = Disks(founded_by_all=False)
    network.cut = {3}
    network.run(1000)
    network.propose(network.leader().id, 1)
    assert network.digests(network.leader().id) == [1]
    network.cut = set()
    network.run(2000)
    assert network.leader().configuration.disk_of(3) == disk(3)
    assert network.digests(3) == [1]


def test_a_second_founding_entry_is_finished_by_all_like_the_first() -> None:
    """2 does not know that the first one was finished, and names a copy of 1's disk: that copy and 2 are a
    majority of the second entry, and 1 and 3 one of the first."""
    network = Disks()
    apart = {1: 3, 2: 3, 3: 2}
    network.lost = lambda m: (
        isinstance(m, wire.AppendRequest)
        and m.to == apart[m.sender]
        and any(entry.index > 1 and entry.kind is EntryKind.CONFIGURATION for entry in m.entries)
    )
    for member, life in ((1, 1), (2, 0), (3, 0)):
        network.resume(member, life, founding(1, 1, 0, 0, 0))
    network.run(2000)
    assert network.leader().configuration.disk_of(1) == disk(1, 1)
    assert [network[member].commit_index for member in (1, 2, 3)] == [0, 0, 0]
    network.lost = lambda m: False
    network.run(1000)
    network.propose(network.leader().id, 1)
    assert network.digests(1) == network.digests(2) == network.digests(3) == [1]


def test_a_founding_entry_elects_nobody_past_the_one_before_it() -> None:
    network = Disks()
    log = founding(1, 1, 0, 0, 0), Entry(2, 5, EntryKind.NOOP), founding(3, 5, 1, 0, 0)
    network.cut = {3}
    network.resume(1, 1, *log)
    network.resume(2, 0, *log)
    network.resume(3, 0, *log[:1])
    network.run(3000)
    assert all(network[member].role is not Role.LEADER for member in (1, 2))
    network.cut = set()
    network.run(1000)
    assert network.leader().is_founded


def test_a_leader_on_a_disk_that_founding_named_later_is_heard_by_who_missed_that() -> None:
    network = Disks()
    log = founding(1, 2, 0, 0, 0), founding(2, 2, 0, 0, 1)
    network.resume(1, 0, *log)
    network.resume(2, 0, *log[:1])
    network.resume(3, 1, *log)
    network.lost = lambda m: m.sender in (1, 2) and isinstance(m, wire.PreVoteRequest)
    network.run(2000)
    assert network.leader().id == 3
    assert network[2].is_founded


def test_a_founder_whose_disk_is_a_backup_founds_again() -> None:
    """Nobody else has its entry, which names the disk that it lost, and all know that there is one."""
    network = Disks()
    network.resume(3, 1, founding(1, 5, 0, 0, 0))
    for member in (1, 2):
        network.resume(member, 0)
        network[member].founded_elsewhere = True
    network.run(2000)
    assert network.leader().configuration.disk_of(3) == disk(3, 1)
    assert all(network[member].is_founded for member in (1, 2, 3))


def test_a_leader_on_an_unnamed_disk_makes_way_if_founding_was_over() -> None:
    """4 knows that founding was over, and does not hear 5, whose disk is a backup; the others follow 5."""
    network = Disks((1, 2, 3, 4, 5))
    for member, life in ((1, 0), (2, 0), (3, 0), (4, 0), (5, 1)):
        network.resume(member, life, founding(1, 5, 0, 0, 0, 0, 0))
    network[4]._founded = True
    network.lost = lambda m: m.sender < 5 and isinstance(m, wire.PreVoteRequest)
    while network[5].role is not Role.LEADER:
        network.run(10)
    network.lost = lambda m: False
    network.run(4000)
    assert network.leader().id != 5
    assert network.leader().configuration.disk_of(5) == disk(5, 1)
    network.propose(network.leader().id, 1)
    assert all(network.digests(member) == [1] for member in network.voters)


def test_the_emptied_and_the_late_found_no_second_network() -> None:
    network = Disks()
    network.lost = lambda m: m.to == 3 and isinstance(m, wire.AppendRequest) and not m.entries
    network.run(1000)
    first, rest = network.leader().id, [m for m in (1, 2, 3) if m != network.leader().id]
    network.cut = {first}
    for member in rest:
        network.begin(member, life=1)
    network.run(3000)
    assert all(network[member].commit_index == 0 for member in rest)
    network.cut = set()
    network.run(3000)
    assert all(network[member].founded_elsewhere for member in rest)
    assert network[first].commit_index > 0
    assert all(entry.kind is not EntryKind.BLOCK for member in rest for entry in network[member].log.entries)


# --- a disk is lost ----------------------------------------------------------------------------------------


def test_an_emptied_member_has_no_vote_and_gets_it_back() -> None:
    network = founded()
    leader = network.leader()
    victim = next(m for m in (1, 2, 3) if m != leader.id)
    network.propose(leader.id, 1)
    term = leader.term
    network.begin(victim, life=1)
    seen = []
    for _ in range(80):
        network.run(10)
        seen.append((network.leader().configuration.voters, network.leader().configuration.disk_of(victim)))
    rest = tuple(m for m in (1, 2, 3) if m != victim)
    assert (rest, AWAITED) in seen
    assert seen[-1] == ((1, 2, 3), disk(victim, 1))
    assert network.digests(victim) == [1]
    assert network[victim].may_sign
    assert network.leader().term == term


def test_two_that_forgot_do_not_outvote_one_that_did_not() -> None:
    network = founded()
    network.propose(network.leader().id, 1)
    keeper = network.leader().id
    for member in {1, 2, 3} - {keeper}:
        network.begin(member, life=1)
    network.run(5000)
    assert network.digests(keeper) == [1]
    assert all(network[m].commit_index <= 1 and not network[m].may_sign for m in {1, 2, 3} - {keeper})


def test_the_first_block_is_not_replaced_by_an_emptied_member_and_a_late_one() -> None:
    """Stop 3; pay; stop 1 and 2; empty 2; start 2 and 3: nothing is made. Start 1: it goes on."""
    network = founded()
    network.cut = {3}
    network.run(1000)
    network.propose(network.leader().id, 1)
    assert network.digests(1) == network.digests(2) == [1]
    network.cut = {1}
    network.begin(2, life=1)
    network.run(3000)
    for member in (2, 3):
        assert network[member].role is not Role.LEADER
        assert network.digests(member) == []
    network.cut = set()
    network.run(3000)
    network.propose(network.leader().id, 2)
    assert [network.digests(member)[-2:] for member in (1, 2, 3)] == [[1, 2]] * 3
    assert network.leader().configuration.disk_of(2) == disk(2, 1)


def test_an_old_backup_is_another_disk() -> None:
    network = founded()
    old = tuple(network[3].log.entries)
    network.propose(network.leader().id, 1, 2)
    durable = DurableState(genesis((1, 2, 3)).snapshot, HardState(network[3].term), entries=old)
    network.replicas[3] = Raft(3, durable, Random(3), network.now_ms, disk=disk(3, 1))
    network.committed[3] = []
    assert not network[3].may_sign
    leader = network.leader().id
    network.run(2000)
    assert network.leader().id == leader  # it does not know that it is no voter, and nobody hears it
    assert network.leader().configuration.disk_of(3) == disk(3, 1)
    assert network.digests(3)[-2:] == [1, 2]


def test_a_heartbeat_for_one_disk_commits_nothing_on_another() -> None:
    network = founded()
    follower = next(m for m in (1, 2, 3) if m != network.leader().id)
    raft, leader = network[follower], network.leader()
    network.cut = {1, 2, 3}
    tail = Entry(raft.log.last_index + 1, leader.term, EntryKind.BLOCK, b"\x07" * 32)
    append = wire.AppendRequest(
        leader.id,
        follower,
        leader.term,
        raft.log.last_index,
        raft.log.last_term,
        0,
        1,
        (tail,),
        disk=disk(leader.id),
        named=True,
    )
    raft.step(append, network.now_ms)
    for life in (1, 0):
        before = raft.commit_index
        sign = wire.HeartbeatRequest(
            leader.id,
            follower,
            leader.term,
            tail.index,
            1,
            0,
            disk(follower, life),
            disk=disk(leader.id),
            named=True,
        )
        raft.step(sign, network.now_ms)
        assert (raft.commit_index > before) is (life == 0)


def test_of_two_copies_the_named_one_counts() -> None:
    network = founded()
    leader = network.leader()
    other = next(m for m in (1, 2, 3) if m != leader.id)
    match = next(known for known in leader.followers() if known.member == other).match
    network.propose(leader.id, 1)
    copy = wire.AppendResponse(other, leader.id, leader.term, match + 500, disk=disk(other, 9), named=True)
    leader.step(copy, network.now_ms)
    after = next(known for known in leader.followers() if known.member == other)
    assert after.counted
    assert after.match == match + 1


def answers(sender: int, to: int, term: int, life: int) -> list[Message]:
    own = disk(sender, life)
    return [
        wire.VoteResponse(sender, to, term, True, disk(to), disk=own, named=True),
        wire.PreVoteResponse(sender, to, term + 1, True, disk=own, named=True),
    ]


@pytest.mark.parametrize(("life", "wins"), [(0, True), (1, False)])
def test_a_vote_counts_from_the_named_disk_alone(life: int, wins: bool) -> None:
    network = founded()
    network.cut = {1, 2, 3}
    candidate = network[3]
    now_ms = network.now_ms + 1000
    candidate.tick(now_ms)
    assert candidate.role is Role.PRE_CANDIDATE
    for answer in answers(2, 3, candidate.term, life)[1:]:
        candidate.step(answer, now_ms)
    assert (role_of(candidate) is Role.CANDIDATE) is wins


@pytest.mark.parametrize("named", [True, False])
def test_a_leader_from_another_disk_is_not_heard(named: bool) -> None:
    network = founded()
    follower = next(m for m in (1, 2, 3) if m != network.leader().id)
    other = next(m for m in (1, 2, 3) if m not in (follower, network.leader().id))
    before = (network[follower].term, network[follower].leader)
    lie = wire.HeartbeatRequest(
        other, follower, before[0] + 1, 0, 1, 0, disk=disk(other, int(named)), named=named
    )
    network[follower].step(lie, network.now_ms)
    assert (network[follower].term, network[follower].leader) == before


def test_block_votes_come_from_the_named_disk_alone() -> None:
    network = founded()
    leader = network.leader()
    other = next(m for m in (1, 2, 3) if m != leader.id)
    for life in (1, 0):
        answer = wire.HeartbeatResponse(
            other, leader.id, leader.term, 0, 0, (block_vote(life + 1),), disk=disk(other, life), named=True
        )
        leader.step(answer, network.now_ms)
    assert [received.vote.index for received in leader.take_effects().votes] == [1]


# --- an operator -------------------------------------------------------------------------------------------


def test_two_members_need_an_operator() -> None:
    network = founded(1, 2)
    network.propose(network.leader().id, 1)
    network.begin(2, life=1)
    network.run(3000)
    assert all(network[member].role is not Role.LEADER for member in (1, 2))
    for member in (1, 2):
        network[member].readmit(2)
    network.run(3000)
    network.propose(network.leader().id, 2)
    assert network.digests(2) == [1, 2]
    assert network.leader().configuration == Configuration((1, 2), (), (), ((1, disk(1)), (2, disk(2, 1))))
    assert not network[1].readmitted
    assert not network[2].readmitted


def test_a_new_voter_is_named_when_it_is_promoted() -> None:
    network = founded(1, 2, 3)
    leader = network.leader()
    gone = next(m for m in (1, 2, 3) if m != leader.id)
    rest = tuple(m for m in (1, 2, 3) if m != gone)
    leader.change_membership(rest, (gone,))
    network.settle()
    network.run(120)
    assert leader.configuration.disk_of(gone) is None
    assert leader.configuration.voters == rest  # a learner by choice stays one
    leader.change_membership((1, 2, 3))
    network.settle()
    assert leader.configuration.disk_of(gone) == disk(gone)
    network.cut = {gone}
    leader.change_membership(rest)
    network.settle()
    leader.change_membership(rest, (gone,))
    network.settle()
    with pytest.raises(MembershipError, match="not answered"):
        leader.change_membership((1, 2, 3))


def test_a_disk_that_comes_back_is_asked_for_its_log_though_nothing_is_final() -> None:
    network = Disks()
    network.lost = lambda m: m.to == 3 and isinstance(m, wire.AppendRequest)
    network.run(1000)
    leader = network.leader()
    leader.take_effects()
    now_ms = network.now_ms + 400  # the named disk has been silent for long enough
    for life in (9, 0):
        answer = wire.HeartbeatResponse(3, leader.id, leader.term, 0, 0, disk=disk(3, life))
        leader.step(answer, now_ms)
    asked = [m for m in leader.take_effects().messages if isinstance(m, wire.AppendRequest)]
    assert [m.to for m in asked] == [3]
