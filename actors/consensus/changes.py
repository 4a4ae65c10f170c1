"""A change of members, from the member whose operator asks for it to the one that leads.

`readmit` is not among these: it concerns the member alone that is asked.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from actors.ledger.membership import ChangeOutcome, ChangeRefused, MemberChanged

ACTIONS = ("add", "promote", "remove", "transfer")


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
