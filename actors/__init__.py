"""The actors of a node, a folder each.

Compiled Numba code is cached by the file a function stands in, not by the compiled functions it calls, so a
change in one file could leave stale machine code of another. The cache therefore lives in a folder named
after the hash of all sources; this runs before anything imports Numba or Ray.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def _numba_cache_dir() -> Path:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        if "njit" in (text := path.read_text()):
            digest.update(text.encode())
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "raychain" / f"numba-{digest.hexdigest()[:16]}"


os.environ.setdefault("NUMBA_CACHE_DIR", str(_numba_cache_dir()))
# Ray reads this when it is imported: workers start from this interpreter, not through `uv run` again.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
