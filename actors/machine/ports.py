"""Ports of this machine: whether one is free, who has it, and which gateways serve here. Knows no Ray."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator

import psutil

GATEWAY_TITLE = "ray::Gateway"
_TITLE_WORDS = 3


def obstacle(host: str, port: int) -> str:
    """Why no server could listen there now: who has the port, or what the system says; "" if one could."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"taken by {_holder(port) or 'a process that this user may not see'}"
            return f"not to be had on {host}: {error.strerror}"
    return ""


def _holder(port: int) -> str:
    """Who listens at a port, as `python node.py up (process 12)`."""
    for process, taken, title in _listening():
        if taken == port:
            words = " ".join(part.rpartition("/")[2] for part in title[:_TITLE_WORDS])
            return f"{words} (process {process})"
    return ""


def gateways() -> list[tuple[int, int]]:
    """(port, process) of each gateway that this user may see, by port."""
    found = (each for each in _listening() if "".join(each[2][:1]).startswith(GATEWAY_TITLE))
    return sorted((port, process) for process, port, _ in found)


def _listening() -> Iterator[tuple[int, int, list[str]]]:
    """(process, port, command) of listening sockets; of a process whose sockets may not be seen, none."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            title = process.cmdline()
            for each in process.net_connections("inet"):
                if each.status == psutil.CONN_LISTEN:
                    yield process.pid, each.laddr.port, title
