"""The shard's shell with small stand-ins for Storage and the Validators; no cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.ledger.genesis import Genesis
from actors.ledger.rows import Batch, concatenate
from actors.ledger.signing import Signer, Transfer, sign_transfer
from actors.ledger.verdict import Verdict
from actors.mempool import actor as shell
from actors.mempool import retry
from actors.mempool.actor import MempoolShard
from actors.settings import LogSettings, MempoolSettings
from actors.shell import ActorContext

GENESIS = Genesis(1, "test", 0, [], 0, 0, "00" * 32, 100, 1 << 20)
SIGNERS = [Signer(bytes([i]) * 32) for i in range(1, 5)]


class Remote:
    """A method of an actor handle: `.remote()` gives an awaitable."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method

    def remote(self, *args: Any) -> Awaitable[Any]:
        async def call() -> Any:
            return self._method(*args)

        return call()


class FakeStorage:
    """Accounts at a height; the first `failures` calls fail."""

    def __init__(self, failures: int = 0) -> None:
        self.height, self.failures, self.calls = 0, failures, 0
        self.accounts = {signer.public_key: (0, 1000) for signer in SIGNERS}
        self.shard_accounts = Remote(self._shard_accounts)

    def _shard_accounts(self, shard: int, shards: int) -> dict[str, Any]:
        assert (shard, shards) == (0, 1)
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise ConnectionError("storage is restarting")
        return self.delta(list(self.accounts))

    def delta(self, keys: list[bytes]) -> dict[str, Any]:
        nonces, balances = zip(*(self.accounts[key] for key in keys), strict=True)
        columns = {
            "height": self.height,
            "keys": np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, 32),
            "nonces": np.array(nonces, dtype=np.uint64),
            "balances": np.array(balances, dtype=np.uint64),
        }
        for value in columns.values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        return columns

    def commit(self, key: bytes, nonce: int, balance: int) -> dict[str, Any]:
        """One more block, after which one account has changed."""
        self.height += 1
        self.accounts[key] = (nonce, balance)
        return self.delta([key])


class FakeValidators:
    """Says that a signature is genuine if its first byte is not zero. `hold` keeps answers back."""

    def __init__(self) -> None:
        self.failures, self.hold, self.calls = 0, asyncio.Event(), 0
        self.hold.set()

    async def verify(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        self.calls += 1
        await self.hold.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionError("no validator")
        return np.array([bool(row["signature"].any()) for row in rows], dtype=np.bool_)


class Setup:
    def __init__(self, folder: Path) -> None:
        self.folder, self.storage, self.validators = folder, FakeStorage(), FakeValidators()

    def shard(self, **settings: int) -> MempoolShard:
        context = ActorContext("node", "mempool-0", str(self.folder), LogSettings())
        limits = MempoolSettings(capacity_rows=1000, journal_flush_ms=0).model_copy(update=settings)
        return MempoolShard(context, limits, 0, 1, GENESIS, self.storage, self.validators)


def run(folder: Path, scenario: Callable[[Setup], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await scenario(Setup(folder))

    asyncio.run(main())


def transfers(who: int, nonces: range | list[int], **changes: Any) -> Batch:
    return concatenate(
        [
            sign_transfer(
                SIGNERS[who], GENESIS.chain_tag, Transfer(bytes(32), changes.pop("amount", 1), n, **changes)
            )
            for n in nonces
        ]
    )


def names(verdicts: np.ndarray[Any, Any]) -> list[str]:
    return [Verdict(int(v)).name for v in verdicts]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BACKOFF_FIRST_S", 0.0)
    monkeypatch.setattr(retry, "BACKOFF_MAX_S", 0.0)
    monkeypatch.setattr(shell, "GAP_GRACE_S", 0.0)


def test_rows_are_admitted_drawn_and_settled(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard = setup.shard()
        assert (await shard.start())["depth"] == 0
        batch = transfers(0, range(3), payload=b"note")
        assert names(await shard.admit(batch.rows, batch.payloads)) == ["OK"] * 3
        summary, rows, payloads = await shard.draw(10, 1000, 1)
        assert summary["count"] == 3
        assert rows["nonce"].tolist() == [0, 1, 2]
        assert payloads.tobytes() == b"note" * 3
        await shard.resolve(summary["draw"], np.zeros(3, dtype=np.uint8))
        await shard.settle(setup.storage.commit(SIGNERS[0].public_key, 2, 998))
        health = await shard.health()
        assert (health["depth"], health["inflight"], health["height"]) == (1, 1, 1)
        assert health["verdicts"] == {"OK": 3}
        await shard.release()
        assert (await shard.draw(10, 1000, 2))[1]["nonce"].tolist() == [2]

    run(tmp_path, scenario)
