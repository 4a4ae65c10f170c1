"""Chunks of rows on their way to workers: handed out as workers free up, and again when one stays away.

Rules
- A chunk's result is set once; whatever answers later changes nothing.
- Whoever asks gets a chunk of the flow that has had least work done (actors/sharing.py), and of that the one
  that has waited longest: who asks for much waits behind his own. A chunk that its holder has had for
  `limit_s` is overdue: it waits again, before all others, and its holder is named, so that somebody looks
  after him.
- Chunks whose rows are at hand go together while they are worth no more than one call: when workers are slow,
  what waits behind them does not cost a call each.
- A chunk that failed ATTEMPTS_MAX times is its owner's to do.

What is overdue is learned: see `RetransmissionTimer`. The queue has no bound of its own: it holds what the
pool's callers have taken in, and they are bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.sharing import FairQueue

ATTEMPTS_MAX = 2
FIRST_LIMIT_S = 1.0


class RetransmissionTimer:
    """How long to wait for an answer: the mean of earlier waits and four deviations, at least `floor_s`.

    This is the timer of RFC 6298, with its weights.
    """

    __slots__ = ("_deviation_s", "_floor_s", "_mean_s", "limit_s")

    def __init__(self, floor_s: float) -> None:
        self._floor_s = floor_s
        self._mean_s = self._deviation_s = 0.0
        self.limit_s = max(FIRST_LIMIT_S, floor_s)

    def observe(self, wait_s: float) -> None:
        """An answer took so long."""
        if not self._mean_s:
            self._mean_s, self._deviation_s = wait_s, wait_s / 2
        else:
            self._deviation_s += (abs(wait_s - self._mean_s) - self._deviation_s) / 4
            self._mean_s += (wait_s - self._mean_s) / 8
        self.limit_s = max(self._floor_s, self._mean_s + 4 * self._deviation_s)


class Chunk:
    """Rows start..stop-1 of `rows`. result: (stop - start,) bool, set by the first who answers.

    flow: whose they are.
    """

    __slots__ = ("attempts", "flow", "given_s", "holder", "result", "rows", "start", "stop")

    def __init__(
        self, rows: Any, start: int, stop: int, result: asyncio.Future[NDArray[np.bool_]], flow: str = ""
    ) -> None:
        self.rows, self.start, self.stop, self.result, self.flow = rows, start, stop, result, flow
        self.attempts, self.given_s = 0, 0.0
        self.holder: Any = None

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def is_at_hand(self) -> bool:
        """False where `rows` is a reference."""
        return isinstance(self.rows, np.ndarray)

    @property
    def columns(self) -> NDArray[Any]:
        """Its rows alone, where they are at hand."""
        own: NDArray[Any] = self.rows[self.start : self.stop]
        return own


class ChunkQueue:
    """What waits and what is under way, inside one event loop. clock: seconds that never go back."""

    def __init__(self, overdue_s: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._patience = RetransmissionTimer(overdue_s)
        self._first: deque[Chunk] = deque()
        self._waiting: FairQueue[Chunk] = FairQueue()
        self._held: dict[Chunk, None] = {}
        self._filled, self._given = asyncio.Event(), asyncio.Event()
        self.overdue = 0

    def __len__(self) -> int:
        return len(self._first) + len(self._waiting)

    @property
    def held(self) -> int:
        """Chunks that somebody has and nobody has answered."""
        return len(self._held)

    @property
    def limit_s(self) -> float:
        """How long a worker may have a chunk before it is overdue."""
        return self._patience.limit_s

    def put(self, chunk: Chunk, first: bool = False) -> None:
        """Let the next free worker have it, or before all others; nothing happens to one that is answered."""
        self._held.pop(chunk, None)
        if not chunk.result.done():
            if first:
                self._first.appendleft(chunk)
            else:
                self._waiting.put(chunk.flow, chunk, len(chunk))
            self._filled.set()

    async def take(self, holder: Any) -> Chunk:
        """The next chunk; waits until there is one."""
        while True:
            while len(self):
                chunk = self._pop()
                if not chunk.result.done():
                    self._give(chunk, holder)
                    return chunk
            self._filled.clear()
            await self._filled.wait()

    def take_along(self, taken: Chunk, rows_max: int) -> list[Chunk]:
        """More for the holder of `taken`, as long as all are at hand and have `rows_max` rows together."""
        found, rows = list[Chunk](), len(taken)
        while taken.is_at_hand and len(self):
            chunk = self._pop()
            if chunk.result.done():
                continue
            rows += len(chunk)
            if not chunk.is_at_hand or rows > rows_max:
                self._first.appendleft(chunk)
                break
            self._give(chunk, taken.holder)
            found.append(chunk)
        return found

    def _pop(self) -> Chunk:
        return self._first.popleft() if self._first else self._waiting.pop()

    def _give(self, chunk: Chunk, holder: Any) -> None:
        chunk.holder, chunk.given_s = holder, self._clock()
        self._held[chunk] = None
        self._given.set()

    async def until_held(self) -> None:
        """Return when somebody has a chunk."""
        while not self._held:
            self._given.clear()
            await self._given.wait()

    def take_overdue(self) -> set[Any]:
        """Let overdue chunks wait again, first; the holders that did not answer in time."""
        latest_s, silent = self._clock() - self.limit_s, set()
        for chunk in list(self._held):
            if chunk.result.done():
                del self._held[chunk]
            elif chunk.given_s <= latest_s:
                self.overdue += 1
                silent.add(chunk.holder)
                self.put(chunk, first=True)
        return silent

    def answer(self, chunk: Chunk, valid: NDArray[np.bool_], wait_s: float | None = None) -> None:
        """A result for the chunk; the first one counts. wait_s: how long its worker took; None: its owner."""
        self._held.pop(chunk, None)
        if wait_s is not None:
            self._patience.observe(wait_s)
        if not chunk.result.done():
            chunk.result.set_result(valid)

    def fail(self, chunk: Chunk, holder: Any) -> bool:
        """A worker did not do it: False once it has failed too often and is its owner's to do."""
        if chunk.result.done() or chunk not in self._held or chunk.holder != holder:
            return True  # decided, or somebody else's by now
        chunk.attempts += 1
        if chunk.attempts < ATTEMPTS_MAX:
            self.put(chunk, first=True)
            return True
        return False

    def refuse(self, chunk: Chunk, error: Exception) -> None:
        """Nobody can do it: its caller gets the error."""
        self._held.pop(chunk, None)
        if not chunk.result.done():
            chunk.result.set_exception(error)
