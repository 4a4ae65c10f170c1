"""Peers on loopback sockets in one process, and lookups in the simulator.

handshakes_per_s          authenticated connections opened and closed, one after another, both ends here
encrypted_mb_s            one connection, 1 MiB messages, from `send` to the receiver's handler
raw_tcp_mb_s              the same bytes over a bare TCP connection of the same event loop
secretstream_limit_mb_s   libsodium seals and opens the same bytes in 64 KiB pieces, nothing else; both ends
                          of the connection share one thread here, so both halves count
encrypted_to_limit        the ratio of the two, measured in turns in this run
block_propagation_ms      2 MB to 2 and to 8 peers at once: p50 and p99 over peers and rounds until the peer
                          has acknowledged; every peer's work is done by this one process
lookup                    simulated Kademlia at each size: success, hops_mean, messages_mean
lookup_fit                hops and messages as a + b log2 N, and the largest relative residual
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from actors.peer.network import Network

MIB = 1 << 20
MESSAGE_BYTES = MIB
PIECE_BYTES = 64 << 10
BLOCK_BYTES = 2_000_000
RAW_CHUNK_BYTES = 256 << 10
MEGABYTE = 1e6


def command(
    seconds: Annotated[float, typer.Option(help="How long to open and close connections.")] = 2.0,
    mebibytes: Annotated[int, typer.Option(help="Bytes a throughput round, in MiB.")] = 64,
    rounds: Annotated[int, typer.Option(help="Rounds; throughput is their median.")] = 5,
    nodes_max: Annotated[int, typer.Option(help="Largest simulated network: 100, 1000 or 10000.")] = 10_000,
) -> dict[str, object]:
    """Measure handshakes, encrypted throughput, block propagation and simulated lookups."""
    import uvloop

    from actors.shell import retain_large_buffers

    retain_large_buffers()  # as the peer's process does
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        handshakes_per_s = runner.run(_handshakes(seconds))
        throughput = runner.run(_throughput(mebibytes, rounds))
        propagation = {f"peers_{count}": runner.run(_propagation(count, 4 * rounds)) for count in (2, 8)}
    sizes = [size for size in (100, 1_000, 10_000) if size <= nodes_max]
    return {
        "handshakes_per_s": round(handshakes_per_s, 1),
        **throughput,
        "block_propagation_ms": propagation,
        **_lookups(sizes),
    }


def _network(index: int, members: int) -> Network:
    from actors.peer.config import KnownMember, PeerConfig, PeerLimits
    from actors.peer.network import Network
    from actors.peer.wire.handshake import LocalIdentity

    genesis_hash = hashlib.sha256(b"network benchmark").digest()
    seeds = [hashlib.sha256(b"benchmark %d" % number).digest() for number in range(members)]
    config = PeerConfig(
        identity_seed=seeds[index],
        genesis_hash=genesis_hash,
        members=tuple(KnownMember(LocalIdentity(seed, genesis_hash).public) for seed in seeds),
        limits=PeerLimits(subnet_per_bucket_max=0, subnet_per_table_max=0),
    )
    return Network(config)


async def _started(count: int) -> list[Network]:
    networks = [_network(index, count) for index in range(count)]
    for network in networks:
        await network.start(record_sequence=1)
    return networks


async def _handshakes(seconds: float) -> float:
    client, server = await _started(2)
    done, start_s = 0, time.perf_counter()
    while (elapsed_s := time.perf_counter() - start_s) < seconds:
        await client.links.dial(str(server.address), server.identity)
        session = client.links.session(server.identity)
        session.close()
        await session.closed.wait()
        done += 1
    await client.stop()
    await server.stop()
    return done / elapsed_s


async def _throughput(mebibytes: int, rounds: int) -> dict[str, object]:
    """All three figures in turns, so that a noisy machine disturbs them alike."""
    total_bytes = mebibytes * MIB
    sender, receiver = await _started(2)
    await sender.links.dial(str(receiver.address), receiver.identity)
    encrypted, raw, limit = [], [], []
    for _ in range(rounds):
        encrypted.append(total_bytes / MEGABYTE / await _encrypted_s(sender, receiver, total_bytes))
        raw.append(total_bytes / MEGABYTE / await _raw_s(total_bytes))
        limit.append(total_bytes / MEGABYTE / _secretstream_s(total_bytes))
    await sender.stop()
    await receiver.stop()
    return {
        "encrypted_mb_s": round(statistics.median(encrypted), 1),
        "raw_tcp_mb_s": round(statistics.median(raw), 1),
        "secretstream_limit_mb_s": round(statistics.median(limit), 1),
        "encrypted_to_limit": round(
            statistics.median(one / other for one, other in zip(encrypted, limit, strict=True)), 3
        ),
    }


async def _encrypted_s(sender: Network, receiver: Network, total_bytes: int) -> float:
    from actors.peer.wire.frames import Priority

    complete, missing = asyncio.Event(), total_bytes

    async def count(batch: list[tuple[bytes, bytes]]) -> None:
        nonlocal missing
        missing -= sum(len(body) for _, body in batch)
        if missing <= 0:
            complete.set()

    receiver.register_channel("bulk", count)
    body = bytes(MESSAGE_BYTES)
    start_s = time.perf_counter()
    for _ in range(total_bytes // MESSAGE_BYTES):
        await sender.send(receiver.identity, "bulk", body, Priority.BLOCKS)
    await complete.wait()
    return time.perf_counter() - start_s


class _Sink(asyncio.Protocol):
    """Counts bytes of a bare TCP connection."""

    def __init__(self, total_bytes: int, complete: asyncio.Event) -> None:
        self._missing = total_bytes
        self._complete = complete

    def data_received(self, data: bytes) -> None:
        self._missing -= len(data)
        if self._missing <= 0:
            self._complete.set()


async def _raw_s(total_bytes: int) -> float:
    loop, complete = asyncio.get_running_loop(), asyncio.Event()
    server = await loop.create_server(lambda: _Sink(total_bytes, complete), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    chunk = bytes(RAW_CHUNK_BYTES)
    start_s = time.perf_counter()
    for _ in range(total_bytes // RAW_CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    await complete.wait()
    elapsed_s = time.perf_counter() - start_s
    writer.close()
    server.close()
    await server.wait_closed()
    return elapsed_s


def _secretstream_s(total_bytes: int) -> float:
    import nacl.bindings as sodium

    key = sodium.crypto_secretstream_xchacha20poly1305_keygen()
    push = sodium.crypto_secretstream_xchacha20poly1305_state()
    pull = sodium.crypto_secretstream_xchacha20poly1305_state()
    header = sodium.crypto_secretstream_xchacha20poly1305_init_push(push, key)
    sodium.crypto_secretstream_xchacha20poly1305_init_pull(pull, header, key)
    pieces = [bytes(PIECE_BYTES) for _ in range(MESSAGE_BYTES // PIECE_BYTES)]
    start_s = time.perf_counter()
    for _ in range(total_bytes // MESSAGE_BYTES):
        for piece in pieces:
            sealed = sodium.crypto_secretstream_xchacha20poly1305_push(push, piece)
            sodium.crypto_secretstream_xchacha20poly1305_pull(pull, sealed)
    return time.perf_counter() - start_s


async def _propagation(peers: int, rounds: int) -> dict[str, float]:
    from actors.peer.spread import BLOCK_METHOD, Spread

    networks = await _started(peers + 1)
    sender, spread = networks[0], Spread(networks[0])

    async def acknowledge(_peer: bytes, _body: bytes) -> bytes:
        return b""

    for network in networks[1:]:
        network.register_method(BLOCK_METHOD, acknowledge, members_only=True)
        await sender.links.dial(str(network.address), network.identity)
    elapsed_ms: list[float] = []
    block = bytes(BLOCK_BYTES)
    for _ in range(rounds):
        receipts = await spread.broadcast_block(block, deadline_s=30.0)
        failed = [receipt.error for receipt in receipts if receipt.error]
        if failed or len(receipts) != peers:
            raise RuntimeError(f"broadcast reached {len(receipts) - len(failed)} of {peers} peers: {failed}")
        elapsed_ms += [receipt.elapsed_ms for receipt in receipts]
    for network in networks:
        await network.stop()
    elapsed_ms.sort()
    return {
        "p50": round(statistics.median(elapsed_ms), 2),
        "p99": round(elapsed_ms[min(len(elapsed_ms) - 1, int(0.99 * len(elapsed_ms)))], 2),
    }


def _lookups(sizes: list[int]) -> dict[str, object]:
    from bench.simulation.peer.finding import log_fit, settled

    stats = {size: settled(1, size).lookups(300, window_s=30.0) for size in sizes}
    lookup = {
        str(size): {
            "success": round(entry.success, 4),
            "hops_mean": round(entry.hops_mean, 3),
            "messages_mean": round(entry.messages_mean, 3),
        }
        for size, entry in stats.items()
    }
    if len(sizes) < 2:
        return {"lookup": lookup}
    fits = {
        "hops": log_fit(sizes, [entry.hops_mean for entry in stats.values()]),
        "messages": log_fit(sizes, [entry.messages_mean for entry in stats.values()]),
    }
    shown = {
        name: {"a": round(offset, 3), "b": round(slope, 3), "residual": round(residual, 3)}
        for name, (offset, slope, residual) in fits.items()
    }
    return {"lookup": lookup, "lookup_fit": shown}
