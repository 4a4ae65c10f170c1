"""What `up` shows: a banner once, then a live status line until it is told to stop."""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from actors.directory import NetworkDirectory
from actors.ledger.signing import development_signer
from actors.settings import NetworkSettings

_REFRESH_S = 1.0
_PLAIN_EVERY_S = 10.0
_SHOWN_ACCOUNTS = 3


class Watched(Protocol):
    """What the status line asks of a node."""

    directory: NetworkDirectory
    facts: dict[str, dict[str, Any]]

    @property
    def url(self) -> str: ...

    def call(self, actor: str, method: str, *args: Any, timeout_s: float = 60) -> Any: ...

    def health(self) -> dict[str, dict[str, Any] | None]: ...


def print_banner(console: Console, node: Watched, network: NetworkSettings) -> None:
    """Endpoints, chain, accounts, data directory."""
    directory, url = node.directory, node.url
    genesis = directory.genesis
    text = Text()
    text.append(f"API         {url}   documentation at {url}/docs\n")
    text.append(f"peers       {node.facts['peer']['address']}   role {node.facts['consensus']['role']}\n")
    text.append(f"network     {genesis.network}\n")
    text.append(f"chain id    {genesis.hash().hex()}\n")
    text.append(f"node        {directory.nodes[0].identity.hex()}\n")
    text.append(f"data        {directory.path.resolve()}\n\n")
    text.append("Development accounts: anyone can derive their keys. Never give them value.\n", "bold red")
    for number in range(min(_SHOWN_ACCOUNTS, genesis.accounts)):
        key = development_signer(genesis.network, number).public_key.hex()
        text.append(f"  --from development:{number}   {key}   {network.development_balance:,}\n")
    text.append(f"  ... {genesis.accounts:,} in all\n\n")
    text.append("In another shell:  node.py keys new me    node.py send --from development:0 --to me 100\n")
    text.append("Ctrl-C stops everything cleanly.")
    console.print(Panel(text, title="raychain", expand=False))


def watch(console: Console, node: Watched, stop: threading.Event) -> dict[str, Any]:
    """Show the status line until `stop` is set; returns the last status."""
    status = node.call("consensus", "status")
    before, counted = time.monotonic(), status["transactions"]
    plain_at = 0.0
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while not stop.wait(_REFRESH_S):
            health = node.health()
            if health.get("consensus") is not None:
                status = node.call("consensus", "status")
            now = time.monotonic()
            tps = (status["transactions"] - counted) / (now - before)
            before, counted = now, status["transactions"]
            line = _line(status, health, max(tps, 0.0))
            if console.is_terminal:
                live.update(line)
            elif now >= plain_at:
                plain_at = now + _PLAIN_EVERY_S
                console.print(line)
    status = node.call("consensus", "status")
    return {key: status[key] for key in ("height", "hash", "state_root", "blocks", "transactions")}


def _line(status: dict[str, Any], health: dict[str, dict[str, Any] | None], tps: float) -> Text:
    depth = sum(int(h.get("depth", 0)) for name, h in health.items() if h and name.startswith("mempool"))
    text = Text(f"height {status['height']:,}  {tps:,.0f} TPS  mempool {depth:,}  ")
    for name, answer in health.items():
        text.append(f"{name} ", "green" if answer is not None else "bold red")
    return text
