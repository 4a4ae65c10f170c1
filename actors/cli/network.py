"""Commands of the memory of networks: which genesis each gateway had when it was first used from here."""

from __future__ import annotations

from typing import Annotated

import typer

from actors.cli.options import Json
from actors.console import UserError, emit, explained
from actors.sdk.trust import KnownNetworks, TrustError, known_networks

app = typer.Typer(help="Networks that are known from here; without a subcommand, lists them.")


def _memory() -> KnownNetworks:
    memory = known_networks()
    if memory is None:
        raise UserError("there is no home to remember networks in; set RAYCHAIN_HOME to a folder of yours")
    return memory


@app.callback(invoke_without_command=True)
@explained(TrustError)
def networks(context: typer.Context, as_json: Json = False) -> None:
    """List gateways, the genesis hash that each is known by, and how that was learned."""
    if context.invoked_subcommand is None:
        entries = _memory().entries
        known = {
            url: {"genesis": entry.genesis, "network": entry.network, "source": entry.source}
            for url, entry in entries.items()
        }
        emit({"networks": known} if as_json else known, as_json, title="networks")


@app.command()
@explained(TrustError)
def forget(url: Annotated[str, typer.Argument(help="Address of a gateway.")], as_json: Json = False) -> None:
    """Forget which genesis a gateway had: whatever it has at its next use is believed, and remembered."""
    address = url.rstrip("/")
    if not _memory().forget(address):
        raise UserError(f"{address} is not known; `node.py networks` lists what is")
    emit({"forgotten": address}, as_json)
