"""Members of the network: who votes, who leads, and an administrator's changes of that.

Consensus decides; a change that its rules refuse is a conflict (409) that says why, and where the leader is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from actors.gateway.backend import UnavailableError
from actors.gateway.models import MemberOut
from actors.gateway.openapi import problems, reads
from actors.gateway.problem import ProblemError
from actors.gateway.roles import AccessRole, RoledRoute, needs
from actors.gateway.transaction_routes import json_response
from actors.ledger.genesis import Genesis
from actors.ledger.membership import ChangeOutcome, ChangeRefused, DiskState, MemberRole, MemberStanding
from actors.ledger.quorum import quorum

READMIT_RISK = (
    "readmit lets a member vote that has forgotten what it signed: with it, a block that was final can be "
    "replaced. The network does this by itself while a majority has its disks. Where none has, choose the "
    "member with the longest chain, set accept_risk, and ask every member that runs"
)


@dataclass(frozen=True, slots=True)
class Membership:
    """Consensus as plain calls: what its members are, and a change of one member by name."""

    members: Callable[[], Awaitable[list[MemberStanding]]]
    change: Callable[[str, str], Awaitable[ChangeOutcome]]


class ReplicaOut(MemberOut):
    """A member and what it is now; the leader also says how far each other one has come."""

    number: int
    role: MemberRole
    leader: bool
    disk: DiskState = "unnamed"
    match_index: int | None = None
    behind: int | None = None


class MembersOut(BaseModel):
    """Members of the genesis, and how many votes make a block final."""

    members: list[ReplicaOut]
    majority: int


class ChangeIn(BaseModel):
    """A change of membership."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["add", "promote", "remove", "transfer", "readmit"]
    member: Annotated[str, Field(min_length=1, max_length=64)]
    accept_risk: bool = False  # of `readmit` alone


class ChangedOut(BaseModel):
    """The change is under way."""

    action: str
    member: str
    term: int
    leader: str


def membership_routes(genesis: Genesis, membership: Membership | None) -> APIRouter:
    """GET and POST /members."""
    router = APIRouter(prefix="/v1", route_class=RoledRoute)

    @reads(router, "/members", MembersOut, 503, heavy=True)
    async def members() -> Response:
        """Who votes for blocks, and who leads."""
        if membership is None:
            raise UnavailableError("consensus")
        found = await membership.members()
        return json_response({"members": found, "majority": quorum(len(genesis.members))})

    @router.post(
        "/members",
        summary="Add (as a learner), promote, or remove a member, or transfer leadership to it",
        description="`readmit` has the member that is asked count one that has lost its disk, where no "
        "majority is left to do so; it needs accept_risk. For administrators, at any member; without API "
        "keys, for callers on this machine.",
        response_model=ChangedOut,
        responses=problems(400, 403, 408, 409, 413, 422, 503),
    )
    @needs(AccessRole.ADMIN)
    async def change(wanted: ChangeIn) -> Response:
        if membership is None:
            raise UnavailableError("consensus")
        if wanted.action == "readmit" and not wanted.accept_risk:
            raise ProblemError("membership-conflict", READMIT_RISK, field="accept_risk")
        answer = await membership.change(wanted.action, wanted.member)
        if isinstance(answer, ChangeRefused):
            raise ProblemError("membership-conflict", answer.refused, field="member")
        return json_response(answer)

    return router
