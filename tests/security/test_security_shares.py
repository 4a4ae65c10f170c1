"""Shares of the HTTP edge: connections, heads, bodies, event streams, reads. One client leaves room."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from actors.gateway import body, protocol, shares
from actors.gateway.backend import BusyError
from actors.gateway.protocol import HEAD_BYTES_MAX, HEADERS_MAX
from actors.gateway.shares import FairTurns
from actors.ledger.rows import encode_batch
from tests.gateway.gateway_fake_node import SENDERS, until
from tests.security.edge_server import (
    ATTACKER,
    BATCH,
    BINARY,
    HONEST,
    Edge,
    serve,
)


def test_idle_connections_of_one_client_close_nobody_out() -> None:
    async def scenario(edge: Edge) -> None:
        idle = [await edge.open() for _ in range(100)]
        await until(lambda: edge.server.table.evicted >= 60)
        assert len(edge.server.table) <= 40
        async with edge.http() as http:
            assert (await http.get("/v1/status")).status_code == 200
        ended = sum([reader.at_eof() or await _ends(reader) for reader, _ in idle[:50]])
        assert ended == 50, "the longest idle ones end first"
        for _, writer in idle:
            writer.close()

    serve(scenario, connections_max=80)


async def _ends(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), 5) == b""
    except ConnectionError:
        return True


def test_idle_connections_of_many_clients_make_room() -> None:
    async def scenario(edge: Edge) -> None:
        for number in range(8):
            for _ in range(16):
                await edge.open(f"127.0.1.{number + 1}")
        assert len(edge.server.table) <= 64
        async with edge.http() as http:
            assert (await http.get("/v1/status")).status_code == 200

    serve(scenario, connections_max=64)


@pytest.mark.parametrize("text", [b"GET /v1/status HT", b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\n"])
def test_a_head_that_does_not_end_is_408(text: bytes) -> None:
    async def scenario(edge: Edge) -> None:
        assert b" 408 " in (await edge.say(text)).split(b"\r\n")[0]
        await until(lambda: len(edge.server.table) == 0)

    serve(scenario, head_timeout_s=1)


def test_the_bound_of_a_head_is_held_exactly() -> None:
    start = b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
    fixed = len("/v1/health") + len("hostlocalhost") + len("connectionclose") + 3 * protocol.LINE_BYTES + 1

    async def scenario(edge: Edge) -> None:
        for size, status in ((0, b"200"), (1, b"400"), (70_000, b"400"), (400_000, b"400")):
            whole = start + b"x: " + b"a" * (HEAD_BYTES_MAX - fixed + size) + b"\r\n\r\n"
            assert (await edge.say(whole)).split(b" ")[1] == status, size
        many = start + b"".join(b"x%d: y\r\n" % n for n in range(HEADERS_MAX - 1)) + b"\r\n"
        assert (await edge.say(many)).split(b" ")[1] == b"400"
        reader, writer = await edge.open()
        writer.write(start + b"x: ")
        for _ in range(40):
            writer.write(b"a" * 1024)
            await asyncio.sleep(0)
        assert b" 400 " in await asyncio.wait_for(reader.read(), 10)
        writer.close()

    serve(scenario)


def test_bodies_reserve_nothing_before_they_arrive() -> None:
    async def scenario(edge: Edge) -> None:
        head = f"POST {BATCH} HTTP/1.1\r\nhost: {edge.host}\r\ncontent-type: application/octet-stream\r\n"
        size = edge.node.service.limits.body_bytes_max
        waiting = []
        for _ in range(120):
            reader, writer = await edge.open()
            writer.write(f"{head}content-length: {size}\r\n\r\n".encode())
            waiting.append((reader, writer))
        await until(lambda: edge.api.gate.figures()["requests_inflight"] == 120)
        async with edge.http() as http:
            batch = encode_batch(edge.node.transfer(0, 0))
            assert (await http.post(BATCH, content=batch, headers=BINARY)).status_code == 200
        for _, writer in waiting:
            writer.close()
        await until(lambda: edge.api.gate.figures()["requests_inflight"] == 0)

    serve(scenario)


def test_bodies_that_are_held_leave_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.gateway.api.BODY_BYTES_HELD_MAX", 0)

    async def scenario(edge: Edge) -> None:
        size = edge.node.service.limits.body_bytes_max
        head = f"POST {BATCH} HTTP/1.1\r\nhost: {edge.host}\r\ncontent-type: application/octet-stream\r\n"
        held = []
        for _ in range(4):
            reader, writer = await edge.open()
            writer.write(f"{head}content-length: {size}\r\n\r\n".encode() + bytes(size * 3 // 4))
            held.append((reader, writer))
        answers = [asyncio.ensure_future(reader.readline()) for reader, _ in held]
        await until(lambda: sum(answer.done() for answer in answers) == 3)
        assert all(b" 429 " in answer.result() for answer in answers if answer.done())
        async with edge.http() as http:
            batch = encode_batch(edge.node.transfer(0, 0))
            assert (await http.post(BATCH, content=batch, headers=BINARY)).status_code == 200
        for _, writer in held:
            writer.close()
        await asyncio.gather(*answers, return_exceptions=True)

    serve(scenario, batch_rows_max=100, batch_payload_bytes_max=40_000)


def test_a_body_that_trickles_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BODY_GRACE_S", 0.3)

    async def scenario(edge: Edge) -> None:
        reader, writer = await edge.open()
        head = f"POST {BATCH} HTTP/1.1\r\nhost: {edge.host}\r\ncontent-type: application/octet-stream\r\n"
        writer.write(f"{head}content-length: 20000\r\n\r\n".encode())
        line = asyncio.ensure_future(reader.readline())
        sent = 0
        while not line.done():
            writer.write(b"x")
            sent += 1
            await asyncio.sleep(0.02)
            assert sent < 1_000
        assert b" 408 " in line.result()
        writer.close()

    serve(scenario)


def test_event_streams_of_one_client_close_nobody_out() -> None:
    async def scenario(edge: Edge) -> None:
        events = edge.url.replace("http", "ws") + "/v1/events?topic=blocks"
        streams = []
        for _ in range(4):
            streams.append(await connect(events, proxy=None, local_addr=(ATTACKER, 0)))
        for _ in range(3):
            with pytest.raises(InvalidStatus) as caught:
                await connect(events, proxy=None, local_addr=(ATTACKER, 0))
            assert caught.value.response.status_code == 429
        async with connect(events, proxy=None, local_addr=(HONEST, 0)) as honest:
            assert json.loads(await honest.recv())["type"] == "hello"
        for stream in streams:
            await stream.close()
        await until(lambda: edge.api.events.open == 0)

    serve(scenario, subscribers_max=8)


async def hello(stream: Any) -> int:
    message = json.loads(await stream.recv())
    assert message["type"] == "hello"
    return int(message["height"])


def test_a_position_ahead_of_the_head_changes_nothing_for_others() -> None:
    async def scenario(edge: Edge) -> None:
        events = edge.url.replace("http", "ws") + "/v1/events?topic=blocks"
        async with connect(events, proxy=None) as honest:
            await hello(honest)
            await until(lambda: len(edge.api.events.hub) == 1)
            async with connect(events + "&from_height=999999999999999999", proxy=None) as absurd:
                await hello(absurd)
                with pytest.raises(ConnectionClosed) as caught:
                    await absurd.recv()
                assert caught.value.rcvd is not None
                assert (caught.value.rcvd.code, "from_height" in caught.value.rcvd.reason) == (1013, True)
            async with connect(events + "&from_height=4", proxy=None) as ahead:
                await hello(ahead)
                await until(lambda: len(edge.api.events.hub) == 2)
                for height in range(1, 6):
                    edge.api.events.published(edge.node.delta(edge.node.commit_one()))
                    assert json.loads(await honest.recv())["height"] == height
                assert [json.loads(await ahead.recv())["height"] for _ in range(2)] == [4, 5]

    serve(scenario)


def test_a_reader_that_was_further_elsewhere_costs_no_other_his_blocks() -> None:
    """After a fail-over a reader begins where this gateway's deltas have not come to yet."""

    async def scenario(edge: Edge) -> None:
        events = edge.url.replace("http", "ws") + "/v1/events?topic=blocks"
        async with connect(events, proxy=None) as honest:
            await hello(honest)
            await until(lambda: len(edge.api.events.hub) == 1)
            async with connect(events + "&from_height=300", proxy=None) as further:
                await hello(further)
                await until(lambda: len(edge.api.events.hub) == 2)
                heights = [edge.node.commit_one() for _ in range(299)]
                seen: set[int] = set()
                for height in heights[:5] + heights[200:]:  # deltas in between get lost
                    edge.api.events.published(edge.node.delta(height))
                while 299 not in seen:
                    message = json.loads(await honest.recv())
                    first = message["from_height"] if message["type"] == "lagged" else message["height"]
                    seen |= set(range(first, message["height"] + 1))
                assert seen == set(range(1, 300)), "every block was sent, or said to be left out"

    serve(scenario)


def test_a_block_that_the_node_lacks_is_told_as_left_out() -> None:
    async def scenario(edge: Edge) -> None:
        for _ in range(3):
            edge.node.commit_one()
        del edge.node.blocks[2]  # pruned
        key = SENDERS[0].public_key.hex()
        events = edge.url.replace("http", "ws") + f"/v1/events?topic=blocks&account={key}&from_height=1"
        async with connect(events, proxy=None) as stream:
            await hello(stream)
            seen = [json.loads(await stream.recv()) for _ in range(3)]
            kinds = [(each["type"], each["height"]) for each in seen]
            assert kinds == [("block", 1), ("lagged", 2), ("block", 3)]

    serve(scenario)


def test_heavy_reads_of_one_client_wait_behind_his_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(edge: Edge) -> None:
        gone, asked = asyncio.Event(), 0

        async def slow(_key: bytes, _height: int | None) -> dict[str, Any]:
            nonlocal asked
            asked += 1
            await gone.wait()
            return {"retained": (0, 0)}

        monkeypatch.setattr(edge.node.service._storage, "state_proof", slow, raising=False)
        proof = f"/v1/accounts/{SENDERS[0].public_key.hex()}/proof"
        async with edge.http(ATTACKER, limits=httpx.Limits(max_connections=200)) as attacker:
            proofs = [asyncio.ensure_future(attacker.get(proof)) for _ in range(100)]
            await until(lambda: edge.api.gate.turns[1].waiting == 96)
            assert asked == 4
            async with edge.http() as http:
                for path in ("/v1/status", "/metrics", "/v1/peers", f"/v1/accounts/{'0' * 64}", "/v1/ready"):
                    assert (await http.get(path)).status_code == 200, path
            gone.set()
            await asyncio.gather(*proofs)
        assert edge.api.gate.turns[1].taken == 0

    serve(scenario, heavy_reads_max=8)


def test_a_turn_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "TURN_TIMEOUT_S", 0.05)

    async def scenario() -> None:
        turns = FairTurns("reads", 2)
        await turns.enter("a")
        with pytest.raises(BusyError):
            await turns.enter("a")
        late = asyncio.ensure_future(turns.enter("a"))
        await asyncio.sleep(0)
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        await turns.enter("b")
        turns.leave("a")
        turns.leave("b")
        assert (turns.taken, turns.waiting) == (0, 0)

    asyncio.run(scenario())


def test_answers_that_nobody_reads_end_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "WRITE_LOOK_S", 0.2)

    async def scenario(edge: Edge) -> None:
        monkeypatch.setattr(edge.node.service._storage, "block", _huge_block)
        unread = socket.socket()
        unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        unread.setblocking(False)
        await asyncio.get_running_loop().sock_connect(unread, edge.address)
        await asyncio.get_running_loop().sock_sendall(
            unread, f"GET /v1/blocks/1/raw HTTP/1.1\r\nhost: {edge.host}\r\n\r\n".encode()
        )
        await until(lambda: len(edge.server.table) == 1)
        for _ in range(100):
            if not len(edge.server.table):
                break
            await asyncio.sleep(0.1)
        assert len(edge.server.table) == 0
        unread.close()

    serve(scenario)


async def _huge_block(_height: int) -> bytes:
    return bytes(16 << 20)
