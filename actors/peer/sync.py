"""Catching up with the chain, without I/O: headers first, bodies from several peers, trusting none of them.

Rules
1. A header is believed for its commit certificate and its parent, never for its sender; a body for the hash
   in its header. Both checks are the caller's callbacks and run as the bytes come.
2. A peer that sends what does not verify is blamed and not asked again. One that claims more than it can
   show loses the claim. One that fails, or answers slower than the least rate, comes after those that do not,
   and rests (see `standing`); what it says of itself changes nothing of that.
3. Blocks are delivered in order of height, each once. What is delivered is the caller's to persist; a new
   planner made from the persisted tip resumes where the old one stopped.
4. At most `HEADERS_AHEAD_MAX` headers and `WINDOW_BLOCKS` bodies are held.

Theory of operation. `peer_status` tells who claims which height. `next_requests` names what to ask of whom:
one peer is asked for the next headers, and every peer that claims a height in the window may be asked for a
run of bodies there. Those that have shown the best rate are asked first; of those that have shown none,
`PROBES_MAX` at once. What everything else waits for, the next headers and the next block, is asked of another
peer too whenever `HEDGE_S` went by without an answer. Whatever comes back is put in by `on_headers` or
`on_bodies`, what does not by `on_failed`, and `take_blocks` gives what has become contiguous. A peer may
answer a request with fewer items than asked (its limit on answers), not with none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actors.peer.errors import ProtocolError
from actors.peer.standing import SourceStanding, Standings

HEADERS_PER_REQUEST = 256
HEADERS_AHEAD_MAX = 1_024
BODIES_PER_REQUEST = 16
WINDOW_BLOCKS = 128
REQUESTS_PER_PEER_MAX = 2
PROBES_MAX = 4
HEDGE_S = 1.0
COPIES_MAX = 3
PEERS_MAX = 256
HEADERS_PER_S_MIN = 32
BODY_BYTES_PER_S_MIN = 64 << 10
"""The least rates; see `SourceStanding.answered`."""


@dataclass(frozen=True, slots=True)
class VerifiedHeader:
    """A verified header. `hash` and `parent_hash` are 32 bytes; `encoded` is what the peer sent; time_ms is
    the block's."""

    height: int
    hash: bytes
    parent_hash: bytes
    encoded: bytes
    time_ms: int = 0


@dataclass(frozen=True, slots=True)
class HeadersWanted:
    """Ask `peer` for up to `count` headers from height `start` on."""

    peer: bytes
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class BodiesWanted:
    """Ask `peer` for up to `count` bodies from height `start` on."""

    peer: bytes
    start: int
    count: int


HEADERS, BODIES = "headers", "bodies"
Wanted = HeadersWanted | BodiesWanted
VerifyHeader = Callable[[VerifiedHeader, bytes], VerifiedHeader]
"""(parent, encoded) -> the header, its certificate checked. Raises `ProtocolError` when it is not valid."""
VerifyBody = Callable[[VerifiedHeader, bytes], bool]
"""Whether the body is the one that the header commits to."""


@dataclass(slots=True)
class Source:
    """A peer that may be asked. `claim` is the highest block it says or has proved unable to show less."""

    claim: int
    standing: SourceStanding
    member: bool = False
    in_flight: int = 0
    banned: bool = False


class SyncPlanner:
    """One catch-up from a tip. No clock, no sockets: deadlines are the caller's, told by `on_failed`, and so
    is the time, in seconds that never go back. `standings` outlive the catch-up."""

    def __init__(
        self,
        tip: VerifiedHeader,
        verify_header: VerifyHeader,
        verify_body: VerifyBody,
        standings: Standings | None = None,
    ) -> None:
        self._standings = Standings() if standings is None else standings
        self._now_s = 0.0
        self._delivered = tip
        self._last_header = tip
        self._verify_header = verify_header
        self._verify_body = verify_body
        self._sources: dict[bytes, Source] = {}
        self._headers: dict[int, VerifiedHeader] = {}
        self._bodies: dict[int, tuple[bytes, bytes]] = {}
        self._open: dict[Wanted, float] = {}
        self._assigned: Counter[int] = Counter()
        self.blamed: list[tuple[bytes, str]] = []
        """Peers (identity, reason) whose answers did not verify; the caller reports and clears."""

    # -- peers

    def peer_status(self, peer: bytes, height: int, *, member: bool = False) -> None:
        """A peer says that its chain reaches `height`. At `PEERS_MAX` peers a further one is ignored.

        Of two that have shown nothing yet a member is asked first.
        """
        source = self._sources.get(peer)
        if source is not None:
            source.claim = height
        elif len(self._sources) < PEERS_MAX:
            self._sources[peer] = Source(height, self._standings.of(peer), member)

    def peer_left(self, peer: bytes) -> None:
        """The peer is gone; what it was asked is asked of others."""
        for wanted in [wanted for wanted in self._open if wanted.peer == peer]:
            self._close(wanted, self._now_s)
        self._sources.pop(peer, None)

    @property
    def delivered(self) -> VerifiedHeader:
        """The last block that `take_blocks` gave, or the tip it began from."""
        return self._delivered

    @property
    def target(self) -> int:
        """The highest height that a usable peer claims; one that rests counts if it has ever delivered."""
        usable = (s.claim for s in self._sources.values() if self._usable(s) or self._better_than_none(s))
        return max(usable, default=self._delivered.height)

    @property
    def finished(self) -> bool:
        """Whether no usable peer claims more than has been delivered."""
        return self._delivered.height >= self.target and not self._open

    # -- requests

    def next_requests(self, now_s: float) -> list[Wanted]:
        """What to ask now; each must come back through `on_headers`, `on_bodies` or `on_failed`."""
        self._now_s = now_s
        requests: list[Wanted] = []
        start = self._last_header.height + 1
        asked = [wanted for wanted in self._open if isinstance(wanted, HeadersWanted)]
        room = len(self._headers) + HEADERS_PER_REQUEST <= HEADERS_AHEAD_MAX
        if room and self._may_ask(asked):
            peer = self._pick(start, HEADERS, asked)
            if peer is not None:
                requests.append(self._ask(HeadersWanted(peer, start, HEADERS_PER_REQUEST)))
        first = self._delivered.height + 1
        end = min(first + WINDOW_BLOCKS, self._last_header.height + 1)
        requests += self._ask_next_block_again(first)
        for start, missing in self._missing_runs(first, end):
            peer = self._pick(start, BODIES, [])
            if peer is None:
                break
            count = min(missing, self._sources[peer].claim - start + 1)
            requests.append(self._ask(BodiesWanted(peer, start, count)))
        return requests

    def _may_ask(self, asked: Sequence[Wanted]) -> bool:
        """Whether nobody was asked, or nobody has answered for so long that another one is asked too."""
        latest_s = max((self._open[wanted] for wanted in asked), default=-HEDGE_S)
        return not asked or (len(asked) < COPIES_MAX and self._now_s - latest_s >= HEDGE_S)

    def _ask_next_block_again(self, first: int) -> list[Wanted]:
        asked = [
            wanted
            for wanted in self._open
            if isinstance(wanted, BodiesWanted) and wanted.start <= first < wanted.start + wanted.count
        ]
        if not asked or first in self._bodies or not self._may_ask(asked):
            return []
        peer = self._pick(first, BODIES, asked)
        if peer is None:
            return []
        end = min(asked[0].start + asked[0].count, self._sources[peer].claim + 1)
        return [self._ask(BodiesWanted(peer, first, end - first))]

    def _missing_runs(self, first: int, end: int) -> list[tuple[int, int]]:
        """Runs (start, count) of heights in [first, end) that are neither held nor asked for."""
        runs: list[tuple[int, int]] = []
        for height in range(first, end):
            if height in self._bodies or height in self._assigned:
                continue
            if runs and sum(runs[-1]) == height and runs[-1][1] < BODIES_PER_REQUEST:
                runs[-1] = (runs[-1][0], runs[-1][1] + 1)
            else:
                runs.append((height, 1))
        return runs

    def _pick(self, height: int, kind: str, asked: Sequence[Wanted]) -> bytes | None:
        """The best peer that claims `height`, none of those `asked`; beside these one may have more to do."""
        others = {wanted.peer for wanted in asked}
        at_once = REQUESTS_PER_PEER_MAX + (1 if asked else 0)
        able = {
            peer: source
            for peer, source in self._sources.items()
            if source.claim >= height and peer not in others and source.in_flight < at_once
        }
        chosen = {peer: source for peer, source in able.items() if self._usable(source)}
        proven = any(
            source.claim >= height and self._usable(source) and kind in source.standing.rates
            for source in self._sources.values()
        )
        if proven and self._probes(kind) >= PROBES_MAX:
            chosen = {peer: source for peer, source in chosen.items() if kind in source.standing.rates}
        elif not chosen and not proven:
            chosen = {peer: source for peer, source in able.items() if self._better_than_none(source)}
        return min(chosen, key=lambda peer: self._order(peer, kind), default=None)

    def _probes(self, kind: str) -> int:
        """Requests under way to peers that have never shown a rate."""
        return sum(kind not in self._standings.of(wanted.peer).rates for wanted in self._open)

    def _order(self, peer: bytes, kind: str) -> tuple[int, bool, bool, float, int, bytes]:
        """Fewest failures, of which one is forgiven to who has delivered; then the best share of its rate."""
        source = self._sources[peer]
        rate = source.standing.rates.get(kind)
        failures = source.standing.failures if rate is None else max(0, source.standing.failures - 1)
        share = 0.0 if rate is None else rate / (1 + source.in_flight)
        return failures, rate is None, not source.member, -share, source.in_flight, peer

    # -- answers

    def on_headers(self, wanted: HeadersWanted, encoded: Sequence[bytes], now_s: float) -> None:
        """Headers came back for `wanted`; they are verified one on the other until one is not valid."""
        elapsed_s = self._close(wanted, now_s)
        if elapsed_s is None:
            return
        if not encoded:
            self._disprove(wanted.peer, wanted.start)
            return
        self._answered(wanted.peer, HEADERS, len(encoded), elapsed_s, HEADERS_PER_S_MIN)
        known = self._last_header.height + 1 - wanted.start
        for data in encoded[known : wanted.count]:
            try:
                header = self._verify_header(self._last_header, data)
            except ProtocolError as error:
                self._blame(wanted.peer, error.reason)
                return
            follows = header.height == self._last_header.height + 1
            if not follows or header.parent_hash != self._last_header.hash:
                self._blame(wanted.peer, "header_order")
                return
            self._headers[header.height] = header
            self._last_header = header

    def on_bodies(self, wanted: BodiesWanted, bodies: Sequence[bytes], now_s: float) -> None:
        """Bodies came back for `wanted`, from its start on; each is verified against its header."""
        elapsed_s = self._close(wanted, now_s)
        if elapsed_s is None:
            return
        if not bodies:
            self._disprove(wanted.peer, wanted.start)
            return
        self._answered(wanted.peer, BODIES, sum(map(len, bodies)), elapsed_s, BODY_BYTES_PER_S_MIN)
        for height, body in zip(range(wanted.start, wanted.start + wanted.count), bodies, strict=False):
            header = self._headers.get(height)
            if header is None or height in self._bodies:
                continue
            if not self._verify_body(header, body):
                self._blame(wanted.peer, "body")
                return
            self._bodies[height] = (wanted.peer, body)

    def on_failed(self, wanted: Wanted, now_s: float) -> None:
        """No answer within the caller's deadline, or an error instead of one."""
        if self._close(wanted, now_s) is not None:
            self._standings.of(wanted.peer).failed(now_s)

    def take_blocks(self) -> list[tuple[VerifiedHeader, bytes]]:
        """Verified blocks that follow the last one taken, in order; each is given once."""
        blocks = []
        while (entry := self._bodies.pop(self._delivered.height + 1, None)) is not None:
            header = self._headers.pop(self._delivered.height + 1)
            blocks.append((header, entry[1]))
            self._delivered = header
        return blocks

    # -- bookkeeping

    def _ask(self, wanted: Wanted) -> Wanted:
        self._open[wanted] = self._now_s
        if isinstance(wanted, BodiesWanted):
            self._assigned.update(range(wanted.start, wanted.start + wanted.count))
        self._sources[wanted.peer].in_flight += 1
        return wanted

    def _close(self, wanted: Wanted, now_s: float) -> float | None:
        """Take a request off the books; for how long it was open, None when it was not (an answer that came
        too late)."""
        asked_s = self._open.pop(wanted, None)
        if asked_s is None:
            return None
        self._now_s = now_s
        if isinstance(wanted, BodiesWanted):
            self._assigned -= Counter(range(wanted.start, wanted.start + wanted.count))
        source = self._sources.get(wanted.peer)
        if source is not None:
            source.in_flight -= 1
        return now_s - asked_s

    def _disprove(self, peer: bytes, height: int) -> None:
        source = self._sources.get(peer)
        if source is not None:
            source.claim = min(source.claim, height - 1)

    def _answered(self, peer: bytes, kind: str, amount: int, elapsed_s: float, rate_min: float) -> None:
        self._standings.of(peer).answered(kind, amount, elapsed_s, rate_min, self._now_s)

    def _blame(self, peer: bytes, reason: str) -> None:
        source = self._sources.get(peer)
        if source is not None and not source.banned:
            self.blamed.append((peer, reason))
            source.banned = True

    def _usable(self, source: Source) -> bool:
        return not source.banned and not source.standing.resting(self._now_s)

    @staticmethod
    def _better_than_none(source: Source) -> bool:
        """One that is slow, and has delivered: to be asked when there is nobody else."""
        return not source.banned and bool(source.standing.rates)
