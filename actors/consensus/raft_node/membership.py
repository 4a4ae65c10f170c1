"""Members by their names in the genesis: what each is now, and the change that an operator asks for.

The genesis names everybody who may ever take part, and a certificate needs a majority of them, so that
whoever holds the genesis can check it. Changes of membership choose among them: who votes, who only learns,
who is out. A majority of the genesis must go on voting, or no certificate could ever be made again.
"""

from __future__ import annotations

import asyncio

from actors.consensus.changes import ACTIONS
from actors.consensus.raft import Configuration, MembershipError, NotLeaderError, Raft, RaftError
from actors.consensus.raft_node.engine import Engine
from actors.consensus.raft_node.replica import Replica
from actors.consensus.raft_node.standing import disk_state
from actors.ledger.genesis import Genesis
from actors.ledger.membership import ChangeOutcome, ChangeRefused, MemberChanged, MemberRole, MemberStanding
from actors.ledger.quorum import quorum

CHANGE_WAIT_S, LOOK_EVERY_S = 5.0, 0.01


async def change_here(genesis: Genesis, engine: Engine | None, action: str, name: str) -> ChangeOutcome:
    """Make a change here, and wait until it is in force, at most CHANGE_WAIT_S."""
    if engine is None:
        return ChangeRefused("this node takes no part in consensus, or is recovering")
    raft = engine.replica.raft
    try:
        member = member_number(genesis, name)
        if action == "readmit":
            _readmit(raft, member, name)
        elif action == "transfer":
            _check_heir(raft.leader, raft.configuration, member, name)
            raft.transfer_leadership(member)
        else:
            raft.change_membership(*change(genesis, raft.configuration, action, name))
    except NotLeaderError:
        why = "this member does not lead, and hears of no leader; ask another one by its --url"
        return ChangeRefused(why)
    except RaftError as error:
        return ChangeRefused(str(error))
    if action != "readmit":
        engine.pump()
        try:
            async with asyncio.timeout(CHANGE_WAIT_S):
                while not _is_done(engine, action, member):
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            what = f"to {action} {name} was begun, and is not done after {CHANGE_WAIT_S:.0f} s"
            return ChangeRefused(f"{what}; see `members` for what became of it")
    leader = genesis.member_keys[raft.leader - 1].hex() if raft.leader else ""
    return MemberChanged(action, name, raft.term, leader)


def _readmit(raft: Raft, member: int, name: str) -> None:
    """Let a member count at this one, although it speaks from another disk than the one that is named.

    For a network in which no majority is left that has forgotten nothing. Whoever has the member's key, and
    an empty disk, then decides with this member what the chain holds.
    """
    if not raft.configuration.is_voter(member):
        raise MembershipError(f"{name} is no voter here; add and promote it")
    raft.readmit(member)


def _check_heir(leader: int | None, now: Configuration, member: int, name: str) -> None:
    if member == leader:
        raise MembershipError(f"{name} leads already")
    if member not in now.voters:
        raise MembershipError(f"{name} has no vote, and cannot lead; add and promote it first")


def _is_done(engine: Engine, action: str, member: int) -> bool:
    raft = engine.replica.raft
    if action == "transfer":
        return raft.leader == member
    now = raft.configuration
    settled = not now.is_joint and raft.log.configuration_index <= raft.commit_index
    present = {"add": now.learners, "promote": now.voters, "remove": ()}[action]
    return settled and (member in present if present else member not in now.members())


def member_number(genesis: Genesis, name: str) -> int:
    """The id of a member, given its name or identity in hex. Raises MembershipError for a stranger."""
    for number, member in enumerate(genesis.members, 1):
        if name in (member.name, member.identity):
            return number
    names = ", ".join(member.name for member in genesis.members)
    raise MembershipError(f"{name} is no member of the genesis; it names {names}")


def change(
    genesis: Genesis, now: Configuration, action: str, name: str
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(voters, learners) after `action`. Raises MembershipError when it makes no sense or is not safe."""
    member = member_number(genesis, name)
    voters, learners = set(now.voters), set(now.learners)
    if action == "add":
        if member in voters or member in learners:
            raise MembershipError(f"{name} takes part already")
        learners.add(member)
    elif action == "promote":
        if member not in learners:
            raise MembershipError(f"{name} is no learner; add it first")
        learners.discard(member)
        voters.add(member)
    elif action == "remove":
        if member not in voters and member not in learners:
            raise MembershipError(f"{name} takes no part")
        voters.discard(member)
        learners.discard(member)
    else:
        raise MembershipError(f"{action} is no change of membership; use one of {', '.join(ACTIONS)}")
    needed = quorum(len(genesis.members))
    if len(voters) < needed:
        raise MembershipError(
            f"certificates need {needed} voters of the genesis, {len(voters)} would be left"
        )
    return tuple(sorted(voters)), tuple(sorted(learners))


def describe_members(genesis: Genesis, replica: Replica | None) -> list[MemberStanding]:
    """See `Consensus.members`."""
    members, raft = [], replica.raft if replica else None
    known = {each.member: (each.match, each.lag_entries) for each in raft.followers()} if raft else {}
    for number, member in enumerate(genesis.members, 1):
        named = number, member.name, member.identity, member.address
        role = _role(raft.configuration if raft else None, number)
        leads = raft is not None and raft.leader == number
        disk = disk_state(raft, number) if raft else "unnamed"
        members.append(MemberStanding(*named, role, leads, disk, *known.get(number, (None, None))))
    return members


def _role(configuration: Configuration | None, number: int) -> MemberRole:
    if configuration is None or configuration.is_voter(number):
        return "voter"
    return "learner" if number in configuration.learners else "out"
