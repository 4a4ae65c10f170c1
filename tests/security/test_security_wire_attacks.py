"""The attacks on the wire that run against a live network, here against a node of this process; and that each
of them would tell a node that does not hold."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from actors.peer.admission import HandshakeAdmission
from actors.peer.catchup import serve_chain
from actors.peer.config import PeerLimits
from actors.peer.gossip import GossipItem, ItemVerdict
from actors.peer.spread import TRANSACTIONS, Spread
from bench.attack.registry import AttackOutcome, AttackTarget, attacks
from tests.peer.chains import Chain
from tests.peer.nodes import FAST, config_of, running
from tests.peer.test_node_peer import GENESIS


async def attacked(name: str, folder: Path, limits: PeerLimits) -> AttackOutcome:
    """Let an attack loose for a second on a member that serves a chain and gossips."""
    path = folder / "genesis.json"
    path.write_bytes(GENESIS.encode())
    config = config_of(0, 1, genesis_hash=GENESIS.hash(), limits=limits)
    async with running(replace(config, intervals=replace(FAST, handshake_timeout_s=60.0))) as (node,):
        serve_chain(node, Chain(200, body_bytes=30_000))
        spread = Spread(node)

        async def judge(batch: list[GossipItem]) -> list[ItemVerdict]:
            return [ItemVerdict.IGNORE] * len(batch)

        async def publish() -> None:
            for number in range(10_000):
                spread.publish(TRANSACTIONS, [b"%d" % number])
                await asyncio.sleep(0.02)

        spread.register_judge(TRANSACTIONS, judge)
        publisher = asyncio.create_task(publish())
        host, _, port = str(node.address).rpartition(":")
        try:
            target = AttackTarget((), ((host, int(port)),), (), path, (), (), 1.0)
            return await asyncio.to_thread(attacks()[name].run, target)
        finally:
            publisher.cancel()


NAMES = ("hello-flood", "half-open", "body-hoarders", "junk-gossip", "observer-crowd")


@pytest.mark.parametrize("name", NAMES)
def test_a_node_holds(name: str, tmp_path: Path) -> None:
    outcome = asyncio.run(attacked(name, tmp_path, PeerLimits()))
    assert outcome.held, outcome.detail


def test_a_node_without_a_rate_of_hellos_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HandshakeAdmission, "hello", lambda *_: None)
    outcome = asyncio.run(attacked("hello-flood", tmp_path, PeerLimits()))
    assert not outcome.held, outcome.detail


def test_a_node_without_a_share_of_places_is_told(tmp_path: Path) -> None:
    limits = PeerLimits(handshakes_pending_max=4, handshakes_pending_per_address_max=1_000)
    outcome = asyncio.run(attacked("half-open", tmp_path, limits))
    assert not outcome.held, outcome.detail


def test_a_node_whose_places_are_all_taken_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.peer.table._crowd", lambda *_: [])
    outcome = asyncio.run(attacked("observer-crowd", tmp_path, PeerLimits(connections_max=8)))
    assert not outcome.held, outcome.detail
