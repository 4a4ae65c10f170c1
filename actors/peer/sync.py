"""Catching up with the chain, without I/O: headers first, bodies from several peers, trusting none of them.

Rules
1. A header is believed for its commit certificate and its parent, never for its sender; a body for the hash
   in its header. Both checks are the caller's callbacks and run as the bytes come.
2. A peer that sends what does not verify is blamed and not asked again. One that claims more than it can
   show loses the claim. One that fails `FAILURES_MAX` times in a row rests until it announces itself anew.
3. Blocks are delivered in order of height, each once. What is delivered is the caller's to persist; a new
   planner made from the persisted tip resumes where the old one stopped.
4. At most `HEADERS_AHEAD_MAX` headers and `WINDOW_BLOCKS` bodies are held.

Theory of operation. `peer_status` tells who claims which height. `next_requests` names what to ask of whom:
one peer is asked for the next headers, and every peer that claims a height in the window may be asked for a
run of bodies there; a run goes to the least loaded peer. Whatever comes back is put in by `on_headers` or
`on_bodies`, what does not by `on_failed`, and `take_blocks` gives what has become contiguous. A peer may
answer a request with fewer items than asked (its limit on answers), not with none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actors.peer.errors import ProtocolError

HEADERS_PER_REQUEST = 256
HEADERS_AHEAD_MAX = 1_024
BODIES_PER_REQUEST = 16
WINDOW_BLOCKS = 128
REQUESTS_PER_PEER_MAX = 2
FAILURES_MAX = 3
PEERS_MAX = 256


@dataclass(frozen=True, slots=True)
class Header:
    """A verified header. `hash` and `parent_hash` are 32 bytes; `encoded` is what the peer sent."""

    height: int
    hash: bytes
    parent_hash: bytes
    encoded: bytes


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


Wanted = HeadersWanted | BodiesWanted
VerifyHeader = Callable[[Header, bytes], Header]
"""(parent, encoded) -> the header, its certificate checked. Raises `ProtocolError` when it is not valid."""
VerifyBody = Callable[[Header, bytes], bool]
"""Whether the body is the one that the header commits to."""


@dataclass(slots=True)
class Source:
    """A peer that may be asked. `claim` is the highest block it says or has proved unable to show less."""

    claim: int
    in_flight: int = 0
    failures: int = 0
    banned: bool = False


class SyncPlanner:
    """One catch-up from a tip. No clock, no sockets: deadlines are the caller's, told by `on_failed`."""

    def __init__(self, tip: Header, verify_header: VerifyHeader, verify_body: VerifyBody) -> None:
        self._delivered = tip
        self._last_header = tip
        self._verify_header = verify_header
        self._verify_body = verify_body
        self._sources: dict[bytes, Source] = {}
        self._headers: dict[int, Header] = {}
        self._bodies: dict[int, tuple[bytes, bytes]] = {}
        self._open: set[Wanted] = set()
        self._assigned: set[int] = set()
        self.blamed: list[tuple[bytes, str]] = []
        """Peers (identity, reason) whose answers did not verify; the caller reports and clears."""

    # -- peers

    def peer_status(self, peer: bytes, height: int) -> None:
        """A peer says that its chain reaches `height`. At `PEERS_MAX` peers a further one is ignored."""
        source = self._sources.get(peer)
        if source is not None:
            source.claim, source.failures = height, 0
        elif len(self._sources) < PEERS_MAX:
            self._sources[peer] = Source(height)

    def peer_left(self, peer: bytes) -> None:
        """The peer is gone; what it was asked is asked of others."""
        for wanted in [wanted for wanted in self._open if wanted.peer == peer]:
            self._close(wanted)
        self._sources.pop(peer, None)

    @property
    def delivered(self) -> Header:
        """The last block that `take_blocks` gave, or the tip it began from."""
        return self._delivered

    @property
    def target(self) -> int:
        """The highest height that a usable peer claims."""
        return max(
            (s.claim for s in self._sources.values() if self._usable(s)), default=self._delivered.height
        )

    @property
    def finished(self) -> bool:
        """Whether no usable peer claims more than has been delivered."""
        return self._delivered.height >= self.target and not self._open

    # -- requests

    def next_requests(self) -> list[Wanted]:
        """What to ask now; each must come back through `on_headers`, `on_bodies` or `on_failed`."""
        requests: list[Wanted] = []
        asking_headers = any(isinstance(wanted, HeadersWanted) for wanted in self._open)
        start = self._last_header.height + 1
        if not asking_headers and len(self._headers) + HEADERS_PER_REQUEST <= HEADERS_AHEAD_MAX:
            peer = self._pick(start)
            if peer is not None:
                requests.append(self._ask(HeadersWanted(peer, start, HEADERS_PER_REQUEST)))
        first = self._delivered.height + 1
        end = min(first + WINDOW_BLOCKS, self._last_header.height + 1)
        for start, missing in self._missing_runs(first, end):
            peer = self._pick(start)
            if peer is None:
                break
            count = min(missing, self._sources[peer].claim - start + 1)
            self._assigned.update(range(start, start + count))
            requests.append(self._ask(BodiesWanted(peer, start, count)))
        return requests

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

    def _pick(self, height: int) -> bytes | None:
        """The least loaded usable peer that claims `height`."""
        able = [
            (source.in_flight, source.failures, peer)
            for peer, source in self._sources.items()
            if self._usable(source) and source.claim >= height and source.in_flight < REQUESTS_PER_PEER_MAX
        ]
        return min(able)[2] if able else None

    # -- answers

    def on_headers(self, wanted: HeadersWanted, encoded: Sequence[bytes]) -> None:
        """Headers came back for `wanted`; they are verified one on the other until one is not valid."""
        if not self._close(wanted):
            return
        if not encoded:
            self._disprove(wanted.peer, wanted.start)
            return
        self._succeeded(wanted.peer)
        for data in encoded[: wanted.count]:
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

    def on_bodies(self, wanted: BodiesWanted, bodies: Sequence[bytes]) -> None:
        """Bodies came back for `wanted`, from its start on; each is verified against its header."""
        if not self._close(wanted):
            return
        if not bodies:
            self._disprove(wanted.peer, wanted.start)
            return
        self._succeeded(wanted.peer)
        for height, body in zip(range(wanted.start, wanted.start + wanted.count), bodies, strict=False):
            header = self._headers.get(height)
            if header is None or height in self._bodies:
                continue
            if not self._verify_body(header, body):
                self._blame(wanted.peer, "body")
                return
            self._bodies[height] = (wanted.peer, body)

    def on_failed(self, wanted: Wanted) -> None:
        """No answer within the caller's deadline, or an error instead of one."""
        if self._close(wanted):
            source = self._sources.get(wanted.peer)
            if source is not None:
                source.failures += 1

    def take_blocks(self) -> list[tuple[Header, bytes]]:
        """Verified blocks that follow the last one taken, in order; each is given once."""
        blocks = []
        while (entry := self._bodies.pop(self._delivered.height + 1, None)) is not None:
            header = self._headers.pop(self._delivered.height + 1)
            blocks.append((header, entry[1]))
            self._delivered = header
        return blocks

    # -- bookkeeping

    def _ask(self, wanted: Wanted) -> Wanted:
        self._open.add(wanted)
        self._sources[wanted.peer].in_flight += 1
        return wanted

    def _close(self, wanted: Wanted) -> bool:
        """Take a request off the books; False when it was not open (an answer that came too late)."""
        if wanted not in self._open:
            return False
        self._open.discard(wanted)
        if isinstance(wanted, BodiesWanted):
            self._assigned.difference_update(range(wanted.start, wanted.start + wanted.count))
        source = self._sources.get(wanted.peer)
        if source is not None:
            source.in_flight -= 1
        return True

    def _disprove(self, peer: bytes, height: int) -> None:
        source = self._sources.get(peer)
        if source is not None:
            source.claim = min(source.claim, height - 1)

    def _succeeded(self, peer: bytes) -> None:
        source = self._sources.get(peer)
        if source is not None:
            source.failures = 0

    def _blame(self, peer: bytes, reason: str) -> None:
        source = self._sources.get(peer)
        if source is not None and not source.banned:
            self.blamed.append((peer, reason))
            source.banned = True

    @staticmethod
    def _usable(source: Source) -> bool:
        return not source.banned and source.failures < FAILURES_MAX
