"""The order within a draw: fewer waves, within the stated bound, each sender by nonce."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.ledger.rows import row_words
from actors.mempool.conflict_spacing import spread
from tests.mempool.test_mempool_pool import key, made


def order_of(senders: list[int], recipients: list[int], lookahead: int) -> list[int]:
    batch = made([(who, number, 1) for number, who in enumerate(senders)])
    for number, who in enumerate(recipients):
        batch.rows[number]["recipient"] = key(1_000 + who)
    order = np.empty(len(senders), dtype=np.int64)
    spread(row_words(batch.rows), np.arange(len(senders)), lookahead, np.zeros(2, dtype=np.uint64), order)
    return [int(place) for place in order]


def waves(pairs: list[tuple[int, int]]) -> int:
    count, touched = 1, set[int]()
    for sender, recipient in pairs:
        mine = {sender, 1_000 + recipient}
        if mine & touched:
            count, touched = count + 1, set()
        touched |= mine
    return count


@settings(max_examples=50, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=60),
    lookahead=st.integers(1, 9),
)
def test_an_order_keeps_nonces_and_moves_no_row_beyond_the_bound(
    pairs: list[tuple[int, int]], lookahead: int
) -> None:
    senders, recipients = [s for s, _ in pairs], [r for _, r in pairs]
    order = order_of(senders, recipients, lookahead)
    assert sorted(order) == list(range(len(pairs)))
    for who in set(senders):
        mine = [place for place in order if senders[place] == who]
        assert all(before < after for before, after in pairwise(mine))
    for turn, place in enumerate(order):
        assert place - turn <= lookahead - 1
        passed_by = sum(1 for earlier in order[:turn] if earlier > place)
        assert passed_by <= lookahead - 1


def test_runs_of_senders_are_interleaved_into_few_waves() -> None:
    senders = [number // 8 for number in range(64)]
    recipients = list(range(64))
    order = order_of(senders, recipients, 64)
    before = waves(list(zip(senders, recipients, strict=True)))
    after = waves([(senders[place], recipients[place]) for place in order])
    assert (before, after) == (57, 8)
