"""The shard's shell with small stand-ins for Storage and the Validators; no cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.ledger.delta import NO_IDS, AccountStates, Delta
from actors.ledger.genesis import GENESIS_VERSION, Genesis
from actors.ledger.rows import Batch, FormatError, concatenate, shard_of
from actors.ledger.signing import Signer, Transfer, sign_transfer
from actors.ledger.verdict import Verdict
from actors.mempool import actor as shell
from actors.mempool import retry
from actors.mempool.actor import MempoolShard
from actors.mempool.journal_file import JournalFile
from actors.mempool.retry import NoAnswerError
from actors.settings import LogSettings, MempoolSettings
from actors.shell import ActorContext

GENESIS = Genesis(GENESIS_VERSION, "test", 0, [], 0, 0, "00" * 32, 100, 1 << 20, 0, 1)
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

    def _shard_accounts(self, shard: int, shards: int) -> AccountStates:
        assert 0 <= shard < shards
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise ConnectionError("storage is restarting")
        return self.states(list(self.accounts))

    def delta(self, keys: list[bytes]) -> Delta:
        return Delta.of_accounts(self.states(keys), 0, b"", b"", NO_IDS)

    def states(self, keys: list[bytes]) -> AccountStates:
        nonces, balances = zip(*(self.accounts[key] for key in keys), strict=True)
        columns = (
            np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, 32),
            np.array(nonces, dtype=np.uint64),
            np.array(balances, dtype=np.uint64),
        )
        for column in columns:
            column.flags.writeable = False
        return AccountStates(self.height, *columns)

    def commit(self, key: bytes, nonce: int, balance: int) -> Delta:
        """One more block, after which one account has changed."""
        self.height += 1
        self.accounts[key] = (nonce, balance)
        return self.delta([key])


class FakeValidators:
    """Says that a signature is genuine if its first byte is not zero. `hold` keeps answers back."""

    def __init__(self) -> None:
        self.failures, self.hold, self.calls = 0, asyncio.Event(), 0
        self.hold.set()

    async def verify(self, rows: np.ndarray[Any, Any], *, flow: str = "") -> np.ndarray[Any, Any]:
        self.calls += 1
        await self.hold.wait()
        if self.failures:
            self.failures -= 1
            raise RuntimeError("no Validator answers")
        return np.array([bool(row["signature"].any()) for row in rows], dtype=np.bool_)

    def set_workers(self, workers: list[Any]) -> None:
        self.workers = workers

    def statistics(self) -> dict[str, float]:
        return {"chunks_waiting": 0}


class Setup:
    def __init__(self, folder: Path) -> None:
        self.folder, self.storage, self.validators = folder, FakeStorage(), FakeValidators()

    def shard(self, shard: int = 0, shards: int = 1, **settings: int) -> MempoolShard:
        context = ActorContext("node", "mempool-0", str(self.folder), LogSettings())
        limits = MempoolSettings(capacity_rows=1000, journal_flush_ms=0).model_copy(update=settings)
        return MempoolShard(context, limits, shard, shards, GENESIS, self.storage, self.validators)


def run(folder: Path, scenario: Callable[[Setup], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        await scenario(Setup(folder))

    asyncio.run(main())


def transfers(who: int, nonces: range | list[int], amount: int = 1, **changes: Any) -> Batch:
    made = [Transfer(bytes(32), amount, nonce, **changes) for nonce in nonces]
    return concatenate([sign_transfer(SIGNERS[who], GENESIS.chain_tag, transfer) for transfer in made])


def names(verdicts: np.ndarray[Any, Any]) -> list[str]:
    return [Verdict(int(v)).name for v in verdicts]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BACKOFF_FIRST_S", 0.0)
    monkeypatch.setattr(retry, "BACKOFF_MAX_S", 0.0)
    monkeypatch.setattr(shell, "GAP_GRACE_S", 0.0)


def test_a_draw_waits_for_rows_and_a_release_ends_it(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard = setup.shard()
        await shard.start()
        assert (await shard.draw_at_hand(10, 1000, 1, 0.001))[0].count == 0
        behind_a_gap = transfers(1, [1])
        waiting = asyncio.create_task(shard.draw_at_hand(10, 1000, 1, 60))
        assert names(await shard.admit(behind_a_gap.rows, behind_a_gap.payloads)) == ["PARKED"]
        await asyncio.sleep(0)
        assert not waiting.done()
        batch = transfers(0, [0])
        assert names(await shard.admit(batch.rows, batch.payloads)) == ["OK"]
        async with asyncio.timeout(30):
            assert (await waiting)[1]["nonce"].tolist() == [0]
        voided = asyncio.create_task(shard.draw_at_hand(10, 1000, 2, 60))
        await asyncio.sleep(0)
        await shard.release()
        async with asyncio.timeout(30):
            assert (await voided)[0].count == 0  # though the released row waits now
        assert (await shard.draw_at_hand(10, 1000, 2, 60))[1]["nonce"].tolist() == [0]

    run(tmp_path, scenario)


def test_more_rows_than_are_wanted_at_hand_are_told_and_not_drawn(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard = setup.shard()
        await shard.start()
        batch = transfers(0, range(3))
        assert names(await shard.admit(batch.rows, batch.payloads)) == ["OK"] * 3
        summary, rows, _, pending = await shard.draw_at_hand(2, 1000, 1)
        assert (summary.count, len(rows), pending) == (0, 0, 3)
        summary, rows, _, pending = await shard.draw_at_hand(3, 1000, 1)
        assert (summary.count, len(rows), pending) == (3, 3, 0)
        assert (await shard.draw_at_hand(0, 0, 1))[3] == 0  # what is in flight is not pending

    run(tmp_path, scenario)


def test_rows_are_admitted_drawn_and_settled(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard = setup.shard()
        assert (await shard.start())["depth"] == 0
        batch = transfers(0, range(3), payload=b"note")
        assert names(await shard.admit(batch.rows, batch.payloads)) == ["OK"] * 3
        summary, rows, payloads = await shard.draw(10, 1000, 1)
        assert summary.count == 3
        assert rows["nonce"].tolist() == [0, 1, 2]
        assert payloads.tobytes() == b"note" * 3
        await shard.resolve(summary.draw, np.zeros(3, dtype=np.uint8))
        await shard.settle(setup.storage.commit(SIGNERS[0].public_key, 2, 998))
        health = await shard.health()
        assert (health["depth"], health["inflight"], health["height"]) == (1, 1, 1)
        assert health["verdicts"] == {"OK": 3}
        await shard.release()
        assert (await shard.draw(10, 1000, 2))[1]["nonce"].tolist() == [2]

    run(tmp_path, scenario)


def test_durable_rows_come_back_after_a_kill_and_others_do_not(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard = setup.shard()
        durable, other = transfers(0, range(3), payload=b"kept"), transfers(1, range(2))
        assert names(await shard.admit(other.rows, other.payloads)) == ["OK"] * 2
        assert names(await shard.admit(durable.rows, durable.payloads, True)) == ["OK"] * 3
        again = setup.shard()
        assert await again.start() == {"shard": 0, "height": 0, "depth": 3}
        _, rows, payloads = await again.draw(10, 1000, 1)
        assert rows.tobytes() == durable.rows.tobytes()
        assert payloads.tobytes() == b"kept" * 3

    run(tmp_path, scenario)


def test_a_pending_row_becomes_durable_when_it_is_submitted_again(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard, batch = setup.shard(), transfers(0, range(2))
        await shard.admit(batch.rows, batch.payloads)
        assert names(await shard.admit(batch.rows, batch.payloads, True)) == ["DUPLICATE"] * 2
        assert (await setup.shard().start())["depth"] == 2

    run(tmp_path, scenario)


def test_committed_rows_do_not_come_back_and_a_torn_tail_is_cut(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard, batch = setup.shard(), transfers(0, range(3))
        await shard.admit(batch.rows, batch.payloads, True)
        await shard.settle(setup.storage.commit(SIGNERS[0].public_key, 2, 900))
        (journal,) = (tmp_path / "journal").iterdir()
        whole = journal.read_bytes()
        journal.write_bytes(whole + whole[24:100])
        again = setup.shard()
        assert await again.start() == {"shard": 0, "height": 1, "depth": 1}
        assert len(journal.read_bytes()) < len(whole)

    run(tmp_path, scenario)


def test_durable_rows_survive_another_number_of_shards(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        batches = [transfers(who, range(2)) for who in range(4)]
        old = setup.shard()
        for batch in batches:
            await old.admit(batch.rows, batch.payloads, True)
        depths = [(await setup.shard(n, 3).start())["depth"] for n in range(3)]
        expected = np.bincount(shard_of(concatenate(batches).rows["sender"], 3), minlength=3)
        assert depths == expected.tolist()
        names_left = {path.name for path in (tmp_path / "journal").iterdir()}
        assert names_left == {f"shard-{n}-of-3.wal" for n in range(3)}
        assert (await setup.shard().start())["depth"] == 8

    run(tmp_path, scenario)


def test_one_sync_serves_all_who_wait(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard = setup.shard(journal_flush_ms=5)
        await shard.start()
        before = (await shard.health())["journal"]["syncs"]  # type: ignore[index]
        batches = [transfers(who, range(2)) for who in range(4)]
        admitted = await asyncio.gather(*(shard.admit(b.rows, b.payloads, True) for b in batches))
        assert all(names(verdicts) == ["OK", "OK"] for verdicts in admitted)
        assert (await shard.health())["journal"]["syncs"] == before + 1  # type: ignore[index]

    run(tmp_path, scenario)


def test_a_full_journal_refuses_durable_rows_alone(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard, batch = setup.shard(journal_bytes_max=900), transfers(0, range(3))
        assert names(await shard.admit(batch.rows, batch.payloads, True)) == ["OK"] * 3
        more = transfers(1, range(3))
        assert names(await shard.admit(more.rows, more.payloads, True)) == ["POOL_FULL"] * 3
        assert names(await shard.admit(more.rows, more.payloads)) == ["OK"] * 3
        await shard.settle(setup.storage.commit(SIGNERS[0].public_key, 3, 900))
        assert names(await shard.admit(more.rows, more.payloads, True)) == ["DUPLICATE"] * 3

    run(tmp_path, scenario)


def test_a_failing_disk_makes_durable_rows_unavailable_until_it_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(setup: Setup) -> None:
        shard, batch = setup.shard(), transfers(0, range(2))
        await shard.start()

        def fail(_self: JournalFile, _data: object) -> None:
            raise OSError("no space left")

        with monkeypatch.context() as broken:
            broken.setattr(JournalFile, "append", fail)
            broken.setattr(JournalFile, "replace", fail)
            assert names(await shard.admit(batch.rows, batch.payloads, True)) == ["UNAVAILABLE"] * 2
        assert names(await shard.admit(batch.rows, batch.payloads, True)) == ["DUPLICATE"] * 2
        assert (await setup.shard().start())["depth"] == 2

    run(tmp_path, scenario)


def test_a_restarted_shard_recovers_at_its_first_call_although_storage_fails_at_first(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.storage.failures = 3
        shard, batch = setup.shard(), transfers(0, range(2))
        summary, rows, _ = await shard.draw(10, 1000, 1)
        assert (summary.count, len(rows)) == (0, 0)
        assert names(await shard.admit(batch.rows, batch.payloads)) == ["OK"] * 2
        assert setup.storage.calls == 4

    run(tmp_path, scenario)


def test_without_storage_rows_are_unavailable_and_start_says_so(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        setup.storage.failures = 10**9
        shard, batch = setup.shard(), transfers(0, range(2))
        assert names(await shard.admit(batch.rows, batch.payloads)) == ["UNAVAILABLE"] * 2
        with pytest.raises(NoAnswerError):
            await shard.start()
        setup.storage.failures = 0
        assert names(await shard.admit(batch.rows, batch.payloads)) == ["OK"] * 2

    run(tmp_path, scenario)


def test_signatures_are_retried_then_unavailable(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard, batch = setup.shard(), transfers(0, range(2))
        setup.validators.failures = 1
        assert names(await shard.admit(batch.rows, batch.payloads)) == ["OK"] * 2
        setup.validators.failures = 10**9
        more = transfers(0, [2])
        assert names(await shard.admit(more.rows, more.payloads)) == ["UNAVAILABLE"]
        assert (await shard.health())["depth"] == 2

    run(tmp_path, scenario)


def test_a_forged_row_is_refused_and_holds_no_nonce_meanwhile(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard = setup.shard()
        await shard.start()
        genuine, forged = transfers(0, range(2)), transfers(0, range(2), amount=7)
        forged.rows["signature"] = 0
        setup.validators.hold.clear()
        bad = asyncio.create_task(shard.admit(forged.rows, forged.payloads))
        good = asyncio.create_task(shard.admit(genuine.rows, genuine.payloads))
        while setup.validators.calls < 2:
            await asyncio.sleep(0)
        twice = asyncio.create_task(shard.admit(genuine.rows, genuine.payloads))
        while setup.validators.calls < 3:
            await asyncio.sleep(0)
        setup.validators.hold.set()
        assert names(await bad) == ["BAD_SIGNATURE"] * 2
        assert names(await good) == ["OK"] * 2
        assert names(await twice) == ["DUPLICATE"] * 2

    run(tmp_path, scenario)


def test_deltas_may_come_in_any_order(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard, batch = setup.shard(), transfers(0, range(3))
        await shard.admit(batch.rows, batch.payloads)
        deltas = [setup.storage.commit(SIGNERS[0].public_key, n, 1000 - n) for n in (1, 2, 3)]
        loads = setup.storage.calls
        for delta in (deltas[1], deltas[0], deltas[2], deltas[1]):
            await shard.settle(delta)
        health = await shard.health()
        assert (health["depth"], health["height"], health["committed"]) == (0, 3, 3)
        assert setup.storage.calls == loads

    run(tmp_path, scenario)


def test_a_missed_height_leads_to_a_resync(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard, batch = setup.shard(), transfers(0, range(3))
        await shard.admit(batch.rows, batch.payloads)
        setup.storage.commit(SIGNERS[0].public_key, 2, 900)
        setup.storage.failures = 1
        await shard.settle(setup.storage.commit(SIGNERS[1].public_key, 0, 900))
        while (await shard.health())["height"] != 2:
            await asyncio.sleep(0)
        health = await shard.health()
        assert health["depth"] == 1
        assert health["events"] == {"accounts_failures": 1, "resyncs": 1}

    run(tmp_path, scenario)


def test_rows_dropped_after_acceptance_are_named(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard = setup.shard(capacity_rows=2, initial_rows=2)
        low, high = transfers(0, range(2), fee=1), transfers(1, range(2), fee=9)
        sources = [("known:a", "known:b"), ("known:c", "known:d"), ("known:e",)]
        for batch, by in ((low, sources[0]), (high, sources[1])):
            for at, source in enumerate(by):  # one by one: two under way are the bound
                row = batch.rows[at : at + 1]
                assert names(await shard.admit(row, batch.payloads, False, (source,))) == ["OK"]
        number, ids, verdicts = await shard.dropped(0)
        assert {i.tobytes() for i in ids} == {i.tobytes() for i in low.ids()}
        assert names(verdicts) == ["POOL_FULL"] * 2
        number, ids, _ = await shard.dropped(number)
        assert (number, len(ids)) == (2, 0)
        waiting = [asyncio.create_task(shard.dropped(number, 30.0)) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        higher = transfers(2, [0], fee=90)
        await shard.admit(higher.rows, higher.payloads, False, sources[2])
        for number, ids, _ in await asyncio.gather(*waiting):
            assert (number, len(ids)) == (3, 1)

    run(tmp_path, scenario)


def test_malformed_batches_are_refused_by_name(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard, batch = setup.shard(), transfers(0, range(2), payload=b"abc")
        with pytest.raises(FormatError, match="payloads"):
            await shard.admit(batch.rows, batch.payloads[:-1])
        with pytest.raises(FormatError, match="rows"):
            await shard.admit(batch.matrix, batch.payloads)
        context = ActorContext("node", "mempool-1", str(tmp_path), LogSettings())
        shards = 1 << 20
        other = MempoolShard(
            context, MempoolSettings(), shards - 1, shards, GENESIS, setup.storage, setup.validators
        )
        with pytest.raises(FormatError, match=r"rows\[0\].sender"):
            await other.admit(batch.rows, batch.payloads)
        await shard.start()
        summary, _, _ = await shard.draw(10, 1000, 1)
        assert summary.count == 0

    run(tmp_path, scenario)


def test_malformed_sources_are_refused_by_name(tmp_path: Path) -> None:
    async def scenario(setup: Setup) -> None:
        shard, batch = setup.shard(), transfers(0, range(2))
        no_rows = np.zeros(0, dtype=np.uint16)
        wrong: tuple[tuple[tuple[str, ...], Any, str], ...] = (
            ((), None, "sources"),
            (("stranger",), None, "source"),
            (("known:a",), no_rows, "origins"),
            (("known:a",), np.zeros(2, dtype=np.int64), "origins"),
            (("known:a",), np.array([0, 1], dtype=np.uint16), "origins"),
        )
        for sources, origins, field in wrong:
            with pytest.raises(FormatError, match=field):
                await shard.admit(batch.rows, batch.payloads, False, sources, origins)

    run(tmp_path, scenario)
