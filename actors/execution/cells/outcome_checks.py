"""Whether an outcome that a cell answered has the shape of one: nothing that it names lies outside of it.

Whether a key was known to the job, and so may be changed, sees who puts it back to where it was taken from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actors.contracts.limits import ENTRY_BYTES_MAX, ENTRY_TAG, EVENT_BYTES_MAX, MESSAGE_BYTES_MAX
from actors.execution.job import KEY_BYTES, Job, JobOutcome, StateSlice
from actors.ledger.output_columns import EVENT_HEAD_BYTES, OutputColumns
from actors.ledger.verdict import Verdict

_TAG = np.frombuffer(ENTRY_TAG, dtype="<u8")[0]


def check_outcome(job: Job, outcome: JobOutcome) -> None:
    """Raise ValueError naming what does not hold."""
    outcome.check(len(job.batch))
    _need(int(outcome.verdicts.max(initial=0)) <= max(Verdict), "an unknown verdict")
    _need(0 <= outcome.gas_used <= job.gas_left, f"{outcome.gas_used} gas of {job.gas_left}")
    _need(0 <= outcome.fees < 1 << 64, f"fees of {outcome.fees}")
    _need(not len(outcome.missing) or len(outcome.verdicts) < len(job.batch), "keys missing of no row")
    check_changed(outcome.changed)
    _check_outputs(outcome.outputs, len(outcome.receipts))


def check_changed(changed: StateSlice) -> None:
    """Raise ValueError unless these are columns of entries and of accounts."""
    entries, accounts = len(changed.entry_keys), len(changed.account_keys)
    lengths = (
        len(changed.entry_values),
        len(changed.entry_widths),
        len(changed.nonces),
        len(changed.balances),
    )
    _need(lengths == (entries, entries, accounts, accounts), "columns of a state of different lengths")
    _need(int(changed.entry_widths.max(initial=0)) <= ENTRY_BYTES_MAX, "an entry that is too long")
    _need(bool((_tags(changed.entry_keys) == _TAG).all()), "an entry without the tag of entries")
    _need(not (_tags(changed.account_keys) == _TAG).any(), "an account with the tag of entries")


def _tags(keys: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(keys[:, : len(ENTRY_TAG)]).view("<u8").reshape(-1)


def _check_outputs(outputs: OutputColumns, passed: int) -> None:
    places = outputs.places.astype(np.int64)
    _need(bool((np.diff(places, prepend=-1) > 0).all()), "places of calls out of order")
    _need(int(places.max(initial=-1)) < passed, "a call among the rows that did not pass")
    _need(_ends_hold(outputs.result_ends, len(outputs.results)), "results out of their bounds")
    _need(_ends_hold(outputs.event_ends, len(outputs.events)), "events out of their bounds")
    _need(int(outputs.messages.max(initial=0)) < max(1, len(outputs.texts)), "a message without a text")
    _need(outputs.texts[:1] == ("",), "texts that do not begin with none")
    _need(all(len(text.encode()) <= MESSAGE_BYTES_MAX for text in outputs.texts), "a text that is too long")
    _check_events(outputs)


def _ends_hold(ends: NDArray[np.int64], total: int) -> bool:
    if not len(ends):
        return total == 0
    within = int(ends.min()) >= 0 and int(ends.max()) <= total
    return within and int(ends[-1]) == total and bool((np.diff(ends) >= 0).all())


def _check_events(outputs: OutputColumns) -> None:
    """Each event ends where the next one, or the next call, begins: of all calls the first, the second ..."""
    ends, data = outputs.event_ends, outputs.events
    at = np.concatenate([np.zeros(1, np.int64), ends[:-1]])[: len(ends)]
    while len(at):
        at, ends = at[at < ends], ends[at < ends]
        _need(bool((at + EVENT_HEAD_BYTES <= ends).all()), "an event without its width")
        widths = data[at + KEY_BYTES + 1].astype(np.int64) + 256 * data[at + KEY_BYTES + 2].astype(np.int64)
        at = at + EVENT_HEAD_BYTES + widths
        fits = bool((widths <= EVENT_BYTES_MAX).all() and (at <= ends).all())
        _need(fits, "an event out of its bounds")


def _need(holds: bool, problem: str) -> None:
    if not holds:
        raise ValueError(problem)
