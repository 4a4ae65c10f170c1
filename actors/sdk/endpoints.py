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
from urllib.parse import urlsplit

PAUSE_FIRST_S, PAUSE_MAX_S = 0.05, 2.0
URLS_MAX = 1_024


class AddressError(ValueError):
    """What was given is not the address of a gateway; the message says what one looks like."""


def read_address(text: str) -> str:
    """A gateway's base address without its last slash. Raises AddressError."""
    shown = f"address {text[:80]!r}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise AddressError(f"{shown}: {error}; expected http://HOST:PORT") from None
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise AddressError(f"{shown}: expected http://HOST:PORT or https://HOST:PORT")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise AddressError(f"{shown}: spaces and characters beyond ASCII are in no address")
    if parts.username is not None or parts.query or parts.fragment:
        raise AddressError(f"{shown}: no user, query or fragment; an API key goes into RAYCHAIN_API_KEY")
    return text.rstrip("/")


class Endpoints:
    """Base addresses of gateways. Raises AddressError for none, more than URLS_MAX, or one that is malformed.

    retry_refused: whether patience is also for gateways that refuse connections, all of them.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        patience_s: float = 0.0,
        jitter: random.Random | None = None,
        retry_refused: bool = True,
    ) -> None:
        listed = [urls] if isinstance(urls, str) else list(urls)
        if not 1 <= len(listed) <= URLS_MAX:
            raise AddressError(f"{len(listed)} gateways given, expected 1 to {URLS_MAX}")
        self.urls = [read_address(url) for url in listed]
        self._retry_refused, self._refused = retry_refused, 0
        self._patience_s, self._jitter = patience_s, jitter or random.Random()
        self._current = 0

    @property
    def current(self) -> str:
        """The gateway to ask now."""
        return self.urls[self._current]

    def failed(self, url: str) -> None:
        """A request to `url` failed: the next gateway is asked from now on, unless it is already."""
        if url == self.current:
            self._current = (self._current + 1) % len(self.urls)

    def pause_s(
        self, failures: int, asked_for_s: float, waited_s: float, refused: bool = False
    ) -> float | None:
        """Seconds to wait before another attempt of one request, None to give up.

        failures: of this request so far; asked_for_s: what the gateway asked for (Retry-After); waited_s:
        since the first attempt; refused: the last gateway refused the connection.
        """
        self._refused = self._refused + 1 if refused else 0
        if not self._retry_refused and self._refused >= len(self.urls):
            return None
        if failures % len(self.urls):
            return 0.0
        rounds = failures // len(self.urls) - 1
        pause_s = min(PAUSE_FIRST_S * 2 ** min(rounds, 16), PAUSE_MAX_S)
        pause_s = max(pause_s, min(asked_for_s, PAUSE_MAX_S)) * self._jitter.uniform(0.5, 1.0)
        return pause_s if waited_s + pause_s <= self._patience_s else None
