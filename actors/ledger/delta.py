"""What Storage tells the node's other actors of committed blocks: the last one, and what each has changed."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Rows32 = np.ndarray[Any, np.dtype[np.uint8]]
"""(n, 32) uint8: keys or hashes, one a row."""


class ChainHead(msgspec.Struct, frozen=True, array_like=True):
    """The last committed block; height 0 is the genesis."""

    height: int
    hash: bytes
    state_root: bytes
    time_ms: int

    def describe(self) -> dict[str, object]:
        """Its fields for people, hashes as hexadecimal."""
        root = self.state_root.hex()
        return {"height": self.height, "hash": self.hash.hex(), "state_root": root, "time_ms": self.time_ms}


NO_HEAD = ChainHead(0, b"", b"", 0)
"""Of a node that has not recovered yet."""


class AccountState(msgspec.Struct, frozen=True, array_like=True):
    """An account at a committed height; zeros where there is none."""

    nonce: int
    balance: int
    height: int


class AccountStates(msgspec.Struct, frozen=True, array_like=True, eq=False):
    """Accounts as they are at a committed height. keys: (m, 32) uint8; nonces, balances: (m,) uint64.

    One of balance 0 is gone; its nonce is the one after its last, which mempools go on from.
    """

    height: int
    keys: Rows32
    nonces: NDArray[np.uint64]
    balances: NDArray[np.uint64]

    def copied(self) -> AccountStates:
        """The accounts alone, in columns that keep no message alive."""
        return AccountStates(self.height, np.array(self.keys), np.array(self.nonces), np.array(self.balances))


class Delta(AccountStates, frozen=True, array_like=True, tag=True, eq=False):
    """What a block made of the accounts that it touched. ids: (n, 32) uint8 of its rows, in their order.

    time_ms, hash and state_root are its header's. Applying deltas in order of height is idempotent.
    """

    time_ms: int
    hash: bytes
    state_root: bytes
    ids: Rows32
