"""What commands on a data directory do where its node runs: they have the node do it. Imports no Ray."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors.cli.options import PATIENCE_S, api_key
from actors.console import UserError
from actors.sdk.answers import ApiError
from actors.sdk.client import Client

if TYPE_CHECKING:
    from actors.ledger.genesis import Genesis

PORT_FILE = "gateway-0.port"


def runs(database: Path) -> bool:
    """Whether a node has a database open."""
    from actors.storage.disk import holder_of

    return bool(holder_of(database))


def maintained(folder: Path, genesis: Genesis, action: str) -> dict[str, Any]:
    """Have the node that runs in a folder do what `POST /v1/maintenance` says, by its gateway.

    Raises UserError where it has none, or does not do it.
    """
    port = folder / PORT_FILE
    if not port.is_file():
        raise UserError(f"{folder}: its node runs, and has no gateway to ask; stop it first")
    url = f"http://127.0.0.1:{port.read_text().strip()}"
    try:
        with Client(url, patience_s=PATIENCE_S, api_key=api_key(), genesis=genesis) as client:
            return client.maintain(action)
    except ApiError as error:
        hint = "its gateway may serve https, or ask for RAYCHAIN_API_KEY: stop the node, and run this again"
        raise UserError(f"{folder}: its node runs, and {url} says: {error}; {hint}") from None


@contextmanager
def copied(folder: Path, genesis: Genesis) -> Iterator[Path]:
    """A copy of the database of a node that runs, while it is needed."""
    made = folder / Path(maintained(folder, genesis, "copy")["folder"]).name
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
