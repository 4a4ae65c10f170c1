"""What a leader has sent and a follower has not taken yet: requests in order, and blocks fetched for them.

A follower that is far behind takes entries as fast as it gets their blocks. Fetched one after another each
would wait for the way there and back, and the others might commit faster than that: so the next few that the
waiting requests name are fetched together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator

import msgspec

from actors.consensus.block_body_cache import BlockBodyCache, Fetch
from actors.consensus.raft import Entry, EntryKind
from actors.consensus.raft.messages import AppendRequest
from actors.ledger.block import OfferedBlock

APPENDS_MAX, APPENDS_BYTES_MAX = 1_024, 64 << 20  # as much as a leader has under way to one follower
FETCHES_AT_ONCE_MAX = 8


class ComingRequests:
    """Requests of leaders in the order of their arrival, within bounds. One consumer."""

    def __init__(self) -> None:
        self._held: deque[AppendRequest] = deque()
        self._bytes = 0
        self._wakes, self._nudged = asyncio.Event(), False
        self.dropped = 0

    def put(self, request: AppendRequest) -> None:
        """Entries wait for their blocks. At the bound they are dropped, and the leader sends them again.

        One without entries, which only says what is committed, is taken into the one before it.
        """
        if self._held and not request.entries and _follows(self._held[-1], request):
            told = {"commit": request.commit, "round": request.round}
            self._held[-1] = msgspec.structs.replace(self._held[-1], **told)
            return
        size = _size_bytes(request)
        if len(self._held) >= APPENDS_MAX or (self._held and self._bytes + size > APPENDS_BYTES_MAX):
            self.dropped += 1
            return
        self._held.append(request)
        self._bytes += size
        self._wakes.set()

    def nudge(self) -> None:
        """Have the consumer look up though nothing has come."""
        self._nudged = True
        self._wakes.set()

    async def get(self) -> AppendRequest | None:
        """The next request, waiting for it; None after a nudge that found nothing."""
        if not self._held and not self._nudged:
            self._wakes.clear()
            await self._wakes.wait()
        self._nudged = False
        if not self._held:
            return None
        request = self._held.popleft()
        self._bytes -= _size_bytes(request)
        return request

    def forsake(self, member: int) -> None:
        """Drop what `member` has sent."""
        self._held = deque(request for request in self._held if request.sender != member)
        self._bytes = sum(_size_bytes(request) for request in self._held)

    def beginning(self, request: AppendRequest, entry: Entry) -> Iterator[tuple[AppendRequest, Entry]]:
        """`entry` of `request` and what waits behind it, as far as they follow one upon the other."""
        last = entry
        yield request, entry
        for coming in (request, *self._held):
            if coming is not request and (coming.prev_index, coming.prev_term) != (last.index, last.term):
                return
            for later in coming.entries:
                if later.index == last.index + 1:
                    yield coming, later
                    last = later


def _follows(before: AppendRequest, request: AppendRequest) -> bool:
    last = before.entries[-1] if before.entries else None
    end = (before.prev_index, before.prev_term) if last is None else (last.index, last.term)
    same = (before.sender, before.to, before.term) == (request.sender, request.to, request.term)
    return same and end == (request.prev_index, request.prev_term) and request.commit >= before.commit


def _size_bytes(request: AppendRequest) -> int:
    return sum(map(len, request.bodies)) + sum(len(entry.payload) for entry in request.entries)


class AheadFetches:
    """Blocks on their way for entries whose turn has not come, FETCHES_AT_ONCE_MAX at most."""

    def __init__(self, fetch: Fetch, bodies: BlockBodyCache) -> None:
        self._fetch, self._bodies = fetch, bodies
        self._under_way: dict[bytes, asyncio.Future[OfferedBlock | None]] = {}

    def look_ahead(self, coming: Iterator[tuple[AppendRequest, Entry]], height: int, leader: bytes) -> None:
        """Fetch what `coming` names and neither rides on its request nor is at hand. height: of the first;
        leader: who is asked first. Only what is committed already: the rest is pushed."""
        wanted = self._wanted(coming, height)
        for digest in self._under_way.keys() - wanted.keys():
            self._under_way.pop(digest).cancel()
        for digest, at in wanted.items():
            if digest not in self._under_way:
                self._under_way[digest] = asyncio.ensure_future(self._fetch(at, digest, leader))

    def _wanted(self, coming: Iterator[tuple[AppendRequest, Entry]], height: int) -> dict[bytes, int]:
        """Heights by hash of the blocks to fetch now."""
        wanted: dict[bytes, int] = {}
        for request, entry in coming:
            if request.bodies or entry.kind is not EntryKind.BLOCK or request.commit < entry.index:
                break
            if not self._bodies.holds(entry.digest):
                wanted[entry.digest] = height
            height += 1
            if len(wanted) >= FETCHES_AT_ONCE_MAX:
                break
        return wanted

    async def take(self, height: int, digest: bytes, leader: bytes) -> OfferedBlock | None:
        """The block of this height and hash, fetched ahead or now; None if nobody has it."""
        fetched = self._under_way.pop(digest, None)
        return await (fetched or self._fetch(height, digest, leader))

    def stop(self) -> None:
        """Fetch nothing more."""
        for fetched in self._under_way.values():
            fetched.cancel()
        self._under_way.clear()
