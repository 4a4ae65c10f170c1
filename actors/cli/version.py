"""What `--version` says."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer


def _tell(asked: bool) -> None:
    if asked:
        sys.stdout.write(version_line() + "\n")
        raise typer.Exit


def of_every_command(
    _asked: Annotated[
        bool,
        typer.Option("--version", callback=_tell, is_eager=True, help="Say which version this is, and stop."),
    ] = False,
) -> None:
    """raychain: a permissioned blockchain node whose parts are Ray actors."""


def version_line() -> str:
    """raychain's own version, Python's, Ray's, and the machine's kind."""
    return (
        f"raychain {_of('raychain')}, Python {platform.python_version()}, Ray {_of('ray')}, "
        f"{platform.system()} {platform.machine()}"
    )


def _of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"
