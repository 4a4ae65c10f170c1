"""The command `logs`. Imports no Ray, and needs no node that runs."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from actors.cli.log_lines import LEVELS, GrowingLog, LogEntry, LogFilter, log_files, merged, since_of
from actors.cli.options import Json
from actors.console import UserError, console, emit, explained
from actors.figures import counted

FOLLOW_S = 0.3
_STYLES = {"WARNING": "yellow", "ERROR": "bold red", "CRITICAL": "bold red", "DEBUG": "dim", "TRACE": "dim"}
app = typer.Typer()


@app.command("logs")
@explained(OSError)
def logs(
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Where the network lives on disk.")] = Path(
        "data"
    ),
    node: Annotated[str, typer.Option("--node", help="Only this node's.")] = "",
    actor: Annotated[str, typer.Option("--actor", help="Only this actor's, as storage or validator-0.")] = "",
    level: Annotated[str, typer.Option("--level", help="And above: debug, info, warning, error.")] = "info",
    since: Annotated[str, typer.Option("--since", help="30s, 10m, 2h, 1d, or 2026-01-31T12:00:00.")] = "",
    lines: Annotated[int, typer.Option("--lines", min=1, max=1_000_000, help="The last so many.")] = 200,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show what all actors of all nodes in a data directory logged, merged by time.

    With --json each entry is a line of its own: time, node, actor, level, message.
    """
    wanted = _filter_of(level, actor, since)
    files = log_files(data_dir, node)
    if not files:
        raise UserError(f"{data_dir / (node or '')}: no logs there; name a network's folder with --data-dir")
    growing = {path: GrowingLog(path) for path in files}
    shown = deque(merged(files, wanted), maxlen=lines)
    printer = _Printer(as_json)
    printer.show(shown)
    if not shown and not as_json:
        nodes = {path.parent.parent.name for path in files}
        console.print(
            f"nothing of level {level} or above in the logs of {counted(len(nodes), 'node')}", markup=False
        )
    with contextlib.suppress(KeyboardInterrupt):
        while follow:
            for path in set(log_files(data_dir, node)) - set(growing):
                growing[path] = GrowingLog(path, from_start=True)
            added = (entry for log in growing.values() for entry in log.added())
            printer.show(sorted(entry for entry in added if wanted.takes(entry)))
            time.sleep(FOLLOW_S)


def _filter_of(level: str, actor: str, since: str) -> LogFilter:
    """Raises UserError for a level or a time that is none."""
    if level.upper() not in LEVELS:
        raise UserError(f"--level {level}: one of {', '.join(each.lower() for each in LEVELS)}")
    try:
        return LogFilter(level.upper(), actor, since_of(since, datetime.now()) if since else "")
    except (ValueError, OverflowError):
        raise UserError(f"--since {since}: expected 30s, 10m, 2h, 1d, or 2026-01-31T12:00:00") from None


class _Printer:
    """Prints entries; the day stands in a line of its own wherever it changes."""

    def __init__(self, as_json: bool) -> None:
        self._as_json, self._day, self._out = as_json, "", Console(highlight=False)

    def show(self, entries: Iterable[LogEntry]) -> None:
        for entry in entries:
            if self._as_json:
                emit(asdict(entry), True)
                continue
            day, _, hour = entry.time.partition(" ")
            if day != self._day:
                self._out.print(Text(day, "dim"))
                self._day = day
            style = _STYLES.get(entry.level, "")
            who = f"{entry.node} {entry.actor}"
            line = Text.assemble((hour, "dim"), f" {who:<18} ", (f"{entry.level:<7} {entry.message}", style))
            self._out.print(line, soft_wrap=True)
