"""A cell gives the answers of its engine, says when it cannot, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
from hypothesis import given, settings

from actors.execution.cells.interface import CellError, CellLimits, CellReason
from actors.execution.cells.packing import pack
from actors.execution.cells.process import CellProcess
from actors.execution.cells.shared_file import SharedFile
from actors.execution.interpreted import run
from actors.execution.job import Job, JobOutcome
from bench.attack.cell_attempts import ATTEMPTING, CellAttempt
from tests.execution.cells.equal_columns import assert_same
from tests.execution.cells.interpreting_engine import INTERPRETING
from tests.execution.cells.test_cells_packing import ENTRIES, JOB, OUTCOME, STATE
from tests.execution.jobs import STEPS, Step, job_of, rows_of, run_to_the_end

LIMITS = CellLimits(cpu_s=20.0, wall_s=60.0, answer_bytes_max=4 << 20, job_bytes_max=4 << 20, keep_bytes=4096)
Cell = CellProcess[Job, JobOutcome]


def await_end(process: psutil.Process) -> None:
    """Until it has ended, whether or not its parent knows."""
    until_s = time.monotonic() + 30.0
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until_s, "it goes on"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def cell() -> Iterator[Cell]:
    cell = CellProcess(INTERPRETING, LIMITS)
    cell.start()
    yield cell
    pid = cell.facts()["pid"]
    cell.close()
    assert not psutil.pid_exists(pid)


@settings(max_examples=15)
@given(STEPS)
def test_a_cell_answers_as_its_engine(cell: Cell, steps: list[Step]) -> None:
    nonces = {who: account.nonce for who, account in STATE.items()}
    job = job_of(STATE, ENTRIES, rows_of(steps, nonces))
    assert_same(run_to_the_end(cell.run, job, ENTRIES), run_to_the_end(run, job, ENTRIES))


def test_a_job_that_the_engine_refuses_costs_no_child(cell: Cell) -> None:
    without = Job(JOB.batch, 2, 1, JOB.prices, 1, {}, JOB.known)
    starts = cell.facts()["starts"]
    with pytest.raises(CellError, match="failed: ValueError: a job without the program of"):
        cell.run(without)
    assert cell.facts()["starts"] == starts
    assert cell.facts()["ended"] == {}


def test_a_job_that_is_too_long_is_not_sent() -> None:
    short = CellProcess(INTERPRETING, CellLimits(job_bytes_max=100, answer_bytes_max=100))
    with pytest.raises(CellError) as refused:
        short.run(JOB)
    assert refused.value.reason is CellReason.TOO_LARGE
    assert short.facts()["starts"] == 0
    short.close()


def test_a_child_that_was_killed_is_replaced_and_after_too_many_the_cell_says_so() -> None:
    now_s = 0.0
    limits = CellLimits(restarts_max=1, job_bytes_max=1 << 16, answer_bytes_max=1 << 16)
    cell = CellProcess(ATTEMPTING, limits, clock=lambda: now_s)
    try:
        assert cell.run(CellAttempt("environment", 0)).text == "{}"
        killed = psutil.Process(cell.facts()["pid"])
        killed.kill()
        await_end(killed)
        assert cell.run(CellAttempt("environment", 0)).text == "{}"
        with pytest.raises(CellError, match="died: exit status 0"):
            cell.run(CellAttempt("exit", 0))
        with pytest.raises(CellError, match="restarts: 2 children ended within a minute"):
            cell.run(CellAttempt("environment", 0))
        now_s = 61.0
        assert cell.run(CellAttempt("environment", 0)).text == "{}"
        assert cell.facts()["ended"] == {"died": 2}
    finally:
        cell.close()


def test_a_shared_file_gives_back_what_was_written_and_takes_no_memory_for_what_was_not() -> None:
    file = SharedFile("test", 1 << 30)
    packed = pack(OUTCOME)
    file.write(packed)
    assert file.read(packed.nbytes).tobytes() == b"".join(packed.parts)
    assert os.fstat(file.fd).st_blocks * 512 < 1 << 20
    file.release(0)
    assert os.fstat(file.fd).st_blocks == 0
    assert not file.read(100).any()
    with pytest.raises(PermissionError):  # what would be a SIGBUS for who has it mapped
        os.ftruncate(file.fd, 10)
    file.close()
    file.close()


_PARENT = """
import os
from actors.execution.cells.interface import CellLimits
from actors.execution.cells.process import CellProcess
from bench.attack.cell_attempts import ATTEMPTING, CellAttempt
cell = CellProcess(ATTEMPTING, CellLimits(cpu_s=600.0, wall_s=600.0))
cell.run(CellAttempt("environment", 0))
print(cell.facts()["pid"], flush=True)
cell.run(CellAttempt("endless native loop", 0))
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="where the kernel does not end it, the hung-up socket does"
)
def test_a_child_at_work_ends_with_its_parent() -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    while child.cpu_percent(0.02) == 0.0:
        assert parent.poll() is None
    parent.kill()
    parent.wait()
    await_end(child)
