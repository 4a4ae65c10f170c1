"""What the owner of a pool does itself, without asking any Validator: few rows that it holds."""

from __future__ import annotations

import asyncio

import numpy as np

from actors.ledger.rows import Batch
from actors.ledger.signing import Signer, Transfer, sign_transfer
from actors.settings import ValidatorSettings
from actors.validator.actor import IN_PLACE_ROWS_MAX, ValidatorPool

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
