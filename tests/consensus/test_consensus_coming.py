"""What waits for a follower: its order, its bound, and which blocks are fetched before their turn."""

from __future__ import annotations

import asyncio

import msgspec

from actors.consensus.block_body_cache import BlockBodyCache
from actors.consensus.raft import Entry, EntryKind
from actors.consensus.raft.founding import READMITTED_LAG_ENTRIES_MAX
from actors.consensus.raft.messages import AppendRequest
from actors.consensus.raft.progress import FollowerStatus, ProgressState
from actors.consensus.raft_node.coming import (
    APPENDS_BYTES_MAX,
    APPENDS_MAX,
    FETCHES_AT_ONCE_MAX,
    AheadFetches,
    ComingRequests,
)
from actors.consensus.raft_node.stragglers import LOOK_EVERY_MS, SILENT_MS_MAX, Stragglers
from actors.ledger.block import OfferedBlock


def block(index: int, kind: EntryKind = EntryKind.BLOCK) -> Entry:
    return Entry(index, 1, kind, bytes([index % 256]) * 32)


def request(first: int, count: int = 1, commit: int = 1000, sender: int = 1) -> AppendRequest:
    entries = tuple(block(index) for index in range(first, first + count))
    return AppendRequest(
        sender=sender,
        to=2,
        term=1,
        prev_index=first - 1,
        prev_term=1,
        commit=commit,
        round=1,
        entries=entries,
    )


def test_requests_come_in_order_and_are_dropped_at_the_bound() -> None:
    async def whole() -> None:
        coming = ComingRequests()
        for first in range(1, APPENDS_MAX + 3):
            coming.put(request(first, sender=first % 2 + 1))
        assert coming.dropped == 2
        coming.forsake(1)
        firsts = []
        for _ in range(APPENDS_MAX // 2):
            taken = await coming.get()
            assert taken is not None
            firsts.append(taken.entries[0].index)
        assert firsts == list(range(1, APPENDS_MAX, 2))

    asyncio.run(whole())


def test_what_only_says_what_is_committed_waits_with_the_request_before_it() -> None:
    async def whole() -> None:
        coming = ComingRequests()
        coming.put(request(1, 3, commit=0))
        coming.put(request(4, 0, commit=2))
        coming.put(request(9, 0, commit=8))
        first = await coming.get()
        assert first is not None
        assert (len(first.entries), first.commit) == (3, 2)
        assert await coming.get() == request(9, 0, commit=8), "it does not follow: the core has to refuse it"

    asyncio.run(whole())


def test_large_requests_are_dropped_at_the_bound_of_bytes_but_one_is_always_taken() -> None:
    async def whole() -> None:
        coming = ComingRequests()
        bodies = (bytes(APPENDS_BYTES_MAX // 2 + 1),)
        for first in (1, 2, 3):
            coming.put(msgspec.structs.replace(request(first), bodies=bodies))
        assert coming.dropped == 2
        await coming.get()
        coming.put(msgspec.structs.replace(request(2), bodies=bodies))
        assert coming.dropped == 2

    asyncio.run(whole())


def status(member: int, match: int, lag: int, silent_ms: int = 0) -> FollowerStatus:
    return FollowerStatus(member, ProgressState.REPLICATE, match, lag, silent_ms)


def test_a_straggler_is_waited_for_while_it_answers_and_comes_nearer() -> None:
    stragglers = Stragglers()
    far, near = READMITTED_LAG_ENTRIES_MAX + 1, READMITTED_LAG_ENTRIES_MAX
    looks = [
        (status(2, 0, far), False),  # nothing is known of it before
        (status(2, 10, far), True),
        (status(2, 10, far), False),  # it stands still
        (status(2, 20, far, silent_ms=SILENT_MS_MAX + 1), False),
        (status(2, 30, far), True),
        (status(2, 40, near), False),
    ]
    for at, (told, expected) in enumerate(looks, start=1):
        assert stragglers.are_coming([told], at * LOOK_EVERY_MS) is expected, at
        assert stragglers.are_coming([status(2, 10**6, far)], at * LOOK_EVERY_MS + 1) is expected


def test_a_nudge_is_not_lost_whether_somebody_waits_or_not() -> None:
    async def whole() -> None:
        coming = ComingRequests()
        coming.nudge()
        assert await coming.get() is None
        waits = asyncio.create_task(coming.get())
        await asyncio.sleep(0)
        coming.nudge()
        assert await waits is None
        coming.put(request(1))
        assert await coming.get() == request(1)

    asyncio.run(whole())


def test_what_follows_ends_where_a_request_does_not_follow() -> None:
    async def whole() -> None:
        coming = ComingRequests()
        coming.put(request(4, 2))
        coming.put(request(6))
        coming.put(request(9))
        now = request(1, 3)
        assert [entry.index for _, entry in coming.beginning(now, now.entries[0])] == [1, 2, 3, 4, 5, 6]

    asyncio.run(whole())


def test_a_few_blocks_are_fetched_ahead_and_what_is_wanted_no_more_is_given_up() -> None:
    asked: list[int] = []

    async def fetch(height: int, digest: bytes, leader: bytes) -> OfferedBlock | None:
        asked.append(height)
        await asyncio.sleep(3600)
        return None

    async def whole() -> None:
        coming, ahead = ComingRequests(), AheadFetches(fetch, BlockBodyCache())
        now = request(1, 40)
        ahead.look_ahead(coming.beginning(now, now.entries[0]), 10, b"leader")
        await asyncio.sleep(0)
        assert asked == list(range(10, 10 + FETCHES_AT_ONCE_MAX))
        ahead.look_ahead(coming.beginning(now, now.entries[1]), 11, b"leader")
        await asyncio.sleep(0)
        assert asked == list(range(10, 11 + FETCHES_AT_ONCE_MAX)), "one more, none twice"
        uncommitted = request(1, 40, commit=0)
        ahead.look_ahead(coming.beginning(uncommitted, uncommitted.entries[0]), 10, b"leader")
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1, "it will be pushed: nothing is fetched"
        ahead.stop()

    asyncio.run(whole())
