"""The start of a process: bytecode is kept even where it may not stand in place; pauses count after it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors.settings import Settings
from actors.shell import ActorContext, Shell, freeze_long_lived

ROOT = Path(__file__).parent.parent


def run(code: str, **environment: str) -> list[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=clean | environment, capture_output=True, check=True
    )
    return done.stdout.decode().split()


def test_bytecode_that_may_not_stand_beside_its_source_is_kept_elsewhere(tmp_path: Path) -> None:
    child = "import actors.sharing, sys; print(sys.pycache_prefix, sys.dont_write_bytecode)"
    parent = (
        f"import actors.machine.limits, subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    )
    prefix = tmp_path / "raychain" / "bytecode"
    forbidden = {"XDG_CACHE_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    assert run(parent, **forbidden) == [str(prefix), "False"]
    kept = {path.name.partition(".")[0] for path in prefix.rglob("*.pyc")}
    assert {"limits", "sharing"} <= kept
    assert run(child, XDG_CACHE_HOME=str(tmp_path)) == ["None", "False"], "bytecode is allowed in place"
    chosen = run(child, PYTHONPYCACHEPREFIX="/elsewhere", **forbidden)
    assert chosen == ["/elsewhere", "True"], "a choice is kept"


def test_pauses_count_once_the_start_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shell, "start_is_over", False)
    shell = Shell(ActorContext("node-1", "peer", str(tmp_path), Settings().log))
    try:
        gc.collect()
        assert shell.process_health()["gc_pause_max_ms"] == 0
        freeze_long_lived()
        shell._gc_pause_max_s = 0.0
        monkeypatch.setattr(gc, "get_freeze_count", lambda: pytest.fail("walks all that is frozen"))
        gc.collect()
        assert shell._gc_pause_max_s > 0
    finally:
        gc.callbacks.remove(shell._on_gc)
