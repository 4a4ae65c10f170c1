"""The command `doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from actors.cli.config import Nodes, Overrides, Profile
from actors.cli.options import Json
from actors.console import console, emit, explained
from actors.directory import NEW_MEMBERS, DirectoryError, members_in
from actors.doctor.exposure import exposure
from actors.doctor.fitness import data_folder, fitness
from config.effective import ConfigurationError, load


@explained(OSError, ConfigurationError, DirectoryError)
def doctor(
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Where the network is to live.")] = Path(
        "data"
    ),
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the gateway.")] = 8470,
    nodes: Nodes = None,
    profile: Profile = "local",
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Check this machine: is it fit for a node, and would anything on it let others in; with advice.

    Exit code 0 only if all that is required holds.
    """
    settings = load(profile, overrides).settings
    place = data_folder(data_dir)
    count = nodes or (members_in(data_dir) if place.ok else NEW_MEMBERS)
    wanted_mb = settings.cluster.object_store_mb
    found = [*fitness(data_dir, port, count, wanted_mb), place, *exposure(data_dir, settings, profile)]
    passed = all(check.ok for check in found if check.required)
    if as_json:
        emit({"passed": passed, "checks": [asdict(check) for check in found]}, True)
    else:
        table = Table("", "", "found", "advice", box=None)
        for check in found:
            mark = "[green]✓[/]" if check.ok else "[red]✗[/]" if check.required else "[yellow]![/]"
            table.add_row(mark, check.name, escape(check.found), "" if check.ok else escape(check.advice))
        console.print(table)
    if not passed:
        raise typer.Exit(1)
