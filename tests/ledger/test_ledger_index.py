"""Keys that are told apart in columns."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.ledger.index import distinct_keys, numbered_keys


@given(st.lists(st.integers(0, 5), max_size=20), st.sampled_from([0, 8, 31]))
def test_numbered_keys_are_each_once(rows: list[int], differ_at: int) -> None:
    keys = np.zeros((len(rows), 32), dtype=np.uint8)
    keys[:, differ_at] = rows
    rows_of_keys, which = numbered_keys(keys)
    distinct = [keys[row].tobytes() for row in rows_of_keys]
    assert sorted(distinct) == sorted({key.tobytes() for key in keys})
    assert [distinct[number] for number in which] == [key.tobytes() for key in keys]
    assert distinct_keys(keys) == distinct
