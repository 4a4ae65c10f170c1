"""A live view of a running node. Imports no Ray."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from actors.cli.options import DEFAULT_URL, Url, opened
from actors.console import console, explained
from actors.sdk.client import Client

app = typer.Typer()


@app.command()
@explained()
def top(
    url: Url = DEFAULT_URL,
    every_s: Annotated[float, typer.Option("--every", min=0.2, max=60, help="Seconds between looks.")] = 1.0,
    looks: Annotated[int, typer.Option(min=0, help="Stop after this many; 0: until Ctrl-C.")] = 0,
) -> None:
    """A live view of a node: head, actors, stages, queues, peers."""
    screen = Live(console=console, auto_refresh=False)
    with contextlib.suppress(KeyboardInterrupt), opened(url) as client, screen as live:
        watch(client, lambda seen: live.update(dashboard(seen), refresh=True), every_s, looks)


def watch(client: Client, show: Callable[[dict[str, Any]], None], every_s: float, looks: int) -> None:
    """Look again and again; transactions a second are those of the time since the last look."""
    before: tuple[float, int] | None = None
    count = 0
    while True:
        seen = {**client.status(), **client.actors()}
        now, total = time.monotonic(), int(seen["node"].get("transactions", 0))
        if before is not None:
            seen["tps"] = (total - before[1]) / max(now - before[0], 1e-9)
        before = now, total
        show(seen)
        count += 1
        if count == looks:
            return
        time.sleep(every_s)


def dashboard(seen: dict[str, Any]) -> Group:
    """What `top` shows of one look."""
    node, head = seen["node"], seen["head"]
    title = Table.grid(padding=(0, 3))
    title.add_row(
        f"[bold]{escape(str(seen['network']))}[/]",
        f"height {head['height']:,}",
        f"{seen.get('tps', 0.0):,.0f} tx/s",
        f"role {escape(str(node.get('role', '-')))}",
        f"peers {len(node.get('peers', []))}",
    )
    actors = Table("actor", "cpu s", "memory MB", "queue", "up s", box=None, title="actors")
    for name, health in sorted(seen["actors"].items()):
        if health is None:
            actors.add_row(name, "[red]away[/]", "", "", "")
            continue
        queue = next((health[key] for key in ("depth", "inflight", "connections") if key in health), "-")
        figures = (health.get("cpu_s"), health.get("rss_mb"), queue, health.get("uptime_s"))
        actors.add_row(name, *("-" if figure is None else str(figure) for figure in figures))
    stages = Table("stage", "µs/tx", box=None, title="stages")
    for name, us in dict(node.get("stages_us_per_tx", {})).items():
        stages.add_row(escape(str(name)), f"{us:.2f}")
    queues = Table("queue", "depth", box=None, title="queues")
    for name, depth in dict(node.get("queues", {})).items():
        queues.add_row(escape(str(name)), str(depth))
    side = Table.grid(padding=(0, 4))
    side.add_row(stages, queues)
    return Group(title, actors, side)
