"""The chain: fencing, order, headers, durability over reopening, reads, audit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actors.ledger import accounts, merkle, rules
from actors.ledger.accounts import Account, State
from actors.ledger.block import Certificate, Header, decode_certificate, decode_header
from actors.ledger.delta import AccountState
from actors.ledger.environment import Environment
from actors.ledger.rows import FormatError
from actors.ledger.verdict import Verdict
from actors.storage import errors
from actors.storage.chain import Chain
from actors.storage.disk import DiskBatch
from actors.storage.formats import height_key
from actors.storage.interface import Commit, Execute, Persist, TransactionPlace
from actors.storage.reads import Reader
from tests.storage.storage_batches import Row, batch_of, key, state_of
from tests.storage.storage_network import (
    BALANCE,
    SIGNER,
    Driver,
    certificate,
    done,
    make_genesis,
    open_chain,
    present,
)

ACCOUNTS = 20
GENESIS, ALLOCATION = make_genesis(ACCOUNTS)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    chain = open_chain(tmp_path / "db", GENESIS, ALLOCATION)
    yield chain
    chain.disk.close()


@pytest.fixture
def driver(chain: Chain) -> Driver:
    return Driver(chain, ACCOUNTS)


def plain_state(chain: Chain) -> State:
    """The state by the plain rules, from the genesis and the stored blocks."""
    state = {key(i): Account(0, BALANCE) for i in range(ACCOUNTS)}
    for height in range(1, chain.head.height + 1):
        block = chain.block(height)
        rules.apply_batch(
            state, block.batch, Environment(GENESIS.chain_tag, height, block.header.proposer, GENESIS.prices)
        )
    return state


def test_blocks_agree_with_the_plain_rules_and_survive_reopening(
    chain: Chain, driver: Driver, tmp_path: Path
) -> None:
    hashes = driver.run(5)
    state = plain_state(chain)
    assert chain.head_state_root == accounts.state_root(state)
    assert state_of(chain.state.accounts) == state
    chain.disk.close()
    again = open_chain(tmp_path / "db", GENESIS, ALLOCATION)
    assert (again.head.height, again.head.hash, again.head.transactions) == (5, hashes[-1], 150)
    assert state_of(again.state.accounts) == state
    assert Reader(again).audit().problem == ""
    assert Driver(again, ACCOUNTS, seed=2).run(2)
    assert again.head_state_root == accounts.state_root(plain_state(again))
    again.disk.close()


@pytest.mark.parametrize("checkpoint_at", [1, 3, 6])
def test_recovery_from_a_checkpoint_and_deltas(
    chain: Chain, driver: Driver, tmp_path: Path, checkpoint_at: int
) -> None:
    for height in range(1, 7):
        driver.persist(driver.execute(25))
        if height == checkpoint_at:
            driver.execute(10)
            assert chain.checkpointer.write(chain.state, sync=False) == 1
            chain.rollback(driver.epoch, height)
            driver.nonces[:] = Driver(chain, ACCOUNTS).nonces
            driver.epoch = chain.epoch
    chain.disk.close()
    again = open_chain(tmp_path / "db", GENESIS, ALLOCATION)
    assert again.checkpointer.last.height == checkpoint_at
    assert state_of(again.state.accounts) == plain_state(again)
    again.disk.close()


def test_a_checkpoint_cut_short_harms_nothing(
    chain: Chain, driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.run(3)
    chain.checkpointer.write(chain.state, sync=False)
    driver.run(3)
    put = type(chain.disk.batch()).put

    def fail_on_promise(batch: DiskBatch, family: str, name: bytes, *parts: bytes | memoryview) -> None:
        if family == "meta":
            raise OSError("power cut")
        put(batch, family, name, *parts)

    monkeypatch.setattr("actors.storage.disk.DiskBatch.put", fail_on_promise)
    with pytest.raises(OSError, match="power cut"):
        chain.checkpointer.write(chain.state, sync=False)
    monkeypatch.undo()
    chain.disk.close()
    again = open_chain(tmp_path / "db", GENESIS, ALLOCATION)
    assert again.checkpointer.last.height == 3
    assert state_of(again.state.accounts) == plain_state(again)
    assert again.checkpointer.write(again.state, sync=False) == 1
    again.disk.close()


def test_a_block_is_committed_and_its_pages_marked_under_one_hold_of_the_lock(
    chain: Chain, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch, free = chain.checkpointer.touch, []

    def watched(slots: NDArray[np.int64]) -> None:
        other = threading.Thread(target=lambda: free.append(chain.state.lock.acquire(blocking=False)))
        other.start()
        other.join()
        assert chain.state.height == 1
        touch(slots)

    monkeypatch.setattr(chain.checkpointer, "touch", watched)
    driver.run(1)
    assert free == [False]


def test_readers_see_committed_values_only(chain: Chain, driver: Driver) -> None:
    reader = Reader(chain)
    driver.run(1)
    before = [reader.account(key(i)) for i in range(ACCOUNTS)]
    columns = reader.shard_accounts(0, 1)
    blocks = [driver.execute(30) for _ in range(3)]
    assert [reader.account(key(i)) for i in range(ACCOUNTS)] == before
    assert np.array_equal(reader.shard_accounts(0, 1).balances, columns.balances)
    assert np.array_equal(reader.shard_accounts(0, 1).nonces, columns.nonces)
    driver.persist(blocks[0])
    for i in range(ACCOUNTS):
        account = plain_state(chain)[key(i)]
        assert reader.account(key(i)) == AccountState(account.nonce, account.balance, 2)
    assert reader.account(b"\xff" * 32) == AccountState(0, 0, 2)
    parts = [reader.shard_accounts(shard, 3) for shard in range(3)]
    assert sum(len(part.keys) for part in parts) == chain.state.committed_count()
    with pytest.raises(FormatError, match="account"):
        reader.account(b"short")
    with pytest.raises(FormatError, match="shard"):
        reader.shard_accounts(3, 3)


def test_rollback_restores_the_root_and_the_accounts(chain: Chain, driver: Driver) -> None:
    driver.run(1)
    root, state = chain.state.tree.root, state_of(chain.state.accounts)
    driver.execute(30)
    driver.execute(30)
    assert chain.state.tree.root != root
    chain.rollback(driver.epoch, 1)
    assert (chain.state.tree.root, state_of(chain.state.accounts)) == (root, state)
    with pytest.raises(errors.HeightError):
        chain.rollback(driver.epoch, 0)


def test_fence_drops_speculation_and_refuses_older_epochs(
    chain: Chain, driver: Driver, tmp_path: Path
) -> None:
    driver.run(1)
    block = driver.execute(30)
    header = driver.header(block)
    old = driver.epoch
    assert chain.fence() == old + 1
    assert chain.state.executed_height == 1
    for call in (
        lambda: chain.execute(old, Execute(2, True, SIGNER.public_key), block.batch),
        lambda: chain.persist(old, Persist(2, header.encode(), bytes(64))),
        lambda: chain.commit(old, Commit(2, certificate(header))),
        lambda: chain.rollback(old, 1),
    ):
        with pytest.raises(errors.StaleEpochError, match=f"epoch {old} .* {old + 1}"):
            call()
    chain.disk.close()
    again = open_chain(tmp_path / "db", GENESIS, ALLOCATION)
    assert again.fence() == old + 2
    again.disk.close()


def test_strict_execution_leaves_the_state_and_the_other_leaves_rows_out(
    chain: Chain, driver: Driver
) -> None:
    root = chain.state.tree.root
    batch = batch_of(
        [
            {"sender": key(1), "recipient": key(50), "amount": 5},
            {"sender": key(1), "recipient": key(51), "amount": 5, "nonce": 7},
            {"sender": key(2), "recipient": key(52), "amount": 5},
        ],
        GENESIS.chain_tag,
    )
    strict = chain.execute(driver.epoch, Execute(1, True, SIGNER.public_key), batch)
    assert strict.block is None
    assert strict.verdicts.tolist() == [0, Verdict.NONCE_GAP, 0]
    assert (chain.state.tree.root, chain.state.executed_height) == (root, 0)
    lax = chain.execute(driver.epoch, Execute(1, False, SIGNER.public_key), batch)
    assert lax.verdicts.tolist() == [0, Verdict.NONCE_GAP, 0]
    assert done(lax).batch.rows["recipient"].tobytes() == key(50) + key(52)
    driver.persist(done(lax))
    assert chain.head_state_root == accounts.state_root(plain_state(chain))


def test_persist_wants_the_header_of_what_was_executed(chain: Chain, driver: Driver) -> None:
    block = driver.execute(10)
    wrong = b"\x01" * 32
    for field, value in (
        ("parent_hash", wrong),
        ("transaction_root", wrong),
        ("state_root", wrong),
        ("receipts_root", wrong),
        ("proposer", wrong),
        ("transaction_count", 9),
        ("payload_bytes", 1),
    ):
        changes: dict[str, Any] = {field: value}
        with pytest.raises(errors.HeaderError, match=field):
            driver.persist(block, **changes)
    assert chain.head.height == 0
    header = driver.header(block)
    with pytest.raises(errors.HeaderError, match="height"):
        chain.persist(driver.epoch, Persist(2, header.encode(), bytes(64)))
    with pytest.raises(FormatError, match="signature"):
        chain.persist(driver.epoch, Persist(1, header.encode(), bytes(63)))
    with pytest.raises(FormatError, match="certificate"):
        chain.persist(driver.epoch, Persist(1, header.encode(), bytes(64), b"\x01"))
    driver.persist(block)
    assert chain.head.height == 1


def test_a_block_before_its_parent_is_not_persisted(chain: Chain, driver: Driver) -> None:
    first, second, third = (driver.execute(10) for _ in range(3))
    driver.persist(first, time_ms=50)
    parent = driver.header(second, time_ms=50).hash()
    driver.persist(second, certify=False, time_ms=50)
    with pytest.raises(errors.HeaderError, match="time_ms: got 49, must be at least 50"):
        driver.persist(third, parent=parent, time_ms=49)
    assert chain.head_time_ms == 50
    driver.persist(third, certify=False, parent=parent, time_ms=51)
    assert chain.persisted_height == 3


def test_persist_is_in_order_and_idempotent_and_committed_blocks_do_not_change(
    chain: Chain, driver: Driver
) -> None:
    first, second = driver.execute(10), driver.execute(10)
    parent = driver.header(first).hash()
    with pytest.raises(errors.HeightError, match="got height 2, expected 1"):
        driver.persist(second, parent=parent)
    written, delta = driver.persist(first)
    assert (written.committed, written.transactions) == (True, 10)
    again, same_delta = driver.persist(first)
    assert (again.hash, again.bytes_written) == (written.hash, 0)
    for name in ("keys", "kinds", "widths", "values", "ids"):
        assert np.array_equal(getattr(delta, name), getattr(same_delta, name))
    with pytest.raises(errors.ConflictError, match=written.hash.hex()):
        driver.persist(first, time_ms=5)
    driver.persist(second)
    assert chain.head.height == 2


def stored(reader: Reader, header: Header) -> tuple[bytes, bytes]:
    body, proof = present(reader.stored_block(header.height, header.hash()))
    return body[:200], proof


def test_blocks_persisted_without_a_certificate_are_committed_later(
    chain: Chain, driver: Driver, tmp_path: Path
) -> None:
    blocks = [driver.execute(10) for _ in range(3)]
    headers = []
    for block in blocks:
        written, _ = driver.persist(block, certify=False)
        assert not written.committed
        headers.append(driver.header(block))
    reader = Reader(chain)
    assert (chain.head.height, chain.persisted_height) == (0, 3)
    assert reader.block(1) is None
    assert stored(reader, headers[2]) == (headers[2].encode(), b"")
    with pytest.raises(errors.HeightError):
        chain.commit(driver.epoch, Commit(2, certificate(headers[1])))
    written, delta = chain.commit(driver.epoch, Commit(1, certificate(headers[0])))
    assert written.committed
    assert reader.locate(delta.ids[4].tobytes()) == TransactionPlace(1, 4)
    assert chain.commit(driver.epoch, Commit(1, certificate(headers[0])))[0].hash == written.hash
    driver.persist(blocks[1])
    assert chain.head.height == 2
    chain.disk.close()
    again = open_chain(tmp_path / "db", GENESIS, ALLOCATION)
    assert again.head.height == 2
    assert stored(Reader(again), headers[2]) == (headers[2].encode(), b"")
    assert state_of(again.state.accounts) == plain_state(again)
    other = Driver(again, ACCOUNTS, seed=9)
    block = other.execute(5)
    other.persist(block, certify=False)
    assert stored(Reader(again), other.header(block)) == (other.header(block).encode(), b"")
    assert Reader(again).stored_block(3, headers[2].hash()) is None
    assert again.disk.get("headers", height_key(4)) is None
    other.persist(block)
    assert Reader(again).audit().problem == ""
    again.disk.close()


def test_another_uncommitted_block_removes_those_above_it(chain: Chain, driver: Driver) -> None:
    for _ in range(3):
        driver.persist(driver.execute(10), certify=False)
    chain.rollback(driver.epoch, 0)
    driver.nonces[:] = 0
    driver.persist(driver.execute(7), certify=False)
    assert [chain.disk.get("headers", height_key(h)) is None for h in (1, 2, 3)] == [False, True, True]
    assert [chain.disk.get("blocks", height_key(h)) is None for h in (1, 2, 3)] == [False, True, True]


def test_transactions_are_found_and_proven(chain: Chain, driver: Driver) -> None:
    reader, all_ids = Reader(chain), []
    for height in range(1, 20):
        _, delta = driver.persist(driver.execute(12))
        all_ids += [(height, i, row.tobytes()) for i, row in enumerate(delta.ids)]
        while chain.places.merge(chain.head.height, lambda: False):
            pass
    assert chain.places.runs == 4
    for height, position, tx_id in all_ids[::17]:
        found = present(reader.transaction(tx_id))
        assert (found.height, found.position) == (height, position)
        block = chain.block(height)
        assert found.row == block.batch.matrix[position].tobytes()
        assert len(found.receipt) == 32
        proof = present(reader.inclusion_proof(tx_id))
        header = decode_header(proof.header)
        place = proof.leaf, proof.index, proof.size
        assert merkle.verify_inclusion(*place, proof.proof, header.transaction_root)
        assert decode_certificate(proof.certificate).verify(GENESIS.hash(), header, GENESIS.member_keys)
    assert reader.locate(b"\x09" * 32) is None
    assert reader.transaction(b"\x09" * 32) is None
    assert reader.inclusion_proof(b"\x09" * 32) is None
    with pytest.raises(FormatError, match="id"):
        reader.locate(b"short")


def test_a_merge_cut_short_is_done_again(chain: Chain, driver: Driver, tmp_path: Path) -> None:
    ids = [driver.persist(driver.execute(400))[1].ids for _ in range(16)]
    asked = count()
    assert not chain.places.merge(16, lambda: next(asked) == 1)
    assert chain.places.runs == 16
    chain.disk.close()
    again = open_chain(tmp_path / "db", GENESIS, ALLOCATION)
    assert again.places.runs == 16
    assert again.places.merge(16, lambda: False)
    assert not again.places.merge(16, lambda: False)
    again.disk.close()
    merged = open_chain(tmp_path / "db", GENESIS, ALLOCATION)
    assert merged.places.runs == 1
    reader = Reader(merged)
    for height, of_block in enumerate(ids, start=1):
        for position in range(0, 400, 57):
            place = TransactionPlace(height, position)
            assert reader.locate(of_block[position].tobytes()) == place
    merged.disk.close()


def test_bounds_of_the_genesis_hold(chain: Chain, driver: Driver) -> None:
    batch = driver.batch(GENESIS.block_transactions_max + 1)
    with pytest.raises(FormatError, match=r"block\.transactions"):
        chain.execute(driver.epoch, Execute(1, True, SIGNER.public_key), batch)
    with pytest.raises(FormatError, match="proposer"):
        chain.execute(driver.epoch, Execute(1, True, b""), batch)
    with pytest.raises(errors.HeightError):
        chain.execute(driver.epoch, Execute(2, True, SIGNER.public_key), driver.batch(1))


def test_speculation_is_bounded(chain: Chain, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.storage.state.SPECULATIVE_BLOCKS_MAX", 2)
    driver.execute(1)
    driver.execute(1)
    with pytest.raises(errors.SpeculationLimitError):
        driver.execute(1)


def test_an_empty_block_commits(chain: Chain, driver: Driver) -> None:
    driver.run(2, count=0)
    assert chain.head.height == 2
    assert chain.head_state_root.hex() == GENESIS.state_root
    assert Reader(chain).audit().problem == ""


def test_fees_that_do_not_fit_the_proposer_leave_everything_as_it_was(tmp_path: Path) -> None:
    assert Certificate(3, ()).encode() == b"\x02\x00" + bytes(2) + b"\x03" + bytes(7)
    chain = open_chain(tmp_path / "rich", GENESIS, ALLOCATION)
    driver = Driver(chain, ACCOUNTS)
    slot = chain.state.accounts.find(key(3))
    chain.state.accounts.balances[slot] = 2**64 - 1
    root = chain.state.tree.root
    row: Row = {"sender": key(1), "recipient": key(2), "amount": 1, "fee": 9}
    with pytest.raises(OverflowError):
        chain.execute(driver.epoch, Execute(1, False, key(3)), batch_of([row], GENESIS.chain_tag))
    assert (chain.state.tree.root, chain.state.executed_height) == (root, 0)
    assert Reader(chain).account(key(1)) == AccountState(0, BALANCE, 0)
    chain.disk.close()
