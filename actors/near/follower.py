"""Whoever follows the commits of a node, near: shards and gateways."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from actors.ledger.delta import Delta
from actors.near.line import NearLine
from actors.near.messages import CommittedCall

NEAR_BYTES_MAX = 2 << 20
"""Of columns in one call over a line; above it Ray's store, which several read, costs less."""


class NearFollower:
    """An actor that is told of deltas: by a line where that can be, else by Ray."""

    def __init__(
        self,
        find: Callable[[], Awaitable[str]],
        far: Callable[..., Awaitable[None]],
        away: tuple[type[Exception], ...],
    ) -> None:
        self._line, self._far = NearLine(find, away), far

    def committed(self, *deltas: Any) -> Awaitable[None]:
        """Deltas of final blocks, or references to them."""
        return near_deltas(self._line, deltas) or self._far(*deltas)


def near_deltas(line: NearLine, deltas: Sequence[Any]) -> Awaitable[None] | None:
    """Tell of deltas over a line; None if they are long, or references, or there is no line."""
    if all(isinstance(delta, Delta) and delta.nbytes <= NEAR_BYTES_MAX // len(deltas) for delta in deltas):
        return line.begin(CommittedCall(tuple(deltas)))
    return None
