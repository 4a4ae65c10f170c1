"""The judge of a soak that calls contracts: the interpreter plays the blocks again, and agrees with nodes and
clients that tell the truth, and with no others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from actors.ledger import rules
from actors.ledger.accounts import Account, unpack
from actors.ledger.delta import AccountStates
from actors.ledger.hashing import sha256_rows
from actors.ledger.rows import KIND_CALL, encode_batch
from actors.ledger.signing import development_signer, sign_transfer
from bench.contract_examples import EXAMPLES, Catalog
from bench.soak import load_plans
from bench.soak.callers import _Caller, heard
from bench.soak.commands import app
from bench.soak.contract_evidence import CHECK, evidence_of, hold_against
from bench.soak.evidence import replay_for, walk, walk_all
from bench.soak.judge import SoakEvidence, judge
from bench.soak.load_plans import SoakLoad, only_in_conflicts, plan_load
from bench.soak.sabotage import SABOTAGE
from bench.workload import PoolPlan
from tests.bench.judged_chain import BLOCKS, DEPLOYER, ROWS, JudgedChain


@pytest.fixture(scope="module")
def world() -> JudgedChain:
    return JudgedChain(contracts=True)


def failed(evidence: SoakEvidence) -> dict[str, str]:
    return {finding.check: finding.problem for finding in judge(evidence) if not finding.holds}


def test_an_honest_history_passes_every_check_and_is_counted(world: JudgedChain) -> None:
    evidence = world.evidence()
    assert failed(evidence) == {}
    assert CHECK in {finding.check for finding in judge(evidence)}
    contracts = evidence.contracts
    assert contracts is not None
    assert len(EXAMPLES) <= contracts.deployed
    assert contracts.succeeded > BLOCKS * ROWS // 2
    assert set(contracts.failed) == {"REQUIREMENT"}
    assert contracts.deployed + contracts.succeeded + contracts.failed.total() == BLOCKS * ROWS + 7
    assert (contracts.entries, len(contracts.told)) == (len(world.entries), BLOCKS * ROWS + 7)


@pytest.mark.parametrize("name", [name for name, kind in SABOTAGE.items() if kind.blocks or kind.evidence])
def test_tampered_evidence_fails_the_check_that_is_named(world: JudgedChain, name: str) -> None:
    sabotage = SABOTAGE[name]
    evidence = world.evidence(sabotage)
    if sabotage.evidence is not None:
        sabotage.evidence(evidence)
    assert sabotage.check in failed(evidence)


def test_chains_take_over_the_accounts_of_a_twin_with_the_same_blocks_alone(world: JudgedChain) -> None:
    first = world.walked("node-0", iter(world.blocks), world.replay())
    assert world.walked("node-1", iter(world.blocks), twin=first).problems == {}
    assert set(world.walked("node-1", iter(world.blocks[:-1]), twin=first).problems) == {"roots_agree"}


@pytest.mark.parametrize(
    "field", ["height", "status", "fee", "gas", "failure", "results", "message", "events"]
)
def test_whatever_else_a_client_was_told_is_found(world: JudgedChain, field: str) -> None:
    evidence = world.evidence()
    assert evidence.contracts is not None
    tx_id, told = evidence.contracts.told[-1]
    evidence.contracts.told[-1] = tx_id, {**told, field: "something else"}
    assert f"{field} told as 'something else'" in failed(evidence)[CHECK]


def test_a_call_that_no_block_has_is_found_and_so_are_callers_who_heard_nothing(world: JudgedChain) -> None:
    evidence = world.evidence()
    assert evidence.contracts is not None
    told = evidence.contracts.told
    evidence.contracts = replace(evidence.contracts, told=[(bytes(32), told[0][1])])
    assert "no block has it" in failed(evidence)[CHECK]
    evidence.contracts = replace(evidence.contracts, told=[])
    assert failed(evidence)[CHECK] == "no client was told of a call"


class _Liar:
    """A node whose Storage changes what it answers."""

    def __init__(self, world: JudgedChain, method: str, change: Callable[[Any], Any]) -> None:
        self._world, self._method, self._change = world, method, change

    def call(self, actor: str, method: str, *arguments: Any) -> Any:
        answer = self._world.call(actor, method, *arguments)
        return self._change(answer) if method == self._method else answer


def replace_values(found: Any) -> Any:
    """The last value is another one."""
    return msgspec.structs.replace(found, values=(*found.values[:-1], b"another"))


@pytest.mark.parametrize(
    ("method", "change", "problem"),
    [
        ("receipts", lambda stored: stored[:-1], "receipts of block 1 differ"),
        ("state_values", replace_values, "1 entries differ"),
    ],
)
def test_a_node_that_has_other_receipts_or_entries_is_found(
    world: JudgedChain, method: str, change: Callable[[Any], Any], problem: str
) -> None:
    replay = world.replay()
    chain = world.walked("node-0", iter(world.blocks), replay)
    hold_against(chain, _Liar(world, method, change), replay)
    assert problem in chain.problems[CHECK][0]
    assert set(chain.problems) == {CHECK}


def test_a_state_that_differs_by_one_entry_is_found(world: JudgedChain) -> None:
    replay = world.replay()
    for sealed, batch in world.blocks[:-1]:
        assert replay.take(sealed.header, batch) == []
    at = next(iter(replay.entries))
    replay.entries[at] = bytes(len(replay.entries[at]) - 1) + b"\x01"
    sealed, batch = world.blocks[-1]
    assert ("roots_agree", "state root") in replay.take(sealed.header, batch)
    assert replay.finish() == []  # of the tree, which has that entry
    assert evidence_of(replay, []).succeeded > 0


def test_balances_that_no_account_can_have_do_not_stop_the_judge(world: JudgedChain) -> None:
    replay = world.replay()
    replay.state[next(iter(replay.state))] = Account(0, -5)
    sealed, batch = world.blocks[0]
    ((check, problem),) = replay.take(sealed.header, batch)
    assert check == "roots_agree"
    assert "cannot be applied" in problem


def test_an_answer_of_the_api_is_heard_as_the_interpreter_tells_it(world: JudgedChain) -> None:
    told = next(told for _, told in world.told if told["events"])
    names = ("contract", "number", "data")
    receipt = {
        **{name: value for name, value in told.items() if name != "height"},
        "events": [{**dict(zip(names, event, strict=True)), "name": "Counted"} for event in told["events"]],
        "sender_balance": str(told["sender_balance"]),
    }
    assert heard({"height": told["height"], "receipt": receipt}) == told
    assert heard({"height": 1, "receipt": {"status": 0, "fee": 1}})["gas"] is None


def test_a_caller_offers_the_same_call_until_it_is_committed(world: JudgedChain) -> None:
    catalog = Catalog(development_signer("judged", DEPLOYER).public_key, world.genesis.prices)
    keys = world.allocation.keys
    caller = _Caller([], world.genesis, 0, catalog, keys, seed=3)
    first = caller._next()
    assert caller._next() is first
    caller.nonce += 1
    second = caller._next()
    assert (first.nonce, second.nonce, first.kind) == (0, 1, KIND_CALL)
    batch = sign_transfer(development_signer("judged", 0), world.genesis.chain_tag, first)
    (sent,) = unpack(batch)
    assert rules.static_verdict(sent, rules.environment_of(world.blocks[0][0].header, world.genesis)) == 0


@pytest.mark.parametrize("deployer", [None, 7_610])
def test_calls_are_a_lane_besides_the_others(
    world: JudgedChain, deployer: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed: list[PoolPlan] = []
    monkeypatch.setattr(load_plans, "run_plans", lambda _scratch, pools, _name: signed.extend(pools))
    load = SoakLoad(
        ["http://a", "http://b"], world.genesis, tmp_path, tmp_path / "stop", 7_600, 3.0, 5, deployer
    )
    plans, lengths = plan_load(load, 1_000.0)
    lanes = 4 if deployer is None else 5
    assert [pool.calls for pool in signed[:4]] == [None] * 4
    assert [pool.calls.deployer for pool in signed[4:] if pool.calls] == [deployer] * (lanes - 4)
    assert [only_in_conflicts(number) for number in range(lanes)][2:4] == [True, True]
    assert (len(plans), sum(only_in_conflicts(n) for n in range(lanes))) == (lanes, 2)
    starts = [(pool.first_account, pool.first_account + pool.accounts) for pool in signed]
    assert all(before[1] <= after[0] for before, after in pairwise(starts))
    assert starts[-1][1] <= 7_600
    assert sum(lengths.values()) == pytest.approx(180.0)
    assert all(plan.stop == pool.count for plan, pool in zip(plans, signed, strict=True))


def test_sabotage_of_calls_needs_calls() -> None:
    done = CliRunner().invoke(app, ["soak", "--sabotage", "mistell"])
    assert done.exit_code == 2
    assert "add --contracts" in done.output


class _Node:
    """What a walk asks of a node."""

    def __init__(self, world: JudgedChain, name: str, path: Path) -> None:
        self._world = world
        self.folder = SimpleNamespace(name=name)
        self.directory = SimpleNamespace(genesis=world.genesis, allocation_path=path)

    def call(self, actor: str, method: str, *arguments: Any) -> Any:
        world, (first, *_) = self._world, arguments
        if method in ("sealed_headers", "bodies"):
            some = world.blocks[first - 1 : first - 1 + arguments[1]]
            return [sealed.encode() if method == "sealed_headers" else encode_batch(b) for sealed, b in some]
        if method == "shard_accounts":
            keys = np.frombuffer(b"".join(world.state), dtype=np.uint8).reshape(-1, 32)
            held = np.array([(a.nonce, a.balance) for a in world.state.values()], dtype=np.uint64)
            return AccountStates(len(world.blocks), keys, held[:, 0], held[:, 1])
        return world.call(actor, method, *arguments)


def test_the_chains_of_all_nodes_are_held_against_one_replay(world: JudgedChain, tmp_path: Path) -> None:
    path = tmp_path / "allocation.bin"
    path.write_bytes(world.allocation.encode())
    nodes = [_Node(world, name, path) for name in ("node-1", "node-2")]
    watched = [tx_id for tx_id, _ in world.told]
    chains, replay = walk_all(nodes, sha256_rows, True, watched)
    assert [chain.problems for chain in chains] == [{}, {}]
    assert replay is not None
    assert replay.outcomes == dict(world.told)
    again = walk(nodes[0], sha256_rows, (), replay_for(nodes[0], sha256_rows))
    assert (again.problems, again.hashes) == ({}, chains[1].hashes)
    plain, none = walk_all(nodes[:1], sha256_rows, False)
    assert none is None
    assert set(plain[0].problems) == {"roots_agree"}  # columns know transfers alone
