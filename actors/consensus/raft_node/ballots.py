"""This replica's votes: which blocks of its log it has signed in the present term, and may sign now.

When a block may be signed, `raft/signing.py` alone says. A vote is given once a term: it rides on the
acknowledgement that it belongs to, or, where there is none, on the next one; who lost it asks for it again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec

from actors.consensus.raft import BlockVote, Entry, Message
from actors.consensus.raft.messages import VOTES_PER_MESSAGE_MAX, AppendResponse
from actors.consensus.raft_node.replica import Replica
from actors.ledger.block import Header

HEADERS_MAX = 4096
Sign = Callable[[Header, int], bytes]


class Ballots:
    """Headers of the log's blocks that are not final, and the votes for them.

    `sign` votes for a header in a term, `headers` are those of the blocks that the log holds at the
    beginning. At HEADERS_MAX the oldest header goes: the log holds fewer blocks that are not final.
    """

    def __init__(self, replica: Replica, sign: Sign, headers: Sequence[Header]) -> None:
        self._replica, self._sign = replica, sign
        self._headers = OrderedDict((header.hash(), header) for header in headers)
        self._term = self._index = 0

    def know(self, digest: bytes, header: Header) -> None:
        """A block is about to enter the log."""
        self._headers[digest] = header
        if len(self._headers) > HEADERS_MAX:
            self._headers.popitem(last=False)

    def header(self, digest: bytes) -> Header | None:
        """The header of a block of the log that is not final."""
        return self._headers.get(digest)

    def forget(self, digest: bytes) -> None:
        """The block is final, and no longer in the log's tail."""
        self._headers.pop(digest, None)

    def take(self) -> list[BlockVote]:
        """Votes not given in this term yet that may be given now, for blocks that are not final."""
        raft = self._replica.raft
        if raft.term != self._term:
            self._term, self._index = raft.term, 0
        upto = raft.signable_index
        if upto <= self._index:
            return []
        tail = self._replica.tail(below=upto + 1)
        votes = [self._vote(entry) for entry in tail if entry.index > self._index]
        self._index = upto
        return votes

    def again(self, digest: bytes) -> BlockVote | None:
        """The vote for a block that is not final here, if this replica may give one now."""
        tail = self._replica.tail(below=self._replica.raft.signable_index + 1)
        return next((self._vote(entry) for entry in tail if entry.digest == digest), None)

    def _vote(self, entry: Entry) -> BlockVote:
        term = self._replica.raft.term
        return BlockVote(entry.index, term, entry.digest, self._sign(self._headers[entry.digest], term))


def ride(messages: Sequence[Message], votes: list[BlockVote]) -> tuple[Message, ...] | None:
    """The messages with the votes on an acknowledgement of all their blocks; None if none has room."""
    if not votes:
        return tuple(messages)
    for at, message in enumerate(messages):
        if not isinstance(message, AppendResponse) or message.rejected or message.index < votes[-1].index:
            continue
        if len(message.votes) + len(votes) <= VOTES_PER_MESSAGE_MAX:
            loaded = msgspec.structs.replace(message, votes=(*message.votes, *votes))
            return (*messages[:at], loaded, *messages[at + 1 :])
    return None
