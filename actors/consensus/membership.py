"""Members by their names in the genesis: what each is now, and the change that an operator asks for.

The genesis names everybody who may ever take part, and a certificate needs a majority of them, so that
whoever holds the genesis can check it. Changes of membership choose among them: who votes, who only learns,
who is out. A majority of the genesis must go on voting, or no certificate could ever be made again.
"""

from __future__ import annotations

from actors.consensus.raft import Configuration, MembershipError
from actors.consensus.replica import Replica
from actors.ledger.genesis import Genesis

ACTIONS = ("add", "promote", "remove", "transfer")


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
    needed = len(genesis.members) // 2 + 1
    if len(voters) < needed:
        raise MembershipError(
            f"certificates need {needed} voters of the genesis, {len(voters)} would be left"
        )
    return tuple(sorted(voters)), tuple(sorted(learners))


def describe_members(genesis: Genesis, replica: Replica | None) -> list[dict[str, object]]:
    """One row a member of the genesis; see `Consensus.members`."""
    rows: list[dict[str, object]] = []
    configuration = replica.raft.configuration if replica else None
    progress = {known.member: known for known in replica.raft.followers()} if replica else {}
    for number, member in enumerate(genesis.members, 1):
        row: dict[str, object] = {
            "number": number,
            "name": member.name,
            "identity": member.identity,
            "address": member.address,
            "role": _role(configuration, number),
            "leader": replica is not None and replica.raft.leader == number,
        }
        if number in progress:
            row |= {"match_index": progress[number].match, "behind": progress[number].lag_entries}
        rows.append(row)
    return rows


def _role(configuration: Configuration | None, number: int) -> str:
    if configuration is None or configuration.is_voter(number):
        return "voter"
    return "learner" if number in configuration.learners else "out"
