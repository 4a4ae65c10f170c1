"""Commands that look at a machine and at a running node: doctor and top. Import no Ray."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from actors.console import console, emit, explained
from actors.gateway.client import Client
from actors.gateway.options import DEFAULT_URL, Json, Url, opened

FILES_MIN = 4_096
SHARED_MEMORY_BYTES_MIN = 512 << 20
DISK_BYTES_MIN = 1 << 30
SYNC_MS_MAX = 20.0
SYNCS = 20
CLOCK_YEAR_MIN = 2026
Check = tuple[str, bool, str, str]


def checks(data_dir: Path, port: int) -> Iterator[Check]:
    """(name, passed, what was found, advice) of everything that a node needs of its machine."""
    yield _python()
    yield _ray()
    yield _files()
    yield _shared_memory()
    yield _port(port)
    yield _disk_space(data_dir)
    yield _disk_speed(data_dir)
    yield _clock()


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return "Python", sys.version_info >= (3, 11), found, "use Python 3.11 or newer"


def _ray() -> Check:
    try:
        found = version("ray")
    except PackageNotFoundError:
        return "Ray", False, "not installed", "install the project's dependencies: uv sync"
    return "Ray", found.startswith("2."), found, "the node is tested with Ray 2.60"


def _files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return "Open files", soft >= FILES_MIN, f"{soft} (at most {hard})", f"ulimit -n {max(FILES_MIN, 65_536)}"


def _shared_memory() -> Check:
    folder = Path("/dev/shm")
    if not folder.exists():
        return "/dev/shm", False, "missing", "mount a tmpfs there: Ray keeps its object store in it"
    free = shutil.disk_usage(folder).free
    advice = "give containers --shm-size=1g, or lower cluster.object_store_mb"
    return "/dev/shm", free >= SHARED_MEMORY_BYTES_MIN, f"{free >> 20} MB free", advice


def _port(port: int) -> Check:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            advice = "a node may run there already; or choose another: --set gateway.port=0"
            return f"Port {port}", False, error.strerror or str(error), advice
    return f"Port {port}", True, "free", ""


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def _disk_space(data_dir: Path) -> Check:
    free = shutil.disk_usage(_existing(data_dir)).free
    return "Disk space", free >= DISK_BYTES_MIN, f"{free >> 20} MB free", "free some, or move --data-dir"


def _disk_speed(data_dir: Path) -> Check:
    """Median of SYNCS small synced appends: what a commit in mode `sync` waits for."""
    times_ms = []
    try:
        with tempfile.TemporaryFile(dir=_existing(data_dir)) as file:
            for _ in range(SYNCS):
                began = time.perf_counter()
                file.write(bytes(4096))
                file.flush()
                os.fsync(file.fileno())
                times_ms.append((time.perf_counter() - began) * 1000)
    except OSError as error:
        return "Disk speed", False, error.strerror or str(error), "choose a --data-dir that you may write to"
    median_ms = sorted(times_ms)[SYNCS // 2]
    advice = "use a local SSD, or accept storage.durability=interval"
    return "Disk speed", median_ms <= SYNC_MS_MAX, f"{median_ms:.2f} ms a sync", advice


def _clock() -> Check:
    now = time.gmtime()
    found = time.strftime("%Y-%m-%d %H:%M:%S UTC", now)
    return "Clock", now.tm_year >= CLOCK_YEAR_MIN, found, "set the clock and run an NTP service"


@explained(OSError)
def doctor(
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Where the network is to live.")] = Path(
        "data"
    ),
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the gateway.")] = 8470,
    as_json: Json = False,
) -> None:
    """Check this machine: Python, Ray, file limits, /dev/shm, port, disk, clock; with advice."""
    found = list(checks(data_dir, port))
    if as_json:
        report = {
            name: {"passed": passed, "found": what, "advice": advice} for name, passed, what, advice in found
        }
        emit({"passed": all(check[1] for check in found), "checks": report}, True)
    else:
        table = Table("", "", "found", "advice", box=None)
        for name, passed, what, advice in found:
            mark = "[green]✓[/]" if passed else "[red]✗[/]"
            table.add_row(mark, name, escape(what), "" if passed else escape(advice))
        console.print(table)
    if not all(passed for _, passed, _, _ in found):
        raise typer.Exit(1)


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


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command()(doctor)
    app.command()(top)
