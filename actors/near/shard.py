"""A mempool shard, near: what its callers hold, and what it serves."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from actors.faces import MempoolFace
from actors.ledger.delta import Delta
from actors.ledger.pending import DrawSummary
from actors.near.follower import NEAR_BYTES_MAX, near_deltas
from actors.near.line import NearLine
from actors.near.messages import AdmitCall, AtHand, CommittedCall, DrawCall, Verdicts, rows_of

_NO_ORIGINS = np.empty(0, dtype=np.uint16)
Drawn = tuple[DrawSummary, NDArray[Any], NDArray[np.uint8], int]


class NearShard:
    """The face of a shard: by a line where that can be, else by Ray."""

    def __init__(self, face: MempoolFace, away: tuple[type[Exception], ...]) -> None:
        self._face = face
        self._line = NearLine(face.near_line, away)

    def __getattr__(self, method: str) -> Any:
        return getattr(self._face, method)

    def admit(
        self,
        rows: NDArray[Any],
        payloads: NDArray[np.uint8],
        durable: bool = False,
        sources: Sequence[str] = ("",),
        origins: NDArray[np.uint16] | None = None,
        relayed: bool = False,
    ) -> Awaitable[NDArray[np.uint8]]:
        """As `MempoolShard.admit`."""
        if rows.nbytes + payloads.nbytes <= NEAR_BYTES_MAX:
            known = _NO_ORIGINS if origins is None else origins
            answer = self._line.begin(AdmitCall(rows, payloads, durable, tuple(sources), known, relayed))
            if answer is not None:
                return _verdicts(answer)
        return self._face.admit(rows, payloads, durable, sources, origins, relayed)

    def draw_at_hand(
        self, rows_max: int, payload_bytes_max: int, height: int, wait_s: float = 0.0
    ) -> Awaitable[Drawn]:
        """As `MempoolShard.draw_at_hand`."""
        answer = self._line.begin(DrawCall(rows_max, payload_bytes_max, height, wait_s))
        return _drawn(answer) if answer is not None else self._face.draw_at_hand(
            rows_max, payload_bytes_max, height, wait_s
        )  # fmt: skip

    def settle(self, *deltas: Any) -> Awaitable[None]:
        """As `MempoolShard.settle`."""
        return near_deltas(self._line, deltas) or self._face.settle(*deltas)


async def _verdicts(answer: Awaitable[Verdicts]) -> NDArray[np.uint8]:
    return (await answer).verdicts


async def _drawn(answer: Awaitable[AtHand]) -> Drawn:
    told = await answer
    return told.summary, rows_of(told.rows), told.payloads, told.pending


class ShardActor(Protocol):
    """What a shard serves, as its own methods have it."""

    async def admit(
        self,
        rows: NDArray[Any],
        payloads: NDArray[np.uint8],
        durable: bool = False,
        sources: Sequence[str] = ("",),
        origins: NDArray[np.uint16] | None = None,
        relayed: bool = False,
    ) -> NDArray[np.uint8]: ...

    async def draw_at_hand(
        self, rows_max: int, payload_bytes_max: int, height: int, wait_s: float = 0.0
    ) -> Drawn: ...

    async def settle(self, *deltas: Delta) -> None: ...


async def run_on_shard(
    shard: ShardActor, call: AdmitCall | DrawCall | CommittedCall
) -> Verdicts | AtHand | None:
    """Carry out a call. Raises what the shard raises."""
    if isinstance(call, AdmitCall):
        origins = call.origins if len(call.origins) else None
        rows = rows_of(call.rows)
        return Verdicts(
            await shard.admit(rows, call.payloads, call.durable, call.sources, origins, call.relayed)
        )
    if isinstance(call, DrawCall):
        drawn = shard.draw_at_hand(call.rows_max, call.payload_bytes_max, call.height, call.wait_s)
        summary, rows, payloads, pending = await drawn
        return AtHand(summary, rows, payloads, pending)
    await shard.settle(*call.deltas)
    return None
