"""State proofs at every retained height equal those of the plain tree over the accounts of that height."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from actors.ledger import accounts, ics23, rules, smt
from actors.ledger.delta import AccountState
from actors.ledger.environment import Environment
from actors.ledger.hashing import sha256, sha256_rows
from actors.ledger.ics23 import Absence, Existence
from actors.ledger.rows import Batch, FormatError
from actors.storage import recovery
from actors.storage.accounts import Accounts
from actors.storage.chain import Chain
from actors.storage.check import check
from actors.storage.disk import Disk
from actors.storage.errors import NotRetainedError
from actors.storage.history import Retention
from actors.storage.interface import Execute
from actors.storage.proofs import prove
from actors.storage.reads import Reader
from actors.storage.snapshot_store import SnapshotStore, sealed_header
from actors.storage.state import ExecutedBlock, State
from tests.storage.storage_batches import Row, batch_of, key, tree_values
from tests.storage.storage_network import BALANCE, SIGNER, Driver, done, make_genesis, open_chain, present

ACCOUNTS = 20


def values(state: State) -> dict[bytes, bytes]:
    """The committed state as the dictionary that the plain tree takes."""
    return tree_values(state.committed_columns()[1].existing())


def compare(state: State, wanted: bytes, height: int, model: dict[bytes, bytes]) -> None:
    proven, root = prove(state, wanted, height), smt.root(model)
    assert proven.proof == smt.prove(model, wanted)
    assert proven.value == model.get(wanted)
    assert smt.verify(root, wanted, proven.value, proven.proof)
    shown = proven.ics23
    assert shown is not None
    data = ics23.encode(shown)
    if wanted in model:
        assert ics23.verify_presence(root, wanted, model[wanted], data)
        return
    assert ics23.verify_absence(root, wanted, data)
    expected = [
        near and Existence(near, model[near], smt.prove(model, near).siblings)
        for near in smt.neighbours(model, wanted)
    ]
    assert isinstance(shown, Absence)
    assert [shown.left, shown.right] == expected


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    genesis, allocation = make_genesis(ACCOUNTS)
    chain = open_chain(tmp_path / "db", genesis, allocation)
    yield chain
    chain.disk.close()


def test_every_height_is_proven_as_the_plain_tree_of_that_height(chain: Chain) -> None:
    driver, models = Driver(chain, ACCOUNTS), [values(chain.state)]
    for grown in (20, 35, 80, 80, 110):
        driver.persist(driver.execute(7))
        models.append(values(chain.state))
        driver.persist(pay_to_first(driver, grown, 40))
        models.append(values(chain.state))
    driver.execute(0)  # speculative blocks do not show
    wanted = [*(key(i) for i in range(0, 120, 3)), sha256(b"nobody"), sha256(b"no one"), bytes(32)]
    for height, model in enumerate(models):
        for each in wanted:
            compare(chain.state, each, height, model)
    assert len(models[0]) < len(models[6]) < len(models[-1])
    chain.rollback(driver.epoch, chain.head.height)
    compare(chain.state, key(0), len(models) - 1, models[-1])
    with pytest.raises(NotRetainedError, match="heights 0 to 10"):
        prove(chain.state, key(0), 11)
    with pytest.raises(FormatError):
        prove(chain.state, b"short", 1)


def pay_to_first(driver: Driver, accounts: int, count: int) -> ExecutedBlock:
    """Execute a block in which genesis accounts pay key(0..accounts-1), of which some do not exist yet."""
    batch, height = driver.batch(count), driver.chain.state.executed_height + 1
    for row, number in zip(batch.rows, driver.rng.integers(0, accounts, count), strict=True):
        row["recipient"] = np.frombuffer(key(int(number)), dtype=np.uint8)
    return done(driver.chain.execute(driver.epoch, Execute(height, True, SIGNER.public_key), batch))


def come_and_go(chain: Chain, state: accounts.State, height: int, rng: np.random.Generator) -> Batch:
    """Transfers among 40 keys, of which most take all that their sender has; applied to `state` as well."""
    preview, rows = dict(state), list[Row]()
    env = Environment(chain.genesis.chain_tag, height, SIGNER.public_key, chain.genesis.prices)
    for sender, recipient in rng.integers(0, 40, (16, 2)).tolist():
        held = accounts.account_at(preview, key(sender), height)
        if held.balance:
            amount = held.balance if rng.random() < 0.7 else held.balance // 3
            parties = {"sender": key(sender), "recipient": key(recipient)}
            rows.append({**parties, "nonce": held.nonce, "amount": amount})
            one = batch_of(rows[-1:], chain.genesis.chain_tag)
            rules.apply_transaction(preview, accounts.unpack(one)[0], env)
    batch = batch_of(rows, chain.genesis.chain_tag)
    rules.apply_batch(state, batch, env)
    return batch


def test_accounts_that_are_emptied_and_made_again_are_proven_as_the_plain_tree_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genesis, allocation = make_genesis(ACCOUNTS)
    chain = open_chain(tmp_path / "db", genesis, allocation)
    driver, rng = Driver(chain, ACCOUNTS), np.random.default_rng(3)
    state = {key(i): accounts.Account(0, BALANCE) for i in range(ACCOUNTS)}
    models = [values(chain.state)]
    for height in range(1, 31):
        before = chain.state.tree.root
        chain.execute(
            driver.epoch,
            Execute(height, True, SIGNER.public_key),
            come_and_go(chain, dict(state), height, rng),
        )
        chain.rollback(driver.epoch, height - 1)
        assert chain.state.tree.root == before
        batch = come_and_go(chain, state, height, rng)
        executed = done(chain.execute(driver.epoch, Execute(height, True, SIGNER.public_key), batch))
        assert executed.state_root == accounts.state_root(state)
        driver.persist(executed)
        models.append({each: account.encode() for each, account in state.items()})
        assert values(chain.state) == models[-1]
    wanted = [*(key(i) for i in range(0, 42, 2)), sha256(b"nobody"), bytes(32)]
    removed = [each for each in wanted if each not in models[-1] and any(each in model for model in models)]
    assert len(removed) > 3
    for height in range(0, 31, 6):
        for each in wanted:
            compare(chain.state, each, height, models[height])
    reader = Reader(chain)
    assert reader.account(removed[0]) == AccountState(0, 0, 30)
    assert reader.describe_head()["accounts"] == len(models[-1])
    assert set(map(bytes, reader.shard_accounts(0, 1).keys)) == set(models[-1])
    assert reader.audit().problem == ""
    store = SnapshotStore(chain.disk, genesis, sha256_rows)
    manifest = store.make(chain.state, 30, sealed_header(chain.disk, 30), chain.head)
    assert manifest.accounts == len(models[-1])
    chain.disk.close()
    again = open_chain(tmp_path / "db", genesis, allocation)
    assert values(again.state) == models[-1]
    compare(again.state, removed[0], 30, models[-1])
    again.disk.close()
    monkeypatch.setattr(recovery, "EMPTY_MIN", 8)
    assert again.state.accounts.count - len(models[-1]) >= max(len(models[-1]), 8)
    compact = open_chain(tmp_path / "db", genesis, allocation)
    assert compact.state.accounts.count == len(models[-1])
    driver = Driver(compact, ACCOUNTS)
    for height in (31, 32):
        batch = come_and_go(compact, state, height, rng)
        driver.persist(done(compact.execute(driver.epoch, Execute(height, True, SIGNER.public_key), batch)))
    compact.disk.close()
    disk = Disk(tmp_path / "db")
    found = check(disk, genesis, lambda: allocation, sha256_rows)
    disk.close()
    assert found["ok"], found["problems"]
    assert (found["accounts"], found["state_root"]) == (len(state), accounts.state_root(state).hex())


@pytest.mark.parametrize("retention", [Retention(heights_max=3), Retention(bytes_max=5_000)])
def test_the_oldest_heights_are_forgotten_at_the_bound(tmp_path: Path, retention: Retention) -> None:
    genesis, allocation = make_genesis(ACCOUNTS)
    disk = Disk(tmp_path / "db")
    chain = Chain(disk, genesis, lambda: allocation, sha256_rows, 1, lambda: 0, False, retention)
    driver = Driver(chain, ACCOUNTS)
    driver.run(9)
    history = chain.state.history
    assert 0 < history.oldest < 9
    assert history.bytes_used <= retention.bytes_max
    assert 9 - history.oldest <= retention.heights_max
    prove(chain.state, key(1), history.oldest)
    with pytest.raises(NotRetainedError, match=f"height {history.oldest - 1}: .* {history.oldest} to 9"):
        prove(chain.state, key(1), history.oldest - 1)
    disk.close()


def test_an_empty_state_has_a_proof_but_none_in_ics23() -> None:
    state = State(Accounts(16, 1), 0)
    proven = prove(state, key(1))
    assert (proven.value, proven.proof, proven.ics23) == (None, smt.StateProof((), None, None), None)
    assert smt.verify(state.tree.root, key(1), None, proven.proof)


def test_what_readers_get_checks_against_the_header_beside_it(chain: Chain) -> None:
    driver, reader = Driver(chain, ACCOUNTS), Reader(chain)
    driver.run(4)
    for height in (1, 4, None):
        answer = reader.state_proof(key(3), height)
        assert answer.height == (height or 4)
        header = chain.block(answer.height).header
        assert answer.header == header.encode()
        assert answer.certificate == reader.certificate(answer.height)
        assert ics23.verify_presence(header.state_root, key(3), present(answer.value), answer.ics23)
    now = reader.account(key(3))
    assert (answer.nonce, answer.balance) == (now.nonce, now.balance)
    missing = reader.state_proof(sha256(b"nobody"))
    assert (missing.value, missing.nonce, missing.balance) == (None, 0, 0)
    assert reader.state_proof(key(3), 0).header == b""


def test_proofs_while_blocks_are_executed_committed_and_rolled_back(chain: Chain) -> None:
    driver, reader, done = Driver(chain, ACCOUNTS), Reader(chain), threading.Event()
    roots = {0: bytes.fromhex(chain.genesis.state_root)}

    def read() -> int:
        proven = 0
        while not done.is_set() or not proven:
            answer = reader.state_proof(key(proven % ACCOUNTS), chain.head.height)
            root = roots[answer.height]
            assert ics23.verify_presence(root, answer.key, present(answer.value), answer.ics23)
            proven += 1
        return proven

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for _ in range(15):
            block = driver.execute(20)
            nonces = driver.nonces.copy()
            driver.execute(20)
            roots[block.height] = block.state_root
            driver.persist(block)
            chain.rollback(driver.epoch, block.height)
            driver.nonces = nonces
        done.set()
        assert all(reader.result() > 0 for reader in readers)
