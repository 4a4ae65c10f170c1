"""The network that a load or a soak is run against, as a list of nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actors.settings import Settings


@contextmanager
def running_nodes(settings: Settings, data_dir: Path | None, nodes: int) -> Iterator[tuple[Any, list[Any]]]:
    """The cluster and the started nodes of a network; stopped cleanly on the way out."""
    from node import running_network

    with running_network(settings, data_dir, nodes) as (cluster, running):
        yield cluster, running
