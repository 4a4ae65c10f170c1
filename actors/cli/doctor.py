"""The command `doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from actors.cli.config import Nodes, Overrides, Profile
from actors.cli.options import Json, Verbose
from actors.console import Standing, Summary, emit, explained
from actors.directory import NEW_MEMBERS, DirectoryError, members_in
from actors.doctor.check import Check
from actors.doctor.exposure import exposure
from actors.doctor.fitness import data_folder, fitness
from actors.figures import counted
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
    verbose: Verbose = False,
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
    told = {"passed": passed, "checks": [asdict(check) for check in found]}
    emit(told, as_json, summary=_summary(found, count, verbose))
    if not passed:
        raise typer.Exit(1)


def _summary(found: list[Check], nodes: int, verbose: bool) -> Summary:
    """What is wrong, the worst first, and what could be better; all that was looked at where `verbose`."""
    wrong = [check for check in found if check.required and not check.ok]
    better = [check for check in found if not check.required and not check.ok]
    good = [check for check in found if check.ok]
    what = f"this machine for {counted(nodes, 'node')}"
    if wrong:
        standing: Standing = "bad"
        sentence = f"Not fit: {counted(len(wrong), 'thing')} must change on {what}."
    elif better:
        standing = "warn"
        sentence = f"Fit, and {counted(len(better), 'thing')} could be better on {what}."
    else:
        standing, sentence = "good", f"Fit: all is well on {what}."
    checks = [_row("bad", each) for each in wrong] + [_row("warn", each) for each in better]
    if verbose:
        checks += [_row("good", each) for each in good]
    elif good:
        checks.append(("good", f"{len(good)} more", ", ".join(each.name for each in good)))
    following = [] if wrong else ["node.py up"]
    following += [] if verbose else ["node.py doctor --verbose  says what was found of each"]
    return Summary(sentence, standing, checks=checks, following=following)


def _row(standing: Standing, check: Check) -> tuple[Standing, str, str]:
    return standing, check.name, check.found if check.ok else f"{check.found}: {check.advice}"
