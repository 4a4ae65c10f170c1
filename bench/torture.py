"""Storage under SIGKILL, power cuts and flipped bits, round after round: is all there that was acknowledged?

Each round a process opens the directory, executes, persists and commits blocks, of transfers and of calls and
deployments of contracts, while checkpoints, merges of the index, snapshots and, in half of the rounds,
pruning run beside it, and says after each commit what it acknowledged. Then it dies, by one fault:

    kill     SIGKILL from outside, at a random time after a random number of writes
    point    SIGKILL by its own hand right before or after a random write batch, of whatever thread
    power    as kill, and then the log loses a random part of what was not synced; its end is torn, or
             filled with zeros, or with noise
    flip     as kill, and then one bit of one file is flipped in a copy of the directory; the copy must be
             refused, or must be found damaged by `check`, or must be whole all the same
    clock    as kill, with a clock that jumps to and fro

Then another process opens it, and the round counts
    lost         blocks that were acknowledged and are not there, or are other blocks
    wrong_roots  directories in which a root does not recompute, the supply is not conserved, or a byte is
                 wrong by `check`, which executes every block again
Processes are forked from one that has compiled everything and has never opened a database.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from actors.storage import transition, tree
from bench.contract_workload import warm
from bench.storage_workload import WorkloadNetwork, found
from bench.torture_life import ACK, Life, LifeVerdict, inspect

FAULTS = ("kill", "point", "power", "flip", "clock")
ACCOUNTS = 2_000
ROWS_MAX = 300
PAUSE_MAX_S = 0.03
_MESSAGES = 12, 60
POINTS_MAX = 60
ROUNDS_PER_DIRECTORY = 10
_DEATHS = {-signal.SIGKILL}
Progress = Callable[[int, int], None]


def torture(rounds: int, seed: int, scratch: Path, progress: Progress) -> dict[str, object]:
    """Run the rounds; see the module's text. `scratch` holds the directories."""
    from actors.kernels.selection import select
    from actors.shell import kernel_cache_dir

    for core in (transition, tree):
        core.warm()
    network = found(ACCOUNTS, select("auto", kernel_cache_dir()).hash_rows)
    warm(network)
    run = _Torture(network, seed, scratch)
    began = time.monotonic()
    for number in range(rounds):
        run.round(number)
        progress(number + 1, run.acknowledged)
    return {**run.report(), "rounds": rounds, "seed": seed, "seconds": round(time.monotonic() - began, 1)}


class _Torture:
    def __init__(self, network: WorkloadNetwork, seed: int, scratch: Path) -> None:
        self._network, self._seed, self._scratch = network, seed, scratch
        self._rng = random.Random(seed)
        self._directory = scratch
        self._held: dict[int, bytes] = {}
        self.acknowledged = self._transactions = self._lost = self._wrong = self._height = 0
        self._calls = self._entries = 0
        self._faults: Counter[str] = Counter()
        self._flips: Counter[str] = Counter()
        self._failures: list[str] = []

    def round(self, number: int) -> None:
        """One life, one death, one inquest."""
        if number % ROUNDS_PER_DIRECTORY == 0:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory, self._held = self._scratch / f"network-{number}", {}
        fault = FAULTS[number % len(FAULTS)]
        self._faults[fault] += 1
        log = self._live(fault, number)
        if fault == "power":
            self._cut_power(*log)
        if fault == "flip":
            self._flip(number)
        verdict = self._inquest(self._directory)
        missing = self._missing(verdict)
        self._lost += len(missing)
        self._height = max(self._height, verdict.height)
        self._entries = max(self._entries, verdict.entries)
        if missing or not verdict.ok:
            self._fail(number, fault, f"lost {missing[:5]}; {verdict.problem or 'no problem found'}")

    def _missing(self, verdict: LifeVerdict) -> list[int]:
        """Heights that were acknowledged and are not there, or not as acknowledged."""
        return [h for h, digest in self._held.items() if verdict.hashes.get(str(h)) != digest.hex()]

    def report(self) -> dict[str, object]:
        """Totals."""
        return {
            "acknowledged": self.acknowledged,
            "acknowledged_transactions": self._transactions,
            "acknowledged_of_contracts": self._calls,
            "lost": self._lost,
            "wrong_roots": self._wrong,
            "passed": not self._failures,
            "height_max": self._height,
            "entries_max": self._entries,
            "faults": dict(self._faults),
            "flips": dict(self._flips),
            "failures": self._failures[:10],
        }

    def _live(self, fault: str, number: int) -> tuple[int, int]:
        """Let a process commit until it dies. Number and size of its log when it last synced."""
        point = self._rng.randrange(1, POINTS_MAX) if fault == "point" else 0
        life = Life(self._network, self._directory, fault == "clock", point, self._seed * 100_003 + number)
        child, reading = _forked(life.run)
        messages, pause_s = self._rng.randrange(*_MESSAGES), self._rng.uniform(0, PAUSE_MAX_S)
        with os.fdopen(reading, "rb") as acks:
            told = b""
            if acks.read(1) and not point:
                # By what it has done and not by the clock, so that a busy machine kills no earlier.
                told = acks.read(messages * ACK.size)
                time.sleep(pause_s)
                os.kill(child, signal.SIGKILL)
            told += acks.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code not in _DEATHS:
            self._fail(number, fault, f"the process ended with {code}")
        last = 0, 0
        for at in range(0, len(told) - ACK.size + 1, ACK.size):
            height, digest, rows, calls, *last_at = ACK.unpack_from(told, at)
            last = last_at[0], last_at[1]
            if height:
                self._held[height] = digest
                self._transactions += rows
                self._calls += calls
                self.acknowledged += 1
        return last

    def _fail(self, number: int, fault: str, what: str) -> None:
        self._wrong += 1
        self._failures.append(f"round {number} ({fault}): {what}")

    def _cut_power(self, log_number: int, synced_bytes: int) -> None:
        """Lose some of what the newest log got since it was last synced."""
        logs = sorted((self._directory / "rocksdb").glob("*.log"))
        if not logs:
            return
        size, floor = logs[-1].stat().st_size, synced_bytes if int(logs[-1].stem) == log_number else 0
        cut = self._rng.randint(floor, size)
        with logs[-1].open("r+b") as file:
            file.truncate(cut)
            file.seek(cut)
            ending = self._rng.choice(("torn", "zeros", "noise"))
            rest = self._rng.randint(0, size - cut)
            if ending != "torn":
                file.write(bytes(rest) if ending == "zeros" else self._rng.randbytes(rest))

    def _flip(self, number: int) -> None:
        """Flip a bit in a copy; whoever opens it must notice, unless nothing depends on the bit."""
        copy = self._scratch / f"flipped-{number}"
        shutil.copytree(self._directory, copy)
        files = [
            path
            for path in (copy / "rocksdb").iterdir()
            if path.suffix in (".sst", ".blob", ".log") or path.name.startswith("MANIFEST")
        ]
        path = self._rng.choice([path for path in sorted(files) if path.stat().st_size])
        content = bytearray(path.read_bytes())
        content[self._rng.randrange(len(content))] ^= 1 << self._rng.randrange(8)
        path.write_bytes(content)
        verdict = self._inquest(copy)
        if not verdict.ok:
            self._flips["found"] += 1
        elif not self._missing(verdict):
            self._flips["harmless"] += 1
        else:
            self._flips["missed"] += 1
            self._lost += len(self._missing(verdict))
            self._failures.append(f"round {number}: a flipped bit in {path.name} was not noticed")
        shutil.rmtree(copy)

    def _inquest(self, directory: Path) -> LifeVerdict:
        """What another process finds in a directory."""
        child, reading = _forked(lambda pipe: inspect(self._network, directory, sorted(self._held), pipe))
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read()
        os.waitpid(child, 0)
        if not told:
            return LifeVerdict(False, 0, "the inspecting process died", {})
        return msgspec.json.decode(told, type=LifeVerdict)


def _forked(work: Callable[[int], None]) -> tuple[int, int]:
    """Run `work` on the writing end of a pipe in a process of its own; its id, and the reading end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    code = 1
    try:
        os.close(reading)
        work(writing)
        code = 0
    except Exception:  # noqa: BLE001 -- the child must end here, with its reason told
        traceback.print_exc()
    finally:
        os._exit(code)
