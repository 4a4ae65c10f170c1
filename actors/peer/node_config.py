"""What a node's profile and genesis say of its conversations with other nodes."""

from __future__ import annotations

from dataclasses import replace

from actors.ledger.genesis import Genesis
from actors.peer.config import KnownMember, PeerConfig, PeerLimits
from actors.settings import PeerSettings


def node_config(settings: PeerSettings, genesis: Genesis, seed: bytes) -> PeerConfig:
    """Members, seeds and bounds of the identity that the 32-byte seed makes, on any free port."""
    limits = PeerLimits()
    if not settings.subnet_limits:
        limits = replace(limits, subnet_per_bucket_max=0, subnet_per_table_max=0)
    return PeerConfig(
        identity_seed=seed,
        genesis_hash=genesis.hash(),
        members=tuple(KnownMember(bytes.fromhex(m.identity), m.address or None) for m in genesis.members),
        seeds=tuple(settings.seeds),
        listen_host=settings.host,
        listen_port=0,
        limits=limits,
    )
