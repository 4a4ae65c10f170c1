"""What a governed function does to balances, as columns and as a block carries it.

Rules
1. Accounts are named by their rank: their place among the accounts that exist before the block, in ascending
   order of their keys, without the treasury and the account of deposits. So 10^6 accounts need no keys.
2. A change is a signed number of smallest units, never 0. The treasury's own change is what brings the sum
   of all to 0: no function can make coins or lose any.
3. An account that is changed ends with at least `balance_min` and at most 2^64-1: none comes to be, and none
   goes.

    magic "RCE1", form u8, gap_bytes u8, change_bytes u8, 0 u8, first u32, count u32, then columns

    form 0, dense    change of each of the `count` ranks from `first` on, 0 where there is none
    form 1, sparse   gaps (count - 1): ranks between one that is changed and the next; then their changes

Changes are zigzag numbers (2n, or -2n - 1 where it is negative) of 1, 2, 4 or 8 bytes each, gaps numbers of
0, 1, 2 or 4. There is one encoding of some effects: the shorter form, dense where both are as long, and in it
the fewest bytes that hold the largest number. What is encoded otherwise is refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.ledger.rows import FormatError

_HEAD = struct.Struct("<4sBBBBII")
_MAGIC = b"RCE1"
_DENSE, _SPARSE = 0, 1
_CHANGE_BYTES, _GAP_BYTES = (1, 2, 4, 8), (0, 1, 2, 4)
RANKS_MAX = 1 << 26


@dataclass(frozen=True, slots=True, eq=False)
class BalanceEffects:
    """ranks: (m,) int64, ascending. changes: (m,) int64, none of them 0."""

    ranks: NDArray[np.int64]
    changes: NDArray[np.int64]

    def encode(self) -> bytes:
        """The payload of a row of effects."""
        if not len(self.ranks):
            return _HEAD.pack(_MAGIC, _DENSE, 0, _CHANGE_BYTES[0], 0, 0, 0)
        first, count = int(self.ranks[0]), len(self.ranks)
        codes = _zigzag(self.changes)
        width = _bytes_for(int(codes.max()), _CHANGE_BYTES)
        gaps = np.diff(self.ranks) - 1
        gap_width = _bytes_for(int(gaps.max(initial=0)), _GAP_BYTES)
        span = int(self.ranks[-1]) - first + 1
        if span * width <= count * width + (count - 1) * gap_width:
            dense = np.zeros(span, dtype=np.uint64)
            dense[self.ranks - first] = codes
            head = _HEAD.pack(_MAGIC, _DENSE, 0, width, 0, first, span)
            return head + _column(dense, width)
        head = _HEAD.pack(_MAGIC, _SPARSE, gap_width, width, 0, first, count)
        return head + _column(gaps.astype(np.uint64), gap_width) + _column(codes, width)

    def treasury_change(self) -> int:
        """What the treasury gets, or pays where it is negative. Exact."""
        low = int((self.changes & np.int64(0xFFFFFFFF)).sum())
        high = int((self.changes >> np.int64(32)).sum())
        return -((high << 32) + low)


def decode_effects(data: bytes | memoryview) -> BalanceEffects:
    """Inverse of `BalanceEffects.encode`. Raises FormatError naming what does not hold; takes no more memory
    than eight times what came."""
    if len(data) < _HEAD.size:
        raise FormatError("effects", f"{len(data)} bytes", f"at least {_HEAD.size}")
    magic, form, gap_width, width, zero, first, count = _HEAD.unpack_from(data)
    if (magic, zero) != (_MAGIC, 0) or form not in (_DENSE, _SPARSE):
        raise FormatError("effects.head", bytes(data[:8]).hex(), "magic, form and zeros of effects")
    if width not in _CHANGE_BYTES or gap_width not in _GAP_BYTES or (form == _DENSE and gap_width):
        raise FormatError("effects.width", f"{gap_width} and {width}", "bytes of gaps and of changes")
    gap_bytes = gap_width * max(count - 1, 0)
    expected = _HEAD.size + gap_bytes + width * count
    if len(data) != expected:
        raise FormatError("effects", f"{len(data)} bytes", f"{expected} as its head says")
    codes = _uncolumn(data, _HEAD.size + gap_bytes, count, width)
    if form == _DENSE:
        ranks = np.flatnonzero(codes) + first
        effects = BalanceEffects(ranks, _unzigzag(codes[codes != 0]))
    else:
        gaps = _uncolumn(data, _HEAD.size, max(count - 1, 0), gap_width)
        steps = np.concatenate([[first], gaps.astype(np.int64) + 1])[:count]
        effects = BalanceEffects(np.cumsum(steps, dtype=np.int64), _unzigzag(codes))
    if len(effects.ranks) and int(effects.ranks[-1]) >= RANKS_MAX:
        raise FormatError("effects.ranks", int(effects.ranks[-1]), f"below {RANKS_MAX}")
    if not effects.changes.all() or effects.encode() != bytes(data):
        raise FormatError("effects", "another encoding", "the one that these effects have")
    return effects


def _zigzag(changes: NDArray[np.int64]) -> NDArray[np.uint64]:
    return ((changes << np.int64(1)) ^ (changes >> np.int64(63))).view(np.uint64)


def _unzigzag(codes: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (codes >> np.uint64(1)).view(np.int64) ^ -(codes & np.uint64(1)).view(np.int64)


def _bytes_for(largest: int, choices: tuple[int, ...]) -> int:
    return next(choice for choice in choices if largest < 1 << 8 * choice)


def _column(numbers: NDArray[np.uint64], width: int) -> bytes:
    return numbers.astype(f"<u{width}").tobytes() if width else b""


def _uncolumn(data: bytes | memoryview, at: int, count: int, width: int) -> NDArray[np.uint64]:
    if not width:
        return np.zeros(count, dtype=np.uint64)
    return np.frombuffer(data, dtype=f"<u{width}", count=count, offset=at).astype(np.uint64)
