"""A live view of running nodes, one at a time. Imports no Ray."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from actors.cli.keyboard import Keyboard
from actors.cli.options import DEFAULT_URL, Json, Url, addresses, member_names, now_ms, opened
from actors.cli.summaries import pending_in, status_of
from actors.console import MARKS, console, emit, explained
from actors.figures import count, figure, size, span
from actors.sdk.answers import UnavailableApiError
from actors.sdk.client import Client

app = typer.Typer()
EVERY_S_MIN, EVERY_S_MAX = 0.2, 60.0
KEYS = "q leave   p pause   n next node   + faster   - slower"
_QUEUES = ("depth", "inflight", "connections")
Look = dict[str, Any]


@app.command()
@explained()
def top(
    url: Url = DEFAULT_URL,
    every_s: Annotated[
        float, typer.Option("--every", min=EVERY_S_MIN, max=EVERY_S_MAX, help="Seconds between looks.")
    ] = 1.0,
    looks: Annotated[int, typer.Option(min=0, help="Stop after this many; 0: until q or Ctrl-C.")] = 0,
    as_json: Json = False,
) -> None:
    """A live view of a node: its part in the network, every actor, stages, queues, the other nodes.

    With several addresses in --url, n shows the next of those nodes.
    """
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(opened(each)) for each in addresses(url)]
        view = View(clients, every_s, looks)
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        if as_json:
            for seen in view.looks_at(_pause):
                emit(seen, True)
            return
        keyboard = stack.enter_context(Keyboard())
        whole = console.is_terminal and not looks
        live = stack.enter_context(Live(console=console, auto_refresh=False, screen=whole))
        for seen in view.looks_at(keyboard.wait):
            live.update(dashboard(seen, view), refresh=True)


def _pause(seconds: float) -> str:
    time.sleep(seconds)
    return ""


@dataclass
class View:
    """Which of several nodes is looked at, how often, and what the look before found."""

    clients: list[Client]
    every_s: float
    looks: int = 0
    number: int = 0
    paused: bool = False
    _before: dict[str, Any] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def looks_at(self, wait: Callable[[float], str]) -> Iterator[Look]:
        """Look again and again. wait: pauses so many seconds, and tells which key was pressed meanwhile.

        A node that does not answer at the first look ends it with UnavailableApiError; later ones show that.
        """
        seen, count_of_looks = self._look(), 0
        while True:
            yield seen
            count_of_looks += 1
            if count_of_looks == self.looks or not self._obey(wait(self.every_s)):
                return
            if not self.paused:
                try:
                    seen = self._look()
                except UnavailableApiError as error:
                    seen = {**seen, "problem": str(error)}

    def _obey(self, key: str) -> bool:
        """Do what a key says; False to leave."""
        if key == "p":
            self.paused = not self.paused
        elif key == "n":
            self.number, self._before, self.paused = (self.number + 1) % len(self.clients), {}, False
        elif key in ("+", "-"):
            self.every_s = min(max(self.every_s * (0.5 if key == "+" else 2), EVERY_S_MIN), EVERY_S_MAX)
        return key not in ("q", "\x03")

    def _look(self) -> Look:
        """Transactions a second and the share of a processor are those of the time since the last look."""
        client = self.clients[self.number]
        self._names = self._names or member_names(client)
        seen: Look = {**client.status(), **client.actors(), "names": self._names, "now_ms": now_ms()}
        seen["peers"] = seen["node"].get("peers", [])
        now_s, before = time.monotonic(), self._before
        spent = {name: (health or {}).get("cpu_s") for name, health in seen["actors"].items()}
        total = int(seen["node"].get("transactions", 0))
        if before:
            passed_s = max(now_s - before["at_s"], 1e-9)
            seen["tps"] = max(total - before["total"], 0) / passed_s
            seen["cpu"] = {
                name: max(cpu_s - before["spent"][name], 0.0) / passed_s
                for name, cpu_s in spent.items()
                if cpu_s is not None and before["spent"].get(name) is not None
            }
        self._before = {"at_s": now_s, "total": total, "spent": spent}
        return seen


def dashboard(seen: Look, view: View) -> Group:
    """What `top` shows of one look, in 80 columns."""
    summary = status_of(seen, seen["actors"], seen["names"], seen["now_ms"])
    if problem := seen.get("problem"):
        head = Text(f"✗ It does not answer any more: {problem}", "bold red")
    else:
        mark, style = MARKS[summary.standing]
        head = Text(f"{mark} {summary.sentence}", style)
    figures = [
        f"{count(round(seen['tps'])) if 'tps' in seen else '-'} tx/s",
        f"{pending_in(seen['actors']):,} pending",
        f"every {span(view.every_s)}" + (", paused" if view.paused else ""),
    ]
    if len(view.clients) > 1:
        figures.append(f"node {view.number + 1} of {len(view.clients)}")
    side = Table.grid(padding=(0, 3))
    side.add_row(_actors(seen), _stages(seen["node"]))
    parts: list[RenderableType] = [head, Text("   ".join(figures)), Text(), side]
    if summary.rows:
        parts += [Text(), _others(summary.titles, summary.rows)]
    return Group(*parts, Text(), Text(KEYS, "dim"))


def _actors(seen: Look) -> Table:
    table = Table("ACTOR", "CPU", "MEMORY", "QUEUE", "UP", box=None, pad_edge=False, header_style="dim")
    for name, health in sorted(seen["actors"].items()):
        if health is None:
            table.add_row(name, Text("away", "bold red"), "", "", "")
            continue
        queue = next((count(health[key]) for key in _QUEUES if key in health), "-")
        share = seen.get("cpu", {}).get(name)
        cpu = "-" if share is None else f"{share:.0%}"
        memory = "-" if health.get("rss_mb") is None else size(health["rss_mb"] * 1e6)
        table.add_row(name, cpu, memory, queue, figure("uptime_s", health.get("uptime_s")))
    return table


def _stages(node: Mapping[str, Any]) -> Table:
    """Stages of a block, the slowest first, and the queues that hold something."""
    table = Table("STAGE", "A TRANSACTION", box=None, pad_edge=False, header_style="dim")
    stages = dict(node.get("stages_us_per_tx") or {})
    for name in sorted(stages, key=lambda stage: -stages[stage]):
        table.add_row(str(name), span(stages[name] / 1e6))
    for name, depth in dict(node.get("queues") or {}).items():
        if depth:
            table.add_row(f"queue {name}", count(depth))
    return table


def _others(titles: Any, rows: Any) -> Table:
    table = Table(*(str(each).upper() for each in titles), box=None, pad_edge=False, header_style="dim")
    for row in rows:
        table.add_row(*row)
    return table
