"""Processes of the storage torture: a life that commits until it is killed, and an inquest."""

from __future__ import annotations

import os
import random
import signal
import struct
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from actors.ledger.block import Header
from actors.ledger.rows import KIND_TRANSFER
from actors.storage import preparing
from actors.storage.chain import Chain
from actors.storage.check import check
from actors.storage.disk import Disk, DiskBatch
from actors.storage.housekeeping import Housekeeper, Policy
from actors.storage.pruning import Mode
from actors.storage.state import ExecutedBlock
from bench.contract_workload import ContractProposer
from bench.storage_workload import WorkloadNetwork

ACK = struct.Struct("<Q32sIIIQ")
"""Height and hash of a block, its rows, those of contracts among them, number and size of the log."""
ROWS_MAX = 300


@dataclass(frozen=True, slots=True)
class Life:
    """jumping: the clock jumps. point: the write batch at which it kills itself; 0 for never."""

    network: WorkloadNetwork
    directory: Path
    jumping: bool
    point: int
    seed: int

    def run(self, pipe: int) -> None:
        """One byte when it has recovered, then an ACK for each acknowledged block, and one without a height
        for each synced write batch. Ends by SIGKILL only.
        """
        rng = random.Random(self.seed)
        clock_ns = (lambda: rng.randrange(-(2**62), 2**62)) if self.jumping else time.perf_counter_ns
        preparing.ASIDE_ROWS_MIN, preparing.AHEAD_AFTER_S = 1, rng.choice([0.0, 0.001])
        chain = self.network.open(self.directory, clock_ns=clock_ns)
        os.write(pipe, b"\x01")
        proposer = ContractProposer(chain, self.network.allocation.keys, np.random.default_rng(self.seed))
        _watch_writes(pipe, self.directory, self.point, rng.random() < 0.5)
        mode: Mode = "full" if rng.random() < 0.5 else "archive"
        threading.Thread(target=_keep_house, args=(chain, mode), daemon=True).start()
        while True:
            self._commit(proposer, rng, pipe)

    def _commit(self, proposer: ContractProposer, rng: random.Random, pipe: int) -> None:
        choice = rng.random()
        execute = proposer.follow if rng.random() < 0.5 else proposer.execute
        first = execute(proposer.batch(rng.randrange(ROWS_MAX)))
        if choice < 0.1:  # another leader takes over before the block is on disk
            proposer.restart()
        elif choice < 0.3:  # persisted, and committed later together with the next one
            second = proposer.execute(proposer.batch(rng.randrange(ROWS_MAX)))
            header = proposer.header(first)
            proposer.persist(header, certify=False)
            following = proposer.header(second)
            self._acknowledge(proposer, header, first, pipe)
            self._acknowledge(proposer, following, second, pipe)
        elif choice < 0.4:  # persisted, and replaced by another block
            proposer.persist(proposer.header(first), certify=False)
            proposer.restart()
        else:
            self._acknowledge(proposer, proposer.header(first), first, pipe)

    def _acknowledge(
        self, proposer: ContractProposer, header: Header, block: ExecutedBlock, pipe: int
    ) -> None:
        written, _ = proposer.persist(header)
        calls = int(np.count_nonzero(block.batch.rows["kind"] != KIND_TRANSFER))
        _tell(pipe, self.directory, (written.height, written.hash, written.transactions, calls))


def _tell(pipe: int, directory: Path, block: tuple[int, bytes, int, int] = (0, bytes(32), 0, 0)) -> None:
    log = max((directory / "rocksdb").glob("*.log"))
    os.write(pipe, ACK.pack(*block, int(log.stem), log.stat().st_size))


def _keep_house(chain: Chain, mode: Mode) -> None:
    """What the shell does in the background, all the time: checkpoints, merges, snapshots, pruning."""
    house = Housekeeper(chain, Policy(3, 10, 2, mode, 12), lambda _text: None)
    while True:
        house.run(lambda: False)


def _watch_writes(pipe: int, directory: Path, point: int, before: bool) -> None:
    """Tell of synced write batches; kill the process right before or after batch number `point`."""
    write, lock, count = DiskBatch.write, threading.Lock(), [0]

    def watched(batch: DiskBatch, sync: bool) -> int:
        with lock:
            count[0] += 1
            last = count[0] == point
        if last and before:
            os.kill(os.getpid(), signal.SIGKILL)
        size = write(batch, sync)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        if sync:
            _tell(pipe, directory)
        return size

    DiskBatch.write = watched  # type: ignore[method-assign, assignment]


class LifeVerdict(msgspec.Struct):
    """hashes: of the heights asked for, hex, as strings of decimal digits since JSON wants strings. entries:
    of contracts, at the head."""

    ok: bool
    height: int
    problem: str
    hashes: dict[str, str]
    entries: int = 0


def inspect(network: WorkloadNetwork, directory: Path, heights: list[int], pipe: int) -> None:
    """Check a directory byte by byte, then recover it as a node would, and write a Verdict."""
    try:
        verdict = _inspected(network, directory, heights)
    except Exception as error:  # noqa: BLE001 -- whatever damage does to the code is what is looked for
        verdict = LifeVerdict(False, 0, f"{type(error).__name__}: {error}", {})
    os.write(pipe, msgspec.json.encode(verdict))


def _inspected(network: WorkloadNetwork, directory: Path, heights: list[int]) -> LifeVerdict:
    disk = Disk(directory, read_only=True)
    fresh, entries = disk.get("meta", b"network") is None, 0
    if not fresh:
        report = check(disk, network.genesis, lambda: network.allocation, network.hash_rows)
        if not report["ok"]:
            return LifeVerdict(False, 0, str(report["problem"]), {})
        entries = int(str(report["entries"]))
    disk.close()
    chain = network.open(directory)
    hashes = {str(height): chain.hash_at(height).hex() for height in heights if height <= chain.head.height}
    verdict = LifeVerdict(True, chain.head.height, "", hashes, entries)
    if chain.state.committed_supply() != network.genesis.supply:
        verdict = LifeVerdict(False, chain.head.height, "the supply is not conserved", hashes)
    chain.disk.close()
    return verdict
