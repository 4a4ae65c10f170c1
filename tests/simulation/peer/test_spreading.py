"""Gossip at 1,000 nodes: announcements reach every connected honest node, whatever the others do."""

import pytest

from bench.simulation.peer.spreading import Spreading


@pytest.mark.parametrize("seed", [61])
def test_announcement_reaches_every_connected_honest_node(seed: int, peer_nodes: int) -> None:
    spreading = Spreading(seed, peer_nodes, hostile=peer_nodes // 5)
    source = spreading.honest()[0]
    spreading.world.run(1.0)
    for attacker in spreading.hostile():
        attacker.attack(false_id=b"\x00" * 32)
    spreading.world.run(2.0)
    start_s, before = spreading.world.now_s, spreading.world.messages
    source.publish(b"block 1")
    spreading.world.run(start_s + 20.0)
    reached = {node.identity for node in spreading.honest() if b"block 1" in node.received}
    latest_s = max(node.received.get(b"block 1", 0.0) for node in spreading.honest()) - start_s
    messages = spreading.world.messages - before
    print(f"seed {seed}: {len(reached)} reached, last after {latest_s:.2f} s, {messages} messages")  # noqa: T201
    assert reached == spreading.reachable(source.identity)
    assert len(reached) >= 0.99 * len(spreading.honest())


@pytest.mark.parametrize("seed", [71, 72])
def test_partition_heals_and_both_halves_get_both_blocks(seed: int) -> None:
    spreading = Spreading(seed, 200)
    left, right = spreading.honest()[0], spreading.honest()[1]
    broken = spreading.split()
    left.publish(b"left")
    right.publish(b"right")
    spreading.world.run(10.0)
    for source, body in ((left, b"left"), (right, b"right")):
        reached = {node.identity for node in spreading.honest() if body in node.received}
        assert reached == spreading.reachable(source.identity)
        assert len(reached) < 150
    spreading.heal(broken)
    spreading.world.run(30.0)
    for node in spreading.honest():
        assert set(node.received) == {b"left", b"right"}, seed


@pytest.mark.parametrize("seed", [81])
def test_bodies_cross_the_network_about_once_a_node(seed: int) -> None:
    """Announce-then-fetch: far fewer bodies than connections."""
    spreading = Spreading(seed, 300)
    counts = {"bodies": 0}
    plain_send = spreading.send

    def counting_send(source: bytes, sink: bytes, message: object) -> None:
        counts["bodies"] += type(message).__name__ == "Bodies"
        plain_send(source, sink, message)  # type: ignore[arg-type]

    spreading.send = counting_send  # type: ignore[method-assign]
    spreading.honest()[0].publish(b"block")
    spreading.world.run(20.0)
    connections = sum(len(node.neighbours) for node in spreading.honest()) // 2
    assert all(b"block" in node.received for node in spreading.honest())
    assert counts["bodies"] < connections


@pytest.mark.parametrize("seed", [91])
def test_junk_costs_the_attacker_his_connections(seed: int) -> None:
    spreading = Spreading(seed, 200, hostile=40)
    for _ in range(20):
        for attacker in spreading.hostile():
            attacker.attack(false_id=bytes(32))
        spreading.world.run(spreading.world.now_s + 1.0)
    honest = {node.identity for node in spreading.honest()}
    assert all(not node.neighbours & honest for node in spreading.hostile())
    for node in spreading.honest():
        assert node.received == {}
        assert node.core.held["stored"] == 0
        assert node.core.held["wanted"] == 0
