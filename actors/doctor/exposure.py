"""What on this machine would let others in: ports, modes of files and folders, keys, settings. Knows no Ray.

Others are the machine's other users, and whoever reaches its network. What root can see of other users'
processes it sees; anybody else sees his own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from actors import cache_dir
from actors.directory import DEFAULT_KEYS, KEY_FILE, DirectoryError, keys_folder
from actors.doctor.check import Check
from actors.gateway.edge import is_loopback
from actors.machine.private import OPEN_TO_OTHERS, opened
from actors.machine.runtime import PRIVATE_MODE, RuntimeFolderError, runtime_dir
from actors.settings import Settings

_WRITABLE_BY_OTHERS = 0o022
_NAMED_MAX = 5
_NODE_WORDS = ("gcs_server", "raylet", "node.py", "ray::")


def exposure(data_dir: Path, settings: Settings, profile: str) -> Iterator[Check]:
    """Everything that could let others in, of a data directory, this user's folders and a profile."""
    yield ports()
    keys = [*key_files(data_dir), *([Path(settings.node.key_file)] if settings.node.key_file else [])]
    yield private("Keys", keys, "run chmod 600 on them")
    yield private("Node folders", node_folders(data_dir), "run chmod 700 on them")
    advice = "run chmod 700 on it: what is compiled there is run"
    yield private("Cache folder", [cache_dir()], advice, _WRITABLE_BY_OTHERS)
    yield sessions_are_private()
    yield from _gateway(settings, profile)


def ports(listening: Iterable[tuple[str, str, int]] | None = None) -> Check:
    """Whether a process of a node or of Ray listens on more than loopback."""
    seen = _listening() if listening is None else listening
    wide = sorted({f"{name} {address}:{port}" for name, address, port in seen if not is_loopback(address)})
    advice = (
        "gateway.host, peer.host: 127.0.0.1 unless others shall come; Ray's ports let whoever reaches them "
        "run code: close them with a firewall or a NetworkPolicy"
    )
    return Check("Open ports", not wide, _named(wide) or "none beyond loopback", advice, required=False)


def _listening() -> Iterator[tuple[str, str, int]]:
    """(what, address, port) of the listening sockets of nodes and of Ray that this user may see."""
    for process in psutil.process_iter():
        try:
            title = " ".join(process.cmdline()[:2])
            word = next((word for word in _NODE_WORDS if word in title), None)
            connections = process.net_connections("inet") if word else []
        except psutil.Error:
            continue
        for each in connections:
            if each.status == psutil.CONN_LISTEN:
                yield f"{word} {process.pid}", each.laddr.ip, each.laddr.port


def key_files(data_dir: Path) -> list[Path]:
    """Keys of nodes in a data directory, and of this user's wallet."""
    of_nodes = list(data_dir.glob(f"*/{KEY_FILE}"))
    try:
        wallet = keys_folder(Path(os.environ.get("RAYCHAIN_KEYS") or DEFAULT_KEYS))
    except DirectoryError:  # a user without a home has none
        return of_nodes
    return [*of_nodes, *wallet.glob("*.key")]


def node_folders(data_dir: Path) -> list[Path]:
    """Folders of nodes in a data directory."""
    return [path.parent for path in data_dir.glob(f"*/{KEY_FILE}")]


def private(name: str, paths: list[Path], advice: str, refused: int = OPEN_TO_OTHERS) -> Check:
    """Whether files or folders are of this user, and closed to others by the bits `refused`."""
    wrong = []
    there = [path for path in paths if path.exists()]
    for path in there:
        found = path.stat()
        if mode := opened(found, refused):
            wrong.append(f"{path} has {mode}")
        elif found.st_uid not in (os.getuid(), 0):
            wrong.append(f"{path} belongs to user {found.st_uid}")
    return Check(name, not wrong, _named(wrong) or f"{len(there)}, private", advice)


def sessions_are_private() -> Check:
    """Whether the folder of sockets, tokens and Ray's files is closed to others."""
    try:
        path = runtime_dir()
    except RuntimeFolderError as error:
        return Check("Sessions", False, str(error), "set TMPDIR, or cluster.runtime_dir, to a short path")
    mode = stat.S_IMODE(path.stat().st_mode)
    return Check("Sessions", mode == PRIVATE_MODE, f"{path} has mode {mode:04o}", f"run chmod 700 on {path}")


def _gateway(settings: Settings, profile: str) -> Iterator[Check]:
    gateway = settings.gateway
    wide = not is_loopback(gateway.host)
    found = f"profile {profile} listens on {gateway.host}, " + (
        "with" if gateway.api_keys_file else "without"
    )
    advice = "set gateway.api_keys_file, or gateway.host=127.0.0.1: without keys everybody may do everything"
    yield Check("API keys", not wide or bool(gateway.api_keys_file), f"{found} keys", advice)
    plain = wide and not gateway.tls_certificate_file
    advice = (
        "set gateway.tls_certificate_file and gateway.tls_key_file, or put a proxy before it that has them"
    )
    yield Check("TLS", not plain, "plain HTTP beyond loopback" if plain else "as set", advice, required=False)
    files = [Path(name) for name in (gateway.api_keys_file, gateway.tls_key_file) if name]
    yield private("Gateway files", files, "run chmod 600 on them")


def _named(many: list[str]) -> str:
    rest = len(many) - _NAMED_MAX
    return "; ".join(many[:_NAMED_MAX]) + (f"; and {rest} more" if rest > 0 else "")
