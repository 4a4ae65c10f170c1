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
import stat
import sys
import tempfile
from pathlib import Path


def cache_dir() -> Path:
    """Where what was compiled is kept between starts: a folder of this user alone.

    XDG_CACHE_HOME, else .cache at home, else, where there is no home or it takes no files, a folder among the
    temporary ones that is this user's own: what is compiled there is run.
    """
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "raychain"
    home = Path(os.path.expanduser("~"))
    if home.is_absolute() and home != Path("/") and os.access(home, os.W_OK | os.X_OK):
        return home / ".cache" / "raychain"
    for base in dict.fromkeys((os.environ.get("TMPDIR", "/tmp"), "/tmp", "/var/tmp", "/dev/shm")):
        path = Path(base) / f"raychain-cache-{os.getuid()}"
        try:
            path.mkdir(mode=0o700, exist_ok=True)
            found = path.lstat()
        except OSError:
            continue
        private = found.st_uid == os.getuid() and not found.st_mode & 0o022
        if stat.S_ISDIR(found.st_mode) and private and os.access(path, os.W_OK | os.X_OK):
            return path
    # Somebody else was there first: one of this process and those that it starts.
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="raychain-")
    return Path(os.environ["XDG_CACHE_HOME"]) / "raychain"


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
if "NUMBA_CACHE_DIR" not in os.environ:  # reading all sources takes a tenth of a second
    os.environ["NUMBA_CACHE_DIR"] = str(_numba_cache_dir())
# Ray reads this when it is imported: workers start from this interpreter, not through `uv run` again.
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
