"""Three members agree: under loss and reordering, over crashes of leader and follower, over partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from actors.consensus.certifier import Certifier
from actors.consensus.changes import decode_answer, decode_change, encode_answer, encode_change
from actors.consensus.raft import Configuration, MembershipError
from actors.consensus.raft_node.coming import FETCHES_AT_ONCE_MAX
from actors.consensus.raft_node.membership import (
    change,
    change_here,
    describe_members,
    member_number,
)
from actors.ledger.block import Certificate, Header, decode_certificate, sign_vote
from actors.ledger.membership import ChangeOutcome, ChangeRefused, MemberChanged
from tests.consensus.consensus_network import FakeMember, FakeNetwork


def run(
    seed: int,
    scenario: Callable[[FakeNetwork], Awaitable[None]],
    loss: float = 0.0,
    retain_entries: int = 1000,
) -> None:
    async def whole() -> None:
        network = FakeNetwork(seed, loss, retain_entries)
        try:
            await scenario(network)
        finally:
            await network.close()

    asyncio.run(whole())


async def leader_of(network: FakeNetwork, without: FakeMember | None = None) -> FakeMember:
    leader: FakeMember = await network.until(
        lambda: next((m for m in network.members if m.leads and m is not without), None), "a leader"
    )
    return leader


async def grows(network: FakeNetwork, members: list[FakeMember], blocks: int = 5) -> None:
    start = [member.disk.height for member in members]
    await network.until(
        lambda: all(m.disk.height >= h + blocks for m, h in zip(members, start, strict=True)), "more blocks"
    )


@pytest.mark.parametrize(("seed", "loss"), [(1, 0.0), (2, 0.1), (3, 0.25)])
def test_all_members_commit_the_same_blocks(seed: int, loss: float) -> None:
    async def scenario(network: FakeNetwork) -> None:
        await grows(network, network.members, 12)
        network.loss = 0.0
        await network.settle()

    run(seed, scenario, loss)


def test_a_leader_hands_over_to_whoever_answers_and_has_most_of_the_log() -> None:
    async def scenario(network: FakeNetwork) -> None:
        await grows(network, network.members)
        leader = await leader_of(network)
        deaf = next(m for m in network.members if not m.leads)
        await deaf.crash()
        await grows(network, [m for m in network.members if m is not deaf])
        engine = leader.part.engine
        assert engine is not None
        assert engine.hand_over()
        assert not engine.hand_over(), "once is enough"
        heir = await leader_of(network, without=leader)
        assert heir is not deaf
        deaf.start()
        await grows(network, network.members)
        await network.settle()

    run(12, scenario)


@pytest.mark.parametrize("role", ["leader", "follower"])
def test_a_crashed_member_comes_back_and_catches_up(role: str) -> None:
    async def scenario(network: FakeNetwork) -> None:
        await grows(network, network.members)
        leader = await leader_of(network)
        victim = leader if role == "leader" else next(m for m in network.members if not m.leads)
        committed = victim.disk.height
        before = victim.disk.hash_at(committed)
        await victim.crash()
        others = [m for m in network.members if m is not victim]
        await grows(network, others)
        victim.start()
        await grows(network, network.members)
        assert victim.disk.hash_at(committed) == before
        await network.settle()

    run(4, scenario)


@pytest.mark.parametrize("role", ["leader", "follower"])
@pytest.mark.parametrize("call", ["execute", "write", "commit"])
def test_a_neighbour_that_dies_in_the_middle_is_recovered_from(role: str, call: str) -> None:
    async def scenario(network: FakeNetwork) -> None:
        await grows(network, network.members)
        leader = await leader_of(network)
        victim = leader if role == "leader" else next(m for m in network.members if m is not leader)
        victim.disk.failing = {call}
        await network.until(lambda: not victim.disk.failing, f"{call} fails once")
        await network.until(lambda: victim.part.recoveries > 0, "it recovers")
        await grows(network, network.members)
        await network.settle()

    run(9, scenario)


def test_a_member_that_was_away_for_longer_than_the_log_takes_proven_blocks() -> None:
    async def scenario(network: FakeNetwork) -> None:
        await grows(network, network.members)
        leader = await leader_of(network)
        victim = next(m for m in network.members if m is not leader)
        await victim.crash()
        others = [m for m in network.members if m is not victim]
        missed = victim.disk.height
        await grows(network, others, 60)
        bases = [m.part.engine.replica.raft.log.base_index for m in others if m.part.engine]
        assert min(bases) > missed
        victim.start()
        await network.until(lambda: victim.disk.base_index > missed, "the log begins at a snapshot")
        await grows(network, network.members)
        await network.settle()

    run(8, scenario, retain_entries=16)


def test_a_member_far_behind_fetches_a_few_blocks_at_once() -> None:
    async def scenario(network: FakeNetwork) -> None:
        await grows(network, network.members)
        leader = await leader_of(network)
        victim = next(m for m in network.members if m is not leader)
        await victim.crash()
        await grows(network, [m for m in network.members if m is not victim], 60)
        network.fetch_s, network.fetching_max, network.producing = 0.05, 0, False
        missed = leader.disk.height - victim.disk.height
        victim.start()
        await network.until(lambda: victim.disk.height >= leader.disk.height - 5, "it has caught up")
        network.producing = True
        assert 1 < network.fetching_max <= FETCHES_AT_ONCE_MAX
        assert network.fetches <= missed + FETCHES_AT_ONCE_MAX
        await network.settle()

    run(8, scenario)


def test_whoever_gives_a_leader_up_says_of_whom_it_heard() -> None:
    async def scenario(network: FakeNetwork) -> None:
        await grows(network, network.members)
        leader = await leader_of(network)
        said: dict[int, list[str]] = {member.number: [] for member in network.members}
        for member in network.members:
            assert member.part.engine is not None
            member.part.engine.on_silence = said[member.number].append
        network.cut = {leader.number}
        await network.until(lambda: said[leader.number], "the leader steps down")
        await network.until(
            lambda: any(said[m.number] for m in network.members if m is not leader), "others notice"
        )
        assert said[leader.number][0].startswith("leader without a leader: heard ")
        others = [text for number, texts in said.items() if number != leader.number for text in texts]
        assert others[0].startswith("follower without a leader: heard ")
        assert f"{leader.identity.hex()[:8]} " in others[0]

    run(14, scenario)


def test_what_a_cut_off_leader_proposed_gives_way() -> None:
    async def scenario(network: FakeNetwork) -> None:
        await grows(network, network.members)
        leader = await leader_of(network)
        network.cut = {leader.number}
        others = [m for m in network.members if m is not leader]
        await leader_of(network, without=leader)
        await grows(network, others)
        network.cut = set()
        await grows(network, network.members)
        await network.settle()

    run(5, scenario)


def test_a_certificate_needs_true_votes_of_a_majority_in_one_term() -> None:
    async def scenario(network: FakeNetwork) -> None:
        keys, place = network.genesis.member_keys, network.genesis.hash()
        root = bytes(32)
        header = Header(5, 2, 0, 1, 0, root, root, root, root, keys[0])
        digest, certifier = header.hash(), Certifier(place, keys)
        one, two, three = network.signers
        votes = {
            n: {s.public_key: sign_vote(s, place, header, n) for s in (one, two, three)} for n in (1, 2, 3)
        }
        certifier.add_vote(keys[0], header, 2, votes[2][keys[0]])
        certifier.add_vote(keys[0], header, 2, votes[2][keys[0]])
        certifier.add_vote(keys[1], header, 2, votes[2][keys[0]])
        certifier.add_vote(b"\x01" * 32, header, 2, votes[2][keys[0]])
        certifier.add_vote(keys[1], header, 1, votes[1][keys[1]])
        assert (certifier.certificate(digest), certifier.votes_refused) == (b"", 3)
        alone = Certificate(2, ((keys[0], votes[2][keys[0]]),)).encode()
        assert not certifier.add_certificate(header, alone)
        assert not certifier.add_certificate(header, b"noise")
        certifier.add_vote(keys[1], header, 3, votes[3][keys[1]])
        assert await certifier.wait(digest, 0.001) == b"", "terms do not add up"
        certifier.add_vote(keys[1], header, 2, votes[2][keys[1]])
        assert certifier.certificate(digest) == b"", "only the latest vote of a member is kept"
        certifier.add_vote(keys[0], header, 3, votes[3][keys[0]])
        made = await certifier.wait(digest, 10)
        assert decode_certificate(made).term == 3
        again = Certifier(place, keys)
        assert again.add_certificate(header, made)
        assert again.certificate(digest) == made

    run(6, scenario)


def test_changes_of_membership_keep_a_majority_of_the_genesis() -> None:
    async def scenario(network: FakeNetwork) -> None:
        genesis, now = network.genesis, Configuration((1, 2, 3))
        assert member_number(genesis, "node-2") == member_number(genesis, genesis.members[1].identity) == 2
        assert change(genesis, now, "remove", "node-3") == ((1, 2), ())
        two = Configuration((1, 2))
        assert change(genesis, two, "add", "node-3") == ((1, 2), (3,))
        assert change(genesis, Configuration((1, 2), learners=(3,)), "promote", "node-3") == ((1, 2, 3), ())
        for action, name in (
            ("remove", "node-2"),
            ("promote", "node-3"),
            ("add", "node-1"),
            ("add", "stranger"),
            ("demote", "node-1"),
        ):
            with pytest.raises(MembershipError):
                change(genesis, two, action, name)

    run(7, scenario)


def test_a_change_answers_once_it_is_in_force_and_says_why_not() -> None:
    async def scenario(network: FakeNetwork) -> None:
        await grows(network, network.members)
        genesis = network.genesis

        async def asked(action: str, name: str) -> ChangeOutcome:
            leader = await leader_of(network)
            wanted = decode_change(encode_change(action, name))
            return decode_answer(encode_answer(await change_here(genesis, leader.part.engine, *wanted)))

        def name_of(member: FakeMember) -> str:
            return genesis.members[member.number - 1].name

        first = await leader_of(network)
        assert await asked("transfer", name_of(first)) == ChangeRefused(f"{name_of(first)} leads already")
        heir = next(member for member in network.members if member is not first)
        answer = await asked("transfer", name_of(heir))
        assert isinstance(answer, MemberChanged)
        assert answer.leader == heir.identity.hex()
        await network.until(lambda: heir.leads, "the heir leads")
        await grows(network, network.members)
        out, name = first, name_of(first)
        for action, role in (("remove", "out"), ("add", "learner"), ("promote", "voter")):
            answer = await asked(action, name)
            assert isinstance(answer, MemberChanged), answer
            leader = await leader_of(network)
            assert leader.part.engine is not None
            standings = describe_members(genesis, leader.part.engine.replica)
            assert standings[out.number - 1].role == role
            if role == "out":
                assert "has no vote" in str(await asked("transfer", name))
                told = await change_here(genesis, out.part.engine, "add", name)
                assert "ask another one" in str(told)
            await grows(network, [member for member in network.members if member is not out])
        assert "it names node-1" in str(await asked("add", "stranger"))
        assert "takes no part" in str(await change_here(genesis, None, "add", name))

    run(13, scenario)


@pytest.mark.parametrize("seed", [11, 12])
def test_any_sequence_of_faults_leaves_one_chain(seed: int) -> None:
    """Crashes, cuts, failing neighbours and a lossy wire in a seeded order; then all is mended."""

    async def scenario(network: FakeNetwork) -> None:
        rng, down = network.rng, set[FakeMember]()
        for _ in range(12):
            await asyncio.sleep(rng.random() * 0.2)
            victim = rng.choice(network.members)
            fault = rng.choice(["crash", "start", "cut", "join", "fail", "fail"])
            if fault == "crash" and not down:
                down.add(victim)
                await victim.crash()
            elif fault == "start":
                while down:
                    down.pop().start()
            elif fault in ("cut", "join"):
                network.cut = {victim.number} if fault == "cut" else set()
            elif fault == "fail":
                victim.disk.failing = {rng.choice(["execute", "write", "commit"])}
            network.assert_agreement()
        while down:
            down.pop().start()
        network.cut, network.loss = set(), 0.0
        for member in network.members:
            member.disk.failing = set()
        await grows(network, network.members)
        await network.settle()
        assert [member.part.halted for member in network.members] == ["", "", ""]

    run(seed, scenario, loss=0.1, retain_entries=16)


@pytest.mark.parametrize(("seed", "loss"), [(21, 0.0), (22, 0.2)])
def test_small_blocks_ride_on_the_requests_that_name_them(seed: int, loss: float) -> None:
    """None is pushed beside its entry, and without loss none has to be fetched."""

    async def scenario(network: FakeNetwork) -> None:
        network.small_blocks = True
        await grows(network, network.members, 12)
        assert network.pushes == 0
        assert network.fetches == 0 or loss
        network.loss = 0.0
        await network.settle()

    run(seed, scenario, loss)
