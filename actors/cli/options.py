"""What the commands that speak to a node have in common: options, names of keys, the connection."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from actors.console import Summary, UserError, console, emit
from actors.directory import DirectoryError, keys_folder, read_signer
from actors.ledger.genesis import Genesis
from actors.ledger.rows import FormatError
from actors.ledger.signing import SEED_BYTES, Signer, development_signer
from actors.sdk.answers import ApiError, ForeignAnswerError, UnavailableApiError
from actors.sdk.client import Client
from actors.sdk.endpoints import AddressError
from actors.sdk.proxies import ProxyError
from actors.sdk.trust import (
    FIRST_USE,
    GENESIS_VARIABLE,
    KnownNetworks,
    TrustError,
    known_networks,
    read_genesis,
)

DEFAULT_URL, URL_VARIABLE = "http://127.0.0.1:8470", "RAYCHAIN_URL"
DEVELOPMENT_PREFIX, DEVELOPMENT_NAMED = "development:", 16
Url = Annotated[
    str, typer.Option("--url", envvar=URL_VARIABLE, help="Address of a gateway, or of several: A,B")
]
KeysDir = Annotated[Path, typer.Option("--keys-dir", envvar="RAYCHAIN_KEYS", help="Folder of key files.")]
Json = Annotated[bool, typer.Option("--json", help="Last line of stdout is one JSON object.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show every figure besides.")]
Watch = Annotated[
    float, typer.Option("--watch", min=0, max=3600, help="Look again every so many seconds, until Ctrl-C.")
]
GenesisFile = Annotated[
    Path | None,
    typer.Option(
        "--genesis",
        "--data-dir",
        envvar=GENESIS_VARIABLE,
        help="What you trust the network by: a genesis.json, or a network's data directory.",
    ),
]
PATIENCE_S = 5.0
"""How long commands repeat what a balancer or a busy node answers; a refused connection is told at once."""


def key_path(keys_dir: Path, name: str) -> Path:
    """File of a key. Raises UserError for a name that is none."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise UserError(f"key name {name!r}: use letters, digits, - and _")
    return keys_folder(keys_dir) / f"{name}.key"


def signer_of(keys_dir: Path, name: str, network: str) -> Signer:
    """Key pair of a name: that of a key file, or development:N."""
    if name.startswith(DEVELOPMENT_PREFIX):
        return development_signer(network, _number(name))
    return read_signer(key_path(keys_dir, name))


def public_key_of(keys_dir: Path, who: str, network: str) -> bytes:
    """A public key: 64 hex digits, the name of a key file, or development:N."""
    with contextlib.suppress(ValueError):
        if len(key := bytes.fromhex(who)) == SEED_BYTES:
            return key
    return signer_of(keys_dir, who, network).public_key


def member_names(client: Client) -> dict[str, str]:
    """What the members of a network are called, by identity in hexadecimal."""
    return {member.identity: member.name for member in client.genesis().members}


def known_names(client: Client, keys_dir: Path) -> dict[str, str]:
    """Those, keys of this wallet, and the first development accounts, by public key in hexadecimal."""
    network = client.genesis().network
    development = [f"{DEVELOPMENT_PREFIX}{number}" for number in range(DEVELOPMENT_NAMED)]
    names = {signer_of(keys_dir, name, network).public_key.hex(): name for name in development}
    with contextlib.suppress(DirectoryError):  # a user without a home has no keys
        for path in keys_folder(keys_dir).glob("*.key"):
            with contextlib.suppress(DirectoryError, FormatError):  # a file that is no key has no name
                names[read_signer(path).public_key.hex()] = path.stem
    return names | member_names(client)


def now_ms() -> int:
    """The time by this machine's clock."""
    return time.time_ns() // 1_000_000


def key_bytes(option: str, text: str) -> bytes:
    """32 bytes from their hexadecimal. Raises UserError naming the option."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise UserError(f"{option} {text}: expected 64 hex digits")
    return key


def read_file(path: Path, bytes_max: int) -> bytes:
    """A user's file. Raises UserError where it cannot be read, or is larger than such a file can be."""
    try:
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if len(data) > bytes_max:
        raise UserError(f"{path}: more than the {bytes_max:,} bytes that such a file may have")
    return data


def _number(name: str) -> int:
    digits = name.removeprefix(DEVELOPMENT_PREFIX)
    if not digits.isdecimal():
        raise UserError(f"{name!r}: expected development:N with a number N, as in development:0")
    return int(digits)


Summarize = Callable[[Mapping[str, Any]], Summary]


def show(
    look: Callable[[], Mapping[str, Any]],
    as_json: bool,
    watch_s: float,
    summarize: Summarize | None = None,
    verbose: bool = False,
) -> None:
    """Print what a look finds: once, or every `watch_s` seconds until Ctrl-C; as JSON a line each time, for
    people what `summarize` makes of it."""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            found = look()
            summary = None if as_json or summarize is None else summarize(found)
            if watch_s and not as_json and sys.stdout.isatty():
                sys.stdout.write("\x1b[H\x1b[2J")  # to the top of an empty screen
            emit(found, as_json, summary=summary, verbose=verbose)
            if not watch_s:
                return
            time.sleep(watch_s)


def api_key() -> str:
    """The user's API key, for nodes that ask for one: what RAYCHAIN_API_KEY says. Not an option, since others
    on the machine can read the options of a process."""
    return os.environ.get("RAYCHAIN_API_KEY", "")


def addresses(url: str) -> list[str]:
    """The gateways of --url A,B."""
    return [each.strip() for each in url.split(",")]


class Trust:
    """By which genesis a command judges, and what it says of it: `genesis_trust` is

    file         given with --genesis, or written down by `up` from its own data directory
    remembered   the hash that this network had when it was first used from here
    node         the node's own word, remembered from now on where there is a home to remember it in
    """

    def __init__(self, urls: list[str], given: Path | None) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self.genesis: Genesis | bytes | None = None
        self._memory: KnownNetworks | None = None
        self.source = ""
        if given is not None:
            self.genesis, self.word, self.source = read_genesis(given), "file", str(given)
            return
        self._memory = known_networks()
        self.genesis = self._memory.digest_of(self._urls) if self._memory else None
        self.word = "node" if self.genesis is None else "remembered"
        if self._memory is not None and self.genesis is not None:
            self.source = self._memory.source_of(self._urls)
            self.word = "remembered" if self.source == FIRST_USE else "file"

    def facts(self, client: Client) -> dict[str, Any]:
        """What a command says of what it verified against; a first use is remembered."""
        genesis = client.genesis()
        if self.word == "node" and self._memory is not None:
            self._memory.remember(self._urls, genesis, FIRST_USE)
        told = {
            "file": f"verified against the genesis of {self.source}",
            "remembered": "verified against the genesis that this network had at its first use from here",
            "node": "verified against the node's own genesis; give --genesis FILE to trust nobody",
        }
        return {"genesis_trust": self.word, "genesis": genesis.hash().hex(), "trust": told[self.word]}

    def explained(self, url: str, error: ApiError) -> str:
        """One sentence for what went wrong at a gateway."""
        network = error.network if isinstance(error, ForeignAnswerError) else ""
        if not network or self.genesis is None:
            away = isinstance(error, UnavailableApiError) and not error.status
            return f"{url}: {error}" + ("; is a node up there? start one with `node.py up`" if away else "")
        digest = self.genesis.hash() if isinstance(self.genesis, Genesis) else self.genesis
        known = f"the genesis of {self.source}" if self.word == "file" else "at its first use it"
        return (
            f"{url} is of ANOTHER NETWORK: its genesis begins with {network}, {known} was {digest.hex()}. "
            "Somebody may be posing as your network. If it was founded anew, "
            f"run `node.py networks forget {url}`"
        )


@contextlib.contextmanager
def opened(url: str) -> Iterator[Client]:
    """As `trusting`, for commands that verify nothing themselves."""
    with trusting(url) as (client, _):
        yield client


@contextlib.contextmanager
def trusting(url: str, genesis: Path | None = None) -> Iterator[tuple[Client, Trust]]:
    """A client with the key in RAYCHAIN_API_KEY, pinned to the genesis given or remembered. What goes wrong
    on the way to the node is explained to the user."""
    urls = addresses(url)
    given = os.environ.get(GENESIS_VARIABLE, "")
    try:
        trust = Trust(urls, genesis or (Path(given) if given else None))
        opening = Client(
            urls, patience_s=PATIENCE_S, retry_refused=False, api_key=api_key(), genesis=trust.genesis
        )
    except (AddressError, ProxyError, TrustError, FormatError) as error:
        raise UserError(str(error)) from None
    with opening as client:
        try:
            yield client, trust
        except UnavailableApiError as error:
            raise UserError(trust.explained(url, error)) from None


@contextlib.contextmanager
def unknown_if_unanswered(look: str) -> Iterator[None]:
    """For what changes a node and is not repeated: an answer that is none leaves open whether it was done,
    and the command ends with 1. `look`: what to find out with."""
    try:
        yield
    except UnavailableApiError as error:
        if error.nothing_taken:
            raise
        hint = f"whether it was done is not known; look with `{look}`"
        console.print(f"[bold yellow]unknown[/] {escape(str(error))}; {hint}", soft_wrap=True)
        raise typer.Exit(1) from None
