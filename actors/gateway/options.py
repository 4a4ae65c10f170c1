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

from actors.console import UserError, emit
from actors.directory import read_signer
from actors.gateway.client import Client, UnavailableApiError
from actors.ledger.signing import SEED_BYTES, Signer, development_signer

DEFAULT_URL = "http://127.0.0.1:8470"
DEVELOPMENT_PREFIX = "development:"
Url = Annotated[
    str, typer.Option("--url", envvar="RAYCHAIN_URL", help="Address of a gateway, or of several: A,B")
]
KeysDir = Annotated[Path, typer.Option("--keys-dir", envvar="RAYCHAIN_KEYS", help="Folder of key files.")]
Json = Annotated[bool, typer.Option("--json", help="Last line of stdout is one JSON object.")]
Watch = Annotated[
    float, typer.Option("--watch", min=0, max=3600, help="Look again every so many seconds, until Ctrl-C.")
]
DEFAULT_KEYS = Path("~/.raychain/keys")


def key_path(keys_dir: Path, name: str) -> Path:
    """File of a key. Raises UserError for a name that is none."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise UserError(f"key name {name!r}: use letters, digits, - and _")
    return keys_dir.expanduser() / f"{name}.key"


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


def _number(name: str) -> int:
    digits = name.removeprefix(DEVELOPMENT_PREFIX)
    if not digits.isdecimal():
        raise UserError(f"{name!r}: expected development:N with a number N, as in development:0")
    return int(digits)


def show(look: Callable[[], Mapping[str, Any]], as_json: bool, watch_s: float) -> None:
    """Print what a look finds: once, or every `watch_s` seconds until Ctrl-C; as JSON a line each time."""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            found = look()
            if watch_s and not as_json and sys.stdout.isatty():
                sys.stdout.write("\x1b[H\x1b[2J")  # to the top of an empty screen
            emit(found, as_json)
            if not watch_s:
                return
            time.sleep(watch_s)


def api_key() -> str:
    """The user's API key, for nodes that ask for one: what RAYCHAIN_API_KEY says. Not an option, since others
    on the machine can read the options of a process."""
    return os.environ.get("RAYCHAIN_API_KEY", "")


@contextlib.contextmanager
def opened(url: str) -> Iterator[Client]:
    """A client, with the key in RAYCHAIN_API_KEY; a node that cannot be reached is explained to the user."""
    with Client(url.split(","), api_key=api_key()) as client:
        try:
            yield client
        except UnavailableApiError as error:
            raise UserError(f"{url}: {error}; is a node up there? start one with `node.py up`") from None
