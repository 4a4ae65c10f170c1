"""What every start of a process pays for: bytecode is kept even where the environment forbids it in place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(code: str, **environment: str) -> list[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=clean | environment, capture_output=True, check=True
    )
    return done.stdout.decode().split()


def test_bytecode_that_may_not_stand_beside_its_source_is_kept_elsewhere(tmp_path: Path) -> None:
    child = "import actors.directory, sys; print(sys.pycache_prefix, sys.dont_write_bytecode)"
    parent = f"import actors.console, subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    prefix = tmp_path / "raychain" / "bytecode"
    forbidden = {"XDG_CACHE_HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    assert run(parent, **forbidden) == [str(prefix), "False"]
    kept = {path.name.partition(".")[0] for path in prefix.rglob("*.pyc")}
    assert {"console", "directory"} <= kept
    assert run(child, XDG_CACHE_HOME=str(tmp_path)) == ["None", "False"], "bytecode is allowed in place"
    chosen = run(child, PYTHONPYCACHEPREFIX="/elsewhere", **forbidden)
    assert chosen == ["/elsewhere", "True"], "a choice is kept"
