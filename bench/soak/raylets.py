"""Several raylets on one machine, as if they were hosts, so that one can be taken away.

Whatever owns files stays on the first; Validators spread over all, and with a raylet its Validators are gone
until they start elsewhere.
"""

from __future__ import annotations

from typing import Any

from actors.cluster.actor import open_session

OBJECT_STORE_BYTES = 150 << 20
CPUS = 2


class Raylets:
    """A head and `count - 1` other raylets. `address` is what Ray is joined at."""

    def __init__(self, count: int) -> None:
        self._session = open_session()
        from ray.cluster_utils import Cluster

        self._arguments: dict[str, Any] = {"num_cpus": CPUS, "object_store_memory": OBJECT_STORE_BYTES}
        folder = str(self._session.ray_dir)
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={**self._arguments, "include_dashboard": False, "temp_dir": folder},
        )
        self._others: list[Any] = []
        try:
            for _ in range(count - 1):
                self.add()
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        """Of the cluster."""
        return str(self._cluster.address)

    @property
    def removable(self) -> int:
        """Raylets beside the first."""
        return len(self._others)

    def remove(self) -> str:
        """Kill the newest raylet with all its workers; what it was called."""
        raylet = self._others.pop()
        name = str(raylet.unique_id)[:12]
        self._cluster.remove_node(raylet, allow_graceful=False)
        return name

    def add(self) -> None:
        """Start one more."""
        self._others.append(self._cluster.add_node(**self._arguments))

    def close(self) -> None:
        """Stop all of them."""
        self._cluster.shutdown()
        self._session.close()

    def __enter__(self) -> Raylets:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
