"""The newest states of accounts, known from what the node publishes of each block. No I/O, no clock.

Theory. A delta names every account that its block changed, with its nonce and balance after the block. With
the deltas of heights base+1 to top, without a gap, an account at `top` is as the newest delta says that
names it; where none does, it is whatever it was at `base` or at any height since. So an account that was
read once, or that moved lately, is answered without asking Storage. A gap begins a new run of deltas; a state
of an older height than its base is of no use any more.

Deltas are kept as the columns they came as and scanned when somebody asks: a block that nobody asks about
costs a copy and a hash of its keys, and a scan of ROWS_MAX accounts about a millisecond; the hash is keyed,
so that nobody can make accounts that look like another one. Bounds: RUN_MAX deltas of ROWS_MAX accounts in
sum, KNOWN_MAX accounts that were read; the oldest leave first, and what is not known is read from Storage.
"""

from __future__ import annotations

from collections import OrderedDict, deque

import numpy as np
from numpy.typing import NDArray

from actors.kernels.multilinear import MultilinearHash
from actors.ledger.delta import AccountState, AccountStates

RUN_MAX = 256
ROWS_MAX = 500_000
KNOWN_MAX = 100_000


class _Changed:
    """The accounts that one block changed."""

    def __init__(self, hashes: NDArray[np.uint32], accounts: AccountStates) -> None:
        self._hashes = hashes
        # A removed account has the nonce after its last one there, for mempools; to readers it is not there.
        self._nonces = np.where(accounts.balances == 0, 0, accounts.nonces)
        self._keys, self._balances = accounts.keys, accounts.balances

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, key: bytes, hashed: np.uint32) -> tuple[int, int] | None:
        """Nonce and balance, if the block changed this account."""
        for at in np.flatnonzero(self._hashes == hashed).tolist():
            if self._keys[at].tobytes() == key:
                return int(self._nonces[at]), int(self._balances[at])
        return None


class HeadState:
    """States at the newest published height. `top` is that height, None before the first delta.

    seed: as for MultilinearHash.
    """

    def __init__(
        self, seed: int, run_max: int = RUN_MAX, rows_max: int = ROWS_MAX, known_max: int = KNOWN_MAX
    ) -> None:
        self._hash = MultilinearHash(seed)
        self._run_max, self._rows_max, self._known_max = run_max, rows_max, known_max
        self._run: deque[_Changed] = deque()
        self._rows = 0
        self._known: OrderedDict[bytes, AccountState] = OrderedDict()
        self.top: int | None = None
        self.hits = self.misses = 0

    def published(self, accounts: AccountStates) -> None:
        """A block is final, with these accounts changed. Heights below the top are known."""
        height = accounts.height
        if self.top is not None and height <= self.top:
            return
        if self.top is None or height > self.top + 1:
            self._run.clear()
            self._rows = 0
        changed = _Changed(self._hash(accounts.keys), accounts)
        self._run.append(changed)
        self._rows += len(changed)
        self.top = height
        while len(self._run) > self._run_max or (self._rows > self._rows_max and self._run):
            self._rows -= len(self._run.popleft())

    def read_from_storage(self, key: bytes, state: AccountState) -> None:
        """Remember what Storage said of an account; an older answer never replaces a newer one."""
        known = self._known.get(key)
        if known is None or state.height >= known.height:
            self._remember(key, state)

    def get(self, key: bytes) -> AccountState | None:
        """The account at the top, or at a later height if Storage told of one already; None if not known."""
        state = self._find(key)
        if state is None:
            self.misses += 1
            return None
        self.hits += 1
        self._remember(key, state)
        return state

    def _find(self, key: bytes) -> AccountState | None:
        if self.top is None:
            return None
        known, height = self._known.get(key), self.top
        hashed = self._hash(np.frombuffer(key, dtype=np.uint8))[0]
        if known is not None and known.height >= height:
            return known
        for delta in reversed(self._run):
            if (found := delta.find(key, hashed)) is not None:
                return AccountState(*found, self.top)
            height -= 1
            if known is not None and known.height >= height:
                return AccountState(known.nonce, known.balance, self.top)
        return None

    def _remember(self, key: bytes, state: AccountState) -> None:
        self._known[key] = state
        self._known.move_to_end(key)
        if len(self._known) > self._known_max:
            self._known.popitem(last=False)
