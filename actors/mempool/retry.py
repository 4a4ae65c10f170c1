"""Calls to actors that may be restarting: tried again with growing pauses, a bounded number of times."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

CALL_TIMEOUT_S = 30.0
ATTEMPTS = 7
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.05, 2.0
_T = TypeVar("_T")


class NoAnswerError(RuntimeError):
    """Another actor did not answer after a bounded number of tries."""


async def retried(
    what: str,
    call: Callable[[], Awaitable[_T]],
    transient: tuple[type[Exception], ...],
    failed: Callable[[str, Exception], None],
    attempts: int = ATTEMPTS,
) -> _T:
    """The call's result. `failed` hears of every failure; other errors than `transient` pass through.

    Raises UnavailableError after `attempts` failures, each given CALL_TIMEOUT_S.
    """
    awaited: tuple[type[Exception], ...] = (*transient, TimeoutError)
    pause_s, left = BACKOFF_FIRST_S, attempts
    while True:
        left -= 1
        try:
            return await asyncio.wait_for(_awaited(call), CALL_TIMEOUT_S)
        except awaited as error:
            failed(what, error)
            if not left:
                raise NoAnswerError(f"{what}: no answer after {attempts} tries") from error
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, BACKOFF_MAX_S)


async def _awaited(call: Callable[[], Awaitable[_T]]) -> _T:
    return await call()
