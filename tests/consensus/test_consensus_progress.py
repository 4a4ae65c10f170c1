"""How far members have come, as the leader tells the others."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.consensus.changes import encode_progress, with_progress
from actors.ledger.membership import MemberStanding


def member(number: int, match_index: int | None = None, behind: int | None = None) -> MemberStanding:
    name = f"node-{number}"
    return MemberStanding(
        number, name, f"{number:064x}", "", "voter", number == 2, "named", match_index, behind
    )


def test_a_follower_says_what_the_leader_knows() -> None:
    at_leader = [member(1, 7, 0), member(2), member(3, 4, 3)]
    at_follower = [member(number) for number in (1, 2, 3)]
    assert with_progress(at_follower, encode_progress(at_leader)) == at_leader
    assert with_progress(at_follower, encode_progress(at_follower)) == at_follower
    assert with_progress(at_follower[:1], encode_progress(at_leader)) == at_leader[:1]


@given(st.binary(max_size=60))
def test_other_bytes_are_refused_or_change_progress_alone(answer: bytes) -> None:
    members = [member(1), member(2)]
    try:
        found = with_progress(members, answer)
    except (msgspec.DecodeError, ValueError):
        return
    assert [each.name for each in found] == ["node-1", "node-2"]


def test_what_is_no_progress_raises() -> None:
    with pytest.raises(ValueError):
        with_progress([member(1)], b"\x93\x01\x02\x03")
