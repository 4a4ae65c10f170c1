"""A gateway's service over a real mempool shard, with blocks made at once of what that gives; no cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.gateway.service import Service
from actors.ledger.delta import ChainHead
from actors.ledger.genesis import Genesis
from actors.ledger.hashing import sha256_rows
from actors.ledger.rows import LEAF_PREFIX, NEVER_EXPIRES_HEIGHT, ROW_DTYPE, Batch, row_matrix
from actors.mempool.actor import MempoolShard
from actors.settings import GatewaySettings, LogSettings, MempoolSettings
from actors.shell import ActorContext
from actors.storage.interface import StorageFace, TransactionPlace
from tests.mempool.test_mempool_actor import GENESIS, FakeStorage, FakeValidators
from tests.standing_for import standing_for

ATTACKER, HONEST = "anonymous:203.0.113.6", "anonymous:198.51.100.1"


def key_of(who: int) -> bytes:
    """Public keys of funded accounts."""
    return who.to_bytes(8, "big") + b"key of an account" + who.to_bytes(7, "little")


def rows_of(pairs: list[tuple[int, int]], forged: bool = False, **fields: int) -> Batch:
    """Transfers of (who, nonce). A signature is genuine here if it is not all zeros."""
    rows = np.zeros(len(pairs), dtype=ROW_DTYPE)
    rows["version"] = rows["kind"] = 1
    rows["chain_tag"], rows["expiry_height"] = GENESIS.chain_tag, NEVER_EXPIRES_HEIGHT
    rows["amount"] = rows["fee"] = 1
    rows["nonce"] = [nonce for _, nonce in pairs]
    keys = b"".join(key_of(who) for who, _ in pairs)
    rows["sender"] = np.frombuffer(keys, dtype=np.uint8).reshape(-1, 32)
    rows["signature"][:, 0] = not forged
    for name, value in fields.items():
        rows[name] = value
    return Batch(rows, np.empty(0, dtype=np.uint8))


class RecordingValidators(FakeValidators):
    """Remembers whose turn each call was."""

    def __init__(self) -> None:
        super().__init__()
        self.flows: list[tuple[str, int]] = []

    async def verify(self, rows: NDArray[Any], *, flow: str = "") -> NDArray[Any]:
        self.flows.append((flow, len(rows)))
        return await super().verify(rows, flow=flow)


class SubmissionNode:
    """One node's way of a submission. `block` makes the next block, `publish` says what others committed."""

    def __init__(
        self, folder: Path, accounts: int, mempool: dict[str, Any], genesis: Genesis, **gateway: Any
    ) -> None:
        self.storage, self.validators = FakeStorage(), RecordingValidators()
        self.storage.accounts |= {key_of(who): (0, 10**9) for who in range(accounts)}
        context = ActorContext("node", "mempool-0", str(folder), LogSettings())
        limits = MempoolSettings(journal_flush_ms=0).model_copy(update=mempool)
        self.shard = MempoolShard(context, limits, 0, 1, genesis, self.storage, self.validators)
        self.service = Service(
            GatewaySettings(**{"single_wait_ms": 0, "gap_grace_ms": 20, **gateway}),
            genesis,
            [self.shard.admit],
            standing_for(StorageFace, self),
            self.nothing,
            hash_seed=1,
            pending=[self.shard.pending],
        )
        self.blocks: dict[int, NDArray[np.uint8]] = {}
        self._dropped = 0

    async def nothing(self) -> dict[str, Any]:
        return {}

    async def head(self) -> ChainHead:
        return ChainHead(self.storage.height, b"", b"", 0)

    async def locate(self, tx_id: bytes) -> TransactionPlace | None:
        for height, ids in self.blocks.items():
            if tx_id in {each.tobytes() for each in ids}:
                return TransactionPlace(height, 0)
        return None

    async def block_of_pending(self) -> int:
        """Commit what the shard draws; how many rows."""
        _, rows, _ = await self.shard.draw(1_000, 1 << 20, self.storage.height + 1)
        await self.publish(rows)
        return len(rows)

    async def publish(self, rows: NDArray[Any]) -> None:
        """A block of these rows is committed, here and everywhere."""
        changed: dict[bytes, tuple[int, int]] = {}
        for row in rows:
            key = row["sender"].tobytes()
            nonce, balance = changed.get(key, self.storage.accounts[key])
            changed[key] = (nonce + 1, balance - int(row["amount"]) - int(row["fee"]))
        self.storage.accounts |= changed
        self.storage.height += 1
        delta = self.storage.delta(list(changed) or [key_of(0)])
        ids = sha256_rows(row_matrix(np.ascontiguousarray(rows)), LEAF_PREFIX)
        self.blocks[self.storage.height] = ids
        await self.shard.settle(delta)
        self._dropped, lost, verdicts = await self.shard.dropped(self._dropped)
        self.service.dropped(lost, verdicts)
        self.service.committed(msgspec.structs.replace(delta, ids=ids))

    async def make_blocks(self) -> None:
        """For ever, whenever others have had a turn."""
        while True:
            await self.block_of_pending()
            await asyncio.sleep(0.001)
