"""Which of a network's gateways to ask, and when to ask again. No I/O, no clock.

Rules
  * All requests go to one gateway until it fails; then the next one is asked, and all requests go there. So
    what one client reads rarely jumps back in time, although followers may be behind.
  * A failed read is asked again. A failed submission is asked again only if nothing of it can have been
    taken: the connection was refused, or the gateway answered so. Otherwise its caller hears of it, since a
    refusal that a second attempt meets (NONCE_REUSED, say) may be due to the first having been committed.
  * Every gateway is asked once without a pause; then, until `patience_s` is over, rounds follow each other
    with pauses that double, jittered, up to PAUSE_MAX_S.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

PAUSE_FIRST_S, PAUSE_MAX_S = 0.05, 2.0
URLS_MAX = 1_024


class Endpoints:
    """Base addresses of gateways. Raises ValueError for none of them, or for more than URLS_MAX."""

    def __init__(
        self, urls: str | Sequence[str], patience_s: float = 0.0, jitter: random.Random | None = None
    ) -> None:
        listed = [urls] if isinstance(urls, str) else list(urls)
        if not 1 <= len(listed) <= URLS_MAX:
            raise ValueError(f"{len(listed)} gateways given, expected 1 to {URLS_MAX}")
        self._urls = [url.rstrip("/") for url in listed]
        self._patience_s, self._jitter = patience_s, jitter or random.Random()
        self._current = 0

    @property
    def current(self) -> str:
        """The gateway to ask now."""
        return self._urls[self._current]

    def failed(self, url: str) -> None:
        """A request to `url` failed: the next gateway is asked from now on, unless it is already."""
        if url == self.current:
            self._current = (self._current + 1) % len(self._urls)

    def pause_s(self, failures: int, asked_for_s: float, waited_s: float) -> float | None:
        """Seconds to wait before another attempt of one request, None to give up.

        failures: of this request so far; asked_for_s: what the gateway asked for (Retry-After); waited_s:
        since the first attempt.
        """
        if failures % len(self._urls):
            return 0.0
        rounds = failures // len(self._urls) - 1
        pause_s = min(PAUSE_FIRST_S * 2 ** min(rounds, 16), PAUSE_MAX_S)
        pause_s = max(pause_s, min(asked_for_s, PAUSE_MAX_S)) * self._jitter.uniform(0.5, 1.0)
        return pause_s if waited_s + pause_s <= self._patience_s else None
