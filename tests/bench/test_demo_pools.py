"""What the demo offers: rows that a chain takes, in the order in which they are offered."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from actors.console import UserError
from actors.kernels.portable import kernels
from actors.ledger.environment import Environment
from actors.ledger.genesis import Genesis
from actors.ledger.rows import Batch, empty_batch
from actors.ledger.signing import development_signer
from actors.storage.accounts import Accounts, funded
from actors.storage.interface import StateValues
from actors.storage.state import State
from bench.demo_contracts import islands_of_block
from bench.demo_pools import HELPERS, TOKENS_EACH, TokenPool, TransferPool
from bench.storage_workload import SIGNER, found
from bench.workload import open_pool

ACCOUNTS = 2 * HELPERS + 20


class StandingForANode:
    """A state that takes what is submitted, at once. It is its own client."""

    def __init__(self) -> None:
        self.genesis = _with_accounts(found(2, kernels().hash_rows).genesis, ACCOUNTS)
        keys = [development_signer(self.genesis.network, number).public_key for number in range(ACCOUNTS)]
        table = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, 32)
        columns = Accounts(ACCOUNTS, 0)
        columns.put(funded(table, np.full(ACCOUNTS, 1 << 30, dtype=np.uint64)))
        self.state = State(columns, 0)

    def account(self, key: bytes) -> dict[str, int]:
        return {"nonce": self.state.committed_account(key)[1]}

    def submit(self, batch: Batch, wait: str) -> Any:
        assert wait == "committed"
        genesis, height = self.genesis, self.state.height + 1
        env = Environment(genesis.chain_tag, height, SIGNER.public_key, genesis.prices, height)
        block = self.state.execute(batch, env, True, time.perf_counter_ns).block
        assert block is not None, "a row is refused"
        assert not block.receipts.rows.view(np.uint64)[:, 0].any(), "a call fails"
        self.state.commit()
        return type("Receipt", (), {"rejected": []})

    def call(self, actor: str, method: str, keys: list[bytes]) -> StateValues:
        assert (actor, method) == ("storage", "state_values")
        height, values = self.state.values_of(keys)
        return StateValues(height, tuple(values))


def _with_accounts(genesis: Genesis, count: int) -> Genesis:
    return msgspec.structs.replace(genesis, accounts=count, block_gas_max=1 << 40)


@pytest.mark.parametrize("kind", [TransferPool, TokenPool])
def test_rows_are_taken_in_order_and_tokens_stay(kind: type[TransferPool], tmp_path: Path) -> None:
    node: Any = StandingForANode()
    pool = kind(tmp_path, node.genesis, node)
    offered = empty_batch()
    for _ in range(2):
        pool.extend(300)
        path, count = pool.newest()
        rows = open_pool(path)
        assert len(rows.rows) == count >= 300
        offered = Batch(np.array(rows.rows), np.array(rows.payloads))
        node.submit(offered, "committed")
    if isinstance(pool, TokenPool):
        assert pool.held(node) == pool.supply == TOKENS_EACH * ACCOUNTS
        assert 1 <= islands_of_block(pool, offered) < len(offered)


def test_too_few_accounts_are_told(tmp_path: Path) -> None:
    node: Any = StandingForANode()
    with pytest.raises(UserError, match="--contracts needs more than 200"):
        TokenPool(tmp_path, _with_accounts(node.genesis, 2 * HELPERS), node)


def test_accounts_that_were_used_are_told(tmp_path: Path) -> None:
    node: Any = StandingForANode()
    node.account = lambda key: {"nonce": key[0]}
    with pytest.raises(RuntimeError, match="used by hand"):
        TransferPool(tmp_path, node.genesis, node)
