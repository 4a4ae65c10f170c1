"""A network's data directory: genesis, allocation, and a folder a node with its key. Knows no Ray.

DATA_DIR/genesis.json  allocation.bin        the network; genesis.json comes last and whole, so that it says
                                             that all else is there
DATA_DIR/node-1/node.key                     32-byte Ed25519 seed in hex, mode 0600
DATA_DIR/node-1/{db,journal,logs}            what the actors of that node write
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actors.ledger.accounts import Account, state_root
from actors.ledger.genesis import (
    GENESIS_VERSION,
    Allocation,
    Genesis,
    Member,
    decode_allocation,
    decode_genesis,
)
from actors.ledger.quorum import quorum
from actors.ledger.rows import FormatError
from actors.ledger.signing import SEED_BYTES, Signer, development_signer
from actors.machine.private import opened
from actors.machine.runtime import PRIVATE_MODE
from actors.sdk.trust import HOME_VARIABLE
from actors.settings import NetworkSettings

GENESIS_FILE, ALLOCATION_FILE, KEY_FILE = "genesis.json", "allocation.bin", "node.key"
DEFAULT_KEYS = Path("~/.raychain/keys")
NEW = ".new"  # ends the name of a file until it is whole
NEW_MEMBERS = 3
_ADVICE = {
    errno.ENOSPC: "free some space there, or choose another; what is there already is kept",
    errno.EDQUOT: "the user's quota is used up; what is there already is kept",
    errno.EROFS: "choose one on a file system that takes files",
    errno.EACCES: "choose one that this user may write to",
    errno.EPERM: "choose one that is this user's own",
    errno.ENOTDIR: "that is a file; choose a folder",
    errno.EEXIST: "that is a file; choose a folder",
    errno.ENAMETOOLONG: "choose a shorter one",
}
Progress = Callable[[str], None]


class DirectoryError(RuntimeError):
    """The data directory cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class NodeFolder:
    """One node's part of the data directory. key_file: its key, where that lies elsewhere."""

    name: str
    path: Path
    identity: bytes
    key_file: Path | None = None

    @property
    def key_path(self) -> Path:
        """Where the node's seed is."""
        return self.key_file or self.path / KEY_FILE


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
    """Write a seed in hex to a new file of mode 0600, whole or not at all. Raises FileExistsError rather than
    overwrite."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}{NEW}")
    new.unlink(missing_ok=True)
    _write_new(new, (seed.hex() + "\n").encode())
    try:
        os.link(new, path)
        new.unlink()
    except PermissionError:  # a file system without links
        if path.exists():
            raise
        new.rename(path)
    except FileExistsError:
        new.unlink()
        raise
    _sync_folder(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there with all of its bytes, synced, or as it was before."""
    new = path.with_name(f"{path.name}{NEW}")
    new.unlink(missing_ok=True)
    _write_new(new, data)
    new.rename(path)
    _sync_folder(path.parent)


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_signer(path: Path) -> Signer:
    """The key pair of a key file; errors as `read_seed`."""
    return Signer(read_seed(path))


def read_seed(path: Path) -> bytes:
    """The seed in a key file. Raises DirectoryError if it is missing, malformed or open to others."""
    try:
        problem = opened(path.stat())
        text = path.read_text().strip()
    except OSError as error:
        raise DirectoryError(f"key file {path}: {error.strerror}; make one with `node.py keys new`") from None
    except UnicodeDecodeError:
        text = ""
    if problem:
        raise DirectoryError(f"key file {path}: {problem}, must be 0600; run chmod 600 on it")
    try:
        seed = bytes.fromhex(text)
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise DirectoryError(f"key file {path}: expected {2 * SEED_BYTES} hex digits")
    return seed


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What the file system says of a data directory, as a DirectoryError that says what to do."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        advice = _ADVICE.get(error.errno or 0, "see that it is there, and this user's to write")
        raise DirectoryError(f"--data-dir {path}: {where}: {error.strerror or error}; {advice}") from None


def open_network(path: Path, settings: NetworkSettings, nodes: int, progress: Progress) -> NetworkDirectory:
    """Open the network in `path`, or found one there; a founding that was interrupted is completed.

    Raises DirectoryError if it is another's, or cannot be used.
    """
    with _explained(path):
        if _has(path, GENESIS_FILE):
            return _existing(path, settings, nodes)
        if path.exists() and any(path.iterdir()):
            if not is_half_founded(path):
                raise DirectoryError(
                    f"{path} is not empty and holds no {GENESIS_FILE}; restore that from a backup, "
                    "or choose another --data-dir"
                )
            progress("completing a founding that was interrupted")
        return _found(path, settings, nodes, progress)


def _has(path: Path, name: str) -> bool:
    """Whether a folder has a file. Raises OSError for what is no folder, or cannot be looked into."""
    try:
        (path / name).stat()
    except FileNotFoundError:
        return False
    return True


def is_half_founded(path: Path) -> bool:
    """Whether all that a folder holds is what founding writes before the genesis: no node ever ran on it."""
    first = {ALLOCATION_FILE, f"{ALLOCATION_FILE}{NEW}", f"{GENESIS_FILE}{NEW}"}
    for entry in path.iterdir():
        of_node = entry.name.startswith("node-") and entry.is_dir()
        inside = {each.name for each in entry.iterdir()} if of_node else {"?"}
        if entry.name not in first and not inside <= {KEY_FILE, f"{KEY_FILE}{NEW}"}:
            return False
    return True


def members_in(path: Path | None) -> int:
    """Members of the network in a data directory; NEW_MEMBERS where there is none yet. Errors as
    `open_network`."""
    if path is None:
        return NEW_MEMBERS
    with _explained(path):
        if not _has(path, GENESIS_FILE):
            return NEW_MEMBERS
        return len(genesis_in(path).members)


def genesis_in(path: Path) -> Genesis:
    """The genesis of a folder. Raises OSError without one, DirectoryError for one that cannot be read."""
    try:
        return decode_genesis((path / GENESIS_FILE).read_bytes())
    except FormatError as error:
        raise DirectoryError(
            f"{path / GENESIS_FILE}: {error}; it is no genesis of this version: restore it from a backup"
        ) from None


def join_network(path: Path, source: Path, name: str, key_file: str = "") -> NetworkDirectory:
    """Open or make the directory of an observer `name` of the network whose genesis is in folder `source`.

    `key_file` is node.key_file; empty: a key in the folder, made if need be. Raises DirectoryError when
    `path` belongs to another network or `source` holds none.
    """
    if not (source / GENESIS_FILE).exists():
        raise DirectoryError(f"--genesis {source}: no {GENESIS_FILE} there; give a network's data directory")
    genesis = genesis_in(source)
    with _explained(path):
        created = not _has(path, GENESIS_FILE)
        if created:
            path.mkdir(parents=True, exist_ok=True)
            for file in (ALLOCATION_FILE, GENESIS_FILE):
                write_whole(path / file, (source / file).read_bytes())
        own = genesis_in(path)
        if own.hash() != genesis.hash():
            raise DirectoryError(
                f"{path} belongs to chain {own.hash().hex()[:16]}, "
                f"--genesis names {genesis.hash().hex()[:16]}"
            )
        folder, mounted = path / name, Path(key_file).absolute() if key_file else None
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(PRIVATE_MODE)
        if mounted is None and not _has(folder, KEY_FILE):
            write_secret(folder / KEY_FILE, secrets.token_bytes(SEED_BYTES))
        identity = read_signer(mounted or folder / KEY_FILE).public_key
        return NetworkDirectory(path, own, [NodeFolder(name, folder, identity, mounted)], created)


def _existing(path: Path, settings: NetworkSettings, nodes: int) -> NetworkDirectory:
    genesis = genesis_in(path)
    if genesis.network != settings.name:
        raise DirectoryError(
            f"{path} belongs to network {genesis.network!r} (chain {genesis.hash().hex()[:16]}), "
            f"the configuration says {settings.name!r}; choose another --data-dir or --set network.name"
        )
    if len(genesis.members) != nodes:
        raise DirectoryError(f"{path}: its genesis has {len(genesis.members)} members, --nodes says {nodes}")
    folders = []
    for member in genesis.members:
        if not (path / member.name / KEY_FILE).exists():
            raise DirectoryError(
                f"{path / member.name / KEY_FILE} is missing: restore the key of {member.name} from a "
                "backup, since the genesis knows no other, or follow as an observer: "
                f"node.py up --node NAME --join HOST:PORT --genesis {path} --data-dir ANOTHER"
            )
        signer = read_signer(path / member.name / KEY_FILE)
        if signer.public_key.hex() != member.identity:
            raise DirectoryError(
                f"{path / member.name / KEY_FILE}: not the key of {member.name} in the genesis"
            )
        (path / member.name).chmod(PRIVATE_MODE)
        folders.append(NodeFolder(member.name, path / member.name, signer.public_key))
    return NetworkDirectory(path, genesis, folders, created=False)


def _found(path: Path, settings: NetworkSettings, nodes: int, progress: Progress) -> NetworkDirectory:
    progress(
        f"founding network {settings.name!r} with {settings.development_accounts:,} development accounts"
    )
    allocation, folders = development_allocation(settings), []
    for number in range(1, nodes + 1):
        name = f"node-{number}"
        key = path / name / KEY_FILE
        try:
            signer = read_signer(key)  # of a founding that was interrupted
        except DirectoryError:
            key.unlink(missing_ok=True)
            write_secret(key, secrets.token_bytes(SEED_BYTES))
            signer = read_signer(key)
        key.parent.chmod(PRIVATE_MODE)
        folders.append(NodeFolder(name, path / name, signer.public_key))
    genesis = build_genesis(settings, allocation, folders, time.time_ns() // 1_000_000)
    write_whole(path / ALLOCATION_FILE, allocation.encode())
    write_whole(path / GENESIS_FILE, genesis.encode())
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
        key.tobytes(): Account(0, int(balance))
        for key, balance in zip(allocation.keys, allocation.balances, strict=True)
    }
    return Genesis(
        version=GENESIS_VERSION,
        network=settings.name,
        created_ms=created_ms,
        members=[Member(folder.name, folder.identity.hex()) for folder in folders],
        accounts=len(state),
        supply=allocation.supply(),
        state_root=state_root(state).hex(),
        block_transactions_max=settings.block_transactions_max,
        block_payload_bytes_max=settings.block_payload_bytes_max,
        fee_min=settings.fee_min,
        balance_min=settings.balance_min,
        gas_per_unit=settings.gas_per_unit,
        entry_deposit=settings.entry_deposit,
        block_gas_max=settings.block_gas_max,
        governors=list(settings.governors),
        governors_needed=_governors_needed(settings),
    )


def _governors_needed(settings: NetworkSettings) -> int:
    """Raises DirectoryError where more are needed than there are."""
    governors = len(settings.governors)
    if settings.governors_needed > governors:
        raise DirectoryError(
            f"network.governors_needed is {settings.governors_needed}, and network.governors has "
            f"{governors}; name more of them, or lower it"
        )
    return settings.governors_needed or (quorum(governors) if governors else 0)


def read_allocation(path: Path) -> Allocation:
    """The allocation file, checked."""
    return decode_allocation(path.read_bytes())


def keys_folder(keys_dir: Path) -> Path:
    """The folder of key files; the default one is in RAYCHAIN_HOME where that is set. Raises DirectoryError
    for a user without a home."""
    if keys_dir == DEFAULT_KEYS and (home := os.environ.get(HOME_VARIABLE)):
        return Path(home) / keys_dir.name
    try:
        return keys_dir.expanduser()
    except RuntimeError:
        raise DirectoryError(
            f"{keys_dir}: this user has no home; give --keys-dir, or set {HOME_VARIABLE}"
        ) from None
