"""The actors of a node, a folder each.

Compiled Numba code is cached by the file a function stands in, not by the compiled functions it calls, so a
change in one file could leave stale machine code of another. The cache therefore lives in a folder named
after the hash of all sources; this runs before anything imports Numba or Ray.

Python's own bytecode is cached too where the environment forbids it beside the sources, as many images do: a
network starts dozens of processes, and each would compile some 1,500 modules again, for a second or more.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path


def cache_dir() -> Path:
    """Where what was compiled is kept between starts: a folder of this user alone."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "raychain"


def _numba_cache_dir() -> Path:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        if "njit" in (text := path.read_text()):
            digest.update(text.encode())
    return cache_dir() / f"numba-{digest.hexdigest()[:16]}"


def _keep_bytecode() -> None:
    """For this process and those that it starts."""
    if os.environ.get("PYTHONDONTWRITEBYTECODE") and not sys.pycache_prefix:
        del os.environ["PYTHONDONTWRITEBYTECODE"]
        sys.dont_write_bytecode = False
        sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(cache_dir() / "bytecode")


_keep_bytecode()
os.environ.setdefault("NUMBA_CACHE_DIR", str(_numba_cache_dir()))
# Ray reads this when it is imported: workers start from this interpreter, not through `uv run` again.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
