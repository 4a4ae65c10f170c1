"""Misbehaviour: every offence is counted, weighs on whoever committed it, and fades.

An offender's score halves every `halflife_s`; at `LISTED_SCORE` it is greylisted: its connections are closed
and new ones are refused until the score has faded below. Scores are kept for identities and, before an
identity is proved, for remote hosts. At `capacity` the mildest sixteenth is forgotten.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

LISTED_SCORE = 100.0
SEVERE = 200.0
BAD = 40.0
MILD = 5.0
POINTS = {
    # Only a deliberate act produces these; one of them lists for a half-life.
    "frame_seal": SEVERE,
    "frame_header": SEVERE,
    "after_end": SEVERE,
    "not_member": SEVERE,
    "rejected": SEVERE,
    "proof": SEVERE,
    # A broken or hostile peer; two or three in a half-life are too many.
    "frame_length": BAD,
    "message_length": BAD,
    "message": BAD,
    "hello": BAD,
    "flood": BAD,
    "slow_message": BAD,
    "magic": BAD,
    "replayed": BAD,
    "key_share": BAD,
    "record": BAD,
    "block_form": BAD,
    "block_hash": BAD,
    "unrequested": BAD,
    # May happen to an honest peer.
    "handshake_timeout": 20.0,
    "version": MILD,
    "network": MILD,
    "slow_reader": MILD,
    "truncated": 1.0,
}
"""Weight of each offence by its `ProtocolError.reason`; others weigh `MILD`."""


@dataclass(slots=True)
class Record:
    """A score and the time at which it was right."""

    score: float
    at_s: float


class Greylist:
    """Scores of offenders, with decay."""

    def __init__(self, capacity: int, halflife_s: float) -> None:
        self._capacity = capacity
        self._halflife_s = halflife_s
        self._records: dict[bytes | str, Record] = {}
        self.offences: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._records)

    def score(self, offender: bytes | str, now_s: float) -> float:
        """The faded score; 0 for the unknown."""
        record = self._records.get(offender)
        if record is None:
            return 0.0
        faded: float = record.score * 0.5 ** ((now_s - record.at_s) / self._halflife_s)
        return faded

    def is_listed(self, offender: bytes | str, now_s: float) -> bool:
        """Whether the offender is to be refused now."""
        return self.score(offender, now_s) >= LISTED_SCORE

    def penalise(self, offender: bytes | str, reason: str, now_s: float) -> bool:
        """Count one offence; returns whether the offender is listed now."""
        self.offences[reason if reason in POINTS else "other"] += 1
        score = self.score(offender, now_s) + POINTS.get(reason, MILD)
        if offender not in self._records and len(self._records) >= self._capacity:
            self._forget_mildest(now_s)
        self._records[offender] = Record(score, now_s)
        return score >= LISTED_SCORE

    def _forget_mildest(self, now_s: float) -> None:
        by_score = sorted(self._records, key=lambda offender: self.score(offender, now_s))
        for offender in by_score[: max(1, self._capacity // 16)]:
            del self._records[offender]


class TokenBucket:
    """A rate with a burst: `rate_per_s` tokens a second, at most `burst` saved up."""

    def __init__(self, rate_per_s: float, burst: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = burst
        self._at_s = now_s

    def take(self, count: float, now_s: float) -> bool:
        """Spend `count` tokens; False, spending none, when there are not enough."""
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._rate_per_s)
        self._at_s = now_s
        if self._tokens < count:
            return False
        self._tokens -= count
        return True

    def give(self, count: float) -> None:
        """Give tokens back."""
        self._tokens = min(self._burst, self._tokens + count)
