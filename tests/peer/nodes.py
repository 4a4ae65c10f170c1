"""Real nodes on loopback sockets, in one process and one event loop, for the tests of the shell."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from actors.peer.config import KnownMember, PeerConfig, PeerIntervals, PeerLimits
from actors.peer.network import Network
from actors.peer.wire.handshake import LocalIdentity

GENESIS = hashlib.sha256(b"loopback").digest()
PATIENCE_S = 120.0
FAST = PeerIntervals(tick_s=0.02, backoff_min_s=0.05, backoff_max_s=0.2)


def seed_of(index: int) -> bytes:
    """Identity seed of node `index`, the same in every run."""
    return hashlib.sha256(b"node %d" % index).digest()


def identity_of(index: int) -> bytes:
    """Public key of node `index`."""
    return LocalIdentity(seed_of(index), GENESIS).public


def config_of(index: int, members: int = 0, **changes: Any) -> PeerConfig:
    """Configuration of node `index`; the first `members` indices are members, without addresses."""
    settings: dict[str, Any] = {
        "identity_seed": seed_of(index),
        "genesis_hash": GENESIS,
        "members": tuple(KnownMember(identity_of(member)) for member in range(members)),
        "intervals": FAST,
        "limits": PeerLimits(subnet_per_bucket_max=0, subnet_per_table_max=0),
    }
    return PeerConfig(**(settings | changes))


@asynccontextmanager
async def running(
    *configs: PeerConfig, before: Callable[[Network], object] = lambda _: None
) -> AsyncIterator[list[Network]]:
    """Start these nodes, stop them at the end. before: called with each, before the first connects."""
    networks = [Network(config) for config in configs]
    for network in networks:
        before(network)
    try:
        for network in networks:
            await network.start(record_sequence=1)
        yield networks
    finally:
        for network in networks:
            await network.stop()


async def eventually(condition: Callable[..., object]) -> None:
    """Wait for a condition; fails only when it stays false for `PATIENCE_S`."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def joined(*networks: Network) -> None:
    """Dial from the first to each other, and wait until all are established."""
    for other in networks[1:]:
        await networks[0].links.dial(str(other.address), other.identity)
        await eventually(lambda other=other: networks[0].identity in other.connected())
