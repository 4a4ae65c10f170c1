"""What everybody has a share of: hellos, half-open handshakes, memory on the way out, long answers."""

import asyncio
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.peer.admission import SOURCES_MAX, HandshakeAdmission, is_loopback, source_of
from actors.peer.answers import SharedAnswers
from actors.peer.config import PeerLimits
from actors.peer.errors import ProtocolError, QueueFullError, RequestError
from actors.peer.failures import ADDRESSES_MAX, NOBODY_KNOWN, Failures
from actors.peer.inbound import PeerQueues
from actors.peer.turns import Turns
from actors.peer.wire.budget import MESSAGE_BYTES, SendBudget
from actors.peer.wire.frames import Priority
from actors.peer.wire.queues import SendQueue


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("::1", "::2", False),
        ("Node.example", "node.EXAMPLE", True),
    ],
)
def test_sources(one: str, other: str, same: bool) -> None:
    assert (source_of(one) == source_of(other)) is same


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)
    assert not is_loopback("10.0.0.1")


def hello(admission: HandshakeAdmission, source: str, now_s: float) -> bool:
    try:
        admission.hello(source, os.urandom(32), now_s)
    except ProtocolError as error:
        return error.reason != "handshake_rate"
    return True


def test_hellos_of_many_sources_share_a_rate_and_members_have_their_own() -> None:
    limits = PeerLimits()
    admission = HandshakeAdmission(limits)
    admission.expect_member("192.0.2.1")
    strangers = [f"10.0.{index // 256}.{index % 256}" for index in range(2_000)]
    assert sum(hello(admission, source, 0.0) for source in strangers) == 2 * limits.handshakes_per_s_max
    assert hello(admission, "192.0.2.1", 0.0)
    assert sum(hello(admission, source, 1.0) for source in strangers) == limits.handshakes_per_s_max
    for source in (f"172.16.{index // 256}.{index % 256}" for index in range(2 * SOURCES_MAX)):
        hello(admission, source, 1.0)
    assert len(admission._buckets) == SOURCES_MAX


def test_a_proved_member_gets_its_hello_back() -> None:
    admission = HandshakeAdmission(PeerLimits(handshakes_per_s_per_address_max=1))
    for _ in range(100):
        assert hello(admission, "192.0.2.1", 0.0)
        admission.proved_member("192.0.2.1", 0.0)
    assert sum(hello(admission, "10.0.0.1", 0.0) for _ in range(100)) == 4


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=60))
def test_half_open_handshakes_stay_within_bounds(steps: list[tuple[int, bool]]) -> None:
    limits = PeerLimits(handshakes_pending_max=8, handshakes_pending_per_address_max=3)
    admission = HandshakeAdmission(limits)
    open_: list[tuple[str, int]] = []
    for number, (who, ends) in enumerate(steps):
        source = f"10.0.0.{who}"
        if ends and open_:
            theirs, ended = open_.pop(0)
            admission.settled(theirs, ended)
            admission.settled(theirs, ended)
            admission.closed(theirs)
            continue
        reason, victim = admission.accepted(source, number)
        open_.append((source, number))
        for socket in (number if reason else None, victim):
            gone = next((entry for entry in open_ if entry[1] == socket), None)
            if gone is not None:
                open_.remove(gone)
                admission.settled(*gone)
                admission.closed(gone[0])
        assert admission.pending == len(open_) <= 6
        assert max([sum(s == f"10.0.0.{n}" for s, _ in open_) for n in range(5)]) <= 3


def test_the_one_that_holds_most_for_longest_gives_way() -> None:
    budget = SendBudget("observers", 10_000)
    queues = {name: SendQueue(100, 1 << 20) for name in ("fast", "slow", "small")}
    gone: list[str] = []
    for name, queue in queues.items():

        def give_way(name: str = name, queue: SendQueue = queue) -> None:
            gone.append(name)
            queue.clear()

        queue.charge_to(budget.open(give_way), 1 << 20)
    queues["small"].push(Priority.BLOCKS, os.urandom(100))
    queues["slow"].push(Priority.BLOCKS, os.urandom(4_000))
    queues["fast"].push(Priority.BLOCKS, os.urandom(3_000))
    queues["fast"].pop()
    queues["fast"].push(Priority.BLOCKS, os.urandom(4_000))
    queues["fast"].push(Priority.BLOCKS, os.urandom(3_000))
    assert gone == ["slow"]
    assert budget.held_bytes == 100 + 4_000 + 3_000 + 3 * MESSAGE_BYTES
    with pytest.raises(QueueFullError, match="observers"):
        queues["fast"].push(Priority.BLOCKS, os.urandom(9_000))
    queues["fast"].push(Priority.CONSENSUS, os.urandom(9_000))
    for queue in queues.values():
        queue.clear()
    assert budget.held_bytes == 0
    assert not budget._accounts


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.booleans()), max_size=60))
def test_shared_bodies_count_once_whatever_happens(steps: list[tuple[int, int, bool]]) -> None:
    bodies = [bytes([number]) * 70_000 for number in range(4)]
    budget = SendBudget("members", 1 << 30)
    queues = [SendQueue(100, 1 << 30) for _ in range(3)]
    for queue in queues:
        queue.charge_to(budget.open(queue.clear), 1 << 30)
    for who, what, push in steps:
        if push:
            queues[who].push(Priority.TRANSACTIONS, bodies[what])
        else:
            queues[who].pop()
        waiting = [body for queue in queues for _, body in queue._waiting[Priority.TRANSACTIONS]]
        assert budget.held_bytes == len(waiting) * MESSAGE_BYTES + 70_000 * len({id(b) for b in waiting})
    for queue in queues:
        queue.clear()
    assert budget.held_bytes == 0


def test_an_observers_backlog_is_bounded_but_for_one_message() -> None:
    queue = SendQueue(100, 1_000)
    queue.charge_to(SendBudget("observers", 1 << 30).open(queue.clear), 100)
    queue.push(Priority.BLOCKS, bytes(900))
    with pytest.raises(QueueFullError, match="of 100"):
        queue.push(Priority.BLOCKS, bytes(1))
    with pytest.raises(QueueFullError):
        queue.push(Priority.TRANSACTIONS, bytes(1_001))


def test_members_have_every_other_turn() -> None:
    queue: PeerQueues[int] = PeerQueues(backlog_max=100, bytes_max=1_000)
    for observer in range(10):
        for number in range(5):
            queue.push(b"observer %d" % observer, number)
    for number in range(5):
        queue.push(b"member", number, first=True)
    popped = [queue.pop() for _ in range(10)]
    assert sum(entry is not None and entry[0] == b"member" for entry in popped) == 5
    assert len([queue.pop() for _ in range(45)]) == 45
    assert len(queue) == 0


def test_long_answers_are_prepared_in_turns() -> None:
    async def scenario() -> None:
        turns, served, gate = Turns(1), [], asyncio.Event()

        async def work(peer: bytes, number: int) -> None:
            async with turns.turn(peer):
                served.append((peer, number))
                await gate.wait()

        many = [asyncio.create_task(work(b"greedy", number)) for number in range(5)]
        await asyncio.sleep(0)
        one = asyncio.create_task(work(b"modest", 0))
        await asyncio.sleep(0)
        many[1].cancel()
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*many, one, return_exceptions=True)
        assert served.index((b"modest", 0)) <= 2
        assert len(served) == 5
        assert turns._free == 1
        assert len(turns) == 0

    asyncio.run(scenario())


def test_equal_requests_share_an_answer() -> None:
    async def scenario() -> None:
        answers, made, gate = SharedAnswers(100), 0, asyncio.Event()

        async def prepare() -> tuple[bytes, bool]:
            nonlocal made
            made += 1
            await gate.wait()
            return bytes(60), True

        first = asyncio.create_task(answers.get("m", b"1", prepare))
        second = asyncio.create_task(answers.get("m", b"1", prepare))
        await asyncio.sleep(0)
        gate.set()
        assert await first is await second is await answers.get("m", b"1", prepare)
        assert made == 1
        await answers.get("m", b"2", prepare)
        await answers.get("m", b"1", prepare)
        assert made == 3
        gate.clear()
        first = asyncio.create_task(answers.get("m", b"3", prepare))
        second = asyncio.create_task(answers.get("m", b"3", prepare))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(RequestError, match="busy"):
            await second

    asyncio.run(scenario())


def test_failures_say_what_to_mend() -> None:
    failures = Failures()
    assert failures.reason(1, 0) == ""
    assert failures.reason(0, 0) == NOBODY_KNOWN
    assert "2 addresses are being tried" in failures.reason(0, 2)
    failures.failed("a:1", ConnectionRefusedError())
    failures.failed("b:2", RequestError("another_network", ""))
    assert failures.reason(0, 2) == (
        "no peer: a:1 refused the connection: nobody listens there; "
        "b:2 is a peer of another network (its genesis differs)"
    )
    failures.succeeded("a:1")
    for number in range(2 * ADDRESSES_MAX):
        failures.failed(f"c:{number}", TimeoutError())
    assert len(failures) == ADDRESSES_MAX
    assert failures.reason(0, 99).endswith(f"; and {ADDRESSES_MAX - 3} more")
