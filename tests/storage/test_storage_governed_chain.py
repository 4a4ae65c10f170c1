"""Blocks of governed functions on the disk: who votes runs the function, who replays takes its effects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from actors.execution.functions import FunctionColumns, FunctionFailedError
from actors.ledger.effects import BalanceEffects
from actors.ledger.governed_payloads import GovernedCall
from actors.ledger.hashing import sha256, sha256_rows
from actors.ledger.rows import Batch, FormatError, concatenate, decode_batch, encode_batch
from actors.ledger.verdict import Verdict
from actors.storage.chain import Chain
from actors.storage.check import check
from actors.storage.disk import Disk
from actors.storage.functions import REFUSED_MAX, Functions
from actors.storage.interface import Execute, TryFunction
from tests.ledger.governed_blocks import (
    GOVERNORS,
    effects_of,
    function_row,
    payload_of,
    statement,
    with_effects,
)
from tests.storage.storage_batches import key
from tests.storage.storage_network import BALANCE, SIGNER, Driver, done, make_genesis, open_chain, present

ACCOUNTS = 20
WITHOUT, ALLOCATION = make_genesis(ACCOUNTS)
GENESIS = msgspec.structs.replace(
    WITHOUT, governors=[each.hex() for each in GOVERNORS.keys], governors_needed=GOVERNORS.needed
)
TREASURY, SENDER, PROPOSER = key(0), key(1), SIGNER.public_key
PAID = effects_of({rank: 5 for rank in range(ACCOUNTS - 1)})


class Pays:
    """A runner that answers what it is told to, and counts."""

    def __init__(self, *effects: BalanceEffects | str) -> None:
        self._effects, self.calls = list(effects), list[tuple[GovernedCall, FunctionColumns]]()

    def run(self, call: GovernedCall, columns: FunctionColumns) -> BalanceEffects:
        self.calls.append((call, columns))
        found = self._effects.pop(0) if len(self._effects) > 1 else self._effects[0]
        if isinstance(found, str):
            raise FunctionFailedError(found)
        return found


def row(chain: Chain, nonce: int = 0, **fields: Any) -> Batch:
    return function_row(statement(chain.genesis.chain_tag, SENDER, TREASURY, nonce), **fields)


def with_runner(chain: Chain, runner: Pays) -> list[str]:
    told: list[str] = []
    chain.functions = Functions(runner, chain.genesis.block_payload_bytes_max, told.append)
    return told


def block_of(chain: Chain, effects: BalanceEffects = PAID, **fields: Any) -> Batch:
    return with_effects(row(chain, **fields), PROPOSER, effects, chain.genesis.chain_tag)


def asked(chain: Chain, **fields: Any) -> TryFunction:
    known = {"height": chain.head.height + 1, "parent": chain.head.hash, "time_ms": 1_000}
    return TryFunction(**{**known, "function": encode_batch(row(chain)), **fields})


def execute(driver: Driver, block: Batch, strict: bool = True, proven: bool = False) -> Any:
    request = Execute(driver.chain.state.executed_height + 1, strict, PROPOSER, time_ms=1_000, proven=proven)
    return driver.chain.execute(driver.epoch, request, block)


def test_a_block_is_voted_for_when_the_function_has_its_effects_here(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, GENESIS, ALLOCATION)
    driver, runner = Driver(chain, ACCOUNTS), Pays(PAID)
    told = with_runner(chain, runner)
    block = block_of(chain)
    driver.persist(done(execute(driver, block)))
    assert len(runner.calls) == 1
    columns = runner.calls[0][1]
    assert [each.tobytes() for each in columns.keys] == sorted(key(n) for n in range(ACCOUNTS))
    assert columns.keys[columns.treasury].tobytes() == TREASURY
    assert (columns.height, columns.time_ms) == (1, 1_000)
    assert chain.state.committed_account(TREASURY)[2] == BALANCE - 5 * (ACCOUNTS - 1)
    assert told == []
    chain.disk.close()
    assert check_all(tmp_path) == []
    again = open_chain(tmp_path, GENESIS, None)  # from the disk, without anybody who runs functions
    assert again.state.committed_account(SENDER)[2] == BALANCE + 5 - 1
    again.disk.close()


def check_all(folder: Path) -> list[Any]:
    disk = Disk(folder)
    try:
        report = check(disk, GENESIS, lambda: ALLOCATION, sha256_rows)
    finally:
        disk.close()
    found = report["problems"]
    assert isinstance(found, list)
    return found


def test_a_block_with_other_effects_gets_no_vote_and_names_the_account(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, GENESIS, ALLOCATION)
    driver, runner = Driver(chain, ACCOUNTS), Pays(effects_of({3: 7, 4: 1}))
    told = with_runner(chain, runner)
    block = block_of(chain)
    root = chain.state.tree.root
    executed = execute(driver, block)
    assert executed.block is None
    assert executed.verdicts.tolist() == [Verdict.EFFECTS_DIFFER, Verdict.OK]
    assert chain.state.tree.root == root
    (refused,) = present(chain.functions).refusals()
    assert refused.id == block.ids()[0].tobytes()
    ranked = sorted(key(n) for n in range(ACCOUNTS) if key(n) != TREASURY)
    assert f"account {ranked[0].hex()} by 5, this member by 0" in refused.reason
    assert len(told) == 1
    assert refused.id.hex() in told[0]
    assert execute(driver, block).block is None
    assert len(runner.calls) == 1  # refused once is refused
    driver.persist(done(execute(driver, block, proven=True)))  # others certified it
    chain.disk.close()
    assert check_all(tmp_path) == []


def test_nothing_runs_that_its_governors_have_not_signed(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, GENESIS, ALLOCATION)
    driver, runner = Driver(chain, ACCOUNTS), Pays(PAID)
    with_runner(chain, runner)
    tag = chain.genesis.chain_tag
    other = payload_of(statement(tag, SENDER, TREASURY, nonce=1))
    forged = function_row(statement(tag, SENDER, TREASURY), other)
    executed = execute(driver, with_effects(forged, PROPOSER, PAID, tag))
    assert executed.verdicts.tolist() == [Verdict.NOT_APPROVED, Verdict.BAD_EFFECTS]
    tried = chain.try_function(asked(chain, function=encode_batch(forged)))
    assert tried.verdict == Verdict.NOT_APPROVED
    transfer = encode_batch(driver.batch(1))
    assert chain.try_function(asked(chain, function=transfer)).verdict == Verdict.UNKNOWN_KIND
    late = encode_batch(row(chain, nonce=4))
    assert chain.try_function(asked(chain, function=late)).verdict == Verdict.NONCE_GAP
    for bad in (
        b"",
        b"RCB1",
        encode_batch(concatenate([row(chain), row(chain)])),
        encode_batch(row(chain))[:-1],
    ):
        with pytest.raises(FormatError):
            chain.try_function(asked(chain, function=bad))
    assert runner.calls == []
    chain.disk.close()


def test_a_trial_is_of_one_state_and_is_kept_for_the_vote(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, GENESIS, ALLOCATION)
    driver, runner = Driver(chain, ACCOUNTS), Pays(PAID)
    with_runner(chain, runner)
    for elsewhere in ({"height": 3}, {"parent": bytes(32)}):
        assert chain.try_function(asked(chain, **elsewhere)).verdict == Verdict.UNAVAILABLE
    tried = chain.try_function(asked(chain))
    assert tried.effects is not None
    assert tried.effects.tobytes() == PAID.encode()
    assert tried.digest == sha256(PAID.encode())
    assert chain.try_function(asked(chain, digest=tried.digest)).verdict == Verdict.OK
    driver.persist(done(execute(driver, block_of(chain))))
    assert len(runner.calls) == 1
    chain.disk.close()


def test_a_function_is_refused_that_fails_or_whose_runs_differ(tmp_path: Path) -> None:
    for at, (runner, words) in enumerate(
        (
            (Pays("it raised"), "it raised"),
            (Pays(PAID, effects_of({1: 1})), "two runs"),
            (Pays(effects_of({1: -BALANCE})), "it leaves account"),
            (Pays(effects_of({1: BALANCE, 2: 1})), "it leaves the treasury"),
            (Pays(effects_of({ACCOUNTS: 1})), f"account {ACCOUNTS} of {ACCOUNTS - 1}"),
        )
    ):
        chain = open_chain(tmp_path / str(at), GENESIS, ALLOCATION)
        told = with_runner(chain, runner)
        tried = chain.try_function(asked(chain, runs=2))
        assert tried.verdict == Verdict.FUNCTION_REFUSED
        assert words in tried.reason
        assert words in told[0]
        assert chain.try_function(asked(chain)).reason == tried.reason
        chain.disk.close()


def test_effects_that_do_not_fit_a_block_are_refused_with_the_way_out(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, GENESIS, ALLOCATION)
    chain.functions = Functions(Pays(PAID), 200, lambda _: None)
    assert "network.block_payload_bytes_max" in chain.try_function(asked(chain)).reason
    chain.disk.close()


def test_a_leader_that_differs_is_told(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, GENESIS, ALLOCATION)
    with_runner(chain, Pays(PAID))
    tried = chain.try_function(asked(chain, digest=bytes(32)))
    assert tried.verdict == Verdict.FUNCTION_REFUSED
    assert "at the leader" in tried.reason
    chain.disk.close()


def test_a_proposal_tells_of_a_function_that_waits_and_drops_one_that_was_refused(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, GENESIS, ALLOCATION)
    driver = Driver(chain, ACCOUNTS)
    with_runner(chain, Pays("no"))
    function, transfers = row(chain), driver.batch(3)
    mixed = concatenate([transfers.take(np.array([0])), function, transfers.take(np.array([1, 2]))])
    executed = execute(driver, mixed, strict=False)
    assert executed.verdicts.tolist()[1] == Verdict.NEEDS_EFFECTS
    assert decode_batch(executed.waiting, 1, 1 << 20).ids().tobytes() == function.ids().tobytes()
    chain.rollback(driver.epoch, 0)
    chain.try_function(asked(chain))
    executed = execute(driver, mixed, strict=False)
    assert executed.verdicts.tolist()[1] == Verdict.FUNCTION_REFUSED
    assert executed.waiting == b""
    chain.disk.close()


def test_refusals_are_bounded(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, GENESIS, ALLOCATION)
    functions = Functions(Pays("no"), 1 << 20, lambda _: None)
    rows = [row(chain, fee=fee) for fee in range(REFUSED_MAX + 5)]
    for each in rows:
        functions.refuse(each, 1, "for a test")
    named = [refusal.id for refusal in functions.refusals()]
    assert named == [each.ids()[0].tobytes() for each in rows[5:]]
    chain.disk.close()


def test_a_network_without_governors_runs_nothing(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, WITHOUT, ALLOCATION)
    driver, runner = Driver(chain, ACCOUNTS), Pays(PAID)
    with_runner(chain, runner)
    verdicts = execute(driver, block_of(chain)).verdicts.tolist()
    assert verdicts == [Verdict.NOT_APPROVED, Verdict.BAD_EFFECTS]
    assert runner.calls == []
    chain.disk.close()
