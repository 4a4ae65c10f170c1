"""When a replica may sign a block: figure 8 of the Raft paper on real cores, and who counts."""

from __future__ import annotations

from actors.consensus.raft import Entry, EntryKind, RaftOptions
from actors.consensus.raft import messages as wire

from .lockstep import Lockstep, proposal, start, with_log


def test_a_block_of_an_older_term_is_signed_with_an_entry_of_the_leaders_own() -> None:
    """Steps (c) and (d) of figure 8: a majority holds a block that another leader may replace."""
    follower = with_log(1, 2, member=2)
    assert follower.signable_index == 2, "it has acknowledged an entry of its own term"
    follower.step(wire.HeartbeatRequest(1, 2, 4, 0, 0, 0), 0)
    assert follower.term == 4
    assert follower.signable_index == 0, "the change of leader alone brings no vote"
    follower.step(wire.AppendRequest(1, 2, 4, 2, 2, 0, 0, (Entry(3, 2, EntryKind.BLOCK),)), 0)
    follower.persisted(follower.take_effects().write.ticket)  # type: ignore[union-attr]
    assert follower.durable_index == 3
    assert follower.signable_index == 0, "nor does another block of an older term"
    follower.step(wire.AppendRequest(1, 2, 4, 3, 2, 0, 0, (Entry(4, 4, EntryKind.NOOP),)), 0)
    write = follower.take_effects().write
    assert follower.signable_index == 0, "not before the entry is durable"
    assert write is not None
    follower.persisted(write.ticket)
    assert follower.signable_index == 4


def test_in_figure_8_the_block_on_two_disks_gets_one_vote_and_is_replaced() -> None:
    network = Lockstep(options=RaftOptions(append_entries_max=1))
    network.elect(1)
    network.cut = {1}
    network[1].propose(proposal(1), network.now_ms)  # (a) on the first leader's disk alone
    network.settle()
    network.lost = lambda m: isinstance(m, wire.AppendRequest) and m.sender == 2
    network.elect(2)
    network.propose(2, 2)  # (b) another block on the second leader's disk alone
    network.cut = {2}
    network.lost = lambda m: (
        isinstance(m, wire.AppendRequest)
        and any(entry.term > 1 for entry in m.entries)
        and network[3].log.term_at(m.prev_index) == m.prev_term  # what would be taken
    )
    network.run(1500)
    assert network.leader() is network[1]
    index = network[3].log.last_index
    assert network[3].log.entry(index).digest == proposal(1).digest, "(c) now it is on two disks"
    assert network[3].durable_index == index
    assert network[1].signable_index >= index, "who leads has an entry of its own term"
    assert network[3].signable_index == 0, "whose disk alone would make a majority has none"
    network.cut, network.lost = {1}, lambda _: False
    network.run(2500)  # (d)
    assert network.leader() is network[2]
    assert network.digests(3) == [2]
    assert network[3].signable_index == network[3].log.last_index


def test_a_learner_and_a_joint_configuration_sign_what_is_committed() -> None:
    network = Lockstep(spares=(4,))
    network.elect(1)
    network[1].change_membership((1, 2, 3), (4,))
    network.run(200)
    network.propose(1, 1)
    last = network[4].log.last_index
    assert network[2].signable_index == last
    assert network[4].configuration.learners == (4,)
    assert network[4].signable_index == network[4].commit_index <= last
    network.run(60)
    assert network[4].signable_index == last
    network.cut = {3, 4}
    network.lost = lambda message: isinstance(message, wire.AppendResponse)
    network[1].change_membership((1, 2, 3, 4))
    network.settle()
    assert network[1].configuration.is_joint
    assert network[1].signable_index == network[1].commit_index == last < network[1].durable_index


def test_a_lone_member_signs_what_is_durable() -> None:
    raft = start(1, (1,))
    raft.persisted(raft.take_effects().write.ticket)  # type: ignore[union-attr]
    raft.propose(proposal(1), 0)
    write = raft.take_effects().write
    assert write is not None
    before = raft.signable_index
    raft.persisted(write.ticket)
    assert before < raft.signable_index == raft.log.last_index
