"""Commit certificates: votes over header hashes gathered until a majority of the members has voted.

Rules
1. A vote counts if its signature holds and its author is a member; each member counts once a block.
2. A certificate from elsewhere is taken only if it proves itself.
3. Certificates list identities in ascending order, so the same votes always give the same bytes.
4. At `BLOCKS_MAX` the oldest block that nobody waits for is forgotten; its votes can be asked for again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from actors.ledger.block import Certificate, decode_certificate, verify_vote
from actors.ledger.rows import FormatError

BLOCKS_MAX = 4096
OnVote = Callable[[bytes, bytes, bytes], None]


@dataclass(slots=True)
class _Gathering:
    votes: dict[bytes, bytes] = field(default_factory=dict)
    certificate: bytes = b""
    complete: asyncio.Event = field(default_factory=asyncio.Event)
    waiters: int = 0


class Certifier:
    """Votes in, certificates out. `members` are the identities of the genesis.

    on_vote is told of every true vote: (identity, header hash, signature).
    """

    def __init__(self, members: list[bytes], on_vote: OnVote = lambda *_: None) -> None:
        self._on_vote = on_vote
        self._members = frozenset(members)
        self._ordered = members
        self._needed = len(members) // 2 + 1
        self._blocks: dict[bytes, _Gathering] = {}
        self.votes_refused = 0

    def add_vote(self, identity: bytes, digest: bytes, signature: bytes) -> None:
        """Count a vote; one that is false or not a member's is refused and counted as such."""
        gathering = self._of(digest)
        if gathering.certificate or identity in gathering.votes:
            return
        if identity not in self._members or not verify_vote(identity, digest, signature):
            self.votes_refused += 1
            return
        self._on_vote(identity, digest, signature)
        gathering.votes[identity] = signature
        if len(gathering.votes) >= self._needed:
            certificate = Certificate(tuple(sorted(gathering.votes.items())))
            self._finish(gathering, certificate.encode())

    def add_certificate(self, digest: bytes, certificate: bytes) -> bool:
        """Take a whole certificate. False, and counted, if it does not prove the block."""
        gathering = self._of(digest)
        if gathering.certificate:
            return True
        try:
            proven = decode_certificate(certificate).verify(digest, self._ordered)
        except FormatError:
            proven = False
        if proven:
            self._finish(gathering, certificate)
        else:
            self.votes_refused += 1
        return proven

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
