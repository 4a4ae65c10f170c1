"""After a restart the heights before it can be proven again, from undo logs on disk that agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actors.ledger import smt
from actors.ledger.hashing import sha256_rows
from actors.storage import errors
from actors.storage.chain import Chain
from actors.storage.disk import Disk
from actors.storage.formats import height_key
from actors.storage.history import Retention
from actors.storage.housekeeping import root_at
from actors.storage.interface import Execute
from actors.storage.proofs import prove
from actors.storage.remembering import decode_undo, forget, remember, undo_parts
from actors.storage.transition import AccountUndo
from tests.storage.storage_batches import Row, batch_of, key, tree_values
from tests.storage.storage_network import BALANCE, SIGNER, Driver, done, make_genesis, open_chain, present

ACCOUNTS, BLOCKS = 30, 12
GENESIS, ALLOCATION = make_genesis(ACCOUNTS)


def reopened(path: Path, retention: Retention) -> Chain:
    return Chain(Disk(path), GENESIS, lambda: ALLOCATION, sha256_rows, 1, lambda: 0, False, retention)


def remembered(chain: Chain, stop: bool = False) -> int:
    return remember(chain.disk, chain.state, sha256_rows, lambda h: root_at(chain, h), lambda: stop)


def grow(chain: Chain, driver: Driver, blocks: int) -> dict[int, dict[bytes, bytes]]:
    """Blocks that also make new accounts; (state root, {key: value}) by height."""
    seen = {}
    for _ in range(blocks):
        fresh = int(driver.rng.integers(100, 10_000))
        rows: list[Row] = [
            {"sender": key(n), "recipient": key(fresh + n), "amount": 1, "nonce": int(driver.nonces[n])}
            for n in range(3)
        ]
        driver.nonces[:3] += np.uint64(1)
        height = chain.state.executed_height + 1
        batch = batch_of(rows, GENESIS.chain_tag)
        driver.persist(done(chain.execute(driver.epoch, Execute(height, True, SIGNER.public_key), batch)))
        driver.run(1, count=15)
        for at in (height, height + 1):
            seen[at] = tree_values(chain.state.columns_at(at)[0])
    return seen


@pytest.mark.parametrize("retention", [Retention(), Retention(5), Retention(1024, 40_000)])
def test_earlier_heights_are_proven_as_before_the_restart(tmp_path: Path, retention: Retention) -> None:
    chain = reopened(tmp_path, retention)
    driver = Driver(chain, ACCOUNTS)
    seen = grow(chain, driver, BLOCKS // 2)
    head = chain.head.height
    chain.disk.close()
    chain = reopened(tmp_path, retention)
    assert chain.state.history.oldest == head
    driver = Driver(chain, ACCOUNTS, seed=5)
    speculative = driver.execute(9)
    made = remembered(chain)
    assert 0 < made <= retention.heights_max
    assert made == head or retention != Retention()
    assert chain.state.history.oldest == head - made
    driver.persist(speculative)
    seen |= grow(chain, driver, 2)
    for height in range(chain.state.history.oldest, chain.head.height + 1):
        if height not in seen:
            continue
        root = smt.root(seen[height])
        for wanted in (key(1), key(ACCOUNTS + 7), *list(seen[height])[-2:], SIGNER.public_key):
            proven = prove(chain.state, wanted, height)
            assert proven.value == seen[height].get(wanted)
            assert smt.verify(root, wanted, proven.value, proven.proof)
    assert remembered(chain, stop=True) == 0
    chain.disk.close()


def test_what_does_not_lead_to_the_root_or_is_damaged_is_not_used(tmp_path: Path) -> None:
    chain = open_chain(tmp_path, GENESIS, ALLOCATION)
    Driver(chain, ACCOUNTS).run(4)
    undo, values = decode_undo(3, present(chain.disk.get("history", height_key(3))))
    chain.disk.close()
    chain = open_chain(tmp_path, GENESIS, ALLOCATION)
    batch = chain.disk.batch()
    less = AccountUndo(undo.count, undo.slots[1:], undo.values[1:])
    batch.put("history", height_key(3), b"".join(undo_parts(less, values)))
    batch.write(sync=False)
    with pytest.raises(errors.CorruptionError, match="leads to the state root"):
        remembered(chain)
    assert chain.state.history.oldest == 4
    body = b"".join(undo_parts(undo, values))
    for cut in range(0, len(body), 7):
        with pytest.raises(errors.CorruptionError, match="history"):
            decode_undo(3, body[:cut])
    forget(chain.disk, 4)
    assert list(chain.disk.keys("history")) == [height_key(4)]
    assert remembered(chain) == 1
    assert chain.state.history.oldest == 3
    chain.disk.close()


def test_an_account_that_was_gone_and_came_back_is_proven_gone_after_a_restart(tmp_path: Path) -> None:
    chain = reopened(tmp_path, Retention())
    driver = Driver(chain, ACCOUNTS)
    moves: list[Row] = [
        {"sender": key(0), "recipient": key(1), "amount": BALANCE},
        {"sender": key(1), "recipient": key(0), "amount": 5},
    ]
    for height, row in enumerate(moves, start=1):
        request = Execute(height, True, SIGNER.public_key)
        driver.persist(done(chain.execute(driver.epoch, request, batch_of([row], GENESIS.chain_tag))))
    chain.disk.close()
    chain = reopened(tmp_path, Retention())
    assert remembered(chain) == 2
    there = [prove(chain.state, key(0), height).value is not None for height in range(3)]
    chain.disk.close()
    assert there == [True, False, True]
