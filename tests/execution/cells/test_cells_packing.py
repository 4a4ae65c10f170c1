"""Jobs and outcomes as buffers: what goes in comes out, and nothing else is let in."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.execution.cells.outcome_checks import check_outcome
from actors.execution.cells.packing import ALIGN_BYTES, pack, unpack
from actors.execution.interpreted import run
from actors.execution.job import Job, JobOutcome
from actors.ledger.rows import FormatError
from tests.execution.cells.equal_columns import assert_same
from tests.execution.jobs import STEPS, Step, job_of, rows_of, run_to_the_end, start

STATE, ENTRIES = start()
EXAMPLE: list[Step] = [
    ("give", 0, 1, 5, 60),
    ("add", 2, 1, 9, 60),
    ("pay", 1, 3, 7, 2),
    ("wrong", 0, 0, 3, 60),
]


def job_and_outcome(steps: list[Step]) -> tuple[Job, JobOutcome]:
    nonces = {who: account.nonce for who, account in STATE.items()}
    job = job_of(STATE, ENTRIES, rows_of(steps, nonces))
    return job, run_to_the_end(run, job, ENTRIES)


JOB, OUTCOME = job_and_outcome(EXAMPLE)


def buffer_of(value: Any) -> bytearray:
    packed = pack(value)
    buffer = bytearray(packed.nbytes)
    packed.write_to(memoryview(buffer))
    return buffer


@given(STEPS)
def test_what_is_packed_comes_out(steps: list[Step]) -> None:
    job, outcome = job_and_outcome(steps)
    for value in (job, outcome):
        assert_same(unpack(type(value), memoryview(buffer_of(value)), 1 << 20), value)
    check_outcome(job, outcome)


def test_columns_are_views_of_the_buffer_each_at_its_place() -> None:
    buffer = np.zeros(pack(OUTCOME).nbytes + ALIGN_BYTES, dtype=np.uint8)
    shift = -buffer.ctypes.data % ALIGN_BYTES
    room = buffer[shift : shift + pack(OUTCOME).nbytes]
    pack(OUTCOME).write_to(room.data)
    outcome = unpack(JobOutcome, room.data)
    for column in (outcome.receipts, outcome.outputs.gas, outcome.changed.balances):
        assert np.shares_memory(column, buffer)
        assert column.ctypes.data % ALIGN_BYTES == 0


@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=4), st.integers(0, 1 << 20))
def test_a_changed_buffer_is_refused_or_is_of_the_same_shape(
    changes: list[tuple[int, int]], cut: int
) -> None:
    buffer = buffer_of(OUTCOME)
    for place, value in changes:
        buffer[place % len(buffer)] = value
    data = memoryview(buffer)[: len(buffer) - cut % 3 * (cut % len(buffer))]
    try:
        outcome = unpack(JobOutcome, data)
        check_outcome(JOB, outcome)
    except ValueError:
        return
    assert len(outcome.verdicts) == len(JOB.batch)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        unpack(JobOutcome, memoryview(data))


@pytest.mark.parametrize("count", [-1, 1 << 40, (1 << 64) - 1, 0, 5])
@pytest.mark.parametrize("column", range(16))
def test_a_false_length_is_refused(column: int, count: int) -> None:
    buffer = bytes(buffer_of(OUTCOME))
    (header_bytes,) = struct.unpack_from("<I", buffer)
    counts, plain = msgspec.msgpack.decode(buffer[4 : 4 + header_bytes])
    if counts[column] == count:
        return
    counts[column] = count
    header = msgspec.msgpack.encode((counts, plain))
    columns = buffer[-(-(4 + header_bytes) // ALIGN_BYTES) * ALIGN_BYTES :]
    start_at = -(-(4 + len(header)) // ALIGN_BYTES) * ALIGN_BYTES
    forged = (struct.pack("<I", len(header)) + header).ljust(start_at, b"\0") + columns
    with pytest.raises(ValueError):
        check_outcome(JOB, unpack(JobOutcome, memoryview(forged)))


def test_a_long_header_is_not_read() -> None:
    with pytest.raises(FormatError, match="header"):
        unpack(JobOutcome, memoryview(struct.pack("<I", 1 << 30) + bytes(100)))
    with pytest.raises(FormatError, match="header"):
        unpack(JobOutcome, memoryview(buffer_of(OUTCOME)), 10)


def test_a_column_of_another_type_is_not_packed() -> None:
    with pytest.raises(FormatError, match=r"JobOutcome\.verdicts"):
        pack(dataclasses.replace(OUTCOME, verdicts=OUTCOME.verdicts.astype(np.int64)))


def outputs(**columns: Any) -> JobOutcome:
    return dataclasses.replace(OUTCOME, outputs=dataclasses.replace(OUTCOME.outputs, **columns))


def changed(**columns: Any) -> JobOutcome:
    return dataclasses.replace(OUTCOME, changed=dataclasses.replace(OUTCOME.changed, **columns))


def event_width(width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    events = OUTCOME.outputs.events.copy()
    events[33:35] = np.frombuffer(width.to_bytes(2, "little"), dtype=np.uint8)
    return events


CALLS = OUTCOME.outputs
FALSE = {
    "an unknown verdict": dataclasses.replace(
        OUTCOME, verdicts=np.array([0, 0, 0, 200], np.uint8), receipts=OUTCOME.receipts[:3]
    ),
    "gas of": dataclasses.replace(OUTCOME, gas_used=JOB.gas_left + 1),
    "gas of ": dataclasses.replace(OUTCOME, gas_used=-1),
    "fees of": dataclasses.replace(OUTCOME, fees=-1),
    "keys missing": dataclasses.replace(OUTCOME, missing=np.zeros((1, 32), np.uint8)),
    "different lengths": changed(nonces=OUTCOME.changed.nonces[:-1]),
    "an entry that is too long": changed(entry_widths=OUTCOME.changed.entry_widths + np.uint8(60)),
    "without the tag": changed(entry_keys=OUTCOME.changed.entry_keys ^ np.uint8(1)),
    "an account with": changed(
        account_keys=np.repeat(OUTCOME.changed.entry_keys[:1], len(OUTCOME.changed.nonces), axis=0)
    ),
    "places of calls": outputs(places=CALLS.places[::-1].copy()),
    "did not pass": outputs(places=CALLS.places + np.uint32(100)),
    "results out": outputs(result_ends=CALLS.result_ends - 1),
    "results out ": outputs(result_ends=np.array([2**63 - 1, -(2**63), len(CALLS.results)], np.int64)),
    "events out": outputs(event_ends=CALLS.event_ends + 1),
    "an event out": outputs(events=event_width(500)),
    "an event (out|without)": outputs(events=event_width(3)),
    "without a text": outputs(messages=CALLS.messages + np.uint16(9)),
    "begin with none": outputs(texts=("no",) * len(CALLS.texts)),
    "a text that": outputs(texts=(*CALLS.texts, "x" * 65)),
}


@pytest.mark.parametrize("problem", FALSE)
def test_a_false_outcome_is_refused(problem: str) -> None:
    with pytest.raises(ValueError, match=problem.strip()):
        check_outcome(JOB, FALSE[problem])
