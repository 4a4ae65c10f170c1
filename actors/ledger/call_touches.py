"""What the calls of a batch touch, as columns: keys of rows and of accounts, cut out of the transactions.

Rules
1. Calls of one function of one contract are a group, for which a plan (contracts/touches.py) says which bytes
   make which key; so a key of all of them is a few copies of columns.
2. Each call reads its contract's account, at least: its balance stands in the receipt. One that brings coins,
   or whose function uses the contract's, writes it.
3. Calls that have no plan, whose plan is not complete, or which are not as long as their function's arguments
   (they fail) are `whole`: they may touch all that their contract has, and so write its account, which all
   others read; likewise that of each contract that it imports, and these do. The groups are bounded by
   GROUPS_MAX, the largest first; calls beyond it are whole, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.contracts.touches import FunctionTouches, Mode, Piece, Pieces, PieceSource
from actors.ledger.index import numbered_keys
from actors.ledger.rows import KIND_CALL, Batch

GROUPS_MAX = 256
Plans = Mapping[bytes, Mapping[int, FunctionTouches]]
"""Of contracts by their addresses; of each, of its functions by number."""


@dataclass(frozen=True, slots=True, eq=False)
class KeyColumn:
    """One key of each of some calls. calls: (g,) int64, rows of the batch. keys: (g, width) uint8.

    Of a row of a table: the contract's address, the table's number, 0, and the bytes of its keys, which
    entries.py hashes to name its first entry of `chunks`. Of an account: its address.
    """

    calls: NDArray[np.int64]
    mode: Mode
    keys: NDArray[np.uint8]
    chunks: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class CallTouches:
    """calls: (c,) int64, the rows of the batch that are calls. contract_modes: (c,) uint8, what each does to
    the account of its contract. whole: (c,) bool, see rule 3. columns: keys of what else they touch.
    """

    calls: NDArray[np.int64]
    contract_modes: NDArray[np.uint8]
    whole: NDArray[np.bool_]
    columns: list[KeyColumn]


def call_touches(batch: Batch, plans: Plans) -> CallTouches:
    """Of all calls of a batch."""
    calls = np.flatnonzero(batch.rows["kind"] == KIND_CALL)
    rows = batch.rows[calls]
    starts = batch.payload_offsets[calls]
    lengths = rows["payload_bytes"].astype(np.int64)
    functions = np.full(len(calls), -1, dtype=np.int64)
    functions[lengths > 0] = batch.payloads[starts[lengths > 0]]
    modes = np.where(rows["amount"] > 0, Mode.WRITE, Mode.READ).astype(np.uint8)
    touches = CallTouches(calls, modes, np.ones(len(calls), dtype=np.bool_), [])
    for group in _groups(rows["recipient"], functions):
        plan = plans.get(rows["recipient"][group[0]].tobytes(), {}).get(int(functions[group[0]]))
        if plan is None:
            continue
        if plan.uses_coins:
            modes[group] = Mode.WRITE
        if not plan.is_complete:
            touches.columns.extend(_imports(calls[group], plans, plan))
            continue
        fits = group[lengths[group] == 1 + plan.argument_bytes]
        if not len(fits):
            continue
        touches.whole[fits] = False
        cutter = _Cutter(batch, calls[fits], starts[fits], plan.argument_bytes)
        touches.columns.extend(cutter.columns(plan))
    modes[touches.whole] = Mode.WRITE
    return touches


def _imports(calls: NDArray[np.int64], plans: Plans, plan: FunctionTouches) -> Iterator[KeyColumn]:
    """The accounts of all contracts that these calls may come to."""
    reached, found = list(plan.imports), set(plan.imports)
    while reached:
        address = reached.pop()
        key = np.frombuffer(address, dtype=np.uint8)
        yield KeyColumn(calls, Mode.WRITE, np.broadcast_to(key, (len(calls), len(key))))
        more = {each for other in plans.get(address, {}).values() for each in other.imports} - found
        reached.extend(sorted(more))
        found |= more


def _groups(contracts: NDArray[np.uint8], functions: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Places of calls of one function of one contract; the largest groups."""
    if not len(functions):
        return []
    _, contract = numbered_keys(contracts)
    _, which, counts = np.unique(512 * contract + functions, return_inverse=True, return_counts=True)
    by_group = np.split(np.argsort(which, kind="stable"), np.cumsum(counts)[:-1])
    return sorted(by_group, key=len, reverse=True)[:GROUPS_MAX]


class _Cutter:
    """Calls of one function, from which keys are cut."""

    def __init__(
        self, batch: Batch, calls: NDArray[np.int64], starts: NDArray[np.int64], argument_bytes: int
    ) -> None:
        self._calls, rows = calls, batch.rows[calls]
        self._sources: dict[PieceSource, NDArray[np.uint8]] = {
            PieceSource.ARGUMENTS: batch.payloads[starts[:, None] + 1 + np.arange(argument_bytes)],
            PieceSource.SENDER: rows["sender"],
            PieceSource.RECIPIENT: rows["recipient"],
            PieceSource.AMOUNT: np.ascontiguousarray(rows["amount"]).view(np.uint8).reshape(-1, 8),
        }

    def columns(self, plan: FunctionTouches) -> list[KeyColumn]:
        """All keys of a plan."""
        columns = [
            KeyColumn(self._calls, row.mode, self._cut((_CONTRACT, _table(row.table), *row.row)), row.chunks)
            for row in plan.rows
        ]
        payees = (KeyColumn(self._calls, Mode.WRITE, self._cut(payee)) for payee in plan.payees)
        return [*columns, *payees]

    def _cut(self, pieces: Pieces) -> NDArray[np.uint8]:
        keys = np.empty((len(self._calls), sum(piece.width for piece in pieces)), dtype=np.uint8)
        at = 0
        for piece in pieces:
            part = keys[:, at : at + piece.width]
            if piece.source is PieceSource.CONSTANT:
                part[:] = np.frombuffer(piece.data, dtype=np.uint8)
            else:
                part[:] = self._sources[piece.source][:, piece.offset : piece.offset + piece.width]
            at += piece.width
        return keys


_CONTRACT = Piece(PieceSource.RECIPIENT, 0, 32)


def _table(number: int) -> Piece:
    return Piece(PieceSource.CONSTANT, 0, 2, bytes((number, 0)))
