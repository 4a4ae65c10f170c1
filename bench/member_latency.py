"""One consensus message on its way from a member to another: a line, the wire, a line.

A member's Consensus hands it to its Peer over a local socket, that one sends it over the encrypted wire, and
the other Peer hands it on over a local socket. Messages go out in an open loop at `rate`; times are of the
machine's monotonic clock. Both ends of a line, and of the wire, are in one process here.

line_ms          one way over a local socket
wire_ms          one way over the encrypted wire
ray_hop_ms       one way between two actors through Ray, in the same run: the yardstick
ray_hops         wire and two lines, in such hops
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.ledger.channels import RAFT_CHANNEL

if TYPE_CHECKING:
    from actors.peer.config import PeerConfig

ARRIVAL_TIMEOUT_S = 30.0


def command(
    messages: Annotated[int, typer.Option(min=10, help="Messages of each measurement.")] = 1_000,
    rate: Annotated[int, typer.Option(min=1, max=5_000, help="Messages a second.")] = 200,
    body_bytes: Annotated[int, typer.Option(min=8, help="Bytes of a message.")] = 256,
) -> dict[str, object]:
    """Measure the latency of a message between members of one cluster."""
    from actors.cluster.actor import RayCluster
    from config.effective import load

    wire_ms = asyncio.run(_wire(messages, rate, body_bytes))
    line_ms = asyncio.run(_line(messages, rate, body_bytes))
    cluster = RayCluster(load("bench", []).settings)
    try:
        hop_ms = _between_actors(messages, rate, body_bytes)
    finally:
        cluster.close()
    return {
        "messages": messages,
        "rate": rate,
        "line_ms": line_ms,
        "wire_ms": wire_ms,
        "ray_hop_ms": hop_ms,
        "ray_hops": round((wire_ms["p50"] + 2 * line_ms["p50"]) / hop_ms["p50"], 2),
    }


def _config(index: int, seeds: tuple[str, ...] = ()) -> PeerConfig:
    from actors.peer.config import KnownMember, PeerConfig
    from actors.peer.wire.handshake import LocalIdentity

    genesis_hash = hashlib.sha256(b"member latency").digest()
    keys = [hashlib.sha256(b"member %d" % number).digest() for number in range(2)]
    members = tuple(KnownMember(LocalIdentity(key, genesis_hash).public) for key in keys)
    return PeerConfig(identity_seed=keys[index], genesis_hash=genesis_hash, members=members, seeds=seeds)


def stamped(body_bytes: int) -> bytes:
    """A body that begins with the time in ns."""
    return time.monotonic_ns().to_bytes(8, "little") + bytes(body_bytes - 8)


class LatencyProbe:
    """Keeps how long each message was under way, in ms."""

    def __init__(self) -> None:
        self._elapsed_ms: list[float] = []

    async def batch(self, batch: list[tuple[bytes, bytes]]) -> None:
        """Messages as a `Peer` hands them over."""
        now_ns = time.monotonic_ns()
        self._elapsed_ms += [(now_ns - int.from_bytes(body[:8], "little")) / 1e6 for _, body in batch]

    async def take(self, count: int) -> list[float]:
        """The times of the next `count` messages. Raises `TimeoutError`."""
        async with asyncio.timeout(ARRIVAL_TIMEOUT_S):
            while len(self._elapsed_ms) < count:
                await asyncio.sleep(0.01)
        taken, self._elapsed_ms = self._elapsed_ms, []
        return taken


class Speaker:
    """Sends stamped messages at a rate."""

    async def call(self, listener: Any, count: int, rate: int, body_bytes: int) -> None:
        """Open loop straight to the listener."""
        async for _ in _paced(count, rate):
            listener.batch.remote([(b"", stamped(body_bytes))])


async def _paced(count: int, rate: int) -> Any:
    began_s = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, began_s + number / rate - time.monotonic()))
        yield number


def _between_actors(messages: int, rate: int, body_bytes: int) -> dict[str, float]:
    import ray

    from actors.consensus.actor import OPTIONS

    remote = ray.remote(num_cpus=0, **OPTIONS)
    listener, speaker = remote(LatencyProbe).remote(), remote(Speaker).remote()

    def hop() -> list[float]:
        ray.get(speaker.call.remote(listener, messages, rate, body_bytes))
        return list(ray.get(listener.take.remote(messages)))

    hop()
    return percentiles(hop())


async def _line(messages: int, rate: int, body_bytes: int) -> dict[str, float]:
    from actors.local_socket import LocalListener, Spoken, call

    probe, tasks = LatencyProbe(), set[asyncio.Task[None]]()

    def heard(batch: list[Spoken]) -> None:
        tasks.add(asyncio.create_task(probe.batch([(who, body) for who, _, body in batch])))

    listener = LocalListener(heard)
    await listener.start()
    line = await call(listener.name, lambda _: None)
    async for _ in _paced(messages, rate):
        line.send([(b"", RAFT_CHANNEL, stamped(body_bytes))])
    elapsed_ms = await probe.take(messages)
    line.close()
    listener.close()
    return percentiles(elapsed_ms)


async def _wire(messages: int, rate: int, body_bytes: int) -> dict[str, float]:
    from actors.peer.network import Network
    from actors.peer.wire.frames import Priority

    sender, receiver, listener = Network(_config(0)), Network(_config(1)), LatencyProbe()
    for network in (sender, receiver):
        await network.start(record_sequence=1)
    receiver.register_channel(RAFT_CHANNEL, listener.batch)
    await sender.links.dial(str(receiver.address), receiver.identity)
    async for _ in _paced(messages, rate):
        sender.offer(receiver.identity, RAFT_CHANNEL, stamped(body_bytes), Priority.CONSENSUS)
    elapsed_ms = await listener.take(messages)
    for network in (sender, receiver):
        await network.stop()
    return percentiles(elapsed_ms)


def percentiles(elapsed_ms: list[float]) -> dict[str, float]:
    """p50 and p99 of times in ms."""
    elapsed_ms = sorted(elapsed_ms)
    p99 = elapsed_ms[min(len(elapsed_ms) - 1, int(0.99 * len(elapsed_ms)))]
    return {"p50": round(statistics.median(elapsed_ms), 3), "p99": round(p99, 3)}
