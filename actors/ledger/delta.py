"""What Storage tells the node's other actors of committed blocks: the last one, and what each has changed."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.ledger.accounts import ACCOUNT_BYTES

Rows32 = np.ndarray[Any, np.dtype[np.uint8]]
"""(n, 32) uint8: keys or hashes, one a row."""
NO_IDS: Rows32 = np.empty((0, 32), dtype=np.uint8)


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

    def columns(self) -> tuple[Rows32, NDArray[np.uint64], NDArray[np.uint64]]:
        """(keys, nonces, balances)."""
        return self.keys, self.nonces, self.balances


class StateEntryKind(IntEnum):
    """What an entry of the state is. Its value in the tree is the same bytes as in a delta."""

    ACCOUNT = 0
    ENTRY = 1  # of a contract; removed where its width is 0


class Delta(msgspec.Struct, frozen=True, array_like=True, tag=True, eq=False):
    """What a block made of the entries that it touched: keys, and the bytes of their values.

    keys: (m, 32) uint8. kinds: (m,) uint8 of StateEntryKind. widths: (m,) uint8, the bytes of each value.
    values: (sum of widths,) uint8, one value after the other. ids: (n, 32) uint8 of the block's rows, in
    their order. time_ms, hash and state_root are its header's. Applying deltas in order of height is
    idempotent.
    """

    height: int
    keys: Rows32
    kinds: NDArray[np.uint8]
    widths: NDArray[np.uint8]
    values: NDArray[np.uint8]
    time_ms: int
    hash: bytes
    state_root: bytes
    ids: Rows32

    @property
    def nbytes(self) -> int:
        """Of its columns."""
        columns = self.keys, self.kinds, self.widths, self.values, self.ids
        return sum(column.nbytes for column in columns)

    @classmethod
    def of_accounts(
        cls, accounts: AccountStates, time_ms: int, block_hash: bytes, state_root: bytes, ids: Rows32
    ) -> Delta:
        """Of a block that touched accounts alone."""
        keys, values = accounts.keys, account_values(accounts.nonces, accounts.balances)
        kinds = np.full(len(keys), StateEntryKind.ACCOUNT, dtype=np.uint8)
        widths = np.full(len(keys), ACCOUNT_BYTES, dtype=np.uint8)
        facts = time_ms, block_hash, state_root, ids
        return cls(accounts.height, keys, kinds, widths, values.reshape(-1), *facts)

    def accounts(self) -> AccountStates:
        """The accounts among the entries, in columns that keep no message alive."""
        own = self.kinds == StateEntryKind.ACCOUNT
        keys, values = self.keys, self.values
        if not own.all():
            keys, values = keys[own], values[np.repeat(own, self.widths)]
        nonces, balances = values.view(np.uint64).reshape(-1, 2).T
        return AccountStates(self.height, np.array(keys), np.array(nonces), np.array(balances))

    def by_key(self) -> Delta:
        """The same in ascending order of the keys, without ids."""
        order = np.lexsort(np.ascontiguousarray(self.keys).view(">u8").T[::-1])
        widths = self.widths[order].astype(np.int64)
        begins = (np.cumsum(self.widths, dtype=np.int64) - self.widths)[order]
        at = np.arange(len(self.values)) + np.repeat(begins - (np.cumsum(widths) - widths), widths)
        return msgspec.structs.replace(
            self, keys=self.keys[order], kinds=self.kinds[order], widths=self.widths[order],
            values=self.values[at], ids=self.ids[:0],
        )  # fmt: skip


def account_values(nonces: NDArray[np.uint64], balances: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """(m, ACCOUNT_BYTES) uint8: the values of accounts, as `Account.encode` gives them."""
    return np.stack((nonces, balances), axis=1).view(np.uint8).reshape(-1, ACCOUNT_BYTES)
