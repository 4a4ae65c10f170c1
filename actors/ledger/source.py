"""Who hands transactions in, as a name "kind:name", which rooms make and read here alone.

A member is a node of this network, a known one a client that has shown who it is, an anonymous one anybody
else; "" is whoever was not named. A member vouches for the kind of what it passes on.
"""

from __future__ import annotations

from actors.ledger.rows import FormatError

ANONYMOUS, KNOWN = "anonymous", "known"
KINDS = ANONYMOUS, KNOWN, "member"
SOURCE_CHARS_MAX = 128
_OF_MEMBER, _OF_PEER = "member-", "peer-"


def client_source(client: str, known: bool) -> str:
    """A client by the name of its key, or, if it has none, by its address."""
    return f"{KNOWN if known else ANONYMOUS}:{client}"[:SOURCE_CHARS_MAX]


def relayed_source(identity: bytes, member: bool, kind: str) -> str:
    """A node that passes rows on: by the kind that a member vouches for; anybody else's are anonymous."""
    return f"{kind}:{_OF_MEMBER}{identity.hex()}" if member else f"{ANONYMOUS}:{_OF_PEER}{identity.hex()}"


def kind_of(source: str) -> int:
    """Index into KINDS. Raises FormatError when the source is too long or of no kind."""
    if not source:
        return 0
    if len(source) > SOURCE_CHARS_MAX:
        raise FormatError("source", f"{len(source)} characters", f"at most {SOURCE_CHARS_MAX}")
    kind, colon, _ = source.partition(":")
    if kind not in KINDS or not colon:
        raise FormatError("source", repr(source), f"one of {', '.join(KINDS)}, a colon and a name")
    return KINDS.index(kind)


def speaks_for_many(source: str) -> bool:
    """Whether a source is a member that passes on what its clients sent."""
    return source.partition(":")[2].startswith(_OF_MEMBER)
