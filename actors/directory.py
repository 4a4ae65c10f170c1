"""A network's data directory: genesis, allocation, and a folder a node with its key. Knows no Ray.

DATA_DIR/genesis.json  allocation.bin        the network
DATA_DIR/node-1/node.key                     32-byte Ed25519 seed in hex, mode 0600
DATA_DIR/node-1/{db,journal,logs}            what the actors of that node write
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actors.ledger import rules
from actors.ledger.genesis import (
    GENESIS_VERSION,
    Allocation,
    Genesis,
    Member,
    decode_allocation,
    decode_genesis,
)
from actors.ledger.signing import SEED_BYTES, Signer, development_signer
from actors.settings import NetworkSettings

GENESIS_FILE, ALLOCATION_FILE, KEY_FILE = "genesis.json", "allocation.bin", "node.key"
NEW_MEMBERS = 3
Progress = Callable[[str], None]


class DirectoryError(RuntimeError):
    """The data directory cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class NodeFolder:
    """One node's part of the data directory."""

    name: str
    path: Path
    identity: bytes

    @property
    def key_path(self) -> Path:
        """Where the node's seed is."""
        return self.path / KEY_FILE


@dataclass(frozen=True, slots=True)
class NetworkDirectory:
    """An existing network on disk."""

    path: Path
    genesis: Genesis
    nodes: list[NodeFolder]
    created: bool

    @property
    def allocation_path(self) -> Path:
        """Where the first balances are."""
        return self.path / ALLOCATION_FILE


def write_secret(path: Path, seed: bytes) -> None:
    """Write a seed in hex to a new file of mode 0600. Raises FileExistsError rather than overwrite."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(seed.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_signer(path: Path) -> Signer:
    """The key pair of a key file; errors as `read_seed`."""
    return Signer(read_seed(path))


def read_seed(path: Path) -> bytes:
    """The seed in a key file. Raises DirectoryError if it is missing, malformed or open to others."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text().strip()
    except OSError as error:
        raise DirectoryError(f"key file {path}: {error.strerror}; make one with `node.py keys new`") from None
    if mode & 0o077:
        raise DirectoryError(f"key file {path}: mode is {mode:04o}, must be 0600; run chmod 600 on it")
    try:
        seed = bytes.fromhex(text)
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise DirectoryError(f"key file {path}: expected {2 * SEED_BYTES} hex digits")
    return seed


def open_network(path: Path, settings: NetworkSettings, nodes: int, progress: Progress) -> NetworkDirectory:
    """Open the network in `path`, or found one there. Raises DirectoryError if it is another's."""
    if (path / GENESIS_FILE).exists():
        return _existing(path, settings, nodes)
    if path.exists() and any(path.iterdir()):
        raise DirectoryError(f"{path} is not empty and holds no {GENESIS_FILE}; choose another --data-dir")
    return _found(path, settings, nodes, progress)


def members_in(path: Path | None) -> int:
    """Members of the network in a data directory; NEW_MEMBERS where there is none yet."""
    if path is None or not (path / GENESIS_FILE).exists():
        return NEW_MEMBERS
    return len(decode_genesis((path / GENESIS_FILE).read_bytes()).members)


def join_network(path: Path, source: Path, name: str) -> NetworkDirectory:
    """Open or make the directory of an observer `name` of the network whose genesis is in folder `source`.

    Raises DirectoryError when `path` belongs to another network or `source` holds none.
    """
    if not (source / GENESIS_FILE).exists():
        raise DirectoryError(f"--genesis {source}: no {GENESIS_FILE} there; give a network's data directory")
    genesis = decode_genesis((source / GENESIS_FILE).read_bytes())
    created = not (path / GENESIS_FILE).exists()
    if created:
        path.mkdir(parents=True, exist_ok=True)
        for file in (ALLOCATION_FILE, GENESIS_FILE):
            (path / file).write_bytes((source / file).read_bytes())
    own = decode_genesis((path / GENESIS_FILE).read_bytes())
    if own.hash() != genesis.hash():
        raise DirectoryError(
            f"{path} belongs to chain {own.hash().hex()[:16]}, --genesis names {genesis.hash().hex()[:16]}"
        )
    folder = path / name
    if not (folder / KEY_FILE).exists():
        write_secret(folder / KEY_FILE, secrets.token_bytes(SEED_BYTES))
    identity = read_signer(folder / KEY_FILE).public_key
    return NetworkDirectory(path, own, [NodeFolder(name, folder, identity)], created)


def _existing(path: Path, settings: NetworkSettings, nodes: int) -> NetworkDirectory:
    genesis = decode_genesis((path / GENESIS_FILE).read_bytes())
    if genesis.network != settings.name:
        raise DirectoryError(
            f"{path} belongs to network {genesis.network!r} (chain {genesis.hash().hex()[:16]}), "
            f"the configuration says {settings.name!r}; choose another --data-dir or --set network.name"
        )
    if len(genesis.members) != nodes:
        raise DirectoryError(f"{path}: its genesis has {len(genesis.members)} members, --nodes says {nodes}")
    folders = []
    for member in genesis.members:
        signer = read_signer(path / member.name / KEY_FILE)
        if signer.public_key.hex() != member.identity:
            raise DirectoryError(
                f"{path / member.name / KEY_FILE}: not the key of {member.name} in the genesis"
            )
        folders.append(NodeFolder(member.name, path / member.name, signer.public_key))
    return NetworkDirectory(path, genesis, folders, created=False)


def _found(path: Path, settings: NetworkSettings, nodes: int, progress: Progress) -> NetworkDirectory:
    progress(
        f"founding network {settings.name!r} with {settings.development_accounts:,} development accounts"
    )
    allocation, folders = development_allocation(settings), []
    for number in range(1, nodes + 1):
        name = f"node-{number}"
        seed = secrets.token_bytes(SEED_BYTES)
        write_secret(path / name / KEY_FILE, seed)
        folders.append(NodeFolder(name, path / name, Signer(seed).public_key))
    genesis = build_genesis(settings, allocation, folders, time.time_ns() // 1_000_000)
    (path / ALLOCATION_FILE).write_bytes(allocation.encode())
    (path / GENESIS_FILE).write_bytes(genesis.encode())
    return NetworkDirectory(path, genesis, folders, created=True)


def development_allocation(settings: NetworkSettings) -> Allocation:
    """The same balance for each publicly known development key. Raises DirectoryError if it is too small."""
    if settings.development_balance < settings.balance_min:
        raise DirectoryError(
            f"network.development_balance is {settings.development_balance}, below network.balance_min, "
            f"{settings.balance_min}; raise the one or lower the other"
        )
    count = settings.development_accounts
    keys = b"".join(development_signer(settings.name, i).public_key for i in range(count))
    balances = np.full(count, settings.development_balance, dtype=np.uint64)
    return Allocation(np.frombuffer(keys, dtype=np.uint8).reshape(count, 32), balances)


def build_genesis(
    settings: NetworkSettings, allocation: Allocation, folders: list[NodeFolder], created_ms: int
) -> Genesis:
    """The genesis document of an allocation and its members."""
    state = {
        key.tobytes(): rules.Account(0, int(balance))
        for key, balance in zip(allocation.keys, allocation.balances, strict=True)
    }
    return Genesis(
        version=GENESIS_VERSION,
        network=settings.name,
        created_ms=created_ms,
        members=[Member(folder.name, folder.identity.hex()) for folder in folders],
        accounts=len(state),
        supply=allocation.supply(),
        state_root=rules.state_root(state).hex(),
        block_transactions_max=settings.block_transactions_max,
        block_payload_bytes_max=settings.block_payload_bytes_max,
        fee_min=settings.fee_min,
        balance_min=settings.balance_min,
    )


def read_allocation(path: Path) -> Allocation:
    """The allocation file, checked."""
    return decode_allocation(path.read_bytes())
