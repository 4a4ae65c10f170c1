"""Outcomes put together: of rows one after the other, and of parts of a job that share nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from actors.execution.job import KEY_BYTES, JobOutcome, StateSlice
from actors.ledger.accounts import RECEIPT_WORDS
from actors.ledger.index import numbered_keys
from actors.ledger.output_columns import joined

_NOTHING = np.empty((0, KEY_BYTES), dtype=np.uint8)


def later_wins(slices: Sequence[StateSlice]) -> StateSlice:
    """All keys of these, each as the last of them has it."""
    if len(slices) == 1:
        return slices[0]
    entries = _last([each.entry_keys for each in slices])
    accounts = _last([each.account_keys for each in slices])
    return StateSlice(
        np.concatenate([each.entry_keys for each in slices])[entries],
        np.concatenate([each.entry_values for each in slices])[entries],
        np.concatenate([each.entry_widths for each in slices])[entries],
        np.concatenate([each.account_keys for each in slices])[accounts],
        np.concatenate([each.nonces for each in slices])[accounts],
        np.concatenate([each.balances for each in slices])[accounts],
    )


def _last(keys: list[NDArray[np.uint8]]) -> NDArray[np.int64]:
    """Where each key comes last."""
    joined = np.concatenate(keys)
    first, which = numbered_keys(joined)
    last = np.empty(len(first), dtype=np.int64)
    last[which] = np.arange(len(joined))
    return last


def in_order(outcomes: Sequence[JobOutcome]) -> JobOutcome:
    """Of jobs whose rows follow each other: each has run all of its rows but those that the next has."""
    if len(outcomes) == 1:
        return outcomes[0]
    passed = [0, *accumulate(len(each.receipts) for each in outcomes)]
    moved = [(each.outputs, start) for each, start in zip(outcomes, passed, strict=False)]
    places = np.concatenate([outputs.places + np.uint32(start) for outputs, start in moved])
    return JobOutcome(
        np.concatenate([each.verdicts for each in outcomes]),
        np.concatenate([each.receipts for each in outcomes]),
        joined([each.outputs for each in outcomes], places),
        later_wins([each.changed for each in outcomes]),
        outcomes[-1].missing,
        sum(each.gas_used for each in outcomes),
        sum(each.fees for each in outcomes),
    )


def interleaved(
    parts: Sequence[NDArray[np.int64]], outcomes: Sequence[JobOutcome], changed: StateSlice
) -> JobOutcome:
    """Of parts of a job that have run all of their rows. parts: rows of each, which are all rows together.
    changed: what all of them have changed."""
    rows = sum(len(part) for part in parts)
    verdicts = np.empty(rows, dtype=np.uint8)
    for part, outcome in zip(parts, outcomes, strict=True):
        verdicts[part] = outcome.verdicts
    place = np.cumsum(verdicts == 0) - 1
    receipts = np.empty((int(np.count_nonzero(verdicts == 0)), RECEIPT_WORDS), dtype=np.uint64)
    places = list[NDArray[np.int64]]()
    for part, outcome in zip(parts, outcomes, strict=True):
        mine = place[part[outcome.verdicts == 0]]
        receipts[mine] = outcome.receipts
        places.append(mine[outcome.outputs.places])
    return JobOutcome(
        verdicts,
        receipts,
        joined([each.outputs for each in outcomes], np.concatenate(places)),
        changed,
        _NOTHING,
        sum(each.gas_used for each in outcomes),
        sum(each.fees for each in outcomes),
    )
