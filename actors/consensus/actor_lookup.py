"""Actors of this node that start after Consensus, and are found by their names once they are there.

Looking one up asks the cluster, which may take long while much starts: never on the loop that leads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

LOOK_EVERY_S = 0.25


class ActorLookup:
    """Looks for `names` until all are found. look(name) blocks, and raises ValueError for who is not there;
    found(name, handle) is told of each, once. `looked` is set when all have been asked for once."""

    def __init__(
        self,
        names: Sequence[str],
        look: Callable[[str], Any],
        found: Callable[[str, Any], None],
        unreachable: tuple[type[Exception], ...],
    ) -> None:
        """unreachable: what `look` raises when the cluster does not answer; then it is asked again."""
        self._missing, self._look, self._found = list(names), look, found
        self._away: tuple[type[Exception], ...] = (ValueError, *unreachable)
        self.looked = asyncio.Event()

    async def find(self) -> None:
        """Returns when all are found."""
        while self._missing:
            for name in tuple(self._missing):
                try:
                    handle = await asyncio.to_thread(self._look, name)
                except self._away:
                    continue
                self._missing.remove(name)
                self._found(name, handle)
            self.looked.set()
            if self._missing:
                await asyncio.sleep(LOOK_EVERY_S)
        self.looked.set()
