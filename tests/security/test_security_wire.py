"""Strangers, observers and crowds on real sockets: each has a share of a node, and members keep theirs."""

import asyncio
import os
from contextlib import suppress
from dataclasses import replace

import pytest

from actors.peer import messages
from actors.peer.catchup import BODIES_METHOD, serve_chain, synchronise
from actors.peer.config import PeerLimits
from actors.peer.gossip import GossipItem, ItemVerdict, item_id
from actors.peer.messages import Announce, Bodies, Data, Fetch, Request, Span
from actors.peer.network import Network
from actors.peer.spread import TRANSACTIONS, Spread
from actors.peer.wire.frames import FRAGMENT_BYTES_MAX, Priority
from actors.peer.wire.handshake import HELLO_BYTES, Handshake
from tests.peer.chains import Chain
from tests.peer.client import HELLO, Client, offences
from tests.peer.nodes import FAST, config_of, eventually, identity_of, joined, running

MEGABYTE = 1 << 20
ATTACKERS = 12
OTHER_ADDRESS = "127.0.0.66"


async def observers(node: Network, first: int, count: int) -> list[Client]:
    """Observers with a connection each, from addresses of their own."""
    clients = [await Client.connect(node, first + index, f"127.0.7.{index + 1}") for index in range(count)]
    for client in clients:
        await client.send(HELLO)
    await eventually(lambda: len(node.connected()) >= count)
    return clients


def waiting_bytes(node: Network) -> int:
    """Bytes of different bodies that wait in all send queues of a node."""
    queues = [node.links.session(identity).connection.queue for identity in node.connected()]
    bodies = {id(body): len(body) for queue in queues for part in queue._waiting for _, body in part}
    return sum(bodies.values())


def test_observers_that_take_no_answers_hold_a_bounded_part() -> None:
    """Twelve ask for bodies, read nothing and give no credit; an honest observer and a member are served."""

    async def scenario() -> None:
        async with running(config_of(0, 2), config_of(1, 2), config_of(5, 2)) as (node, member, honest):
            serve_chain(node, Chain(200, body_bytes=50_000))
            hoarders = await observers(node, 10, ATTACKERS)
            most = 0
            for number in range(40):
                for index, client in enumerate(hoarders):
                    span = messages.encode(Span(1 + (number * 7 + index) % 180, 16))
                    head, body = messages.encode_parts(Request(number + 1, BODIES_METHOD, span))
                    with suppress(ConnectionError):
                        client.writer.write(client.seal_message(Priority.BLOCKS, head, body))
                await asyncio.sleep(0)
                most = max(most, waiting_bytes(node))
            await eventually(lambda: not node.exchange._serving)
            most = max(most, waiting_bytes(node))
            assert most <= PeerLimits().send_bytes_max_observers
            await joined(node, member, honest)
            mine = Chain()
            assert (await synchronise(honest, mine)).blocks == 200
            await node.send(member.identity, "x", bytes(8 * MEGABYTE), Priority.BLOCKS)
            await eventually(lambda: member.dropped["unknown_channel"] == 1)

    asyncio.run(scenario())


def test_one_body_for_many_peers_is_held_once() -> None:
    async def scenario() -> None:
        members = 5
        limits = PeerLimits(send_bytes_max_members=20 * MEGABYTE)
        node_config = replace(config_of(0, members), limits=limits)
        others = [config_of(index, members) for index in range(1, members)]
        async with running(node_config, *others) as (node, *receivers):
            await joined(node, *receivers)
            body = bytes(9 * MEGABYTE)
            sent = [node.offer(other.identity, "x", body, Priority.BLOCKS) for other in receivers]
            assert sent == [True] * len(receivers)
            await eventually(lambda: all(other.dropped["unknown_channel"] for other in receivers))
            assert node.links._send_budgets[True].held_bytes == 0

    asyncio.run(scenario())


def test_parts_of_messages_are_bounded_over_all_observers() -> None:
    """Each sends most of a message and a sign of life now and then, and never the rest."""

    async def scenario() -> None:
        async with running(config_of(0)) as (node,):
            clients = await observers(node, 10, ATTACKERS)
            pieces = PeerLimits().message_bytes_max_observer // FRAGMENT_BYTES_MAX - 1
            for client in clients:
                for _ in range(pieces):
                    await client.raw(client.seal(Priority.BLOCKS, bytes(FRAGMENT_BYTES_MAX), last=False))
            await eventually(lambda: offences(node).get("slow_message"))
            held = sum(session.connection.held_bytes for session in node.links._open)
            assert held <= PeerLimits().partial_bytes_max_observers
            assert len(node.connected()) >= PeerLimits().partial_bytes_max_observers // (4 * MEGABYTE)

    asyncio.run(scenario())


def test_what_observers_have_waiting_for_a_slow_handler_is_bounded() -> None:
    async def scenario() -> None:
        limit = 8 * MEGABYTE
        limits = replace(PeerLimits(), inbound_bytes_max_observers=limit)
        async with running(replace(config_of(0, 2), limits=limits), config_of(1, 2)) as (node, member):
            gate = asyncio.Event()
            got: list[bytes] = []

            async def slow(batch: list[tuple[bytes, bytes]]) -> None:
                got.extend(identity for identity, _ in batch)
                await gate.wait()

            node.register_channel("x", slow)
            clients = await observers(node, 10, ATTACKERS)
            junk = Data("x", bytes(60_000))
            for client in clients:
                frame = messages.encode_parts(junk)
                client.writer.write(b"".join(client.seal_message(Priority.BLOCKS, *frame) for _ in range(60)))
            await eventually(lambda: node.delivery._bytes_observers > limit)
            await joined(node, member)
            assert node.delivery._bytes_observers <= limit + ATTACKERS * 2 * (256 << 10)
            await member.send(node.identity, "x", b"block", Priority.BLOCKS)
            gate.set()
            await eventually(lambda: member.identity in got)
            await eventually(lambda: len(got) == 1 + 60 * ATTACKERS)
            assert node.delivery._bytes_observers == 0

    asyncio.run(scenario())


def test_replayed_hellos_are_known_before_any_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        config = replace(config_of(0), limits=PeerLimits(greylist_loopback=True))
        async with running(config) as (node,):
            hello = (await Client.open(node)).connection.data_to_send(1)[0]
            assert len(hello) == HELLO_BYTES
            agreed: list[bytes] = []
            agree = Handshake._agree

            def counted(self: Handshake, peer: bytes, responder: bytes) -> None:
                agreed.append(peer)
                agree(self, peer, responder)

            monkeypatch.setattr(Handshake, "_agree", counted)
            first = await Client.open(node)
            await first.raw(hello)
            await first.reader.readexactly(32)
            for _ in range(5):
                client = await Client.open(node, source=OTHER_ADDRESS)
                await client.raw(hello)
                assert await client.gone() == b""
            assert len(agreed) == 1
            assert offences(node)["replayed"] == 3
            assert node.links.refused["greylisted"] == 2

    asyncio.run(scenario())


def test_fresh_hellos_of_one_address_are_answered_at_a_rate() -> None:
    """Any 32 bytes are a key: a hello costs its sender a hash. Members and other addresses are not slowed."""

    async def scenario() -> None:
        limits = PeerLimits(handshakes_per_s_per_address_max=2)
        config = replace(config_of(0, 2), limits=limits, intervals=replace(FAST, handshake_timeout_s=60.0))
        async with running(config, config_of(1, 2), config_of(3, 2)) as (node, member, honest):
            answered = 0
            for _ in range(60):
                client = await Client.open(node, source=OTHER_ADDRESS)
                await client.flush()
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    await client.reader.readexactly(32)
                    answered += 1
                client.writer.close()
            assert 8 <= answered < 40
            assert node.links.refused["handshake_rate"] >= 20
            assert not offences(node).get("handshake_rate")
            for _ in range(20):
                await member.links.dial(str(node.address), node.identity)
                session = member.links.session(node.identity)
                session.close()
                await session.closed.wait()
                await eventually(lambda: member.identity not in node.connected())
            await honest.links.dial(str(node.address), node.identity)

    asyncio.run(scenario())


def test_half_open_connections_of_one_address_leave_room() -> None:
    async def scenario() -> None:
        limits = PeerLimits(connections_per_address_max=200)
        intervals = replace(FAST, handshake_timeout_s=60.0)
        async with running(replace(config_of(0), limits=limits, intervals=intervals)) as (node,):
            silent = [await Client.open(node, source=OTHER_ADDRESS) for _ in range(100)]
            await eventually(lambda: node.links.refused.total() == 100 - 16)
            assert node.links.admission.pending == limits.handshakes_pending_per_address_max
            honest = await Client.connect(node, 1)
            await honest.send(HELLO)
            await eventually(lambda: node.connected() == [identity_of(1)])
            for client in silent:
                client.writer.close()

    asyncio.run(scenario())


def test_places_of_members_are_kept_from_a_crowd_of_half_open_connections() -> None:
    async def scenario() -> None:
        limits = PeerLimits(handshakes_pending_max=8, handshakes_pending_per_address_max=1)
        intervals = replace(FAST, handshake_timeout_s=60.0)
        config = replace(config_of(0, 2), limits=limits, intervals=intervals)
        async with running(config, config_of(1, 2)) as (node, member):
            await joined(node, member)
            await member.links.dial(str(node.address), node.identity)
            member.links.session(node.identity).abort()
            await eventually(lambda: not node.connected())
            await member.links.dial(str(node.address), node.identity)
            member.links.session(node.identity).abort()
            await eventually(lambda: not node.connected())
            crowd = [await Client.open(node, source=f"127.0.8.{index + 1}") for index in range(20)]
            await eventually(lambda: node.links.refused["handshakes_pending_max"] == 20 - 6)
            await member.links.dial(str(node.address), node.identity)
            for client in crowd:
                client.writer.close()

    asyncio.run(scenario())


def test_a_crowd_of_observers_leaves_places_to_others() -> None:
    """Who holds most places of one subnet makes room for a newcomer of another one."""

    async def scenario() -> None:
        limits = PeerLimits(connections_max=8)
        async with running(replace(config_of(0), limits=limits)) as (node,):
            crowd = await observers(node, 10, 8)
            honest = await Client.connect(node, 1)
            await honest.send(HELLO)
            await eventually(lambda: identity_of(1) in node.connected())
            assert len(node.connected()) == 8
            late = await Client.connect(node, 30, "127.0.7.99")
            await late.send(HELLO)
            await eventually(lambda: node.links.refused["connections_max"] == 1)
            assert identity_of(1) in node.connected()
            for client in crowd:
                client.writer.close()

    asyncio.run(scenario())


def test_junk_pushes_no_honest_gossip_out() -> None:
    """An observer floods items that are never accepted; what a member sent stays known and stays stored."""

    async def scenario() -> None:
        limits = PeerLimits(seen_max=64, gossip_store_bytes_max=2 * MEGABYTE)
        async with running(replace(config_of(0, 2), limits=limits), config_of(1, 2)) as (node, member):
            judged: list[bytes] = []

            async def judge(batch: list[GossipItem]) -> list[ItemVerdict]:
                judged.extend(item.body for item in batch)
                return [ItemVerdict.IGNORE if b"junk" in item.body else ItemVerdict.ACCEPT for item in batch]

            spread = Spread(node)
            spread.register_judge(TRANSACTIONS, judge)
            publisher = Spread(member)
            await joined(node, member)
            publisher.publish(TRANSACTIONS, [b"honest"])
            await eventually(lambda: spread.core.held["stored"] == 1)
            (attacker,) = await observers(node, 10, 1)
            for number in range(200):
                junk = b"junk %d " % number + bytes(number * 100)
                head, body = messages.encode_parts(Bodies(TRANSACTIONS, [junk]))
                await attacker.raw(attacker.seal_message(Priority.TRANSACTIONS, head, body))
            await eventually(lambda: len(judged) == 201)
            wanted = item_id(TRANSACTIONS, b"honest")
            await member.send(node.identity, "x", b"", Priority.TRANSACTIONS)
            other = await Client.connect(node, 11, OTHER_ADDRESS)
            await other.send(HELLO)
            head, body = messages.encode_parts(Bodies(TRANSACTIONS, [b"honest"]))
            await other.raw(other.seal_message(Priority.TRANSACTIONS, head, body))
            await other.send(messages.encode(Fetch(TRANSACTIONS, [wanted])), Priority.TRANSACTIONS)
            await eventually(
                lambda: not node.delivery._queues[Priority.TRANSACTIONS].backlog(identity_of(11))
            )
            assert judged.count(b"honest") == 1
            assert spread.core.held["stored"] == 1
            assert spread.core.held["seen"] == 1

    asyncio.run(scenario())


def test_an_announcement_of_a_member_is_not_held_up_by_observers() -> None:
    """Eight observers announce an item first, and never deliver it."""

    async def scenario() -> None:
        async with running(config_of(0, 2), config_of(1, 2)) as (node, member):
            got: list[bytes] = []

            async def judge(batch: list[GossipItem]) -> list[ItemVerdict]:
                got.extend(item.body for item in batch)
                return [ItemVerdict.ACCEPT] * len(batch)

            spread = Spread(node)
            spread.register_judge(TRANSACTIONS, judge)
            liars = await observers(node, 10, 9)
            id_ = item_id(TRANSACTIONS, b"honest")
            for liar in liars:
                await liar.send(messages.encode(Announce(TRANSACTIONS, [id_])), Priority.TRANSACTIONS)
            await eventually(lambda: id_ in spread.core._wants)
            await eventually(lambda: len(spread.core._wants[id_].announcers) == 8)
            publisher = Spread(member)
            publisher.core.publish(TRANSACTIONS, b"honest")
            now_s = node.links.now_s
            stopped_s = now_s()
            node.links.now_s = lambda: stopped_s  # type: ignore[method-assign]
            await joined(member, node)
            await eventually(lambda: got == [b"honest"])
            node.links.now_s = now_s  # type: ignore[method-assign]

    asyncio.run(scenario())


def test_a_wrong_network_is_told_apart_from_nobody() -> None:
    async def scenario() -> None:
        async with running(config_of(0)) as (node,):
            assert node.address is not None
            elsewhere = replace(
                config_of(1), genesis_hash=os.urandom(32), seeds=(node.address, "127.0.0.1:1")
            )
            async with running(elsewhere) as (lost,):
                await eventually(lambda: len(lost.links.failures) == 2)
                reason = lost.reason()
                assert f"{node.address} is a peer of another network (its genesis differs)" in reason
                assert "127.0.0.1:1 refused the connection: nobody listens there" in reason

    asyncio.run(scenario())
