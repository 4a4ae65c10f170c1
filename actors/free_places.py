"""Whether a network's folders and ports are free, looked at before anything slow begins. Knows no Ray."""

from __future__ import annotations

import time
from collections.abc import Callable

from actors.console import UserError
from actors.directory import NetworkDirectory
from actors.machine import stopping
from actors.machine.ports import obstacle
from actors.settings import Settings

FREE_WITHIN_S, LOOK_S = 3.0, 0.1


def require_free(settings: Settings, directory: NetworkDirectory, serve: bool) -> None:
    """Raise UserError where another process has a folder of one of the nodes, or a port. What has just been
    stopped has FREE_WITHIN_S to let go of it.

    serve: whether the nodes are to have gateways and peers.
    """
    from actors.storage.disk import holder_of

    until = time.monotonic() + FREE_WITHIN_S

    def lasting(look: Callable[[], str]) -> str:
        while (found := look()) and time.monotonic() < until:
            stopping.check()
            time.sleep(LOOK_S)
        return found

    for folder in directory.nodes:
        database = folder.path / "db"
        if holder := lasting(lambda database=database: holder_of(database)):  # type: ignore[misc]
            raise UserError(
                f"{folder.path} is in use by process {holder}: {folder.name} runs already. Stop it first, "
                "with Ctrl-C where it was started, or choose another --data-dir"
            )
    for number, folder in enumerate(directory.nodes if serve else ()):
        own = settings.of_node(number)
        for name, host, port in _ports(own):
            if found := lasting(lambda host=host, port=port: obstacle(host, port)):  # type: ignore[misc]
                raise UserError(
                    f"port {port} ({name} of {folder.name}) is {found}; choose another port, or "
                    f"--set {name}=0 for one that is free"
                )


def _ports(own: Settings) -> list[tuple[str, str, int]]:
    """(setting, host, port) of the ports that a node shall have, which is told by more than 0."""
    rooms = [("peer.port", own.peer.host, own.peer.port)]
    if own.node.gateways:
        rooms.append(("gateway.port", own.gateway.host, own.gateway.port))
    return [room for room in rooms if room[2]]
