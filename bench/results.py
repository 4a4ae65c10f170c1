"""Results of what measures or hunts: printed as any command's, and with --json also where they come from."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from actors.console import Summary, emit
from bench.verdict import verdict_of

ROOT = Path(__file__).parent.parent


def emit_result(
    result: Mapping[str, Any],
    as_json: bool,
    title: str = "",
    summary: Summary | None = None,
    verbose: bool = False,
) -> None:
    """As `emit`; JSON has a key `run` besides, which says by what command, where and when it was measured.

    People without a `summary` read whether it held, and all that was measured.
    """
    if summary is None:
        summary, verbose = verdict_of(result), True
    emit({**result, "run": provenance()} if as_json else result, as_json, title, summary, verbose)


def provenance() -> dict[str, str | int]:
    """Command, machine, cores that this process may use, commit (`+`: and changes of its files), UTC date."""
    arguments = [each for each in sys.argv[1:] if each != "--json"]
    return {
        "command": shlex.join(["node.py", *arguments]),
        "machine": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def processor() -> str:
    """The CPU's name, and LLVM's for its family, since cloud machines hide the model."""
    from actors.kernels.compiled import host

    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()} ({host().cpu})"
    return platform.processor()


def _commit() -> str:
    try:
        told = ["git", "describe", "--always", "--abbrev=10", "--exclude=*", "--dirty=+"]
        return subprocess.run(told, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
