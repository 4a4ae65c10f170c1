"""Which genesis a client judges by. What a node says of itself proves nothing: that comes from elsewhere.

    pinned by a file        `--genesis`, RAYCHAIN_GENESIS: a genesis.json, or a network's data directory
    remembered              the hash that a gateway's network had when it was first used from this machine, or
                            that `up` wrote down when it started that gateway from its own data directory
    the node's own          first use: nothing is known of this address yet; then it is remembered

The memory is one file, mode 0600, in ~/.raychain or in the folder RAYCHAIN_HOME. What it holds of an address
is never replaced because a node says otherwise: only by `networks forget`, or by `up` on this machine.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from actors.ledger.genesis import GENESIS_BYTES_MAX, Genesis, decode_genesis
from actors.ledger.hashing import DIGEST_BYTES
from actors.sdk.answers import NETWORK_BYTES
from actors.sdk.inclusion_proof import ProofError

HOME_VARIABLE, GENESIS_VARIABLE = "RAYCHAIN_HOME", "RAYCHAIN_GENESIS"
GENESIS_FILE, MEMORY_FILE = "genesis.json", "networks.json"
FIRST_USE = "first use"
NETWORKS_MAX = 1_000
MEMORY_BYTES_MAX = 1 << 20


class TrustError(RuntimeError):
    """A genesis to trust cannot be read, or contradicts what is known; the message says what to do."""


class Pin:
    """The genesis that a client was given: a document, a hash, or nothing. `document` may be the node's."""

    def __init__(self, genesis: Genesis | bytes | None) -> None:
        self.document = genesis if isinstance(genesis, Genesis) else None
        self.digest = genesis.hash() if isinstance(genesis, Genesis) else genesis
        if self.digest is not None and len(self.digest) != DIGEST_BYTES:
            raise ValueError(f"genesis: a hash of {len(self.digest)} bytes, {DIGEST_BYTES} expected")

    @property
    def mark(self) -> str | None:
        """What answers of the pinned network are marked with."""
        return None if self.digest is None else self.digest[:NETWORK_BYTES].hex()

    def check(self) -> None:
        """Raises ProofError where nothing is pinned: no proof can be judged by the word of who gives it."""
        if self.digest is None:
            raise ProofError(
                "genesis",
                "none is pinned; give the client or this call a genesis that you trust (a node's own proves "
                "that node's story alone)",
            )


def read_genesis(path: Path) -> Genesis:
    """The genesis in a file, or in a network's data directory. Raises TrustError, FormatError."""
    file = path / GENESIS_FILE if path.is_dir() else path
    try:
        with file.open("rb") as opened:
            data = opened.read(GENESIS_BYTES_MAX + 1)
    except OSError as error:
        raise TrustError(
            f"genesis {file}: {error.strerror}; give a genesis.json or a data directory"
        ) from None
    return decode_genesis(data)


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is remembered of a gateway's address. genesis: hash in hexadecimal; source: how it was learned,
    FIRST_USE or the data directory of the node."""

    genesis: str
    network: str
    source: str


class KnownNetworks:
    """The memory of networks, read when it is made. An unreadable file is an error, not an empty memory."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / MEMORY_FILE
        self.entries: dict[str, Known] = {}
        try:
            with self._file.open("rb") as opened:
                data = opened.read(MEMORY_BYTES_MAX + 1)
        except FileNotFoundError:
            return
        except OSError as error:
            raise TrustError(
                f"{self._file}: {error.strerror}; set {HOME_VARIABLE} to a folder of yours"
            ) from None
        try:
            self.entries = msgspec.json.decode(data, type=dict[str, Known])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise TrustError(f"{self._file}: {error}; mend it, or remove it to forget all networks") from None

    def digest_of(self, urls: Iterable[str]) -> bytes | None:
        """The genesis hash remembered for these gateways of one network, None for none. Raises TrustError
        when they are known to be of different networks."""
        known = {url: self.entries[url] for url in urls if url in self.entries}
        if len({entry.genesis for entry in known.values()}) > 1:
            shown = ", ".join(f"{url} of {entry.genesis[:16]}" for url, entry in known.items())
            raise TrustError(f"these gateways are remembered as of different networks: {shown}")
        try:
            return next((bytes.fromhex(entry.genesis) for entry in known.values()), None)
        except ValueError:
            raise TrustError(f"{self._file}: a hash there is not hexadecimal; mend or remove it") from None

    def source_of(self, urls: Iterable[str]) -> str:
        """How the network of these gateways was learned; empty for unknown ones."""
        return next((self.entries[url].source for url in urls if url in self.entries), "")

    def remember(self, urls: Iterable[str], genesis: Genesis, source: str) -> bool:
        """Keep the genesis of gateways; beyond NETWORKS_MAX the oldest are forgotten. False where the memory
        cannot be written, as on a read-only disk."""
        entry = Known(genesis.hash().hex(), genesis.network, source)
        for url in urls:
            self.entries.pop(url, None)
            self.entries[url] = entry
        for url in list(self.entries)[: max(0, len(self.entries) - NETWORKS_MAX)]:
            del self.entries[url]
        return self._write()

    def forget(self, url: str) -> bool:
        """Forget an address; False if it was not known. Raises TrustError if it cannot be written."""
        if self.entries.pop(url, None) is None:
            return False
        if not self._write():
            raise TrustError(f"{self._file} cannot be written")
        return True

    def _write(self) -> bool:
        """Replace the file as a whole, so that two processes at a time leave one of their memories."""
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._file.parent, prefix=f".{MEMORY_FILE}.")
        except OSError:
            return False
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(self.entries)) + b"\n")
            os.replace(name, self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(name)
            return False
        return True


def remember_own(folders: Mapping[str, Path], genesis: Genesis) -> bool:
    """Keep the genesis of gateways that this user started from data directories of this machine, in place of
    whatever other network was at these addresses before. False where that cannot be kept."""
    try:
        memory = known_networks()
    except TrustError:
        return False
    kept = [
        memory is not None and memory.remember([url], genesis, str(f.resolve())) for url, f in folders.items()
    ]
    return all(kept)


def home_folder() -> Path | None:
    """Where keys and memory are: RAYCHAIN_HOME, else ~/.raychain; None for a user without a home."""
    if given := os.environ.get(HOME_VARIABLE):
        return Path(given)
    try:
        return Path.home() / ".raychain"
    except RuntimeError:
        return None


def known_networks() -> KnownNetworks | None:
    """The user's memory of networks; None for a user without a home. Raises TrustError."""
    folder = home_folder()
    return None if folder is None else KnownNetworks(folder)
