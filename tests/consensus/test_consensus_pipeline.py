"""The block pipeline against fake actors: order, overlap, refusals with their reasons, and failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.consensus.pipeline import (
    OTHERS_PER_OWN,
    BlockRefusedError,
    Pipeline,
    PipelineBrokenError,
    Position,
    Sealed,
    Work,
)
from actors.consensus.stages import StageTimes
from actors.ledger.block import Header, sign_proposal
from actors.ledger.signing import Signer
from actors.storage.interface import Execute, Executed

SIGNER = Signer(b"\x01" * 32)
GENESIS = b"\x09" * 32
TRANSACTIONS, FEWER = b"\x77" * 32, b"\x78" * 32


def root_of(height: int) -> bytes:
    return bytes([height]) * 32


class FakeStages:
    """Storage and Validators that answer at once and remember what they were asked."""

    def __init__(self) -> None:
        self.executed = self.height = 0
        self.persisted: list[Sealed] = []
        self.rollbacks: list[int] = []
        self.verdicts: dict[int, list[int]] = {}
        self.bad_signatures: dict[int, int] = {}
        self.break_on_persist = False
        self.sealed: list[bytes] = []
        self.overlap = 0
        self._running = 0

    async def _at_work(self) -> None:
        self._running += 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.overlap = max(self.overlap, self._running)
        self._running -= 1

    async def verify(self, parts: Sequence[Any], count: int) -> NDArray[np.bool_]:
        valid = np.ones(count, dtype=np.bool_)
        if parts[0] in self.bad_signatures:
            valid[self.bad_signatures[parts[0]]] = False
        return valid

    async def execute(self, request: Execute, parts: Sequence[Any]) -> Executed:
        await self._at_work()
        height = request.height
        assert height == self.height + 1
        self.sealed.append(request.sealed)
        verdicts = np.array(self.verdicts.get(parts[0], [0, 0, 0]), dtype=np.uint8)
        if not (request.strict and verdicts.any()):
            self.height = height
        return Executed(
            height,
            verdicts,
            count=int((verdicts == 0).sum()),
            state_root=root_of(height),
            receipts_root=root_of(height + 100),
            transaction_root=TRANSACTIONS if not verdicts.any() else FEWER,
            stages_us={"transition": 9},
        )

    async def rollback(self, height: int) -> None:
        self.rollbacks.append(height)
        self.height = height

    async def persist(self, sealed: Sealed) -> None:
        if self.break_on_persist:
            raise ConnectionError("storage is gone")
        await self._at_work()
        self.persisted.append(sealed)

    def seal(self, header: Header) -> bytes:
        return sign_proposal(SIGNER, GENESIS, header.hash())


def pipeline(stages: FakeStages, inflight_max: int = 4, wall_ms: Callable[[], int] = lambda: 5) -> Pipeline:
    ticks = iter(range(10**9))
    position = Position(0, GENESIS, 1, 4)
    return Pipeline(
        stages,
        position,
        SIGNER.public_key,
        GENESIS,
        [SIGNER.public_key],
        inflight_max,
        lambda: next(ticks),
        wall_ms,
        StageTimes(),
    )


def block(at: int, parent: bytes, tag: int = 0, **changes: Any) -> tuple[Work, bytes]:
    values: dict[str, Any] = {
        "height": at,
        "term": 1,
        "time_ms": 5,
        "transaction_count": 3,
        "payload_bytes": 0,
        "parent_hash": parent,
        "transaction_root": TRANSACTIONS,
        "state_root": root_of(at),
        "receipts_root": root_of(at + 100),
        "proposer": SIGNER.public_key,
    }
    header = Header(**(values | changes))
    work = Work((tag or at, None), 3, header=header, signature=sign_proposal(SIGNER, GENESIS, header.hash()))
    return work, header.hash()


def test_proposals_become_a_chain_in_order() -> None:
    async def scenario() -> None:
        stages = FakeStages()
        pipe = pipeline(stages)
        works = [Work((n, None), 3, order=np.arange(3)) for n in range(1, 8)]
        futures = [await pipe.submit(work) for work in works]
        headers = await asyncio.gather(*futures)
        assert [header.height for header in headers if header] == list(range(1, 8))
        parents = [GENESIS, *(sealed.digest for sealed in stages.persisted)]
        assert [sealed.header.parent_hash for sealed in stages.persisted] == parents[:-1]
        assert stages.overlap > 1, "no two blocks were ever under way together"
        assert stages.sealed == [b""] * 7
        await pipe.close()

    asyncio.run(scenario())


def test_a_proposer_whose_clock_is_behind_repeats_the_time_of_the_parent() -> None:
    async def scenario() -> None:
        stages, clock_ms = FakeStages(), [9, 2, 7, 11]
        pipe = pipeline(stages, wall_ms=lambda: clock_ms.pop(0))
        for number in range(1, 5):
            await (await pipe.submit(Work((number, None), 3, order=np.arange(3))))
        assert [sealed.header.time_ms for sealed in stages.persisted] == [9, 9, 9, 11]
        assert pipe.tip.time_ms == 11
        await pipe.close()

    asyncio.run(scenario())


def test_a_proposal_leaves_out_what_fails_and_commits_the_rest() -> None:
    async def scenario() -> None:
        stages, seen = FakeStages(), []
        stages.verdicts = {1: [0, 8, 0], 2: [8, 8, 8]}
        pipe = pipeline(stages)
        first = await pipe.submit(
            Work((1, None), 3, order=np.arange(3), on_executed=lambda v: seen.append(list(v)))
        )
        empty = await pipe.submit(Work((2, None), 3, order=np.arange(3)))
        last = await pipe.submit(Work((3, None), 3, order=np.arange(3)))
        headers = await asyncio.gather(first, empty, last)
        assert headers[0] is not None
        assert (headers[0].transaction_count, headers[0].transaction_root) == (2, FEWER)
        assert headers[1] is None
        assert headers[2] is not None
        assert headers[2].height == 2
        assert seen == [[0, 8, 0]]
        assert stages.rollbacks == [1]
        await pipe.close()

    asyncio.run(scenario())


def test_valid_blocks_of_others_are_committed() -> None:
    async def scenario() -> None:
        stages = FakeStages()
        pipe = pipeline(stages)
        first, parent = block(1, GENESIS)
        second, _ = block(2, parent)
        headers = await asyncio.gather(await pipe.submit(first), await pipe.submit(second))
        assert [header.height for header in headers if header] == [1, 2]
        sealed = [work.header.encode() + work.signature for work in (first, second) if work.header]
        assert stages.sealed == sealed
        await pipe.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state_root": bytes(32)}, "state_root"),
        ({"transaction_root": bytes(32)}, "transaction_root"),
        ({"receipts_root": bytes(32)}, "receipts_root"),
        ({"transaction_count": 4}, "counts"),
        ({"parent_hash": bytes(32)}, "its parent is 00"),
        ({"at": 2}, "height"),
        ({"term": 0}, "term"),
        ({"time_ms": 3}, "time 3 ms is before its parent's, 4"),
        ({"proposer": Signer(b"\x02" * 32).public_key}, "no member"),
    ],
)
def test_a_false_header_is_refused_with_the_reason_and_the_state_rolled_back(
    changes: dict[str, Any], reason: str
) -> None:
    async def scenario() -> None:
        stages = FakeStages()
        pipe = pipeline(stages)
        values: dict[str, Any] = {"at": 1, "parent": GENESIS} | changes
        bad, _ = block(**values)
        with pytest.raises(BlockRefusedError, match=reason):
            await (await pipe.submit(bad))
        assert stages.rollbacks == [0]
        assert not stages.persisted
        good, _ = block(1, GENESIS)
        assert await (await pipe.submit(good)) is not None
        await pipe.close()

    asyncio.run(scenario())


def test_a_bad_row_or_signature_is_named() -> None:
    async def scenario() -> None:
        stages = FakeStages()
        stages.verdicts, stages.bad_signatures = {50: [0, 10, 0]}, {60: 2}
        pipe = pipeline(stages)
        for tag, reason, row in ((50, "insufficient_balance", 1), (60, "bad_signature", 2)):
            work, _ = block(1, GENESIS, tag=tag)
            with pytest.raises(BlockRefusedError, match=reason) as raised:
                await (await pipe.submit(work))
            assert raised.value.row == row
        forged, _ = block(1, GENESIS)
        forged.signature = bytes(64)
        with pytest.raises(BlockRefusedError, match="signature over the header"):
            await (await pipe.submit(forged))
        assert not stages.persisted
        await pipe.close()

    asyncio.run(scenario())


def test_what_follows_a_refused_block_is_refused_too() -> None:
    async def scenario() -> None:
        stages = FakeStages()
        pipe = pipeline(stages)
        bad, parent = block(1, GENESIS, state_root=bytes(32))
        child, _ = block(2, parent)
        outcomes = await asyncio.gather(
            await pipe.submit(bad), await pipe.submit(child), return_exceptions=True
        )
        assert all(isinstance(outcome, BlockRefusedError) for outcome in outcomes)
        assert stages.height == 0
        await pipe.close()

    asyncio.run(scenario())


def test_a_failure_breaks_the_pipeline_and_reaches_everybody() -> None:
    async def scenario() -> None:
        stages = FakeStages()
        stages.break_on_persist = True
        pipe = pipeline(stages, inflight_max=2)
        done = await pipe.submit(Work((1, None), 3, order=np.arange(3)))
        await asyncio.wait([pipe.broken])
        assert isinstance(pipe.broken.exception(), ConnectionError)
        await pipe.close(pipe.broken.exception())
        with pytest.raises(PipelineBrokenError, match="storage is gone"):
            await done
        with pytest.raises(PipelineBrokenError):
            await pipe.submit(Work((2, None), 3, order=np.arange(3)))
        assert pipe.depths()["inflight"] == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("made_by_others", [False, True])
def test_submit_waits_at_the_bound(made_by_others: bool) -> None:
    bound = 2 * OTHERS_PER_OWN if made_by_others else 2

    async def scenario() -> None:
        stages = FakeStages()
        gate = asyncio.Event()
        persist = stages.persist

        async def held(sealed: Sealed) -> None:
            await gate.wait()
            await persist(sealed)

        stages.persist = held  # type: ignore[method-assign]
        pipe = pipeline(stages, inflight_max=2)
        works, parent = [], GENESIS
        for n in range(1, bound + 2):
            work = Work((n, None), 3, order=np.arange(3))
            if made_by_others:
                work, parent = block(n, parent)
            works.append(work)
        for work in works[:-1]:
            await pipe.submit(work)
        last = asyncio.create_task(pipe.submit(works[-1]))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not last.done()
        gate.set()
        assert (await (await last)) is not None
        await pipe.close()

    asyncio.run(scenario())
