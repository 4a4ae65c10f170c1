"""The attempts of one request, which both clients make."""

from __future__ import annotations

import time
from typing import Any

from actors.sdk.answers import UnavailableApiError
from actors.sdk.endpoints import Endpoints
from actors.sdk.requests import ApiRequest


class Attempts:
    """The attempts of one request: after each that failed, how long to wait before the next."""

    def __init__(self, endpoints: Endpoints, request: ApiRequest[Any]) -> None:
        self._endpoints, self._request = endpoints, request
        self._failures, self._began, self._cut_off = 0, time.monotonic(), False

    def pause_s(self, url: str, error: UnavailableApiError) -> float | None:
        """Seconds until the request that failed at `url` is repeated, None if it is not."""
        self._endpoints.failed(url)
        if not self._request.may_repeat(error):
            return None
        # A balancer closes an idle connection just when a request is written: that is worth one more attempt.
        if error.cut_off and not self._cut_off:
            self._cut_off = True
            return 0.0
        self._failures += 1
        asked_for_s, waited_s = error.retry_after_s if error.status else 0.0, time.monotonic() - self._began
        refused = not error.status and error.nothing_taken
        return self._endpoints.pause_s(self._failures, asked_for_s, waited_s, refused)
