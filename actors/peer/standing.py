"""What each source of the chain has shown: how fast it answers, how often it failed, until when it rests.

Kept over catch-ups and status polls, since a source is judged by what it did, not by what it says. A source
that fails `FAILURES_MAX` times without an answer in between rests for `REST_S`, twice as long each time;
after a rest one more failure is enough. At `SOURCES_MAX` the one not spoken of for longest is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from actors.ledger.quorum import reached

FAILURES_MAX = 3
REST_S = 10.0
REST_S_MAX = 300.0
SOURCES_MAX = 1_024
GRACE_S = 2.0
"""An answer that takes no longer than this is never too slow."""
RATE_WEIGHT = 0.3  # of the latest answer in the mean


@dataclass(slots=True)
class SourceStanding:
    """One source. `rates`: mean items or bytes a second by what was asked for. height: its latest claim."""

    height: int | None = None
    failures: int = 0
    rests: int = 0
    rests_until_s: float = 0.0
    rates: dict[str, float] = field(default_factory=dict)

    def resting(self, now_s: float) -> bool:
        """Whether it is not to be asked while there are others."""
        return now_s < self.rests_until_s

    def failed(self, now_s: float) -> None:
        """It did not answer in time, or with an error, or slower than the least rate."""
        self.failures += 1
        if self.failures >= FAILURES_MAX:
            self.rests_until_s = now_s + min(REST_S_MAX, REST_S * 2.0**self.rests)
            self.rests = min(self.rests + 1, 32)
            self.failures = FAILURES_MAX - 1

    def answered(self, kind: str, amount: int, elapsed_s: float, rate_min: float, now_s: float) -> None:
        """An answer of `amount` items or bytes came; slower than `rate_min` a second it is a failure."""
        rate = amount / max(elapsed_s, 1e-3)
        old = self.rates.get(kind)
        self.rates[kind] = rate if old is None else old + RATE_WEIGHT * (rate - old)
        if elapsed_s > GRACE_S and rate < rate_min:
            self.failed(now_s)
        else:
            self.failures = self.rests = 0
            self.rests_until_s = 0.0


class Standings:
    """Standings by identity."""

    def __init__(self) -> None:
        self._standings: OrderedDict[bytes, SourceStanding] = OrderedDict()

    def __len__(self) -> int:
        return len(self._standings)

    def known_head(self, members: Iterable[bytes]) -> int:
        """The height that a majority of those of them who said one has come to; 0 where none said a word.

        One who lies moves it no further than to what others say as well, where three or more are asked.
        """
        said = [known.height for who in members if (known := self._standings.get(who)) is not None]
        heights = [height for height in said if height is not None]
        return reached(heights, len(heights)) or 0

    def of(self, peer: bytes) -> SourceStanding:
        """The standing of a peer, a new one for a stranger."""
        standing = self._standings.get(peer)
        if standing is None:
            standing = self._standings[peer] = SourceStanding()
            if len(self._standings) > SOURCES_MAX:
                self._standings.popitem(last=False)
        else:
            self._standings.move_to_end(peer)
        return standing
