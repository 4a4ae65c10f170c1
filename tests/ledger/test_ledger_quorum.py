"""The quorum: two of them share an (honest) member, the correct ones make one, and what one has reached."""

from __future__ import annotations

from itertools import combinations
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.ledger.quorum import FaultModel, faults_max, quorum, reached

MODELS = st.sampled_from(list(FaultModel))


@pytest.mark.parametrize("members", range(1, 100))
def test_quorums_are_what_the_literature_says(members: int) -> None:
    assert quorum(members) == members // 2 + 1
    assert quorum(members, FaultModel.BYZANTINE) == ceil((2 * members + 1) / 3)


def test_nobody_decides_where_there_is_nobody() -> None:
    assert all(quorum(0, model) == 1 for model in FaultModel)


@pytest.mark.parametrize("members", range(1, 9))
@pytest.mark.parametrize("model", FaultModel)
def test_two_quorums_share_a_member_and_the_correct_ones_make_one(members: int, model: FaultModel) -> None:
    needed, faulty = quorum(members, model), faults_max(members, model)
    assert needed <= members - faulty
    quorums = [set(chosen) for chosen in combinations(range(members), needed)]
    shared = min(len(one & other) for one in quorums for other in quorums)
    assert shared > (faulty if model is FaultModel.BYZANTINE else 0)


@given(st.lists(st.integers(0, 9), max_size=9), st.integers(0, 9), MODELS)
def test_a_quorum_has_reached_what_so_many_have_and_nothing_larger(
    values: list[int], silent: int, model: FaultModel
) -> None:
    members = len(values) + silent

    def have(value: int) -> int:
        return sum(1 for each in values if each >= value)

    agreed = reached(values, members, model)
    if agreed is None:
        assert len(values) < quorum(members, model)
    else:
        assert have(agreed) >= quorum(members, model) > have(agreed + 1)
