"""The mempool that ours is measured against: one lock, one heap, an object a transaction.

It makes the same decisions on the same rows (form, chain, expiry, nonce window, duplicates, spending over the
sender's pending chain; fee, then arrival, each sender by nonce), the way that is usually written in Python.
"""

from __future__ import annotations

import heapq
import struct
import threading
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from actors.ledger.rows import KIND_TRANSFER, ROW_BYTES, ROW_VERSION
from actors.ledger.verdict import Verdict

_HEAD = struct.Struct("<BBHIQQQQQ32s32s32s64s")
_U64_MAX = 2**64 - 1


@dataclass(slots=True)
class BaselineTransaction:
    """One pending transaction."""

    version: int
    kind: int
    flags: int
    payload_bytes: int
    chain_tag: int
    nonce: int
    amount: int
    fee: int
    expiry_height: int
    sender: bytes
    recipient: bytes
    payload_hash: bytes
    signature: bytes
    raw: bytes = b""


@dataclass(slots=True)
class Sender:
    """An account and what it has pending, by nonce."""

    nonce: int
    balance: int
    spend: int = 0
    drawn: int = 0
    pending: dict[int, BaselineTransaction] = field(default_factory=dict)


class LockedMempool:
    """Rows in, objects inside, rows out. Every call takes the one lock."""

    def __init__(self, chain_tag: int, window: int, capacity: int) -> None:
        self._chain_tag, self._window, self._capacity = chain_tag, window, capacity
        self._lock = threading.Lock()
        self._senders: dict[bytes, Sender] = {}
        self._heap: list[tuple[int, int, bytes, int]] = []
        self._arrivals = self.height = self.depth = 0

    def settle(self, height: int, keys: list[bytes], nonces: list[int], balances: list[int]) -> None:
        """Accounts as committed at `height`."""
        with self._lock:
            self.height = height
            for key, nonce, balance in zip(keys, nonces, balances, strict=True):
                sender = self._senders.setdefault(key, Sender(0, 0))
                for used in range(sender.nonce, nonce):
                    done = sender.pending.pop(used, None)
                    if done is not None:
                        sender.spend -= done.amount + done.fee
                        self.depth -= 1
                sender.nonce, sender.balance = nonce, balance
                sender.drawn = max(sender.drawn, nonce)

    def admit(self, rows: NDArray[Any]) -> list[int]:
        """A verdict for each row."""
        data = rows.tobytes()
        return [self._add(data[at : at + ROW_BYTES]) for at in range(0, len(data), ROW_BYTES)]

    def _add(self, raw: bytes) -> int:
        tx = BaselineTransaction(*_HEAD.unpack(raw))
        tx.raw = raw
        verdict = self._form(tx)
        if verdict:
            return verdict
        with self._lock:
            sender = self._senders.get(tx.sender)
            verdict = self._state(tx, sender)
            if verdict or sender is None:
                return verdict
            sender.pending[tx.nonce] = tx
            sender.spend += tx.amount + tx.fee
            self.depth += 1
            self._arrivals += 1
            if tx.nonce == sender.drawn:
                heapq.heappush(self._heap, (-tx.fee, self._arrivals, tx.sender, tx.nonce))
        return Verdict.OK

    def _form(self, tx: BaselineTransaction) -> int:
        if tx.version != ROW_VERSION:
            return Verdict.BAD_VERSION
        if tx.kind != KIND_TRANSFER:
            return Verdict.UNKNOWN_KIND
        if tx.flags:
            return Verdict.BAD_FLAGS
        if tx.chain_tag != self._chain_tag:
            return Verdict.WRONG_CHAIN
        return Verdict.AMOUNT_OVERFLOW if tx.amount + tx.fee > _U64_MAX else Verdict.OK

    def _state(self, tx: BaselineTransaction, sender: Sender | None) -> int:
        if tx.expiry_height < self.height + 1:
            return Verdict.EXPIRED
        if sender is None:
            return Verdict.INSUFFICIENT_BALANCE
        if tx.nonce < sender.nonce:
            return Verdict.NONCE_REUSED
        if tx.nonce - sender.nonce >= self._window:
            return Verdict.NONCE_GAP
        known = sender.pending.get(tx.nonce)
        if known is not None:
            return Verdict.DUPLICATE if known.raw == tx.raw else Verdict.NONCE_REUSED
        if sender.spend + tx.amount + tx.fee > sender.balance:
            return Verdict.INSUFFICIENT_BALANCE
        return Verdict.POOL_FULL if self.depth >= self._capacity else Verdict.OK

    def draw(self, rows_max: int) -> list[BaselineTransaction]:
        """The best transactions, each sender's by nonce."""
        drawn: list[BaselineTransaction] = []
        with self._lock:
            while self._heap and len(drawn) < rows_max:
                _, arrival, key, nonce = heapq.heappop(self._heap)
                sender = self._senders[key]
                drawn.append(sender.pending[nonce])
                sender.drawn = nonce + 1
                following = sender.pending.get(nonce + 1)
                if following is not None:
                    heapq.heappush(self._heap, (-following.fee, arrival, key, nonce + 1))
        return drawn
