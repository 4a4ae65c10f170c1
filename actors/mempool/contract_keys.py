"""What drawn calls touch, as conflict_spacing.py takes it: hashes of the rows of tables that each touches.

Plans of contracts are learned from their programs, when a draw first meets a contract; until then its calls
are taken to touch all that it has, as are calls whose keys are not known before they run. So a plan that is
missing costs some order within a draw, and nothing else. The CONTRACTS_KEPT contracts that were drawn last
are kept; WANTED_MAX are wanted at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from actors.contracts.encoding import decode_program
from actors.contracts.touches import FunctionTouches, Mode, touches_of
from actors.kernels.siphash import siphash
from actors.ledger.call_touches import KeyColumn, call_touches
from actors.ledger.contract_state import read_program
from actors.ledger.index import distinct_keys
from actors.ledger.rows import KIND_CALL, ROW_DTYPE, Batch
from actors.mempool.conflict_spacing import spread

CONTRACTS_KEPT = 1024
WANTED_MAX = 64
_WORD_BYTES, _HASH_WORDS = 8, 4


class DrawTouches(NamedTuple):
    """What rows of a draw touch besides their senders. recipient_modes: (n,) uint8, what each does to the
    account that it names. starts: (n + 1,) int64 places in hashes: (t,) uint64, and modes: (t,) uint8.
    """

    recipient_modes: NDArray[np.uint8]
    starts: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    modes: NDArray[np.uint8]


def plain_touches(count: int) -> DrawTouches:
    """Of rows that touch the accounts that they name, and write them."""
    return DrawTouches(
        np.full(count, Mode.WRITE, dtype=np.uint8),
        np.zeros(count + 1, dtype=np.int64),
        np.empty(0, dtype=np.uint64),
        np.empty(0, dtype=np.uint8),
    )


class ContractKeys:
    """The plans of one shard."""

    def __init__(self) -> None:
        self._plans: OrderedDict[bytes, dict[int, FunctionTouches]] = OrderedDict()
        self._wanted: dict[bytes, None] = {}

    @property
    def wants(self) -> bool:
        """Whether there are any."""
        return bool(self._wanted)

    def wanted(self) -> list[bytes]:
        """Contracts that calls were drawn of and that have no plan; told once, until a draw meets them."""
        wanted, self._wanted = list(self._wanted), {}
        return wanted

    def learn(self, address: bytes, entries: Mapping[bytes, bytes]) -> None:
        """From the entries that have a contract's program, if they do."""
        if program := read_program(address, lambda key: entries.get(key, b"")):
            self._plans[address] = touches_of(decode_program(program))
            if len(self._plans) > CONTRACTS_KEPT:
                self._plans.popitem(last=False)

    def touches(self, batch: Batch, hash_key: NDArray[np.uint64]) -> DrawTouches:
        """Of the rows of a draw. hash_key: of kernels/siphash.py."""
        calls = batch.rows["kind"] == KIND_CALL
        self._meet(distinct_keys(batch.rows["recipient"][calls]))
        found, plain = call_touches(batch, self._plans), plain_touches(len(batch))
        plain.recipient_modes[found.calls] = found.contract_modes
        if not found.columns:
            return plain
        rows = np.concatenate([column.calls for column in found.columns])
        hashes = np.concatenate([_hashes(column, hash_key) for column in found.columns])
        modes = [np.full(len(column.calls), column.mode, dtype=np.uint8) for column in found.columns]
        order = np.argsort(rows, kind="stable")
        np.cumsum(np.bincount(rows, minlength=len(batch)), out=plain.starts[1:])
        return plain._replace(hashes=hashes[order], modes=np.concatenate(modes)[order])

    def order(
        self,
        words: NDArray[np.uint64],
        slots: NDArray[np.int64],
        lookahead: int,
        hash_key: NDArray[np.uint64],
        gather: Callable[[NDArray[np.int64]], Batch],
    ) -> NDArray[np.int64]:
        """(n,) places in `slots` (n,), rows of `words`, in the order of conflict_spacing.py."""
        touches = plain_touches(len(slots))
        if (words.view(ROW_DTYPE)["kind"].reshape(-1)[slots] == KIND_CALL).any():
            touches = self.touches(gather(slots), hash_key)
        order = np.empty(len(slots), dtype=np.int64)
        spread(words, slots, touches, lookahead, hash_key, order)
        return order

    def _meet(self, addresses: Iterable[bytes]) -> None:
        for address in addresses:
            if address in self._plans:
                self._plans.move_to_end(address)
            elif len(self._wanted) < WANTED_MAX:
                self._wanted[address] = None


def _hashes(column: KeyColumn, hash_key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(g,) of keys, which are as good as random to whoever does not know the hash key."""
    count, width = column.keys.shape
    block = _WORD_BYTES * _HASH_WORDS
    padded = np.zeros((count, -(-width // block) * block), dtype=np.uint8)
    padded[:, :width] = column.keys
    hashes = np.zeros(count, dtype=np.uint64)
    fold(padded.view(np.uint64), hash_key, hashes)
    return hashes


@njit(cache=True)
def fold(words, hash_key, out):  # type: ignore[no-untyped-def]
    """out[i]: hash of words[i], (n, 4 k) uint64; of four words it is siphash's, as of an account's key."""
    for i in range(len(words)):
        held = np.uint64(0)
        for at in range(0, words.shape[1], 4):
            held = siphash(
                hash_key, words[i, at] ^ held, words[i, at + 1], words[i, at + 2], words[i, at + 3]
            )
        out[i] = held
