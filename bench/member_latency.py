"""One consensus message from a part of one member to a part of another: Ray, the wire, Ray again.

Two `Peer` actors in one local Ray cluster, connected over loopback; a speaker actor calls `send` of the one,
and a listener actor of the other gets the batch. Messages go out in an open loop at `rate`; times are of the
machine's monotonic clock, from just before `send.remote` to the first line of the listener's method.

ray_hop_ms       one way between two actors without a wire, in the same run: the yardstick
wire_ms          one way over the encrypted wire alone, both ends in one process
one_way_ms       the whole way
ray_hops         one_way_ms.p50 / ray_hop_ms.p50: the least there can be is the 2 calls that it consists of
burst_per_s      messages a second when the speaker sends batches of 64 as fast as they are taken
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

BURST_BATCH = 64
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
    cluster = RayCluster(load("bench", []).settings)
    try:
        figures = _between_actors(messages, rate, body_bytes)
    finally:
        cluster.close()
    hop_ms, one_way_ms = figures["ray_hop_ms"], figures["one_way_ms"]
    return {
        "messages": messages,
        "rate": rate,
        **figures,
        "wire_ms": wire_ms,
        "ray_hops": round(one_way_ms["p50"] / hop_ms["p50"], 2),
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
    """Sends stamped messages at a rate, or as fast as they are taken."""

    async def send(self, peer: Any, to: bytes, count: int, rate: int, body_bytes: int) -> None:
        """Open loop over the wire."""
        async for _ in _paced(count, rate):
            peer.send.remote([(to, RAFT_CHANNEL, stamped(body_bytes))])

    async def call(self, listener: Any, count: int, rate: int, body_bytes: int) -> None:
        """Open loop straight to the listener."""
        async for _ in _paced(count, rate):
            listener.batch.remote([(b"", stamped(body_bytes))])

    async def burst(self, peer: Any, to: bytes, count: int, body_bytes: int) -> None:
        """Batches, each after the answer to the one before; what was not queued is sent again."""
        left = count
        while left:
            body = stamped(body_bytes)
            queued = await peer.send.remote([(to, RAFT_CHANNEL, body)] * min(left, BURST_BATCH))
            left -= sum(queued)


async def _paced(count: int, rate: int) -> Any:
    began_s = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0.0, began_s + number / rate - time.monotonic()))
        yield number


def _between_actors(messages: int, rate: int, body_bytes: int) -> dict[str, Any]:
    import ray

    from actors.peer.actor import OPTIONS
    from actors.peer.wire_face import Peer

    remote = ray.remote(num_cpus=0, **OPTIONS)
    listener, speaker = remote(LatencyProbe).remote(), remote(Speaker).remote()
    target = remote(Peer).remote(_config(1))
    facts = ray.get(target.start.remote())
    ray.get(target.listen.remote(RAFT_CHANNEL, listener, "batch"))
    peer, identity = remote(Peer).remote(_config(0)), bytes.fromhex(facts["identity"])
    ray.get(peer.start.remote())
    ray.get(peer.add_seeds.remote([facts["address"]]))
    ray.get(peer.poll.remote("peers", 0, ARRIVAL_TIMEOUT_S))

    def one_way() -> list[float]:
        ray.get(speaker.send.remote(peer, identity, messages, rate, body_bytes))
        return list(ray.get(listener.take.remote(messages)))

    def hop() -> list[float]:
        ray.get(speaker.call.remote(listener, messages, rate, body_bytes))
        return list(ray.get(listener.take.remote(messages)))

    one_way(), hop()
    figures: dict[str, Any] = {"ray_hop_ms": percentiles(hop()), "one_way_ms": percentiles(one_way())}
    began_s = time.monotonic()
    ray.get(speaker.burst.remote(peer, identity, 20 * messages, body_bytes))
    ray.get(listener.take.remote(20 * messages))
    figures["burst_per_s"] = round(20 * messages / (time.monotonic() - began_s))
    ray.get([peer.stop.remote(), target.stop.remote()])
    return figures


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
