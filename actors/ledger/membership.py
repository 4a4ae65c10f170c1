"""Members as Consensus answers of them: what each is now, and what became of a change that was asked for."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

MemberRole: TypeAlias = Literal["voter", "learner", "out"]
DiskState: TypeAlias = Literal["named", "changed", "awaited", "unnamed"]


class MemberStanding(msgspec.Struct, frozen=True, omit_defaults=True):
    """A member of the genesis, by its number from 1 on, and what it is now.

    match_index, behind: how far it has come and how many entries it lacks, which the leader knows of others.
    """

    number: int
    name: str
    identity: str
    address: str
    role: MemberRole
    leader: bool
    disk: DiskState
    match_index: int | None = None
    behind: int | None = None


class MemberChanged(msgspec.Struct, frozen=True):
    """A change that is in force. term, leader: at present; an identity in hex, "" while none is known."""

    action: str
    member: str
    term: int
    leader: str


class ChangeRefused(msgspec.Struct, frozen=True):
    """Why a change was not made, or is not in force yet."""

    refused: str


ChangeOutcome: TypeAlias = MemberChanged | ChangeRefused
