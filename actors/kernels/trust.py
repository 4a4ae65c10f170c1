"""Verdicts of a compiled kernel, held against libsodium's while the node runs.

Rules
1. A rejection is confirmed by libsodium before it is answered, as it would cost an honest sender most. That
   is rare in an honest network; ``confirmations_per_s`` are confirmed, with a reserve of
   ``confirmations_burst``, and what exceeds that is answered unconfirmed, and counted: so nobody can make
   this node verify at libsodium's speed.
2. Of the acceptances a share, drawn at random, is verified again by libsodium on a thread of its own. At most
   ``AUDITS_MAX`` batches wait; what exceeds that is dropped, and counted.
3. The first disagreement stops the kernel for good: the batch is answered by libsodium, as is every one
   after it, and the alarm tells the row that showed it. A kernel that erred once has no second chance
   before a restart.
4. One row alone goes to libsodium, which is faster at it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import Full, Queue

import numpy as np
from numpy.typing import NDArray

from .interface import SignatureVerifier

AUDITS_MAX = 64

Columns = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True)
class TrustPolicy:
    """How much is verified twice."""

    audited_share: float = 0.001
    """Of the acceptances, drawn at random: 0 for none, 1 for all."""
    confirmations_per_s: float = 200.0
    """Rejections a second that libsodium confirms; one costs about 0.06 ms."""
    confirmations_burst: float = 1000.0
    """Confirmations in reserve after a while without any."""

    def __post_init__(self) -> None:
        if not 0 <= self.audited_share <= 1:
            raise ValueError(f"audited_share: expected 0 .. 1, got {self.audited_share}")
        if self.confirmations_per_s < 0 or self.confirmations_burst < 0:
            raise ValueError("confirmations_per_s and confirmations_burst: expected 0 or more")


class TrustedVerifier:
    """A verifier that answers what ``kernel`` answers, as long as ``oracle`` agrees."""

    def __init__(
        self,
        kernel: SignatureVerifier,
        oracle: SignatureVerifier,
        policy: TrustPolicy,
        alarm: Callable[[str], None],
        seed: int,
        clock: Callable[[], float],
    ) -> None:
        """``clock`` answers seconds; ``seed`` decides which acceptances are verified again."""
        self._kernel, self._oracle, self._policy = kernel, oracle, policy
        self._alarm, self._clock = alarm, clock
        self._rng = np.random.default_rng(seed)
        # Rows to let pass before the next one that is drawn: gaps cost less to draw than rows.
        self._until_drawn = int(self._rng.geometric(policy.audited_share)) - 1 if policy.audited_share else 0
        self._lock = threading.Lock()
        self._stopped = False
        self._reserve, self._reserved_at_s = policy.confirmations_burst, clock()
        self._audits: Queue[Columns] = Queue(AUDITS_MAX)
        self._auditor: threading.Thread | None = None
        names = (
            "rejections_confirmed",
            "rejections_unconfirmed",
            "audited",
            "audits_dropped",
            "disagreements",
        )
        self._counts = dict.fromkeys(names, 0)

    def verify(
        self, keys: NDArray[np.uint8], signatures: NDArray[np.uint8], messages: NDArray[np.uint8]
    ) -> NDArray[np.bool_]:
        """See ``SignatureVerifier``."""
        columns = (keys, signatures, messages)
        if self._stopped or len(keys) == 1:
            return self._oracle(*columns)
        verdicts = self._kernel(*columns)
        if not verdicts.all():
            rejected = np.flatnonzero(~verdicts)
            confirmed = rejected[: self._take(len(rejected))]
            if len(confirmed) and not self._agrees(columns, confirmed, expected=False):
                return self._oracle(*columns)
        self._offer(columns, verdicts)
        return verdicts

    def _agrees(self, columns: Columns, rows: NDArray[np.int64], expected: bool) -> bool:
        """Whether libsodium's verdict on these rows is the expected one; if not, the kernel is stopped."""
        keys, signatures, messages = (column[rows] for column in columns)
        differs = self._oracle(keys, signatures, messages) != expected
        if not differs.any():
            return True
        first = int(differs.argmax())
        row = b"".join(part[first].tobytes() for part in (keys, signatures, messages))
        with self._lock:
            self._stopped = True
            self._counts["disagreements"] += int(differs.sum())
        said = "accepted" if expected else "rejected"
        self._alarm(
            f"signature kernel stopped: it {said} what libsodium does not; libsodium serves from now on. "
            f"Key, signature and message in hex: {row.hex()}"
        )
        return False

    def _take(self, wanted: int) -> int:
        """How many rejections may be confirmed now."""
        policy, now_s = self._policy, self._clock()
        with self._lock:
            gained = (now_s - self._reserved_at_s) * policy.confirmations_per_s
            reserve = min(policy.confirmations_burst, self._reserve + gained)
            taken = min(wanted, int(reserve))
            self._reserve, self._reserved_at_s = reserve - taken, now_s
            self._counts["rejections_confirmed"] += taken
            self._counts["rejections_unconfirmed"] += wanted - taken
        return taken

    def _offer(self, columns: Columns, verdicts: NDArray[np.bool_]) -> None:
        """Draw from the acceptances, and leave a copy to the thread that audits."""
        if not self._policy.audited_share:
            return
        drawn: list[int] = []
        with self._lock:
            while self._until_drawn < len(verdicts):
                drawn.append(self._until_drawn)
                self._until_drawn += int(self._rng.geometric(self._policy.audited_share))
            self._until_drawn -= len(verdicts)
        rows = np.array([number for number in drawn if verdicts[number]], np.int64)
        if not len(rows):
            return
        keys, signatures, messages = (column[rows] for column in columns)
        with self._lock:
            if self._auditor is None:
                self._auditor = threading.Thread(target=self._audit, name="signature-audit", daemon=True)
                self._auditor.start()
            try:
                self._audits.put_nowait((keys, signatures, messages))
            except Full:
                self._counts["audits_dropped"] += len(rows)

    def _audit(self) -> None:
        while True:
            columns = self._audits.get()
            try:
                rows = np.arange(len(columns[0]))
                if not self._stopped and self._agrees(columns, rows, expected=True):
                    with self._lock:
                        self._counts["audited"] += len(columns[0])
            finally:
                self._audits.task_done()

    def wait_for_audits(self) -> None:
        """Return when all that was drawn so far has been verified again."""
        self._audits.join()

    def statistics(self) -> dict[str, int]:
        """Counters since the start, and whether the kernel is stopped (0 or 1)."""
        with self._lock:
            return {**self._counts, "kernel_stopped": int(self._stopped)}
