"""Contracts on the disk: restart, snapshot, replay and proofs know their entries; so does compiled code."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from actors.contracts.gas import WEIGHTS
from actors.execution.contract_engine import ContractEngine
from actors.ledger import rules, smt
from actors.ledger.accounts import Account, Entries, State, state_root
from actors.ledger.block import decode_block, decode_sealed_header
from actors.ledger.contract_payloads import contract_address
from actors.ledger.contract_state import Origin, head_key, piece_key, read_origin, read_program
from actors.ledger.environment import Environment
from actors.ledger.hashing import sha256_rows
from actors.ledger.receipts import RECEIPT_BYTES
from actors.ledger.rows import FormatError
from actors.storage.chain import Chain
from actors.storage.check import check
from actors.storage.contract_check import program_fault
from actors.storage.contract_jobs import JobEngine
from actors.storage.contract_programs import ProgramShelf
from actors.storage.disk import Disk
from actors.storage.errors import NotRetainedError
from actors.storage.interface import Execute, StateValues
from actors.storage.proofs import prove
from actors.storage.reads import Reader
from actors.storage.remembering import remember
from actors.storage.snapshot_store import SnapshotStore, begin_with
from tests.ledger.contract_transactions import Fields, batch_of_fields, call, deploy, example, payload_of
from tests.storage.storage_batches import accounts_of, key
from tests.storage.storage_network import BALANCE, SIGNER, Driver, done, make_genesis, open_chain

ALICE, BOB = key(0), key(1)
COUNTER = contract_address(ALICE, 0)


class MixedChain:
    """A chain of transfers, deployments and calls on a disk, and the plain state beside it."""

    def __init__(self, path: Path) -> None:
        self.genesis, self.allocation = make_genesis(4)
        self.path = path
        self.chain = open_chain(path, self.genesis, self.allocation)
        self.driver = Driver(self.chain, 4)
        self.state: State = {key(i): Account(0, BALANCE) for i in range(4)}
        self.entries = Entries()
        self.roots, self.then = [bytes.fromhex(self.genesis.state_root)], [Entries()]
        self.accounts = [dict(self.state)]

    def block(self, rows: list[Fields]) -> None:
        """Execute, compare, persist."""
        chain, height = self.chain, self.chain.head.height + 1
        batch = batch_of_fields(rows, self.genesis.chain_tag)
        request = Execute(height, True, SIGNER.public_key, time_ms=1000 + height)
        block = done(chain.execute(self.driver.epoch, request, batch))
        env = Environment(
            self.genesis.chain_tag, height, SIGNER.public_key, self.genesis.prices, 1000 + height
        )
        outcome = rules.apply_batch(self.state, batch, env, self.entries)
        assert block.state_root == state_root(self.state, self.entries)
        assert block.receipts_root == rules.receipts_root(outcome.receipts)
        self.driver.persist(block)
        self.roots.append(block.state_root)
        self.then.append(dict(self.entries))
        self.accounts.append(dict(self.state))

    def run(self) -> None:
        """Rows that make, change and remove entries."""
        registry, thing = contract_address(ALICE, 1), bytes([7]) * 32
        register = payload_of("registry", "register", thing, thing)
        release = payload_of("registry", "release", thing)
        add = payload_of("counter", "add", 5)
        self.block([deploy(ALICE, 0, "counter"), deploy(ALICE, 1, "registry")])
        self.block([call(BOB, 0, COUNTER, add), call(BOB, 1, registry, register)])
        self.block(
            [call(BOB, 2, COUNTER, add), call(BOB, 3, registry, release), call(BOB, 4, registry, release)]
        )
        self.block([call(BOB, 5, registry, register)])

    def reopened(self) -> Chain:
        """The chain once more, from the disk."""
        self.chain.disk.close()
        self.chain = open_chain(self.path, self.genesis, None)
        return self.chain


@pytest.fixture
def mixed(tmp_path: Path) -> Iterator[MixedChain]:
    made = MixedChain(tmp_path / "db")
    made.run()
    yield made
    made.chain.disk.close()


def test_a_restart_finds_the_same_state_and_proves_what_was(mixed: MixedChain) -> None:
    every = sorted({at for entries in mixed.then for at in entries})
    for reopens in (False, True):
        chain = mixed.reopened() if reopens else mixed.chain
        assert chain.head_state_root == mixed.roots[-1]
        assert chain.state.committed_supply() == mixed.genesis.supply
        assert Reader(chain).audit().problem == ""
        remember(chain.disk, chain.state, sha256_rows, lambda height: mixed.roots[height], lambda: False)
        assert chain.state.history.oldest == 0
        for height, entries in enumerate(mixed.then):
            for at in every:
                found = prove(chain.state, at, height)
                assert found.value == entries.get(at)
                plain = {a: account.encode() for a, account in mixed.accounts[height].items()} | entries
                assert found.proof == smt.prove(plain, at)


def test_values_of_a_height_are_read_without_proofs(mixed: MixedChain) -> None:
    chain = mixed.chain
    reader, every = Reader(chain), sorted({at for entries in mixed.then for at in entries})
    for height, entries in enumerate(mixed.then):
        plain = {at: account.encode() for at, account in mixed.accounts[height].items()} | entries
        keys = [*every, ALICE, BOB, key(99)]
        read = reader.state_values(keys, height)
        assert read == StateValues(height, tuple(plain.get(at, b"") for at in keys))
        state = defaultdict(bytes, zip(keys, read.values, strict=True))
        program = read_program(COUNTER, state.__getitem__)
        assert program == (example("counter")[0] if height else None)
        origin = read_origin(COUNTER, state.__getitem__)
        assert origin == (Origin(1, 0, ALICE) if height else None)
    assert reader.state_values(every).height == 4
    with pytest.raises(NotRetainedError):
        reader.state_values(every, 5)
    with pytest.raises(FormatError, match="at most 1024"):
        reader.state_values([ALICE] * 1025)
    with pytest.raises(FormatError, match=r"keys\[1\]: got 31 bytes"):
        reader.state_values([ALICE, ALICE[1:]])


def test_a_call_is_found_with_what_it_left(mixed: MixedChain) -> None:
    reader = Reader(mixed.chain)
    block = decode_block(mixed.chain.block(2).encode(), 100, 1 << 20)
    stored = reader.transaction(block.batch.ids()[0].tobytes())
    assert stored is not None
    assert stored.output is not None
    assert (stored.output.position, stored.output.gas > 0) == (0, True)
    assert len(stored.receipt) == RECEIPT_BYTES


def test_what_a_call_left_is_proven_with_its_events(mixed: MixedChain) -> None:
    reader = Reader(mixed.chain)
    for height in (1, 2, 3):
        block = mixed.chain.block(height)
        for tx_id in block.batch.ids():
            proof = reader.receipt_proof(tx_id.tobytes())
            assert proof is not None
            assert proof.output is not None
            assert proof.leads_to(block.header.receipts_root)
            output = proof.output
            wrong = [
                replace(proof, receipt=bytes(RECEIPT_BYTES)),
                replace(proof, receipt=proof.receipt + b"\x00"),
                replace(proof, output=None),
                replace(proof, output=replace(output, gas=output.gas + 1)),
                replace(proof, output=replace(output, results=b"\x01")),
                replace(proof, output=replace(output, events=((COUNTER, 9, b""), *output.events))),
                replace(proof, transaction=replace(proof.transaction, index=proof.transaction.index + 1)),
            ]
            assert not [each for each in wrong if each.leads_to(block.header.receipts_root)]
    assert reader.receipt_proof(bytes(32)) is None


def test_a_snapshot_has_contracts_and_the_chain_goes_on_from_it(mixed: MixedChain, tmp_path: Path) -> None:
    chain = mixed.chain
    store = SnapshotStore(chain.disk, mixed.genesis, sha256_rows)
    (sealed,) = Reader(chain).sealed_headers(4, 1)
    manifest = store.make(chain.state, 4, decode_sealed_header(sealed), chain.head)
    disk = Disk(tmp_path / "other")
    begin_with(disk, mixed.genesis, manifest.encode(), sealed, store.chunk, sha256_rows)
    disk.close()
    other = open_chain(tmp_path / "other", mixed.genesis, None)
    assert other.head_state_root == mixed.roots[-1]
    batch = batch_of_fields([call(BOB, 6, COUNTER, payload_of("counter", "add", 1))], mixed.genesis.chain_tag)
    request = Execute(5, True, SIGNER.public_key, time_ms=2000)
    roots = [done(each.execute(each.fence(), request, batch)).state_root for each in (chain, other)]
    assert roots[0] == roots[1]
    other.disk.close()


def test_the_offline_check_replays_contracts(mixed: MixedChain) -> None:
    mixed.chain.disk.close()
    disk = Disk(mixed.path)
    report = check(disk, mixed.genesis, lambda: mixed.allocation, sha256_rows)
    disk.close()
    assert report["ok"], report["problems"]
    assert report["executed"] == 4
    assert (report["entries"], report["contracts"]) == (len(mixed.entries), 2)
    assert report["accounts"] == len(mixed.state)
    mixed.chain = open_chain(mixed.path, mixed.genesis, None)


@pytest.mark.parametrize(
    ("lost", "fault"), [(head_key(COUNTER), "is missing"), (piece_key(COUNTER, 0), "hashes to")]
)
def test_a_program_that_is_not_whole_is_named(mixed: MixedChain, lost: bytes, fault: str) -> None:
    kept = {at: value for at, value in mixed.entries.items() if at != lost}
    assert program_fault(accounts_of(mixed.state, entries=mixed.entries), COUNTER, WEIGHTS) == ""
    assert fault in program_fault(accounts_of(mixed.state, entries=kept), COUNTER, WEIGHTS)


def test_a_chain_is_the_same_by_compiled_code(tmp_path: Path) -> None:
    engine, told = ContractEngine(2, None, print), list[str]()
    chain = MixedChain(tmp_path / "mixed")
    chain.chain.state.engine = JobEngine(
        engine.run_all, lambda *_: engine.parts, sha256_rows, 1, ProgramShelf(), told.append
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actors.storage.contract_jobs.CALLS_MIN", 1)
        chain.run()
        engine.wait()
        add = payload_of("counter", "add", 5)
        for _ in range(3):
            nonces = [chain.state[key(number)].nonce for number in range(4)]
            chain.block([call(key(number), nonces[number], COUNTER, add) for number in range(1, 4)])
            engine.wait()
    facts = engine.facts()
    engine.close()
    assert facts["jobs"]["compiled"] >= 2
    assert facts["jobs"].get("lost", 0) == 0
    assert facts["programs_compiled"] >= 1
    assert told == []
