"""Options that commands share, and the command that explains the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actors.cli.options import Json
from actors.console import Summary, emit, explained
from config.effective import ConfigurationError, every_value, load

Profile = Annotated[str, typer.Option("--profile", help="Profile under config/, or a .toml file.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="section.key=value; may be repeated.")]
Nodes = Annotated[
    int | None,
    typer.Option("--nodes", min=1, max=64, help="Members; by default those that the directory has, or 3."),
]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where the network lives on disk.")]

config_app = typer.Typer(no_args_is_help=True, help="Profiles and the effective configuration.")


@config_app.command("show")
@explained(ConfigurationError)
def config_show(profile: Profile = "local", overrides: Overrides = None, as_json: Json = False) -> None:
    """Print every value of the effective configuration and where it comes from."""
    rows = every_value(load(profile, overrides))
    if as_json:
        emit({name: {"value": value, "source": source} for name, value, source in rows}, True)
        return
    changed = sum(source != "default" for _, _, source in rows)
    sentence = f"{len(rows)} settings of profile {profile}, {changed} of them not at their default."
    table = [(name, repr(value), source) for name, value, source in rows]
    titles, following = ("setting", "value", "from"), ["node.py up --set SECTION.KEY=VALUE"]
    emit({}, False, summary=Summary(sentence, titles=titles, rows=table, following=following))
