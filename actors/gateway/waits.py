"""Who waits for which transaction to commit: a table of ids, matched against each block at once.

Rules
  * One table row a transaction waited for: the id's first eight bytes, the whole id, the ticket, and the row
    within the ticket. There is no object a transaction; a ticket is one a request.
  * A wait is registered before its rows are offered to a mempool, so a commit cannot slip past between.
    Rows that the mempool then refuses are closed; rows that committed in the meantime stay committed.
  * Ids are matched by prefix first and compared in full after, so an id with a crafted prefix costs one more
    comparison and never a false answer.
  * A shard that dies takes rows with it that it had accepted. `abandon` ends the waits for them that were
    registered before some moment: whoever saw the shard die takes the moment, and gives the rows that are on
    their way into a block some time to arrive.
  * A row that is done becomes a tombstone (ticket -1); the table is compacted when most of it is tombstones.

At the bound (`rows_max` rows) `register` raises BusyError and registers nothing.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from actors.gateway.backend import BusyError
from actors.ledger.hashing import prefixes
from actors.ledger.verdict import Verdict

Owner = TypeVar("Owner")
WAITING, COMMITTED, CLOSED = 0, 1, 2
_FILTER_BITS = 16
_ROWS_FIRST = 1024
_DEAD = -1


class Ticket(Generic[Owner]):
    """One request's wait. states: (n,) uint8 of WAITING, COMMITTED, CLOSED. verdicts: (n,) uint8.

    waiting: rows whose fate is open. height: the highest block that holds one of the rows, or None.
    """

    __slots__ = ("height", "number", "owner", "states", "verdicts", "waiting")

    def __init__(self, number: int, rows: int, owner: Owner) -> None:
        self.number, self.owner = number, owner
        self.states = np.zeros(rows, dtype=np.uint8)
        self.verdicts = np.zeros(rows, dtype=np.uint8)
        self.waiting = rows
        self.height: int | None = None

    def pending(self) -> NDArray[np.int64]:
        """Indices of rows whose fate is open."""
        return np.flatnonzero(self.states == WAITING)


class CommitWaits(Generic[Owner]):
    """All waits of one gateway; see the module's rules."""

    def __init__(self, rows_max: int) -> None:
        self._rows_max = rows_max
        self._count = self._dead = 0
        self._next_number = 0
        self._tickets: dict[int, Ticket[Owner]] = {}
        room = min(_ROWS_FIRST, rows_max)
        self._prefixes = np.empty(room, dtype=np.uint64)
        self._ids = np.empty((room, 32), dtype=np.uint8)
        self._ticket_of = np.empty(room, dtype=np.int64)
        self._row_of = np.empty(room, dtype=np.int64)
        self._shard_of = np.empty(room, dtype=np.int64)

    @property
    def moment(self) -> int:
        """Tickets with a lower number were registered before now."""
        return self._next_number

    def __len__(self) -> int:
        """Rows that are waited for."""
        return self._count - self._dead

    def tickets(self) -> list[Ticket[Owner]]:
        """All that wait, in the order they came."""
        return list(self._tickets.values())

    def register(self, ids: NDArray[np.uint8], shards: NDArray[np.int64], owner: Owner) -> Ticket[Owner]:
        """Wait for (n, 32) ids, of rows for (n,) mempool shards. Raises BusyError when the table would exceed
        its bound."""
        rows = len(ids)
        if len(self) + rows > self._rows_max:
            raise BusyError("rows awaiting their block", self._rows_max)
        self._make_room(rows)
        ticket = Ticket(self._next_number, rows, owner)
        self._next_number += 1
        low, high = self._count, self._count + rows
        self._ids[low:high] = ids
        self._prefixes[low:high] = prefixes(ids)
        self._ticket_of[low:high] = ticket.number
        self._row_of[low:high] = np.arange(rows)
        self._shard_of[low:high] = shards
        self._count = high
        self._tickets[ticket.number] = ticket
        return ticket

    def close(self, ticket: Ticket[Owner], refused: NDArray[np.bool_], verdicts: NDArray[np.uint8]) -> None:
        """Stop waiting for the refused rows of a ticket, (n,) bool, and note their verdicts.

        A refused row that has committed already stays committed: another submission of it was faster.
        """
        closing = refused & (ticket.states == WAITING)
        if not closing.any():
            return
        ticket.states[closing] = CLOSED
        ticket.verdicts[closing] = verdicts[closing]
        ticket.waiting -= int(closing.sum())
        own = self._rows_of(ticket)
        self._bury(own[closing[self._row_of[own]]])

    def cancel(self, ticket: Ticket[Owner]) -> None:
        """Forget a ticket; idempotent. Its rows may still commit, nobody is told."""
        if self._tickets.pop(ticket.number, None) is not None and ticket.waiting:
            self._bury(self._rows_of(ticket))

    def committed(self, height: int, ids: NDArray[np.uint8]) -> list[Ticket[Owner]]:
        """A block holds these (n, 32) ids. Returns the tickets that have nothing left to wait for."""
        found, _ = self._match(ids)
        return self._finish(found, height, None)

    def dropped(self, ids: NDArray[np.uint8], verdicts: NDArray[np.uint8]) -> list[Ticket[Owner]]:
        """These ids left the mempool uncommitted, each with a verdict. Returns the tickets now finished."""
        found, where = self._match(ids)
        return self._finish(found, None, verdicts[where])

    def abandon(self, shard: int, before: int) -> list[Ticket[Owner]]:
        """A shard has died: end what still waits of its rows, registered before a `moment`, as UNAVAILABLE.

        Returns the tickets now finished.
        """
        tickets = self._ticket_of[: self._count]
        found = np.flatnonzero(
            (tickets != _DEAD) & (tickets < before) & (self._shard_of[: self._count] == shard)
        )
        return self._finish(found, None, np.full(len(found), Verdict.UNAVAILABLE, dtype=np.uint8))

    def _finish(
        self, found: NDArray[np.int64], height: int | None, verdicts: NDArray[np.uint8] | None
    ) -> list[Ticket[Owner]]:
        if len(found) == 0:
            return []
        order = np.argsort(self._ticket_of[found], kind="stable")
        found = found[order]
        numbers, starts = np.unique(self._ticket_of[found], return_index=True)
        ends = np.append(starts[1:], len(found))
        finished = []
        for number, low, high in zip(numbers.tolist(), starts.tolist(), ends.tolist(), strict=True):
            ticket = self._tickets[number]
            rows = self._row_of[found[low:high]]
            ticket.waiting -= len(rows)
            if verdicts is None:
                ticket.states[rows] = COMMITTED
                ticket.height = max(height or 0, ticket.height or 0)
            else:
                ticket.states[rows] = CLOSED
                ticket.verdicts[rows] = verdicts[order[low:high]]
            if ticket.waiting == 0:
                finished.append(ticket)
        self._bury(found)
        return finished

    def _match(self, ids: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Live table rows whose id is among `ids`, and where in `ids` it stands (its first place)."""
        none = np.empty(0, dtype=np.int64)
        if len(ids) == 0 or len(self) == 0:
            return none, none
        wanted = prefixes(ids)
        order = np.argsort(wanted, kind="stable")
        wanted = wanted[order]
        rows = self._candidates(wanted)
        at = np.searchsorted(wanted, self._prefixes[rows])
        found, where = [none], [none]
        while len(rows):
            same_prefix = at < len(wanted)
            same_prefix[same_prefix] = wanted[at[same_prefix]] == self._prefixes[rows[same_prefix]]
            rows, at = rows[same_prefix], at[same_prefix]
            place = order[at]
            equal = (self._ids[rows] == ids[place]).all(axis=1)
            found.append(rows[equal])
            where.append(place[equal])
            rows, at = rows[~equal], at[~equal] + 1
        return np.concatenate(found), np.concatenate(where)

    def _candidates(self, wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Live rows that pass a 64 KiB filter: spares most of a binary search for each row of the table."""
        low_bits = np.uint64((1 << _FILTER_BITS) - 1)
        seen = np.zeros(1 << _FILTER_BITS, dtype=np.bool_)
        seen[wanted & low_bits] = True
        passing = seen[self._prefixes[: self._count] & low_bits]
        passing &= self._ticket_of[: self._count] != _DEAD
        return np.flatnonzero(passing)

    def _rows_of(self, ticket: Ticket[Owner]) -> NDArray[np.int64]:
        return np.flatnonzero(self._ticket_of[: self._count] == ticket.number)

    def _bury(self, rows: NDArray[np.int64]) -> None:
        self._ticket_of[rows] = _DEAD
        self._dead += len(rows)
        if 2 * self._dead > self._count:
            self._compact()

    def _compact(self) -> None:
        live = np.flatnonzero(self._ticket_of[: self._count] != _DEAD)
        for column in (self._prefixes, self._ids, self._ticket_of, self._row_of, self._shard_of):
            column[: len(live)] = column[live]
        self._count, self._dead = len(live), 0

    def _make_room(self, rows: int) -> None:
        if self._count + rows > len(self._prefixes):
            self._compact()
        need = self._count + rows
        if need <= len(self._prefixes):
            return
        room = min(max(need, len(self._prefixes) * 3 // 2), self._rows_max)
        self._prefixes = np.resize(self._prefixes, room)
        self._ids = np.resize(self._ids, (room, 32))
        self._ticket_of = np.resize(self._ticket_of, room)
        self._row_of = np.resize(self._row_of, room)
        self._shard_of = np.resize(self._shard_of, room)


def waits_on(verdicts: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(n,) rows that may still commit: those taken now, and those that were pending already."""
    pending: NDArray[np.bool_] = (verdicts == Verdict.OK) | (verdicts == Verdict.DUPLICATE)
    pending |= verdicts == Verdict.PARKED
    return pending
