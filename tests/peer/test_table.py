"""Connection table and backoff: the states by the clock, the limits, and one survivor of two dials."""

from hypothesis import given
from hypothesis import strategies as st

from actors.peer.backoff import DialPlan
from actors.peer.config import PeerIntervals, PeerLimits
from actors.peer.greylist import LISTED_SCORE, POINTS, Greylist, TokenBucket
from actors.peer.inbound import PeerQueues
from actors.peer.table import Link, LinkState, LinkTable, keeps_new

ME = b"\x40" * 32


def link(name: int, now_s: float = 0.0, **changes: object) -> Link:
    fields: dict[str, object] = {
        "identity": bytes([name]) * 32,
        "address": f"10.0.0.{name}:1",
        "host": f"10.0.0.{name}",
        "member": False,
        "outbound": True,
        "incarnation": b"i" * 8,
        "traffic_s": now_s,
        "seen_s": now_s,
    }
    return Link(**(fields | changes))  # type: ignore[arg-type]


def state_of(peer: Link) -> LinkState:
    """Its state now, whatever it was when last looked at."""
    return peer.state


def test_states_by_the_clock() -> None:
    table = LinkTable(ME, PeerLimits(), PeerIntervals())
    table.admit(peer := link(1))
    assert table.tick(59.9).probe == ()
    assert state_of(peer) is LinkState.ACTIVE
    table.tick(60.0)
    assert state_of(peer) is LinkState.IDLE
    assert table.tick(120.0).probe == (peer.identity,)
    assert table.tick(121.0).probe == ()
    table.saw(peer.identity, 122.0, traffic=False)
    table.tick(180.0)
    assert state_of(peer) is LinkState.IDLE
    assert table.tick(242.0).probe == (peer.identity,)
    table.saw(peer.identity, 250.0, traffic=True)
    assert state_of(peer) is LinkState.ACTIVE
    assert table.tick(429.9).drop == ()
    assert table.tick(430.0).drop == (peer.identity,)
    assert state_of(peer) is LinkState.UNRESPONSIVE
    assert len(table) == 0


def test_member_displaces_the_observer_silent_longest() -> None:
    table = LinkTable(ME, PeerLimits(connections_max=3), PeerIntervals())
    for name, seen_s in ((1, 5.0), (2, 1.0), (3, 3.0)):
        assert table.admit(link(name, seen_s)).admitted
    refused = table.admit(link(4))
    assert (refused.admitted, refused.reason) == (False, "connections_max")
    assert table.admit(link(5, member=True)).displaced == bytes([2]) * 32
    assert table.admit(link(6, member=True)).displaced == bytes([3]) * 32
    assert table.admit(link(7, member=True)).displaced == bytes([1]) * 32
    assert not table.admit(link(8, member=True)).admitted
    assert len(table) == 3


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.booleans())
def test_both_ends_keep_the_same_of_two_crossed_dials(a: bytes, b: bytes, a_dial_first: bool) -> None:
    if a == b:
        return
    survivors = []
    for local, remote, local_is_a in ((a, b, True), (b, a, False)):
        by_a = link(1, identity=remote, outbound=local_is_a)
        by_b = link(1, identity=remote, outbound=not local_is_a)
        old, new = (by_a, by_b) if a_dial_first == local_is_a else (by_b, by_a)
        kept = new if keeps_new(local, old, new) else old
        survivors.append("a" if kept is by_a else "b")
    assert survivors[0] == survivors[1]


def test_restarted_peer_replaces_its_dead_connection() -> None:
    old = link(0x80, outbound=True)
    assert keeps_new(ME, old, link(0x80, outbound=False, incarnation=b"j" * 8))
    assert keeps_new(ME, old, link(0x80, outbound=True))
    assert not keeps_new(ME, old, link(0x80, outbound=False))


def test_round_trip_time_is_smoothed() -> None:
    table = LinkTable(ME, PeerLimits(), PeerIntervals())
    table.admit(peer := link(1))
    table.measured(peer.identity, 8.0)
    table.measured(peer.identity, 16.0)
    assert peer.rtt_ms == 9.0


@given(jitter=st.floats(0, 1, exclude_max=True))
def test_backoff_grows_within_its_bounds(jitter: float) -> None:
    plan, now_s = DialPlan(0.5, 60.0), 0.0
    plan.add("a:1", None, now_s)
    for attempt in range(12):
        (target,) = plan.due(now_s, set(), 8)
        assert plan.due(now_s, set(), 8) == []
        plan.failed("a:1", now_s, jitter)
        full_s = min(60.0, 0.5 * 2**attempt)
        assert full_s / 2 <= target.due_s - now_s <= full_s
        now_s = target.due_s
    (target,) = plan.due(now_s, set(), 8)
    plan.succeeded("a:1", b"x" * 32, now_s)
    assert plan.due(now_s + 100, {b"x" * 32}, 8) == []
    assert plan.due(now_s + 100, set(), 8) == [target]
    assert target.attempts == 0


def test_greylist_counts_fades_and_stays_small() -> None:
    greylist = Greylist(capacity=16, halflife_s=100.0)
    assert greylist.penalise(b"peer", "frame_seal", 0.0)
    assert greylist.is_listed(b"peer", 99.0)
    assert not greylist.is_listed(b"peer", 101.0)
    assert not greylist.penalise(b"mild", "truncated", 0.0)
    for step in range(3):
        listed = greylist.penalise(b"flooder", "flood", float(step))
    assert listed
    assert greylist.score(b"flooder", 200.0) < LISTED_SCORE / 2
    for index in range(100):
        greylist.penalise(f"host {index}", "unknown reason", 2.0)
    assert len(greylist) <= 16
    assert greylist.score(b"flooder", 2.0) >= LISTED_SCORE
    assert greylist.offences["other"] == 100
    assert set(greylist.offences) <= set(POINTS) | {"other"}


def test_token_bucket() -> None:
    bucket = TokenBucket(10.0, 20.0, 0.0)
    assert all(bucket.take(1, 0.0) for _ in range(20))
    assert not bucket.take(1, 0.0)
    assert bucket.take(10, 1.0)
    assert not bucket.take(1, 1.0)
    assert bucket.take(20, 1000.0)
    assert not bucket.take(1, 1000.0)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers()), max_size=60))
def test_fair_queue_takes_turns_and_loses_nothing(pushes: list[tuple[int, int]]) -> None:
    queue: PeerQueues[int] = PeerQueues(backlog_max=3, bytes_max=100)
    for peer, item in pushes:
        queue.push(bytes([peer]), item)
    popped = []
    while (entry := queue.pop()) is not None:
        popped.append((entry[0][0], entry[1]))
    for peer in range(5):
        assert [i for p, i in popped if p == peer] == [i for p, i in pushes if p == peer]
    peers = {peer for peer, _ in pushes}
    assert {peer for peer, _ in popped[: len(peers)]} == peers


def test_flooder_delays_an_honest_peer_by_one_message_at_most() -> None:
    queue: PeerQueues[str] = PeerQueues(backlog_max=4, bytes_max=100)
    room = [queue.push(b"flooder", f"junk {index}") for index in range(1000)]
    assert room == [True] * 3 + [False] * 997
    assert queue.push(b"honest", "vote")
    assert [queue.pop(), queue.pop()] == [(b"flooder", "junk 0"), (b"honest", "vote")]
    assert not queue.has_room(b"flooder")
    assert len(queue.drop(b"flooder")) == 999
    assert queue.pop() is None


def test_large_items_fill_a_share_by_their_bytes() -> None:
    queue: PeerQueues[str] = PeerQueues(backlog_max=100, bytes_max=100)
    assert queue.push(b"peer", "block", 60)
    assert not queue.push(b"peer", "block", 60)
    queue.pop()
    assert not queue.has_room(b"peer")
    queue.pop()
    assert queue.has_room(b"peer")
