"""The few types that cross between the HTTP face and the node behind it (`service.py`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from actors.ledger.rows import BATCH_HEADER_BYTES, ROW_BYTES

RETRY_AFTER_S = 1
SOURCE_KEY = "raychain.source"
"""Where the gate leaves the name of who asks, in the ASGI scope of a request."""


class Wait(StrEnum):
    """When a submission is answered: in a mempool, in its journal on disk, or in a committed block."""

    ACCEPTED = "accepted"
    DURABLE = "durable"
    COMMITTED = "committed"


class BusyError(Exception):
    """A bound of the gateway is reached: the caller should come back later. Nothing was submitted."""

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"{what} reached its bound of {limit}; retry later")
        self.what, self.limit = what, limit


class ShareError(BusyError):
    """A client holds its share of what all share, and waits for its own to end. Nothing was submitted."""


class UnavailableError(Exception):
    """An actor behind the gateway does not answer now. A submission may or may not have been taken."""

    def __init__(self, part: str) -> None:
        super().__init__(f"{part} does not answer at the moment; retry, requests are idempotent")
        self.part = part


class NoMempoolError(UnavailableError):
    """This node takes no transactions, since it only observes; nothing was submitted."""

    def __init__(self) -> None:
        super().__init__("a mempool (this node observes; submit to a member)")


class StoppingError(UnavailableError):
    """This gateway is being stopped; what was submitted may be on its way to a block."""

    def __init__(self) -> None:
        Exception.__init__(
            self, "this node is stopping; ask again elsewhere, or later: requests are idempotent"
        )
        self.part = "gateway"


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of one binary batch."""

    rows_max: int
    payload_bytes_max: int

    @property
    def body_bytes_max(self) -> int:
        """Length of the longest batch body."""
        return BATCH_HEADER_BYTES + self.rows_max * ROW_BYTES + self.payload_bytes_max


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """Outcome of submitting rows.

    verdicts: (n,) uint8, 0 where the row reached what was waited for, or is still on the way to its block.
    pending: (p,) int64 indices of rows that were accepted but did not commit in time; empty unless the wait
    was for the commit. height: the highest block that holds one of the rows, None unless one committed.
    parked: (q,) int64 indices of rows that were accepted and wait for a nonce before them that is missing;
    where the commit was waited for, their verdict says so instead.
    """

    verdicts: NDArray[np.uint8]
    pending: NDArray[np.int64]
    height: int | None = None
    parked: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
