"""Ids of gossip that was judged: what was accepted is known to all, what was not is held against who sent it.

Rules
1. The ids of accepted items share one ring of `shared_max`; nothing else enters it, so junk forgets nothing.
2. The id of an item that was not accepted is remembered for its sender, in a ring of his own: it is not
   judged twice for him, and he fills only his share. What a member sent so is not judged again for anybody.
"""

from __future__ import annotations

from collections import OrderedDict

OBSERVER_IDS_MAX = 1_024
MEMBER_SHARES = 8
"""A member's ring is one in so many of the shared one."""


class SeenIds:
    """Which items need no judgement."""

    def __init__(self, shared_max: int, members: frozenset[bytes]) -> None:
        self._shared_max = shared_max
        self._members = members
        self._accepted: OrderedDict[bytes, None] = OrderedDict()
        self._refused: dict[bytes, OrderedDict[bytes, None]] = {}
        self._by_members: dict[bytes, int] = {}

    @property
    def accepted(self) -> int:
        """Ids in the shared ring."""
        return len(self._accepted)

    @property
    def refused(self) -> int:
        """Ids in all senders' rings."""
        return sum(map(len, self._refused.values()))

    def __contains__(self, id_: object) -> bool:
        return id_ in self._accepted

    def knows(self, peer: bytes, id_: bytes) -> bool:
        """Whether an item that `peer` sends or announces was judged for it already."""
        return id_ in self._accepted or id_ in self._by_members or id_ in self._refused.get(peer, ())

    def accept(self, id_: bytes) -> bool:
        """Remember an accepted item; whether it is new. At the bound the oldest is forgotten."""
        if id_ in self._accepted:
            return False
        self._accepted[id_] = None
        if len(self._accepted) > self._shared_max:
            self._accepted.popitem(last=False)
        return True

    def refuse(self, peer: bytes, id_: bytes) -> None:
        """Remember what `peer` sent and was not accepted. At its bound its oldest is forgotten."""
        member = peer in self._members
        ring = self._refused.setdefault(peer, OrderedDict())
        if id_ in ring:
            return
        ring[id_] = None
        if member:
            self._by_members[id_] = self._by_members.get(id_, 0) + 1
        if len(ring) > (max(1, self._shared_max // MEMBER_SHARES) if member else OBSERVER_IDS_MAX):
            self._forget(member, ring.popitem(last=False)[0])

    def peer_left(self, peer: bytes) -> None:
        """Forget what was held against a peer."""
        member = peer in self._members
        for id_ in self._refused.pop(peer, ()):
            self._forget(member, id_)

    def _forget(self, member: bool, id_: bytes) -> None:
        if member:
            self._by_members[id_] -= 1
            if not self._by_members[id_]:
                del self._by_members[id_]
