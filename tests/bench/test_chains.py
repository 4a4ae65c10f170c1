"""The blocks of benchmarks are valid by the plain rules, and drawn as their workload says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actors.directory import read_allocation, read_signer
from actors.kernels.selection import select
from actors.ledger import accounts, merkle, rules
from actors.ledger.block import verify_proposal
from actors.ledger.environment import Environment
from actors.settings import NetworkSettings
from bench.chains import WORKLOADS, BenchChain, earlier_uses

ROWS = 60


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> BenchChain:
    path: Path = tmp_path_factory.mktemp("bench") / "network"
    return BenchChain(path, NetworkSettings(), 100, 20, select("portable"))


def test_every_workload_makes_valid_blocks(chain: BenchChain) -> None:
    directory = chain.directory
    allocation = read_allocation(directory.allocation_path)
    state = {
        key.tobytes(): accounts.Account(0, int(balance))
        for key, balance in zip(allocation.keys, allocation.balances, strict=True)
    }
    assert accounts.state_root(state).hex() == directory.genesis.state_root
    assert read_signer(directory.nodes[0].key_path).public_key == directory.genesis.member_keys[0]
    verify = select("portable").verify
    parent = directory.genesis.hash()
    for height, workload in enumerate((*WORKLOADS, *WORKLOADS), start=1):
        block = chain.block(workload, ROWS)
        header, batch = block.header, block.batch
        outcome = rules.apply_batch(
            state,
            batch,
            Environment(directory.genesis.chain_tag, height, header.proposer, directory.genesis.prices),
        )
        assert not any(outcome.verdicts)
        assert (header.height, header.parent_hash, header.transaction_count) == (height, parent, ROWS)
        assert header.state_root == accounts.state_root(state)
        assert header.receipts_root == rules.receipts_root(outcome.receipts)
        assert header.transaction_root == merkle.root(batch.ids())
        assert verify_proposal(directory.genesis.hash(), header, block.signature)
        table = batch.rows.view(np.uint8).reshape(ROWS, -1)
        assert verify(table[:, 48:80], table[:, 144:], table[:, :144]).all()
        if workload == "hot":
            assert len(np.unique(batch.rows["recipient"].view("V32"))) == 1
        parent = header.hash()


def test_earlier_uses_counts_what_came_before() -> None:
    assert earlier_uses(np.array([3, 1, 3, 3, 1])).tolist() == [0, 0, 1, 2, 1]


def test_zipf_prefers_low_ranks(chain: BenchChain) -> None:
    drawn = chain._drawn("zipf", 1000, 20_000)
    counts = np.bincount(drawn, minlength=1000)
    assert drawn.min() >= 0
    assert drawn.max() < 1000
    assert counts[0] > 3 * counts[9] > 0
    assert counts[:10].sum() > 5 * counts[500:510].sum()
