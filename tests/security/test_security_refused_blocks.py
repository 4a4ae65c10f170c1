"""A member that lies as a leader costs itself, not those who find out; who is proven wrong stops."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from actors.consensus.convictions import REFUSED_MS_MAX, REFUSED_MS_MIN, Convictions
from actors.consensus.pipeline import Position, Work
from actors.consensus.raft import Entry, EntryKind, encode
from actors.consensus.raft.messages import AppendRequest
from actors.ledger.block import Block, Certificate, Header, sign_proposal, sign_vote
from actors.ledger.rows import Batch
from actors.ledger.signing import Signer
from actors.storage.interface import Execute, Executed
from tests.consensus.consensus_network import FakeMember, FakeNetwork, run, small_body


async def at_work(network: FakeNetwork) -> tuple[FakeMember, list[FakeMember]]:
    """The leader and the others, once all have committed something."""
    await network.until(lambda: all(m.disk.height >= 3 for m in network.members), "blocks")
    leader = await network.until(lambda: next((m for m in network.members if m.leads), None), "a leader")
    return leader, [m for m in network.members if m is not leader]


def false_request(liar: FakeMember, victim: FakeMember, signer: Signer | None = None) -> tuple[bytes, Header]:
    """A request of a higher term with a block whose state root is false, and its header."""
    engine = victim.part.engine
    assert engine is not None
    raft, height = engine.replica.raft, engine.replica.tip_height + 1
    term, previous = raft.term + 1, raft.log.last_index
    rows, payloads = small_body(7)
    parent = victim.part.pipeline.tip.digest if victim.part.pipeline else bytes(32)
    header = Header(height, term, 5, 1, 0, parent, bytes([7]) * 32, bytes(32), bytes(32), liar.identity)
    signature = sign_proposal(signer or liar.signer, liar.network.genesis.hash(), header.hash())
    entry = Entry(previous + 1, term, EntryKind.BLOCK, header.hash(), 208)
    return encode(
        AppendRequest(
            liar.number,
            victim.number,
            term,
            previous,
            raft.log.last_term,
            raft.commit_index,
            1,
            (entry,),
            (Block(header, signature, Batch(rows, payloads)).encode(),),
        )
    ), header


async def grow(network: FakeNetwork, members: list[FakeMember], blocks: int = 5) -> None:
    goal = max(m.disk.height for m in members) + blocks
    await network.until(lambda: all(m.disk.height >= goal for m in members), "more blocks")


@pytest.mark.parametrize("false", ["root", "signature"])
def test_a_false_block_of_a_higher_term_convicts_its_leader_and_halts_nobody(false: str) -> None:
    async def scenario(network: FakeNetwork) -> None:
        _, others = await at_work(network)
        liar = others[0]
        honest = [m for m in network.members if m is not liar]
        await network.settle()  # or another block takes that index, and the false one is not looked at
        for _ in range(3):
            for victim in honest:
                assert victim.part.engine is not None
                body, _ = false_request(liar, victim, Signer(b"x" * 32) if false == "signature" else None)
                victim.part.engine.deliver(liar.identity, body)
            await asyncio.sleep(0)
        network.producing = True
        await network.until(lambda: any(m.convictions.refusals for m in honest), "a conviction")
        await grow(network, honest)
        assert [m.part.halted for m in honest] == ["", ""]
        for member in honest:
            for refusal in member.convictions.refusals:
                assert refusal.identity == liar.identity
                assert refusal.describe()["kind"] == "refused"
        network.assert_agreement()

    run(31, scenario)


def test_when_the_leader_itself_lies_the_others_elect_one_of_them() -> None:
    async def scenario(network: FakeNetwork) -> None:
        leader, others = await at_work(network)
        ports = leader.part._node.ports
        honestly = ports.execute

        async def falsely(request: Execute, parts: Sequence[Any]) -> Executed:
            return msgspec.structs.replace(await honestly(request, parts), receipts_root=b"\x01" * 32)

        ports.execute = falsely  # type: ignore[method-assign]
        await network.until(lambda: all(m.convictions.refusals for m in others), "both refuse it")
        await network.until(lambda: any(m.leads for m in others), "one of them leads")
        await grow(network, others)
        assert [m.part.halted for m in others] == ["", ""]
        assert {r.identity for m in others for r in m.convictions.refusals} == {leader.identity}
        # It computes every block otherwise than the others, whose certificates prove it wrong.
        await network.until(lambda: leader.part.halted, "the one with the wrong state stops")
        assert "is certified" in leader.part.halted
        await grow(network, others)

    run(32, scenario)


def test_a_node_with_a_wrong_state_stops_and_the_others_go_on() -> None:
    async def scenario(network: FakeNetwork) -> None:
        _, (wrong, other) = await at_work(network)
        ports = wrong.part._node.ports
        honestly = ports.execute

        async def wrongly(request: Execute, parts: Sequence[Any]) -> Executed:
            return msgspec.structs.replace(await honestly(request, parts), state_root=b"\x02" * 32)

        ports.execute = wrongly  # type: ignore[method-assign]
        await network.until(lambda: wrong.part.halted, "it stops")
        assert "state_root is" in wrong.part.halted
        await network.until(lambda: wrong.part.engine is None, "it takes no part any more")
        rest = [m for m in network.members if m is not wrong]
        await grow(network, rest)
        assert [m.part.halted for m in (other, *rest)] == ["", "", ""]

    run(33, scenario)


def test_a_block_that_never_arrives_holds_nobody_up() -> None:
    async def scenario(network: FakeNetwork) -> None:
        leader, (liar, victim) = await at_work(network)
        assert victim.part.engine is not None
        _, header = false_request(liar, victim)
        raft = victim.part.engine.replica.raft
        entry = Entry(raft.log.last_index + 1, raft.term + 1, EntryKind.BLOCK, header.hash(), 208)
        nothing = AppendRequest(
            liar.number, victim.number, raft.term + 1, raft.log.last_index, raft.log.last_term, 0, 1, (entry,)
        )
        victim.part.engine.deliver(liar.identity, encode(nothing))

        def now_ms() -> int:
            return int(asyncio.get_running_loop().time() * 1000)

        await network.until(lambda: victim.convictions.avoids(liar.identity, now_ms()), "it is refused")
        await grow(network, [leader, victim])
        assert not victim.part.halted
        assert not victim.convictions.refusals, "there is no block to keep as evidence"

    run(34, scenario)


def test_a_certificate_for_another_block_than_the_one_committed_stops_the_node() -> None:
    async def scenario(network: FakeNetwork) -> None:
        _, (member, _) = await at_work(network)
        header, _ = member.disk.blocks[2]
        other, place = replace(header, time_ms=header.time_ms + 9), network.genesis.hash()
        votes = sorted((s.public_key, sign_vote(s, place, other, 99)) for s in network.signers[:2])
        alone = Certificate(99, (votes[0],)).encode()
        member.take(other, alone)
        assert not member.part.halted, "one member proves nothing"
        member.take(header, member.disk.certificates[2])
        assert not member.part.halted, "what it committed itself is no contradiction"
        member.take(other, Certificate(99, tuple(votes)).encode())
        assert f"block 2, {other.hash().hex()}, is certified" in member.part.halted
        await network.until(lambda: member.part.engine is None, "it stopped")

    run(35, scenario)


def test_an_observer_refuses_what_is_not_valid_and_goes_on_with_what_is() -> None:
    """A block that comes without a proof, or that fails, is answered for, and the next one is taken."""

    async def scenario(network: FakeNetwork) -> None:
        leader, (member, _) = await at_work(network)
        await member.crash()  # or its own pipeline would execute on the same state
        node, disk = member.part._node, member.disk
        disk._fence()
        pipeline = member.part._new_pipeline(Position(disk.height, disk.hash_at(disk.height), 0, 5))
        taken: list[Any] = []

        async def take(sealed: Any) -> None:
            taken.append(sealed)

        node.ports.persist_stage = take
        tip = pipeline.tip
        rows, payloads = small_body(7)
        proposer, right = leader.identity, bytes([(tip.height + 1) % 251, 7]) * 16
        for state_root, valid in ((bytes(32), False), (right, True)):
            header = Header(
                tip.height + 1,
                99,
                5,
                1,
                0,
                tip.digest,
                bytes([7]) * 32,
                state_root,
                bytes(32),
                proposer,
            )
            signature = sign_proposal(leader.signer, network.genesis.hash(), header.hash())
            work = Work((rows, payloads), 1, header=header, signature=signature)
            async with asyncio.timeout(60):
                (outcome,) = await asyncio.gather(await pipeline.submit(work), return_exceptions=True)
            assert isinstance(outcome, Header) is valid
            if not valid:
                assert "state_root is" in str(outcome)
        assert len(taken) == 1
        await pipeline.close()

    run(36, scenario)


def test_a_leader_is_refused_longer_each_time_and_never_for_good() -> None:
    convictions, liar, other = Convictions(bytes(32)), b"\x01" * 32, b"\x02" * 32
    header = Header(1, 1, 1, 1, 0, bytes(32), bytes(32), bytes(32), bytes(32), liar)
    now_ms, times = 0, []
    for at in range(8):
        for_ms = convictions.refuse(liar, replace(header, height=at), b"", "false", now_ms)
        times.append(for_ms)
        assert convictions.avoids(liar, now_ms + for_ms - 1)
        assert not convictions.avoids(other, now_ms)
        now_ms += for_ms
        assert not convictions.avoids(liar, now_ms)
    assert times[:3] == [REFUSED_MS_MIN, 2 * REFUSED_MS_MIN, 4 * REFUSED_MS_MIN]
    assert times[-1] == REFUSED_MS_MAX
    good_ms = now_ms + REFUSED_MS_MAX
    assert convictions.refuse(liar, header, b"", "false", good_ms) == REFUSED_MS_MIN
    assert [who for who in convictions.avoided(good_ms)] == [liar]
    for at in range(1000):
        convictions.refuse(liar, replace(header, height=at), b"", "false", good_ms)
    assert len(convictions.refusals) <= 256
