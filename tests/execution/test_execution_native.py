"""Jobs by compiled code: what the interpreter says of these rows, bit for bit."""

from __future__ import annotations

from functools import cache

from hypothesis import given, settings

from actors.execution import interpreted
from actors.execution.job import JobOutcome
from actors.execution.native_engine import NativeEngine
from actors.execution.outputs import outputs_of
from tests.execution.jobs import STEPS, Step, run_to_the_end
from tests.execution.test_execution_interpreted import random_job


@cache
def engine() -> NativeEngine:
    return NativeEngine(0x5EED_0123_4567_89AB_CDEF)


def assert_same(one: JobOutcome, other: JobOutcome) -> None:
    """Two outcomes of all rows."""
    assert one.verdicts.tolist() == other.verdicts.tolist()
    assert one.receipts.tolist() == other.receipts.tolist()
    assert outputs_of(one.outputs) == outputs_of(other.outputs)
    assert one.outputs.texts == other.outputs.texts
    assert one.changed.entries() == other.changed.entries()
    assert one.changed.accounts() == other.changed.accounts()
    assert (one.gas_used, one.fees) == (other.gas_used, other.fees)


@settings(max_examples=200)
@given(STEPS)
def test_an_outcome_is_what_the_interpreter_says(steps: list[Step]) -> None:
    job, _, entries = random_job(steps)
    plain = run_to_the_end(interpreted.run, job, entries)
    native = run_to_the_end(engine().run, job, entries)
    native.check(len(job.batch))
    assert_same(native, plain)
