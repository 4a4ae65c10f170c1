"""What a pool sends to its Validators: not the few rows that its owner verifies, and many in one call."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.kernels.selection import select
from actors.ledger.rows import Batch
from actors.ledger.signing import Signer, Transfer, sign_transfer
from actors.settings import ValidatorSettings
from actors.validator.actor import IN_PLACE_ROWS_MAX, ValidatorPool
from actors.validator.work import verify_rows

NO_PAYLOADS = np.empty(0, dtype=np.uint8)


def signed(count: int) -> Batch:
    signer = Signer(bytes(range(32)))
    rows = [sign_transfer(signer, 1, Transfer(bytes(32), 1, nonce, 1)).rows for nonce in range(count)]
    return Batch(np.concatenate(rows), NO_PAYLOADS)


class Nobody(ValidatorPool):
    """A pool that may not ask anybody, and whose kernels are loaded."""

    def __init__(self) -> None:
        super().__init__([], ValidatorSettings())
        self._runners = {"nobody": []}
        assert self._kernels


def test_few_rows_at_hand_are_verified_in_place() -> None:
    async def scenario() -> None:
        pool, batch = Nobody(), signed(IN_PLACE_ROWS_MAX["portable"])
        batch.rows["amount"][3] += 1
        valid = await pool.verify(batch.rows, len(batch))
        assert list(np.flatnonzero(~valid)) == [3]
        assert pool.statistics()["done_in_place"] == 1

    asyncio.run(scenario())


def test_many_rows_are_for_the_validators() -> None:
    async def scenario() -> None:
        pool, many = Nobody(), max(IN_PLACE_ROWS_MAX.values()) + 1
        asked = asyncio.create_task(pool.verify(signed(many).rows, many))
        await asyncio.sleep(0)
        assert pool.statistics()["chunks_waiting"] > 0
        asked.cancel()

    asyncio.run(scenario())


class SlowWorker:
    """Answers each call when a test lets it, by the pool's own kernels."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.gate = asyncio.Event()
        self.verify = SimpleNamespace(remote=self._verify)

    async def _verify(self, rows: NDArray[Any], start: int, stop: int, again: bool) -> Any:
        self.calls.append(stop - start)
        await self.gate.wait()
        return verify_rows(select("portable", None), rows[start:stop]), 50 * (stop - start)


def test_what_waits_behind_a_slow_validator_goes_in_one_call_and_each_gets_its_own_answer() -> None:
    async def scenario() -> None:
        worker = SlowWorker()
        pool = ValidatorPool([worker], ValidatorSettings())
        batches = [signed(20) for _ in range(6)]
        for number, batch in enumerate(batches):
            batch.rows["amount"][number] += 1
        asked = [asyncio.create_task(pool.verify(batch.rows)) for batch in batches]
        async with asyncio.timeout(30):
            while pool.statistics()["chunks_held"] < len(batches):
                await asyncio.sleep(0)
            worker.gate.set()
            answers = await asyncio.gather(*asked)
        assert [np.flatnonzero(~valid).tolist() for valid in answers] == [[n] for n in range(6)]
        assert len(worker.calls) < len(batches)
        assert sum(worker.calls) == 120
        pool.set_workers([])

    asyncio.run(scenario())
