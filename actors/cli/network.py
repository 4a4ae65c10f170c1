"""Commands of the memory of networks: which genesis each gateway had when it was first used from here."""

from __future__ import annotations

from typing import Annotated

import typer

from actors.cli.options import Json
from actors.console import Summary, UserError, emit, explained
from actors.figures import counted, short
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
        titles = ("gateway", "network", "genesis", "known from")
        rows = [(url, each["network"], short(each["genesis"]), each["source"]) for url, each in known.items()]
        following = [f"node.py networks forget {rows[0][0]}"] if rows else ["node.py status"]
        sentence = f"{counted(len(rows), 'gateway')} known from here, each by the genesis of its network."
        summary = Summary(sentence, titles=titles, rows=rows, following=following)
        emit({"networks": known}, as_json, summary=summary)


@app.command()
@explained(TrustError)
def forget(url: Annotated[str, typer.Argument(help="Address of a gateway.")], as_json: Json = False) -> None:
    """Forget which genesis a gateway had: whatever it has at its next use is believed, and remembered."""
    address = url.rstrip("/")
    if not _memory().forget(address):
        raise UserError(f"{address} is not known; `node.py networks` lists what is")
    summary = Summary(f"{address} is forgotten: what it has at its next use is believed, and remembered.")
    emit({"forgotten": address}, as_json, summary=summary)
