"""Membership change by joint consensus: the rules for configurations, as functions of records.

A change takes two entries. The first enters the joint configuration (new voters beside the outgoing ones),
the second leaves it. A replica uses the latest configuration in its log, committed or not, and falls back to
the one before if that entry is truncated (Raft dissertation, chapter 4).
"""

from __future__ import annotations

import msgspec

from .errors import MembershipError, MessageError
from .records import AWAITED, MEMBERS_MAX, PAYLOAD_BYTES_MAX, Configuration, Entry, EntryKind

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Configuration)


def configuration_entry(index: int, term: int, configuration: Configuration) -> Entry:
    """The entry that puts `configuration` in force. Raises MembershipError if it is too large."""
    payload = _ENCODER.encode(configuration)
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise MembershipError(f"configuration of {len(payload)} bytes exceeds {PAYLOAD_BYTES_MAX}")
    return Entry(index, term, EntryKind.CONFIGURATION, size_bytes=len(payload), payload=payload)


def configuration_of(entry: Entry) -> Configuration:
    """The configuration that `entry` puts in force. Raises MessageError if the payload is malformed."""
    try:
        return _DECODER.decode(entry.payload)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise MessageError("payload", str(error)) from error


def enter_joint(
    current: Configuration,
    voters: tuple[int, ...],
    learners: tuple[int, ...],
    disks: tuple[tuple[int, bytes], ...] = (),
) -> Configuration:
    """The joint configuration on the way from `current` to `voters` and `learners`; `disks` are newly named.

    Raises MembershipError if `current` is joint already or has no voters, or the target is not legal.
    """
    if current.is_joint:
        raise MembershipError("a membership change is under way")
    if not current.voters:
        raise MembershipError("nobody can change the members of a configuration without voters")
    if not voters:
        raise MembershipError("a configuration needs at least one voter")
    if len(voters) > MEMBERS_MAX or len(learners) > MEMBERS_MAX:
        raise MembershipError(f"more than {MEMBERS_MAX} voters or learners")
    if len(set(voters)) != len(voters) or len(set(learners)) != len(learners):
        raise MembershipError("a member is listed twice")
    if set(voters) & set(learners):
        raise MembershipError("a member is both voter and learner")
    if any(not 1 <= member <= 2**32 - 1 for member in (*voters, *learners)):
        raise MembershipError("member ids lie between 1 and 2**32 - 1")
    named = dict(current.disks) | dict(disks)
    joint = Configuration(tuple(sorted(voters)), current.voters, tuple(sorted(learners)))
    return msgspec.structs.replace(joint, disks=_kept(joint, named))


def leave_joint(joint: Configuration) -> Configuration:
    """The configuration that a joint one leads to. Raises MembershipError if `joint` is not joint."""
    if not joint.is_joint:
        raise MembershipError("no membership change is under way")
    left = Configuration(joint.voters, (), joint.learners)
    return msgspec.structs.replace(left, disks=_kept(left, dict(joint.disks)))


def _kept(configuration: Configuration, named: dict[int, bytes]) -> tuple[tuple[int, bytes], ...]:
    """The disks of voters, and that of a learner only while its vote is to come back."""
    awaited = (member for member in configuration.learners if named.get(member) == AWAITED)
    wanted = {*configuration.voters, *configuration.outgoing, *awaited}
    return tuple(sorted((member, disk) for member, disk in named.items() if member in wanted))
