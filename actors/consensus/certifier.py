"""Commit certificates: votes over headers gathered until a majority of the members has voted in one term.

Rules
1. A vote counts if its signature holds and its author is a member. Of each member the vote of the latest term
   is kept, so that a block's votes are bounded by the number of members; votes of different terms never add
   up.
2. A certificate from elsewhere is taken only if it proves itself.
3. Certificates list identities in ascending order, so the same votes always give the same bytes.
4. At `BLOCKS_MAX` the oldest block that nobody waits for is forgotten; its votes can be asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from actors.ledger.block import Certificate, Header, decode_certificate, verify_vote
from actors.ledger.quorum import quorum
from actors.ledger.rows import FormatError

BLOCKS_MAX = 4096
OnVote = Callable[[bytes, Header, int, bytes], object]


@dataclass(slots=True)
class _Gathering:
    votes: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    certificate: bytes = b""
    complete: asyncio.Event = field(default_factory=asyncio.Event)
    waiters: int = 0


class Certifier:
    """Votes in, certificates out. `network` is the genesis hash, `members` are its identities.

    on_vote is told of every true vote, also of those in whole certificates: (identity, header, term,
    signature).
    """

    def __init__(self, network: bytes, members: list[bytes], on_vote: OnVote = lambda *_: None) -> None:
        self._network, self._on_vote = network, on_vote
        self._members = frozenset(members)
        self._ordered = members
        self._needed = quorum(len(members))
        self._blocks: dict[bytes, _Gathering] = {}
        self.votes_refused = 0

    def add_vote(self, identity: bytes, header: Header, term: int, signature: bytes) -> None:
        """Count a vote; one that is false, not a member's or of a term before the header's is refused and
        counted as such."""
        gathering = self._of(header.hash())
        if gathering.certificate or term <= gathering.votes.get(identity, (-1, b""))[0]:
            return
        true = identity in self._members and term >= header.term
        if not true or not verify_vote(identity, self._network, header, term, signature):
            self.votes_refused += 1
            return
        self._on_vote(identity, header, term, signature)
        gathering.votes[identity] = term, signature
        agreed = sorted((key, sig) for key, (of, sig) in gathering.votes.items() if of == term)
        if len(agreed) >= self._needed:
            self._finish(gathering, Certificate(term, tuple(agreed)).encode())

    def add_certificate(self, header: Header, certificate: bytes) -> bool:
        """Take a whole certificate. False, and counted, if it does not prove the block."""
        gathering = self._of(header.hash())
        if gathering.certificate:
            return True
        try:
            decoded = decode_certificate(certificate)
        except FormatError:
            self.votes_refused += 1
            return False
        if not decoded.verify(self._network, header, self._ordered):
            self.votes_refused += 1
            return False
        for identity, signature in decoded.votes:
            self._on_vote(identity, header, decoded.term, signature)
        self._finish(gathering, certificate)
        return True

    def certificate(self, digest: bytes) -> bytes:
        """The certificate of a block; empty while votes are missing."""
        gathering = self._blocks.get(digest)
        return gathering.certificate if gathering else b""

    async def wait(self, digest: bytes, timeout_s: float) -> bytes:
        """The certificate of a block, waiting for it; empty after `timeout_s`."""
        gathering = self._of(digest)
        gathering.waiters += 1
        try:
            async with asyncio.timeout(timeout_s):
                await gathering.complete.wait()
        except TimeoutError:
            return b""
        finally:
            gathering.waiters -= 1
        return gathering.certificate

    def forget(self, digest: bytes) -> None:
        """The block is committed, and its certificate stored."""
        self._blocks.pop(digest, None)

    def _of(self, digest: bytes) -> _Gathering:
        found = self._blocks.get(digest)
        if found is None:
            if len(self._blocks) >= BLOCKS_MAX:
                idle = (known for known, gathering in self._blocks.items() if not gathering.waiters)
                self._blocks.pop(next(idle), None)
            found = self._blocks[digest] = _Gathering()
        return found

    @staticmethod
    def _finish(gathering: _Gathering, certificate: bytes) -> None:
        gathering.certificate = certificate
        gathering.complete.set()
