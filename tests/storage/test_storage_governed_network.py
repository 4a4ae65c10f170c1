"""Governed functions in a network of three: shells, Storage and cells as they are, on one loop, no Ray."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import cloudpickle
import msgspec
import numpy as np
import pytest

from actors.consensus.functions import FunctionTrials
from actors.execution.functions import FunctionColumns, FunctionRunner
from actors.ledger.effects import BalanceEffects
from actors.ledger.governed_payloads import GovernedCall
from actors.ledger.pending import DrawSummary
from actors.ledger.rows import Batch, empty_batch
from actors.ledger.verdict import Verdict
from actors.settings import ConsensusSettings
from actors.storage.actor import Storage
from tests.ledger.governed_blocks import GOVERNORS, function_row, statement
from tests.storage import test_storage_agreement as agreement
from tests.storage.storage_batches import key, transfers
from tests.storage.storage_network import BALANCE
from tests.storage.test_storage_agreement import ACCOUNTS, Here, Network

ROWS = 5
GENESIS = msgspec.structs.replace(
    agreement.GENESIS,
    governors=[each.hex() for each in GOVERNORS.keys],
    governors_needed=GOVERNORS.needed,
)
# Timers that a busy machine does not end, also while a cell starts.
SETTINGS = ConsensusSettings(
    block_interval_ms=1, election_timeout_ms_min=2000, election_timeout_ms_max=4000, read_timeout_ms=60_000
)
TREASURY, SENDER = key(0), key(1)
LOCKED = FunctionRunner()


def interest(columns: Any, arguments: bytes) -> Any:
    """A hundredth, or whatever part is asked for."""
    paid = (columns.balances // np.uint64(int(arguments))).astype(np.int64)
    paid[columns.treasury] = 0
    return paid


def clock(columns: Any, _: bytes) -> Any:
    """Not the same anywhere."""
    paid = np.zeros(len(columns.keys), dtype=np.int64)
    paid[2] = time.time_ns() % 100_003 + 1
    return paid


def governed(nonces: Any, function: Callable[..., Any] | bytes, arguments: bytes = b"") -> Batch:
    """The row of a function that its governors have signed, with the next nonce of SENDER."""
    body = function if isinstance(function, bytes) else by_value(function)
    nonce, nonces[1] = int(nonces[1]), nonces[1] + 1
    said = statement(
        GENESIS.chain_tag, SENDER, TREASURY, nonce, function=body, arguments=arguments,
        python_minor=LOCKED.python_minor, lock=LOCKED.lock,
    )  # fmt: skip
    return function_row(said)


def by_value(function: Callable[..., Any]) -> bytes:
    function.__module__ = "__main__"
    return bytes(cloudpickle.dumps(function))


class Pending:
    """What the members' mempools hold, as if gossip took no time: whoever leads draws the next batch."""

    def __init__(self) -> None:
        self.nonces, self._rng = np.zeros(ACCOUNTS, dtype=np.uint64), np.random.default_rng(1)
        self.waiting: deque[Batch] = deque()
        self.drawn: dict[int, Batch] = {}
        self.dropped: list[tuple[bytes, Verdict]] = []

    def transfers(self) -> None:
        self.waiting.append(transfers(ACCOUNTS, self.nonces, ROWS, self._rng, GENESIS.chain_tag))

    def function(self, function: Callable[..., Any] | bytes, arguments: bytes = b"") -> bytes:
        """Its id."""
        row = governed(self.nonces, function, arguments)
        self.waiting.append(row)
        return bytes(row.ids()[0])


class Shard:
    """One member's way to these. A row that is not committed comes back when the member leads no more."""

    def __init__(self, pending: Pending) -> None:
        self._pending = pending
        self.draw_at_hand, self.near_line = Here(self._draw), Here(self._no_line)
        self.resolve = Here(self._resolve)
        self.release, self.settle = Here(self._release), Here(self._settle)
        self._own: dict[int, Batch] = {}

    async def _no_line(self) -> str:
        return ""

    async def _draw(self, _rows: int, _payloads: int, _height: int, wait_s: float) -> Any:
        pending = self._pending
        if not pending.waiting:
            await asyncio.sleep(wait_s)
        batch = pending.waiting.popleft() if pending.waiting else empty_batch()
        number = len(pending.drawn) + 1
        if len(batch):
            pending.drawn[number] = self._own[number] = batch
        ranks = np.zeros(len(batch), dtype=np.uint64)
        return DrawSummary(number, len(batch), ranks), batch.rows, batch.payloads, 0

    async def _resolve(self, draw: int, verdicts: Any) -> None:
        batch = self._own[draw]
        for row in np.flatnonzero(verdicts):
            one, verdict = batch.take(np.array([row])), Verdict(int(verdicts[row]))
            if verdict in (Verdict.BLOCK_GAS, Verdict.NONCE_GAP):
                self._pending.waiting.append(one)
            elif verdict is not Verdict.NONCE_REUSED:
                self._pending.dropped.append((one.ids()[0].tobytes(), verdict))
        self._own[draw] = batch.take(np.asarray(verdicts) == 0)

    async def _settle(self, *deltas: Any) -> None:
        for delta in deltas:
            done = set(map(bytes, (await delta if isinstance(delta, Awaitable) else delta).ids))
            for number, batch in list(self._own.items()):
                left = [each.tobytes() not in done for each in batch.ids()]
                self._own[number] = batch.take(np.array(left, dtype=np.bool_))

    async def _release(self) -> None:
        self._pending.waiting.extend(batch for batch in self._own.values() if len(batch))
        self._own.clear()


class Other:
    """A runner that pays one account so many: what a function is that differs from member to member."""

    def __init__(self, amount: int) -> None:
        self.amount = amount

    def run(self, call: GovernedCall, columns: FunctionColumns) -> BalanceEffects:
        return BalanceEffects(np.array([3]), np.array([self.amount]))


Scenario = Callable[[Network, Pending], Awaitable[None]]


def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: Scenario) -> None:
    pending = Pending()

    async def whole() -> None:
        network = Network(tmp_path, GENESIS, lambda: Shard(pending), SETTINGS)
        network.without_ray(monkeypatch)
        await network.start()
        try:
            for shell in network.shells.values():
                await shell.start()
            await scenario(network, pending)
        finally:
            await network.stop()

    asyncio.run(whole())


def balances(storage: Storage) -> dict[bytes, int]:
    return {key(n): storage.account(key(n)).balance for n in range(ACCOUNTS)}


def sound(network: Network, blocks: int) -> None:
    """All members have the same, and what each has is right by itself."""
    audits = [storage.audit() for storage in network.storages]
    assert [each.problem for each in audits] == [""] * 3
    assert {(each.height, each.state_root) for each in audits} == {(blocks, audits[0].state_root)}
    assert {each.supply for each in audits} == {ACCOUNTS * BALANCE}


async def until(holds: Callable[[], bool], what: str) -> None:
    async with asyncio.timeout(120):
        while not holds():
            await asyncio.sleep(0.01)
    assert holds(), what


def evidence(network: Network) -> list[Any]:
    return [each for shell in network.shells.values() for each in shell._proving.convictions.describe()]


def test_interest_is_paid_and_a_function_that_reads_a_clock_is_refused_by_the_followers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(network: Network, pending: Pending) -> None:
        pending.transfers()
        await network.until_all_have(1)
        before = balances(network.storages[0])
        pending.function(interest, b"100")
        await network.until_all_have(2)
        after = balances(network.storages[1])
        earned = {one: before[one] // 100 for one in before if one != TREASURY}
        assert after[TREASURY] == before[TREASURY] - sum(earned.values())
        assert all(after[one] == before[one] + earned[one] - (one == SENDER) for one in earned)
        refused = pending.function(clock)
        pending.transfers()  # some of SENDER's rows may follow a nonce that never comes
        pending.nonces[1] -= np.uint64(1)
        pending.transfers()
        await until(lambda: bool(pending.dropped), "the function is dropped")
        await network.until_all_have(3)
        assert pending.dropped[0] == (refused, Verdict.FUNCTION_REFUSED)
        told = [await asyncio.to_thread(storage.refused_functions) for storage in network.storages]
        named = [[each.id for each in of_member] for of_member in told]
        assert sum(refused in each for each in named) == 3
        assert sum(each[0].reason.startswith("its effects are") for each in told) == 2  # and the leader's
        lines = [line for file in tmp_path.rglob("logs/*.log") for line in file.read_text().splitlines()]
        assert sum(f"governed function {refused.hex()} is refused" in line for line in lines) == 3
        assert evidence(network) == []
        sound(network, network.storages[0].head().height)

    play(tmp_path, monkeypatch, scenario)


def test_a_block_whose_effects_differ_gets_no_vote_and_convicts_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def agreed(*_: Any) -> tuple[Verdict, str]:
        return Verdict.OK, ""  # as if the trial had gone another way than the vote

    monkeypatch.setattr(FunctionTrials, "_agreed", agreed)

    async def scenario(network: Network, pending: Pending) -> None:
        for number, storage in enumerate(network.storages):
            storage._functions._runner = Other(10 + number)
        pending.transfers()
        await network.until_all_have(1)
        refused = pending.function(b"something")
        await until(lambda: any(storage.refused_functions() for storage in network.storages), "refused")
        pending.nonces[1] -= np.uint64(1)
        pending.transfers()
        await network.until_all_have(2)
        reasons = [each.reason for storage in network.storages for each in storage.refused_functions()]
        assert any("the block changes account" in reason and "this member by" in reason for reason in reasons)
        assert all(each.id == refused for storage in network.storages for each in storage.refused_functions())
        assert evidence(network) == []
        sound(network, network.storages[0].head().height)

    play(tmp_path, monkeypatch, scenario)


def test_a_member_that_alone_has_other_effects_takes_those_that_the_others_have_certified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(network: Network, pending: Pending) -> None:
        pending.transfers()
        told = await network.until_all_have(1)
        leader = next(at for at, each in enumerate(told) if each["role"] == "leader")
        odd = (leader + 1) % 3
        for number, storage in enumerate(network.storages):
            storage._functions._runner = Other(77 if number == odd else 11)
        named = pending.function(b"something")
        pending.transfers()
        await network.until_all_have(3)
        assert [each.id for each in network.storages[odd].refused_functions()] == [named]
        assert [storage.refused_functions() for at, storage in enumerate(network.storages) if at != odd] == [
            [],
            [],
        ]
        assert evidence(network) == []
        assert [shell._agreement.trouble()["halted"] for shell in network.shells.values()] == [""] * 3
        sound(network, 3)

    play(tmp_path, monkeypatch, scenario)
