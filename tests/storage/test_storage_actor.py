"""The shell, used directly: the calls and answers that other actors rely on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.ledger.block import sign_proposal
from actors.ledger.delta import AccountState, Delta
from actors.ledger.prices import first_nonce
from actors.ledger.rows import FormatError
from actors.settings import LogSettings, StorageSettings
from actors.shell import ActorContext
from actors.storage import errors
from actors.storage.actor import Storage
from actors.storage.interface import Execute, Executed, Persist, RetainedHeights, TransactionPlace, Written
from actors.storage.snapshots import decode_manifest
from tests.storage.storage_batches import key
from tests.storage.storage_network import SIGNER, Driver, certificate, make_genesis, present

ACCOUNTS = 20
GENESIS, ALLOCATION = make_genesis(ACCOUNTS)


class Shell:
    """A Storage, and what a consensus of one does with it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        path = folder / "allocation"
        path.write_bytes(ALLOCATION.encode())
        context = ActorContext("node", "storage", str(folder), LogSettings())
        self.storage = Storage(
            context, StorageSettings(**settings), GENESIS, str(path), kernel_choice="portable", open_tries=1
        )
        self.driver = Driver(self.storage._chain, ACCOUNTS)
        self.epoch, self.head = self.storage.fence()

    def commit(self, count: int = 20) -> tuple[Executed, Written, Delta]:
        height = self.storage.health()["executed_height"] + 1
        batch = self.driver.batch(count)
        cut = count // 3
        parts = (batch.rows[:cut], batch.payloads, batch.rows[cut:], batch.payloads)
        executed = self.storage.execute(self.epoch, Execute(height, True, SIGNER.public_key), *parts)
        header = self.driver.header(present(self.storage._chain.state.block_at(height)))
        self.driver.epoch = self.epoch
        signature = sign_proposal(SIGNER, GENESIS.hash(), header.hash())
        request = Persist(height, header.encode(), signature, certificate(header))
        return executed, *self.storage._writer.persist(self.epoch, request)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    yield shell
    shell.storage.stop()


def test_the_life_of_a_block(shell: Shell) -> None:
    storage = shell.storage
    assert storage.start()["state_root"] == GENESIS.state_root
    assert storage.start()["supply"] == GENESIS.supply
    executed, written, delta = shell.commit()
    assert executed.verdicts.tolist() == [0] * 20
    hashed = {"receipts_root", "state_root", "ids", "transaction_root"}
    assert set(executed.stages_us) == {"decode", "transition", *hashed}
    assert (executed.count, executed.fees) == (20, 20)
    assert (written.height, written.committed) == (1, True)
    assert delta.ids.shape == (20, 32)
    assert len(delta.keys) == len(delta.kinds) == len(delta.widths) == len(delta.values) // 16
    assert storage.head().state_root == executed.state_root == delta.state_root
    tx_id = delta.ids[7].tobytes()
    assert storage.locate(tx_id) == TransactionPlace(1, 7)
    assert storage.transaction(tx_id).row == shell.storage._chain.block(1).batch.matrix[7].tobytes()
    assert storage.inclusion_proof(tx_id).size == 20
    assert storage.block(1)[:200] == storage.inclusion_proof(tx_id).header
    assert storage.certificate(1)
    assert storage.block(2) is None
    assert storage.certificate(2) is None
    audit = storage.audit()
    assert (audit.blocks_checked, audit.problem) == (1, "")
    health = storage.health()
    assert (health["height"], health["transactions"], health["blocks"]) == (1, 20, 1)
    assert health["stages_us"].keys() >= {"decode", "transition", "ids", "write"}
    fees = storage.account(SIGNER.public_key)
    assert fees == AccountState(first_nonce(1), 20, 1)


def test_order_picks_and_reorders_rows_of_all_draws(shell: Shell) -> None:
    batch = shell.driver.batch(12)
    order = np.arange(11, -1, -1)
    parts = (batch.rows[:5], batch.payloads, batch.rows[5:], batch.payloads)
    lax = shell.storage.execute(shell.epoch, Execute(1, False, SIGNER.public_key, order), *parts)
    assert len(lax.verdicts) == 12
    kept = present(shell.storage._chain.state.block_at(1)).batch.rows
    assert np.array_equal(kept, batch.rows[::-1][lax.verdicts == 0])
    shell.storage.rollback(shell.epoch, 0)
    assert shell.storage.health()["executed_height"] == 0
    for wrong, message in (([0, 12], "order"), ([-1, 2], "order"), ([3, 3], "twice")):
        with pytest.raises(FormatError, match=message):
            shell.storage.execute(shell.epoch, Execute(1, False, SIGNER.public_key, np.array(wrong)), *parts)
    with pytest.raises(FormatError, match="parts"):
        shell.storage.execute(shell.epoch, Execute(1, False, SIGNER.public_key), batch.rows)


def test_strict_failure_answers_verdicts_and_no_roots(shell: Shell) -> None:
    batch = shell.driver.batch(3)
    batch.rows["nonce"][1] += 100
    answer = shell.storage.execute(
        shell.epoch, Execute(1, True, SIGNER.public_key), batch.rows, batch.payloads
    )
    assert answer.verdicts[1] != 0
    assert (answer.count, answer.state_root) == (0, b"")
    assert shell.storage.health()["executed_height"] == 0


@pytest.mark.parametrize("durability", ["sync", "interval", "none"])
def test_a_restart_continues_at_the_same_height_and_root(tmp_path: Path, durability: str) -> None:
    shell = Shell(tmp_path, durability=durability, checkpoint_blocks=4, interval_ms=1)
    for _ in range(10):
        shell.commit()
    head = shell.storage.head()
    shell.storage.stop()
    shell.storage.stop()
    again = Shell(tmp_path, durability=durability, checkpoint_blocks=4)
    assert again.storage.head() == head
    assert again.storage.stats()["checkpoint_height"] >= 4
    assert again.epoch > shell.epoch
    again.commit()
    assert again.storage.audit().problem == ""
    again.storage.stop()


def test_checkpoints_and_merges_happen_in_the_background(tmp_path: Path) -> None:
    shell = Shell(tmp_path, checkpoint_blocks=8, snapshot_blocks=20, durability="none")
    for _ in range(48):
        shell.commit(4)
    pause, deadline = threading.Event(), time.monotonic() + 60
    while shell.storage.stats()["checkpoint_height"] < 32 or shell.storage.stats()["snapshot_height"] < 40:
        assert time.monotonic() < deadline, shell.storage.stats()
        pause.wait(0.01)
    manifest, sealed = shell.storage.snapshot_offer()
    assert sealed == shell.storage.sealed_headers(decode_manifest(manifest).height, 1)[0]
    for entry in decode_manifest(manifest).entries:
        assert shell.storage.snapshot_chunk(entry.hash)
    shell.storage.stop()
    stats = Shell(tmp_path, durability="none").storage
    assert stats.stats()["checkpoint_height"] >= 32
    assert stats.stats()["index_runs"] < 40
    assert stats.stats()["background_error"] == ""
    stats.stop()


def test_the_directory_is_held_until_stop(shell: Shell, tmp_path: Path) -> None:
    with pytest.raises(errors.DirectoryInUseError):
        Shell(tmp_path)


def test_reads_go_on_while_blocks_are_executed(shell: Shell) -> None:
    stop, faults, seen = threading.Event(), [], []

    def read() -> None:
        while not stop.is_set():
            columns = shell.storage.shard_accounts(0, 1)
            if int(columns.balances.sum()) != GENESIS.supply:
                faults.append(columns.height)
            seen.append(shell.storage.account(key(1)).height)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(25):
        shell.commit(50)
    stop.set()
    reader.join()
    assert not faults
    assert seen == sorted(seen)


def test_state_proofs_and_heights_that_are_not_kept(tmp_path: Path) -> None:
    shell = Shell(tmp_path, proof_heights_max=2)
    for _ in range(4):
        shell.commit()
    storage = shell.storage
    assert storage.state_proof(key(1), 1) == RetainedHeights(2, 4)
    assert storage.state_proof(key(1), 5) == RetainedHeights(2, 4)
    answer = storage.state_proof(key(1), 3)
    assert (answer.height, answer.header) == (3, storage.block(3)[:200])
    assert storage.health()["oldest_proof_height"] == 2
    assert storage.health()["proof_history_bytes"] > 0
    with pytest.raises(FormatError):
        storage.state_proof(b"short")
    storage.stop()
