"""Answers about members as others read them: bytes between members, and the JSON of the HTTP API."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.consensus.changes import decode_answer, encode_answer
from actors.ledger.membership import ChangeOutcome, ChangeRefused, MemberChanged, MemberStanding


@pytest.mark.parametrize(
    ("outcome", "read"),
    [
        (
            MemberChanged("add", "node-3", 7, ""),
            {"action": "add", "member": "node-3", "term": 7, "leader": ""},
        ),
        (ChangeRefused(""), {"refused": ""}),
    ],
)
def test_an_answer_to_a_change_is_a_map_with_the_names_of_its_fields(
    outcome: ChangeOutcome, read: dict[str, Any]
) -> None:
    assert encode_answer(outcome) == msgspec.msgpack.encode(read)
    assert decode_answer(encode_answer(outcome)) == outcome
    assert msgspec.json.encode(outcome) == msgspec.json.encode(read)


@pytest.mark.parametrize("answer", [{}, {"refused": 1}, {"action": "add", "member": "a", "term": "7"}, [], 1])
def test_another_answer_to_a_change_is_an_error(answer: object) -> None:
    with pytest.raises(ValueError, match=r"[Oo]bject|Expected"):
        decode_answer(msgspec.msgpack.encode(answer))
    with pytest.raises(ValueError, match="truncated"):
        decode_answer(b"")


@pytest.mark.parametrize("progress", [{}, {"match_index": 0, "behind": 0}, {"match_index": 9, "behind": 2}])
def test_only_the_leader_says_how_far_a_member_has_come(progress: dict[str, int]) -> None:
    standing = MemberStanding(2, "b", "aa", "", role="learner", leader=False, disk="named", **progress)
    known = {"number": 2, "name": "b", "identity": "aa", "address": "", "role": "learner", "leader": False}
    assert msgspec.json.encode(standing) == msgspec.json.encode({**known, "disk": "named", **progress})
