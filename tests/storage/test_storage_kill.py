"""SIGKILL at random moments of the write path: what was acknowledged is there, and roots recompute.

RAYCHAIN_KILL_ROUNDS sets the number of kills (each takes about a second); RAYCHAIN_KILL_SEED the moments.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from actors.ledger import rules
from actors.ledger.accounts import Account, state_root
from actors.ledger.environment import Environment
from actors.storage.interface import TransactionPlace
from actors.storage.reads import Reader
from tests.storage.storage_batches import key
from tests.storage.storage_child import ACCOUNTS
from tests.storage.storage_network import BALANCE, make_genesis, open_chain

ROUNDS = int(os.environ.get("RAYCHAIN_KILL_ROUNDS", "1"))
SEED = int(os.environ.get("RAYCHAIN_KILL_SEED", "0")) or random.randrange(1, 2**32)
LIFE_MAX_S = 0.25


def acknowledged_until_killed(
    directory: Path, rng: random.Random, after_one: bool
) -> list[tuple[int, bytes]]:
    """Let a child commit for a random time, kill it, and return what it had acknowledged.

    With `after_one` the time begins with its first commit, however long that took.
    """
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": str(here.parent.parent)}
    arguments = [sys.executable, str(here / "storage_child.py"), str(directory), str(rng.randrange(2**31))]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        first = child.stdout.readline() if after_one else b""
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=rng.uniform(0, LIFE_MAX_S))
        child.kill()
        lines = (first + child.stdout.read()).split(b"\n")[:-1]
    return [(int(height), bytes.fromhex(digest.decode())) for height, digest in map(bytes.split, lines)]


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    genesis, allocation = make_genesis(ACCOUNTS)
    state = {key(i): Account(0, BALANCE) for i in range(ACCOUNTS)}
    acknowledged, applied = [], 0
    for number in range(ROUNDS):
        acknowledged += acknowledged_until_killed(tmp_path, rng, after_one=number == 0)
        chain = open_chain(tmp_path, genesis, allocation)
        where = f"seed {SEED}, round {number}"
        for height, digest in acknowledged:
            assert chain.hash_at(height) == digest, where
        for height in range(applied + 1, chain.head.height + 1):
            block = chain.block(height)
            rules.apply_batch(
                state,
                block.batch,
                Environment(genesis.chain_tag, height, block.header.proposer, genesis.prices),
            )
        applied = chain.head.height
        assert chain.head_state_root == state_root(state), where
        audit = Reader(chain).audit()
        assert audit.problem == "", where
        for height in range(1, applied + 1, 7):
            tx_id = chain.block(height).batch.ids()[3].tobytes()
            assert Reader(chain).locate(tx_id) == TransactionPlace(height, 3), where
        chain.disk.close()
    assert acknowledged
