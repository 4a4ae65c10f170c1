"""The shell on real loopback sockets: dialling, requests, channels, simultaneous dials, loss and return."""

import asyncio
import socket
from dataclasses import replace

import pytest

from actors.peer.config import KnownMember
from actors.peer.errors import NotConnectedError, RequestError
from actors.peer.session import UNSENT_BYTES
from actors.peer.wire.frames import Priority
from actors.peer.wire.queues import MESSAGE_COST_BYTES, WINDOW_BYTES
from tests.peer.nodes import config_of, eventually, identity_of, joined, running


def test_two_nodes_meet_and_show_each_other() -> None:
    async def scenario() -> None:
        async with running(config_of(0, 2), config_of(1, 2)) as (a, b):
            await joined(a, b)
            await eventually(lambda: a.peers()[0]["rtt_ms"] is not None)
            row = a.peers()[0]
            assert row["state"] == "active"
            assert row["identity"] == b.identity.hex()
            assert row["address"] == b.address
            assert row["member"] is True
            assert isinstance(row["last_seen_s"], float)
            assert b.peers()[0]["address"] == a.address

    asyncio.run(scenario())


def test_requests_are_answered_and_errors_are_named() -> None:
    async def scenario() -> None:
        async with running(config_of(0, 1), config_of(1, 1)) as (a, b):
            await joined(a, b)

            async def reverse(peer: bytes, body: bytes) -> bytes:
                return peer + body[::-1]

            async def hang(_peer: bytes, _body: bytes) -> bytes:
                await asyncio.Event().wait()
                return b""

            async def bug(_peer: bytes, _body: bytes) -> bytes:
                raise ZeroDivisionError

            async def down(_peer: bytes, _body: bytes) -> bytes:
                raise ConnectionRefusedError

            b.register_method("reverse", reverse)
            b.register_method("hang", hang)
            b.register_method("bug", bug)
            b.register_method("down", down)
            b.exchange.unreachable = (ConnectionError,)
            a.register_method("secret", reverse, members_only=True)
            big = bytes(range(256)) * 8192
            assert await a.request(b.identity, "reverse", big) == a.identity + big[::-1]
            for peer, method, reason in (
                (b.identity, "nothing", "unknown_method"),
                (b.identity, "bug", "internal"),
                (b.identity, "down", "not_ready"),
                (b.identity, "hang", "deadline"),
            ):
                with pytest.raises(RequestError, match=reason):
                    await a.request(peer, method, b"", deadline_s=0.2)
            with pytest.raises(RequestError, match="members_only"):
                await b.request(a.identity, "secret", b"")
            with pytest.raises(NotConnectedError):
                await a.request(bytes(32), "reverse", b"")

    asyncio.run(scenario())


def test_lost_connection_fails_open_requests() -> None:
    async def scenario() -> None:
        async with running(config_of(0), config_of(1)) as (a, b):
            await joined(a, b)
            asked = asyncio.Event()

            async def hang(_peer: bytes, _body: bytes) -> bytes:
                asked.set()
                await asyncio.Event().wait()
                return b""

            b.register_method("hang", hang)
            request = asyncio.create_task(a.request(b.identity, "hang", b"", deadline_s=60))
            await asked.wait()
            b.links.session(a.identity).abort()
            with pytest.raises(RequestError, match="lost"):
                await request
            assert a.connected() == []

    asyncio.run(scenario())


def test_requests_beyond_the_bound_are_busy() -> None:
    async def scenario() -> None:
        async with running(config_of(0, 2), config_of(1, 2)) as (a, b):
            await joined(a, b)
            gate = asyncio.Event()

            async def wait(_peer: bytes, _body: bytes) -> bytes:
                await gate.wait()
                return b"done"

            b.register_method("wait", wait)
            limit = a.config.limits.requests_pending_max
            tasks = [asyncio.create_task(a.request(b.identity, "wait", b"")) for _ in range(limit)]
            await eventually(lambda: b.exchange._serving[a.identity] == limit)
            with pytest.raises(RequestError, match="busy"):
                await a.request(b.identity, "wait", b"")
            gate.set()
            assert await asyncio.gather(*tasks) == [b"done"] * limit

    asyncio.run(scenario())


def test_channel_keeps_each_peers_order() -> None:
    async def scenario() -> None:
        async with running(config_of(0, 2), config_of(1, 2)) as (a, b):
            await joined(a, b)
            got: list[int] = []

            async def handler(batch: list[tuple[bytes, bytes]]) -> None:
                assert {peer for peer, _ in batch} == {a.identity}
                got.extend(int.from_bytes(body, "little") for _, body in batch)

            b.register_channel("raft", handler)
            for index in range(1000):
                await a.send(b.identity, "raft", index.to_bytes(4, "little"), Priority.CONSENSUS)
            await eventually(lambda: len(got) == 1000)
            assert got == list(range(1000))

    asyncio.run(scenario())


def test_full_send_queue_refuses_an_offer_and_holds_a_send() -> None:
    """The receiver's handler hangs: its backlog fills, it stops reading, and the sender feels it."""

    async def scenario() -> None:
        async with running(config_of(0, 2), config_of(1, 2)) as (a, b):
            await joined(a, b)
            gate = asyncio.Event()
            got = 0

            async def handler(batch: list[tuple[bytes, bytes]]) -> None:
                nonlocal got
                await gate.wait()
                got += len(batch)

            b.register_channel("bulk", handler)
            body, offered = bytes(200_000), 0
            while a.offer(b.identity, "bulk", body, Priority.TRANSACTIONS):
                offered += 1
                await asyncio.sleep(0)
            waiting = a.links.session(b.identity).connection.queue.waiting_bytes(Priority.TRANSACTIONS)
            assert waiting <= a.config.limits.send_queue_bytes_max
            blocked = asyncio.create_task(a.send(b.identity, "bulk", body, Priority.TRANSACTIONS))
            assert a.offer(b.identity, "votes", b"vote", Priority.CONSENSUS)
            gate.set()
            await blocked
            await eventually(lambda: got == offered + 1)

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_slow_handler_holds_back_its_class_and_no_votes_of_the_same_peer(size: int) -> None:
    """An honest member sends more transactions than the other end can take, and votes meanwhile."""

    async def scenario() -> None:
        async with running(config_of(0, 2), config_of(1, 2)) as (a, b):
            await joined(a, b)
            gate, rows = asyncio.Event(), 0
            votes: list[bytes] = []

            async def slow(batch: list[tuple[bytes, bytes]]) -> None:
                nonlocal rows
                await gate.wait()
                rows += len(batch)

            async def vote(batch: list[tuple[bytes, bytes]]) -> None:
                votes.extend(body for _, body in batch)

            b.register_channel("transactions", slow)
            b.register_channel("votes", vote)
            offered, session = 0, b.links.session(a.identity)
            for number in range(20):
                while offered < 100 * number and a.offer(
                    b.identity, "transactions", bytes(size), Priority.TRANSACTIONS
                ):
                    offered += 1
                a.offer(b.identity, "votes", b"%d" % number, Priority.CONSENSUS)
                await eventually(lambda number=number: len(votes) == number + 1)
                assert session.held() == frozenset()
            waiting = b.delivery.waiting()["transactions"]
            assert waiting <= WINDOW_BYTES // (MESSAGE_COST_BYTES + size) + 1
            gate.set()
            await eventually(lambda: rows == offered)

    asyncio.run(scenario())


def kernel_bounds_unsent_bytes() -> bool:
    """Whether this kernel keeps what it is told with TCP_NOTSENT_LOWAT."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is None:
        return False
    with socket.socket() as plain:
        try:
            plain.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)
            return plain.getsockopt(socket.IPPROTO_TCP, option) == UNSENT_BYTES
        except OSError:
            return False


@pytest.mark.skipif(not kernel_bounds_unsent_bytes(), reason="this kernel has no bound on unsent bytes")
def test_little_is_sealed_ahead_of_a_peer_that_does_not_read() -> None:
    """So that a vote waits for little: what the kernel would buffer by itself is megabytes."""

    async def scenario() -> None:
        async with running(config_of(0, 2), config_of(1, 2)) as (a, b):
            await joined(a, b)
            for one, other in ((a, b), (b, a)):
                transport = one.links.session(other.identity)._transport
                assert transport is not None
                wire = transport.get_extra_info("socket")
                assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == UNSENT_BYTES

    asyncio.run(scenario())


def test_simultaneous_dials_leave_one_connection() -> None:
    async def scenario() -> None:
        for _ in range(5):
            async with running(config_of(0), config_of(1)) as (a, b):
                await asyncio.gather(
                    a.links.dial(str(b.address), b.identity), b.links.dial(str(a.address), a.identity)
                )
                await eventually(lambda a=a, b=b: len(a.links._open) == len(b.links._open) == 1)
                ours, theirs = a.links.table.get(b.identity), b.links.table.get(a.identity)
                assert ours is not None
                assert theirs is not None
                assert ours.outbound != theirs.outbound
                assert ours.outbound == (a.identity < b.identity)
                assert a.links.greylist.offences.total() == b.links.greylist.offences.total() == 0

    asyncio.run(scenario())


def test_members_are_dialled_until_they_return() -> None:
    async def scenario() -> None:
        async with running(config_of(1)) as (b,):
            address = str(b.address)
            port = int(address.rpartition(":")[2])
            members = (KnownMember(identity_of(0)), KnownMember(identity_of(1), address))
            async with running(replace(config_of(0), members=members)) as (a,):
                await eventually(lambda: a.connected() == [b.identity])
                await b.stop()
                await eventually(lambda: a.connected() == [])
                assert a.peers()[0]["state"] in {"backoff", "connecting"}
                async with running(config_of(1, listen_port=port)):
                    await eventually(lambda: a.connected() == [identity_of(1)])

    asyncio.run(scenario())


def test_wrong_identity_behind_an_address_is_refused() -> None:
    async def scenario() -> None:
        async with running(config_of(0), config_of(1)) as (a, b):
            with pytest.raises(RequestError, match="identity"):
                await a.links.dial(str(b.address), identity_of(2))
            with pytest.raises(RequestError, match="self"):
                await a.links.dial(str(a.address))
            assert a.connected() == b.connected() == []

    asyncio.run(scenario())


def test_observers_are_refused_by_configuration() -> None:
    async def scenario() -> None:
        async with running(config_of(0, 1, allow_observers=False), config_of(1, 1)) as (a, b):
            with pytest.raises(RequestError):
                await b.links.dial(str(a.address))
            await eventually(lambda: a.links.refused["observer"] == 1)
            assert a.connected() == []

    asyncio.run(scenario())


def test_failing_handlers_and_hooks_are_counted_and_survived() -> None:
    async def scenario() -> None:
        async with running(config_of(0, 2), config_of(1, 2)) as (a, b):
            await joined(a, b)
            got: list[bytes] = []

            async def fails_once(batch: list[tuple[bytes, bytes]]) -> None:
                got.extend(body for _, body in batch)
                if len(got) == 1:
                    raise ZeroDivisionError

            def failing_hook(_now_s: float) -> None:
                raise ZeroDivisionError

            b.register_channel("raft", fails_once)
            b.on_tick.insert(0, failing_hook)
            ticks: list[float] = []
            b.on_tick.append(ticks.append)
            for body in (b"first", b"second"):
                await a.send(b.identity, "raft", body, Priority.CONSENSUS)
                await eventually(lambda body=body: body in got)
            await eventually(lambda: len(ticks) > 1)
            assert b.delivery.failed["error"] == 1
            assert b.dropped["upkeep_errors"] >= 1
            assert a.offer(b.identity, "nobody listens", b"", Priority.BLOCKS)
            await eventually(lambda: b.dropped["unknown_channel"] == 1)

    asyncio.run(scenario())
