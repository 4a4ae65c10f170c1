"""Attacks from the machine itself: another user of it, and its network beyond loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil

from bench.attack.registry import AttackOutcome, AttackTarget, attack

_NOBODY = 65534
_CONNECT_S = 1.0
# Runs as another user; takes what root found for it, and tries to use it.
_AS_ANOTHER_USER = f"""
import json, os, socket, sys
found = json.load(sys.stdin)
os.setgroups([]); os.setgid({_NOBODY}); os.setuid({_NOBODY})
got = []
for path in found["files"]:
    try:
        open(path, "rb").read(1)
        got.append("read " + path)
    except OSError:
        pass
for path in found["folders"]:
    try:
        os.listdir(path)
        got.append("listed " + path)
    except OSError:
        pass
for path in found["sockets"]:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        got.append("connected to " + path)
    except OSError:
        pass
for pid in found["pids"]:
    try:
        os.kill(pid, 0)
        got.append("may signal %d" % pid)
    except PermissionError:
        pass
json.dump(got, sys.stdout)
"""


@attack("other-user", "machine")
def other_user(target: AttackTarget) -> AttackOutcome:
    """Another user of the machine reads keys, tokens and sessions, calls the actors' lines, and signals."""
    if os.getuid() != 0:
        return AttackOutcome(True, "not tried: only root can be another user")
    found = _belongings(target)
    done = subprocess.run(
        [sys.executable, "-c", _AS_ANOTHER_USER],
        input=msgspec.json.encode(found),
        capture_output=True,
        check=True,
        timeout=60,
    )
    got: list[str] = msgspec.json.decode(done.stdout)
    tried = ", ".join(f"{len(many)} {kind}" for kind, many in found.items())
    return AttackOutcome(not got, "; ".join(got[:5]) or f"refused everything of {tried}")


def _belongings(target: AttackTarget) -> dict[str, list[str] | list[int]]:
    """What the processes of the network have on disk and as sockets, as root sees it."""
    folders = {str(folder) for folder in target.folders}
    files = {str(path) for folder in target.folders for path in folder.rglob("*") if path.is_file()}
    sockets: set[str] = set()
    for pid in target.pids:
        try:
            environment = psutil.Process(pid).environ()
            held = psutil.Process(pid).net_connections("unix")
        except psutil.Error:
            continue
        sockets |= {str(each.laddr) for each in held if str(each.laddr).startswith("/")}
        token, own = environment.get("RAY_AUTH_TOKEN_PATH"), environment.get("RAYCHAIN_SOCKETS")
        files |= {token} if token else set()
        if own:
            folders |= {own, str(Path(own).parent), str(Path(own).parent / "r")}
            sockets |= {str(path) for path in Path(own).iterdir()}
    return {
        "files": sorted(files),
        "folders": sorted(folders),
        "sockets": sorted(sockets),
        "pids": list(target.pids),
    }


@attack("foreign-interface", "machine")
def foreign_interface(target: AttackTarget) -> AttackOutcome:
    """Connect to every port that the network's processes listen on, by the machine's other addresses."""
    ports = sorted({port for pid in target.pids for port in _ports(pid)})
    addresses = [
        address.address
        for each in psutil.net_if_addrs().values()
        for address in each
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    reached = [f"{address}:{port}" for address in addresses for port in ports if _connects(address, port)]
    tried = f"{len(ports)} ports at {len(addresses)} addresses"
    return AttackOutcome(
        not reached, f"reached {', '.join(reached[:5])}" if reached else f"reached none of {tried}"
    )


def _ports(pid: int) -> list[int]:
    try:
        process = psutil.Process(pid)
        family = [process, *process.parents()[:2]]  # the actor, its raylet, and whoever started that
        return [
            each.laddr.port
            for one in family
            if "ray" in one.name() or "python" in one.name()
            for each in one.net_connections("inet")
            if each.status == psutil.CONN_LISTEN
        ]
    except psutil.Error:
        return []


def _connects(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=_CONNECT_S):
            return True
    except OSError:
        return False
