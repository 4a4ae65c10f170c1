"""What `up` shows: a banner once, then a live status line until it is told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from actors.cli.options import DEFAULT_URL, DEVELOPMENT_PREFIX, URL_VARIABLE
from actors.cli.summaries import pending_in
from actors.directory import NetworkDirectory, NodeFolder
from actors.figures import counted
from actors.ledger.genesis import Genesis
from actors.ledger.signing import development_signer
from actors.settings import NetworkSettings

_REFRESH_S = 1.0
_PLAIN_EVERY_S = 10.0
_SHOWN_ACCOUNTS = 3
SILENT_S_MAX = 60
_SAME_WISH_S = 0.3


class Watched(Protocol):
    """What the status line asks of a node."""

    directory: NetworkDirectory
    folder: NodeFolder
    facts: dict[str, dict[str, Any]]

    @property
    def url(self) -> str: ...

    def status(self) -> dict[str, Any] | None: ...

    def call(self, actor: str, method: str, *args: Any, timeout_s: float = 60) -> Any: ...

    def health(self) -> dict[str, dict[str, Any] | None]: ...


def print_banner(console: Console, nodes: Sequence[Watched], network: NetworkSettings) -> None:
    """Where everything is, who has money, and what to do in another shell; each line fits 80 columns."""
    directory, first = nodes[0].directory, nodes[0]
    genesis = directory.genesis
    members = counted(len(genesis.members), "member")
    console.print(
        f"[bold]Network {escape(genesis.network)} is up[/]: {members}, {counted(len(nodes), 'node')} here.\n"
    )
    table = Table("NODE", "GATEWAY", "PEERS", box=None, pad_edge=False, header_style="dim")
    for node in nodes:
        table.add_row(node.folder.name, f"{node.url} ", node.facts["peer"]["address"])
    console.print(table)
    for node in nodes:
        if trouble := _trouble(node.status() or {}):
            console.print(Text(f"{node.folder.name}: {trouble}", "bold red"))
    console.print()
    places = {
        "explorer": f"{first.url}/explorer/  in a browser",
        "API": f"{first.url}/v1/openapi.json",
        "data": str(directory.path.resolve()),
        "chain id": genesis.hash().hex(),
    }
    for name, place in places.items():
        console.print(Text.assemble((f"{name:<10}", "dim"), place), soft_wrap=True)
    console.print()
    _print_accounts(console, genesis, network)
    console.print()
    console.print("In another shell, Ctrl-C here stops everything:")
    if first.url != DEFAULT_URL:
        console.print(f"  export {URL_VARIABLE}={first.url}")
    for command in ("status", "keys new alice", "send 100 --from development:0 --to alice"):
        console.print(f"  node.py {command}")
    console.print()


def _print_accounts(console: Console, genesis: Genesis, network: NetworkSettings) -> None:
    if not genesis.accounts:
        return
    console.print(
        f"{genesis.accounts:,} development accounts hold {network.development_balance:,} each. "
        "[bold red]Anyone knows their keys.[/]"
    )
    for number in range(min(_SHOWN_ACCOUNTS, genesis.accounts)):
        console.print(
            f"{DEVELOPMENT_PREFIX}{number}  {development_signer(genesis.network, number).public_key.hex()}"
        )


def _trouble(status: dict[str, Any]) -> str:
    """Why a node has not its full part in the network, in its own words; empty if it has."""
    return str(status.get("halted") or status.get("standing") or "")


def watch(
    console: Console, nodes: Sequence[Watched], stop: threading.Event, lost: Callable[[], str]
) -> tuple[dict[str, Any], str]:
    """Show a status line a node until `stop` is set, or until the nodes cannot go on.

    Returns the last status of the first node, and why they cannot, empty if they can: `lost` names what of
    the cluster has died, or no actor has answered for SILENT_S_MAX.
    """
    lines = [_NodeLine(node) for node in nodes]
    plain_at, answered_at, reason = 0.0, time.monotonic(), ""
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while not reason:
            stopping = stop.wait(_REFRESH_S)
            if stopping:  # whoever told this process to stop may have told its cluster as well
                time.sleep(_SAME_WISH_S)
            if dead := lost():
                reason = f"Ray's {dead} has died"
            if reason or stopping:
                break
            shown = Text("\n").join(line.refresh() for line in lines)
            now = time.monotonic()
            if any(line.answers for line in lines):
                answered_at = now
            elif now - answered_at > SILENT_S_MAX:
                reason = f"no actor has answered for {SILENT_S_MAX} s"
            if console.is_terminal:
                live.update(shown)
            elif now >= plain_at:
                plain_at = now + _PLAIN_EVERY_S
                console.print(shown)
    status = (None if reason else nodes[0].status()) or lines[0].status
    return {key: status[key] for key in ("height", "hash", "state_root", "blocks", "transactions")}, reason


class _NodeLine:
    """One node's line: role, height, transactions a second since the last look, pending ones, who is away."""

    def __init__(self, node: Watched) -> None:
        self._node = node
        self.status = node.call("consensus", "status")
        self._at, self._counted = time.monotonic(), self.status["transactions"]
        self.answers = True

    def refresh(self) -> Text:
        """The line as of now; what does not answer is red, and its figures are the last known."""
        health = self._node.health()
        self.answers = any(answer is not None for answer in health.values())
        if health.get("consensus") is not None:
            self.status = self._node.status() or self.status
        status, now = self.status, time.monotonic()
        tps = max((status["transactions"] - self._counted) / (now - self._at), 0.0)
        self._at, self._counted = now, status["transactions"]
        text = Text(f"{self._node.folder.name} {status['role']:<8} height {status['height']:,}")
        text.append(f"  {tps:,.0f} tx/s  {pending_in(health):,} pending  ")
        if away := [name for name, answer in health.items() if answer is None]:
            text.append(f"away: {', '.join(away)}", "bold red")
        else:
            text.append(f"all {len(health)} actors up", "green")
        if trouble := _trouble(status):
            text.append(f"\n  {trouble}", "bold red")
        return text
