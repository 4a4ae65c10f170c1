"""Errors of the HTTP API: RFC 9457 problem details, and which status each verdict has.

Every error body is application/problem+json with `type`, `title`, `status`, `detail`, and where they apply
`field` (what is wrong), `limit` (the bound), `verdict` and `code` (of a transaction), `rows` (of a batch).
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.gateway.backend import RETRY_AFTER_S, BusyError, NoMempoolError, ShareError, UnavailableError
from actors.ledger.prices import Prices
from actors.ledger.rows import FormatError
from actors.ledger.verdict import Verdict, explain
from actors.sdk.answers import TYPE_PREFIX

TITLES: dict[str, tuple[int, str]] = {
    "malformed": (400, "The request could not be read"),
    "unauthorized": (401, "This needs an API key"),
    "forbidden": (403, "This is not allowed to you"),
    "not-found": (404, "There is no such thing"),
    "method-not-allowed": (405, "This resource has other methods"),
    "request-timeout": (408, "The body did not arrive in time"),
    "conflict": (409, "The transaction does not fit the state of its sender"),
    "parked": (409, "The transaction is kept, and waits for another one"),
    "membership-conflict": (409, "The members do not allow this change now"),
    "misdirected": (421, "This node does not answer to that name"),
    "too-large": (413, "The body exceeds its bound"),
    "unsupported-media-type": (415, "The body has another media type than this route reads"),
    "invalid": (422, "A value is not what it must be"),
    "invalid-transaction": (422, "The transaction can never be valid here"),
    "too-many": (429, "The sender has too many transactions pending"),
    "too-many-requests": (429, "You ask for more than your share"),
    "internal": (500, "The gateway failed; the fault is logged"),
    "busy": (503, "A bound of the node is reached"),
    "observer": (503, "This node has no mempool; submit to a member"),
    "unavailable": (503, "A part of the node does not answer at the moment"),
    "commit-timeout": (504, "Not committed in time; still pending"),
}

_CONFLICTS = frozenset(
    {
        Verdict.EXPIRED,
        Verdict.NONCE_REUSED,
        Verdict.NONCE_GAP,
        Verdict.INSUFFICIENT_BALANCE,
        Verdict.BALANCE_OVERFLOW,
        Verdict.DUPLICATE,
    }
)
_OTHERS = {
    Verdict.PARKED: "parked",
    Verdict.SENDER_LIMIT: "too-many",
    Verdict.POOL_FULL: "busy",
    Verdict.UNAVAILABLE: "unavailable",
}


class ProblemError(Exception):
    """One error answer. `members` are the problem's own fields; retries carry Retry-After."""

    def __init__(self, name: str, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.status, title = TITLES[name]
        self.document: dict[str, Any] = {
            "type": TYPE_PREFIX + name,
            "title": title,
            "status": self.status,
            "detail": detail,
            **{key: value for key, value in members.items() if value is not None},
        }
        self.headers: dict[str, str] = {}
        if self.status in (429, 503):
            self.headers["Retry-After"] = str(RETRY_AFTER_S)

    def body(self) -> bytes:
        """The JSON document."""
        return msgspec.json.encode(self.document)


def kind_of_verdict(verdict: Verdict) -> str:
    """Name of the problem that a failing verdict is answered with."""
    return "conflict" if verdict in _CONFLICTS else _OTHERS.get(verdict, "invalid-transaction")


def of_verdict(code: int, prices: Prices | None = None, **members: Any) -> ProblemError:
    """The problem of one refused transaction, with the figures of `prices` and further members."""
    field, advice = explain(code, prices)
    verdict = Verdict(code)
    return ProblemError(
        kind_of_verdict(verdict), advice, field=field or None, code=code, verdict=verdict.name, **members
    )


def of_error(error: Exception) -> ProblemError:
    """The problem of a typed error of the gateway or the ledger's parsers."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, FormatError):
        return ProblemError("malformed", str(error), field=error.field, limit=str(error.limit))
    if isinstance(error, ShareError):
        return ProblemError("too-many-requests", str(error), limit=error.limit)
    if isinstance(error, BusyError):
        return ProblemError("busy", str(error), limit=error.limit)
    if isinstance(error, NoMempoolError):
        return ProblemError("observer", str(error))
    if isinstance(error, UnavailableError):
        return ProblemError("unavailable", str(error), field=error.part)
    return ProblemError("internal", "unexpected failure")


def refused_rows(verdicts: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """One entry a refused row: index, code, verdict, field, advice. (n,) uint8 in, in order of index."""
    indices = np.flatnonzero(verdicts)
    words = {int(code): (Verdict(int(code)).name, *explain(int(code))) for code in np.unique(verdicts)}
    rows = []
    for index, code in zip(indices.tolist(), verdicts[indices].tolist(), strict=True):
        name, field, advice = words[code]
        rows.append({"index": index, "code": code, "verdict": name, "field": field, "advice": advice})
    return rows
