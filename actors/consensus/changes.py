"""What a member asks the one that leads for its operator: a change of members, and how far each has come.

`readmit` is not among these: it concerns the member alone that is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from actors.ledger.membership import ChangeOutcome, ChangeRefused, MemberChanged, MemberStanding

ACTIONS = ("add", "promote", "remove", "transfer")
PROGRESS_TIMEOUT_S, PROGRESS_MEMBERS_MAX = 1.0, 4_096


class ChangeRequest(msgspec.Struct, frozen=True, array_like=True):
    """What one member asks of the leader for its operator."""

    action: Annotated[str, msgspec.Meta(max_length=16)]
    name: Annotated[str, msgspec.Meta(max_length=64)]


def encode_change(action: str, name: str) -> bytes:
    """A request to the leader."""
    return msgspec.msgpack.encode(ChangeRequest(action, name))


def decode_change(request: bytes) -> tuple[str, str]:
    """(action, name). Raises ValueError for anything else, also for what no other member may ask."""
    wanted = msgspec.msgpack.decode(request, type=ChangeRequest)
    if wanted.action not in ACTIONS:
        raise ValueError(f"{wanted.action} is not for another member to ask")
    return wanted.action, wanted.name


def encode_answer(answer: ChangeOutcome) -> bytes:
    """The leader's answer."""
    return msgspec.msgpack.encode(answer)


def decode_answer(answer: bytes) -> ChangeOutcome:
    """The leader's answer. Raises msgspec.DecodeError, a ValueError, for anything else."""
    try:
        return msgspec.msgpack.decode(answer, type=ChangeRefused)
    except msgspec.ValidationError:
        return msgspec.msgpack.decode(answer, type=MemberChanged)


class MemberProgress(msgspec.Struct, frozen=True, array_like=True):
    """How far a member has come, by its number: as `MemberStanding` has it."""

    number: int
    match_index: int
    behind: int


_Progress = Annotated[list[MemberProgress], msgspec.Meta(max_length=PROGRESS_MEMBERS_MAX)]


def encode_progress(members: Sequence[MemberStanding]) -> bytes:
    """What is known here of how far members have come; nothing of those of whom nothing is."""
    known = [
        MemberProgress(each.number, each.match_index, each.behind)
        for each in members
        if each.match_index is not None and each.behind is not None
    ]
    return msgspec.msgpack.encode(known)


def with_progress(members: Sequence[MemberStanding], answer: bytes) -> list[MemberStanding]:
    """Members, with what the leader's answer says of them. Raises msgspec.DecodeError, a ValueError."""
    known = {each.number: each for each in msgspec.msgpack.decode(answer, type=_Progress)}
    return [
        msgspec.structs.replace(each, match_index=found.match_index, behind=found.behind)
        if (found := known.get(each.number))
        else each
        for each in members
    ]
