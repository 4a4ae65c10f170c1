"""Sync: the planner against every mix of peers, and catch-up over real sockets."""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.peer import sync
from actors.peer.catchup import ANSWER_BYTES_MAX, SyncReport, _cut, serve_chain, synchronise
from actors.peer.standing import FAILURES_MAX, REST_S, Standings
from actors.peer.sync import BodiesWanted, HeadersWanted, SyncPlanner, VerifiedHeader, Wanted
from tests.peer.chains import (
    GENESIS_HEADER,
    BoastfulChain,
    Chain,
    ForgedChain,
    LyingChain,
    body_matches,
    encode_header,
    open_header,
)
from tests.peer.nodes import config_of, joined, running

T = TypeVar("T")
TRUE_CHAIN = Chain(600)


def planner(tip: VerifiedHeader = GENESIS_HEADER) -> SyncPlanner:
    return SyncPlanner(tip, open_header, body_matches)


def serve(chain: Chain, wanted: Wanted) -> list[bytes]:
    read = chain.headers if isinstance(wanted, HeadersWanted) else chain.bodies
    return finish(read(wanted.start, wanted.count))


def finish(coroutine: Coroutine[None, None, T]) -> T:
    """Run a coroutine that never waits."""
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    value: T = stop.value.value
    return value


def put(plan: SyncPlanner, wanted: Wanted, items: Sequence[bytes]) -> None:
    if isinstance(wanted, HeadersWanted):
        plan.on_headers(wanted, items, 0.0)
    else:
        plan.on_bodies(wanted, items, 0.0)


@given(
    seed=st.integers(0, 2**32),
    behaviours=st.lists(
        st.sampled_from(["honest", "short", "slow", "liar", "forger", "boaster"]), min_size=1, max_size=6
    ),
)
@settings(max_examples=30, deadline=None)
def test_any_mix_with_one_honest_peer_catches_up(seed: int, behaviours: list[str]) -> None:
    """Answers come in any order; each block is delivered once, in order, and verified."""
    generator = random.Random(seed)
    length = 300
    honest = Chain(length)
    chains = {"liar": LyingChain(length), "forger": ForgedChain(length), "boaster": BoastfulChain(length)}
    kinds = {b"%d" % index: kind for index, kind in enumerate(["honest", *behaviours])}
    plan, open_requests, got = planner(), [], []
    for peer, kind in kinds.items():
        plan.peer_status(peer, finish(chains.get(kind, honest).tip_height()))
    for _ in range(3_000):
        open_requests += plan.next_requests(0.0)
        if plan.finished:
            break
        wanted = open_requests.pop(generator.randrange(len(open_requests)))
        kind = kinds[wanted.peer]
        if kind == "slow":
            plan.on_failed(wanted, 0.0)
        else:
            items = serve(chains.get(kind, honest), wanted)
            put(plan, wanted, items[:1] if kind == "short" else items)
        got += plan.take_blocks()
        assert len(plan._headers) <= sync.HEADERS_AHEAD_MAX
        assert len(plan._bodies) <= sync.WINDOW_BLOCKS
    assert got == honest.blocks
    assert {kinds[peer] for peer, _ in plan.blamed} <= {"liar", "forger"}


def test_bodies_are_asked_of_all_peers_at_once() -> None:
    plan = planner()
    for name in range(4):
        plan.peer_status(bytes([name]), 600)
    (headers,) = plan.next_requests(0.0)
    put(plan, headers, serve(TRUE_CHAIN, headers))
    requests = [wanted for wanted in plan.next_requests(0.0) if isinstance(wanted, BodiesWanted)]
    assert {wanted.peer for wanted in requests} == {bytes([name]) for name in range(4)}
    heights = [h for wanted in requests for h in range(wanted.start, wanted.start + wanted.count)]
    assert len(heights) == len(set(heights))
    assert max(heights) <= sync.WINDOW_BLOCKS


def test_late_and_foreign_answers_change_nothing() -> None:
    plan = planner()
    plan.peer_status(b"a", 600)
    (wanted,) = plan.next_requests(0.0)
    plan.on_failed(wanted, 0.0)
    put(plan, wanted, serve(TRUE_CHAIN, wanted))
    put(plan, HeadersWanted(b"b", 1, 256), [b"junk"])
    assert plan.blamed == []
    assert plan.take_blocks() == []
    assert plan.next_requests(0.0) == [wanted]


@pytest.mark.parametrize(
    "forged", [encode_header(2, bytes(32), b""), encode_header(1, b"x" * 32, b""), b"", b"junk"]
)
def test_valid_seal_in_the_wrong_place_is_blamed(forged: bytes) -> None:
    plan = planner()
    plan.peer_status(b"a", 600)
    (wanted,) = plan.next_requests(0.0)
    put(plan, wanted, [forged])
    assert [peer for peer, _ in plan.blamed] == [b"a"]
    assert plan.finished


def test_bounds() -> None:
    plan = planner()
    for name in range(2 * sync.PEERS_MAX):
        plan.peer_status(b"%d" % name, 5)
    assert len(plan._sources) == sync.PEERS_MAX
    assert _cut([bytes(ANSWER_BYTES_MAX + 1), b"x"]) == [bytes(ANSWER_BYTES_MAX + 1)]
    assert len(_cut([bytes(ANSWER_BYTES_MAX // 2)] * 5)) == 2
    assert _cut([]) == []


def test_observer_catches_up_from_several_peers_and_blames_the_liar() -> None:
    async def scenario() -> None:
        async with running(*(config_of(index, 3) for index in (3, 0, 1, 2))) as (fresh, one, two, liar):
            sources = {one.identity: Chain(250), two.identity: Chain(250)}
            serve_chain(one, sources[one.identity])
            serve_chain(two, sources[two.identity])
            serve_chain(liar, LyingChain(250))
            await joined(fresh, one, two, liar)
            mine = Chain()
            report = await synchronise(fresh, mine)
            assert mine.blocks == Chain(250).blocks
            assert (report.height, report.blocks) == (250, 250)
            assert report.sources[one.identity] > 0
            assert report.sources[two.identity] > 0
            assert report.blamed == ((liar.identity, "body"),)
            assert liar.identity not in fresh.connected()
            assert await synchronise(fresh, mine) == SyncReport(250, 0, {}, ())

    asyncio.run(scenario())


def test_interrupted_catch_up_resumes() -> None:
    async def scenario() -> None:
        async with running(config_of(0), config_of(1)) as (fresh, source):
            chain = Chain(250)
            serve_chain(source, chain)
            await joined(fresh, source)
            half_way = asyncio.Event()

            class Interrupted(Chain):
                async def append(self, blocks: list[tuple[VerifiedHeader, bytes]]) -> None:
                    await super().append(blocks)
                    if len(self.blocks) >= 100:
                        half_way.set()
                        await asyncio.Event().wait()

            mine = Interrupted()
            first = asyncio.create_task(synchronise(fresh, mine))
            await half_way.wait()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            persisted, resumed = len(mine.blocks), Chain()
            assert 100 <= persisted < 250
            resumed.blocks = list(mine.blocks)
            chain.served = 0
            report = await synchronise(fresh, resumed)
            assert report.blocks == chain.served == 250 - persisted
            assert resumed.blocks == chain.blocks

    asyncio.run(scenario())


def test_catch_up_with_nobody_is_over_at_once() -> None:
    async def scenario() -> None:
        async with running(config_of(0)) as (alone,):
            assert await synchronise(alone, Chain(3)) == SyncReport(3, 0, {}, ())

    asyncio.run(scenario())


def test_source_that_goes_away_is_replaced() -> None:
    async def scenario() -> None:
        async with running(config_of(0), config_of(1), config_of(2)) as (fresh, leaver, stayer):
            asked = asyncio.Event()

            class Leaving(Chain):
                async def bodies(self, _start: int, _count: int) -> list[bytes]:
                    asked.set()
                    await asyncio.Event().wait()
                    return []

            serve_chain(leaver, Leaving(200))
            serve_chain(stayer, Chain(200))
            await joined(fresh, leaver, stayer)
            mine = Chain()
            catch_up = asyncio.create_task(synchronise(fresh, mine))
            await asked.wait()
            await leaver.stop()
            assert (await catch_up).height == 200
            assert mine.blocks == Chain(200).blocks

    asyncio.run(scenario())


def virtual_sync(kinds: dict[bytes, str], length: int, limit_s: float) -> tuple[float, list[bytes]]:
    """Drive a planner in virtual time as the shell does, statuses every 5 s; (when it was done, bodies).

    honest answers in 50 ms; silent never does, and fails after 5 s; drip gives one item after 4.9 s.
    """
    plan, honest, now_s = planner(), Chain(length), 0.0
    got: list[bytes] = []
    answers: list[tuple[float, int, Wanted]] = []
    polled_s = -5.0
    while now_s < limit_s:
        if now_s - polled_s >= 5.0:
            polled_s = now_s
            for peer in kinds:
                plan.peer_status(peer, length)
        for wanted in plan.next_requests(now_s):
            after_s = {"honest": 0.05, "silent": 5.0, "drip": 4.9}[kinds[wanted.peer]]
            answers.append((now_s + after_s, len(answers), wanted))
        if plan.finished:
            return now_s, got
        answers.sort()
        due_s = answers[0][0] if answers else now_s + 1.0
        now_s = min(due_s, now_s + 1.0)
        while answers and answers[0][0] <= now_s:
            wanted = answers.pop(0)[2]
            kind = kinds[wanted.peer]
            if kind == "silent":
                plan.on_failed(wanted, now_s)
            else:
                items = serve(honest, wanted)[: 1 if kind == "drip" else None]
                if isinstance(wanted, HeadersWanted):
                    plan.on_headers(wanted, items, now_s)
                else:
                    plan.on_bodies(wanted, items, now_s)
        got += [body for _, body in plan.take_blocks()]
    return now_s, got


@pytest.mark.parametrize("kind", ["silent", "drip"])
@pytest.mark.parametrize("crowd", [1, 20])
def test_slow_peers_do_not_stall_one_that_is_not(kind: str, crowd: int) -> None:
    """Their names sort before the honest one's, so that they are tried first."""
    kinds = {b"%02d" % index: kind for index in range(crowd)} | {b"honest": "honest"}
    done_s, got = virtual_sync(kinds, 600, limit_s=600.0)
    assert len(got) == 600
    assert done_s < 60.0


def test_a_single_slow_source_is_better_than_none() -> None:
    done_s, got = virtual_sync({b"drip": "drip"}, 20, limit_s=600.0)
    assert len(got) == 20
    assert done_s < 600.0


def test_a_status_does_not_forgive_failures() -> None:
    standings = Standings()
    plan = SyncPlanner(GENESIS_HEADER, open_header, body_matches, standings)
    now_s = 0.0
    for _ in range(FAILURES_MAX):
        plan.peer_status(b"silent", 600)
        (wanted,) = plan.next_requests(now_s)
        now_s += 5.0
        plan.on_failed(wanted, now_s)
    plan.peer_status(b"silent", 600)
    assert plan.next_requests(now_s) == []
    assert plan.finished
    later = SyncPlanner(GENESIS_HEADER, open_header, body_matches, standings)
    later.peer_status(b"silent", 600)
    assert later.next_requests(now_s) == []
    assert [wanted.peer for wanted in later.next_requests(now_s + REST_S)] == [b"silent"]


def test_a_silent_peer_does_not_hold_up_a_catch_up() -> None:
    """It answers nothing at all, not even its height."""

    async def scenario() -> None:
        async with running(*(config_of(index, 2) for index in (3, 0, 5))) as (fresh, source, silent):

            async def hang(_peer: bytes, _body: bytes) -> bytes:
                await asyncio.Event().wait()
                return b""

            for method in ("sync_status", "sync_headers", "sync_bodies"):
                silent.register_method(method, hang)
            serve_chain(source, Chain(250))
            await joined(fresh, source, silent)
            mine, standings = Chain(), Standings()
            assert (await synchronise(fresh, mine, standings)).height == 250
            assert not standings.of(source.identity).failures
            claims = [standings.known_head(who) for who in ([source.identity], [silent.identity], [])]
            assert claims == [250, 0, 0]
            standings.of(b"a").height, standings.of(b"liar").height = 240, 2**62
            assert standings.known_head([source.identity, b"a", b"liar"]) == 250

    asyncio.run(scenario())
