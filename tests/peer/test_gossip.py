"""Gossip: once each, only what was accepted, and bounded whoever pushes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.peer import gossip as g
from actors.peer.gossip import Gossip, GossipEffects, ItemVerdict, Topic, item_id
from actors.peer.messages import Announce, Bodies, Fetch

TOPICS = (Topic("blocks", eager=0, body_bytes_max=100), Topic("transactions", eager=2, body_bytes_max=100))


def node(seen_max: int = 100, store_bytes_max: int = 1000, peers: bytes = b"ABCD") -> Gossip:
    made = Gossip(TOPICS, seen_max=seen_max, store_bytes_max=store_bytes_max)
    for peer in peers:
        made.peer_joined(bytes([peer]))
    return made


def test_publish_pushes_to_a_few_and_announces_to_the_rest() -> None:
    sender = node()
    id_, effects = sender.publish("transactions", b"batch")
    pushed = {peer for peer, message in effects.send if message == Bodies("transactions", [b"batch"])}
    assert len(pushed) == 2
    announced = {peer: message for peer, message in sender.flush().send}
    assert announced == {p: Announce("transactions", [id_]) for p in {b"A", b"B", b"C", b"D"} - pushed}
    assert sender.publish("transactions", b"batch") == (id_, GossipEffects())


def test_among_few_a_body_is_pushed_by_its_publisher_alone() -> None:
    relay = node(peers=b"AB")
    (delivery,) = relay.on_bodies(b"A", Bodies("transactions", [b"batch"])).deliver
    assert relay.judged(delivery, ItemVerdict.ACCEPT).send == []
    assert relay.flush().send == [(b"B", Announce("transactions", [delivery.id]))]
    _, effects = relay.publish("transactions", b"own")
    assert {peer for peer, _ in effects.send} == {b"A", b"B"}


def test_announced_item_is_fetched_once_and_relayed_after_acceptance() -> None:
    receiver, id_ = node(), item_id("blocks", b"block")
    assert receiver.on_announce(b"A", Announce("blocks", [id_]), 0.0).send == [(b"A", Fetch("blocks", [id_]))]
    assert receiver.on_announce(b"B", Announce("blocks", [id_]), 0.0) == GossipEffects()
    effects = receiver.on_bodies(b"A", Bodies("blocks", [b"block"]))
    assert [(d.id, d.peer) for d in effects.deliver] == [(id_, b"A")]
    assert receiver.on_fetch(b"C", Fetch("blocks", [id_])).send == []
    receiver.judged(effects.deliver[0], ItemVerdict.ACCEPT)
    assert {peer for peer, _ in receiver.flush().send} == {b"B", b"C", b"D"}
    assert receiver.on_fetch(b"C", Fetch("blocks", [id_])).send == [(b"C", Bodies("blocks", [b"block"]))]
    assert receiver.on_bodies(b"B", Bodies("blocks", [b"block"])).deliver == []
    assert receiver.held["wanted"] == 0


def test_next_announcer_is_asked_when_the_first_does_not_deliver() -> None:
    receiver, id_ = node(), item_id("blocks", b"block")
    for peer in (b"A", b"B", b"C"):
        receiver.on_announce(peer, Announce("blocks", [id_]), 0.0)
    assert receiver.tick(g.FETCH_DEADLINE_S - 0.1).send == []
    assert receiver.tick(g.FETCH_DEADLINE_S).send == [(b"B", Fetch("blocks", [id_]))]
    receiver.peer_left(b"B")
    assert receiver.tick(g.FETCH_DEADLINE_S + 0.1).send == [(b"C", Fetch("blocks", [id_]))]
    receiver.tick(100.0)
    assert receiver.held["wanted"] == 0
    assert receiver.on_announce(b"D", Announce("blocks", [id_]), 100.0).send == [
        (b"D", Fetch("blocks", [id_]))
    ]


def test_rejected_item_blames_its_sender_and_travels_no_further() -> None:
    receiver = node()
    (bad,) = receiver.on_bodies(b"A", Bodies("blocks", [b"bad"])).deliver
    assert receiver.judged(bad, ItemVerdict.REJECT) == GossipEffects(blame=[(b"A", "rejected")])
    assert receiver.flush().send == []
    assert receiver.on_bodies(b"A", Bodies("blocks", [b"bad"])).deliver == []
    (dull,) = receiver.on_bodies(b"B", Bodies("blocks", [b"dull"])).deliver
    assert receiver.judged(dull, ItemVerdict.IGNORE) == GossipEffects()
    assert receiver.judged(dull, ItemVerdict.ACCEPT) == GossipEffects()
    assert receiver.held["stored"] == 0
    assert receiver.held["unjudged_bytes"] == 0


def test_newcomer_hears_of_what_is_stored() -> None:
    sender = node(peers=b"")
    ids = [sender.publish("blocks", b"%d" % index)[0] for index in range(3)]
    assert sender.peer_joined(b"Z").send == [(b"Z", Announce("blocks", ids))]


def test_bad_messages_are_blamed() -> None:
    receiver = node()
    assert receiver.on_announce(b"A", Announce("nonsense", [bytes(32)]), 0.0).blame == [(b"A", "message")]
    assert receiver.on_bodies(b"A", Bodies("nonsense", [b""])).blame == [(b"A", "message")]
    assert receiver.on_bodies(b"A", Bodies("blocks", [bytes(101)])).blame == [(b"A", "message")]
    with pytest.raises(ValueError, match="limit 100"):
        receiver.publish("blocks", bytes(101))
    with pytest.raises(ValueError, match="topic"):
        receiver.publish("nonsense", b"")
    with pytest.raises(ValueError, match="store_bytes_max"):
        node(store_bytes_max=99)


def test_flooders_fill_their_own_share_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(g, "WANTED_PER_OBSERVER_MAX", 50)
    receiver = node()
    for index in range(100):
        ids = [bytes([index, step]) + bytes(30) for step in range(100)]
        receiver.on_announce(b"A", Announce("blocks", ids), 0.0)
        receiver.on_bodies(b"A", Bodies("blocks", [b"%d %d" % (index, step) for step in range(50)]))
    held = receiver.held
    assert held["wanted"] == 50
    assert held["seen"] == held["stored"] == 0
    assert g.UNJUDGED_BYTES_MAX - 5_000 < held["unjudged_bytes"] <= g.UNJUDGED_BYTES_MAX
    honest = item_id("blocks", b"honest")
    assert receiver.on_announce(b"B", Announce("blocks", [honest]), 0.0).send == [
        (b"B", Fetch("blocks", [honest]))
    ]
    receiver.on_announce(b"unknown", Announce("blocks", [bytes(32)]), 0.0)
    assert receiver.held["wanted"] == 51


def test_large_answers_are_split() -> None:
    topics = (Topic("transactions", eager=0, body_bytes_max=1 << 20),)
    sender = Gossip(topics, seen_max=100, store_bytes_max=1 << 24)
    ids = [sender.publish("transactions", bytes([index]) * 400_000)[0] for index in range(7)]
    sent = sender.on_fetch(b"A", Fetch("transactions", ids)).send
    assert [len(message.bodies) for _, message in sent if isinstance(message, Bodies)] == [2, 2, 2, 1]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12), st.integers(0, 5)), max_size=80))
def test_counts_hold_under_any_sequence(steps: list[tuple[int, int, int]]) -> None:
    receiver, now_s = node(seen_max=8, store_bytes_max=100), 0.0
    for who, what, action in steps:
        peer, body = bytes([65 + who]), b"item %d" % what
        id_ = item_id("blocks", body)
        now_s += 0.5
        if action == 0:
            receiver.on_announce(peer, Announce("blocks", [id_]), now_s)
        elif action == 1:
            for delivery in receiver.on_bodies(peer, Bodies("blocks", [body])).deliver:
                receiver.judged(delivery, list(ItemVerdict)[what % 3])
        elif action == 2:
            receiver.peer_left(peer)
        elif action == 3:
            receiver.peer_joined(peer)
        elif action == 4:
            receiver.publish("transactions", body)
        else:
            receiver.tick(now_s)
        assert receiver.held["seen"] <= 8
        assert receiver.held["stored_bytes"] <= 100
    receiver.tick(now_s + 100)
    for _ in range(g.ANNOUNCERS_MAX):
        now_s += 100
        receiver.tick(now_s)
    assert receiver.held["wanted"] == 0
    assert set(receiver._want_counts.values()) <= {0}
