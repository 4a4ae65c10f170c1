"""Plays a chain again by the plain rules, in which the interpreter runs contracts: what every node must hold.

Each block's receipts and state roots are compared with what its header says, and what its receipts must be is
kept as a hash, to be held against what nodes have stored. Only the tree is the compiled one, as hashing all
accounts anew for each block would take minutes; its root is computed plainly once, at the end.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from actors.contracts.failures import Failure
from actors.ledger import rules
from actors.ledger.accounts import Account, state_root
from actors.ledger.block import Header
from actors.ledger.contract_rules import RowApplied
from actors.ledger.genesis import Allocation, Genesis
from actors.ledger.hashing import Hasher, sha256
from actors.ledger.receipts import RECEIPT_BYTES, Receipts
from actors.ledger.rows import KIND_DEPLOY, KIND_TRANSFER, Batch
from actors.ledger.verdict import Verdict
from actors.storage.tree import StateTree

_T = TypeVar("_T")
_RECEIPT = struct.Struct("<QQQQ")
Fault = tuple[str, str]
"""Name of the judge's check, and what is wrong."""
Told = dict[str, Any]
"""A receipt as the API has it."""


class _Noted(dict[bytes, _T]):
    """A dictionary that notes which keys were set or removed."""

    def __init__(self, held: dict[bytes, _T]) -> None:
        super().__init__(held)
        self.changed = set[bytes]()

    def __setitem__(self, key: bytes, value: _T) -> None:
        self.changed.add(key)
        super().__setitem__(key, value)

    def __delitem__(self, key: bytes) -> None:
        self.changed.add(key)
        super().__delitem__(key)


class KeyedTree:
    """The state tree by keys."""

    def __init__(self, hash_rows: Hasher) -> None:
        self._tree, self._slots = StateTree(hash_rows), dict[bytes, int]()

    def update(self, values: dict[bytes, bytes]) -> bytes:
        """Set what keys hold, nothing being b""; the root."""
        fresh = [key for key, value in values.items() if value and key not in self._slots]
        for key in fresh:
            self._slots[key] = len(self._slots)
        known = sorted((self._slots[key], value) for key, value in values.items() if key in self._slots)
        if known:
            self._tree.update_paths(
                np.array([slot for slot, _ in known], dtype=np.int64),
                _digests(value for _, value in known),
                _digests(fresh),
                np.array([bool(value) for _, value in known]),
            )
        return self._tree.root


class Replay:
    """Give it blocks in order. watched: ids of calls whose receipts are kept, as `outcomes`.

    state, entries: after the last block. receipts: SHA-256 of the stored form, by height, of blocks with rows
    of contracts. deployed, succeeded, failed, gas, events: of these rows.
    """

    def __init__(
        self, genesis: Genesis, allocation: Allocation, hash_rows: Hasher, watched: Iterable[bytes] = ()
    ) -> None:
        self._genesis, self._hash_rows = genesis, hash_rows
        pairs = zip(allocation.keys, allocation.balances.tolist(), strict=True)
        self.state = _Noted({key.tobytes(): Account(0, balance) for key, balance in pairs})
        self.entries = _Noted[bytes]({})
        self._tree = KeyedTree(hash_rows)
        self._tree.update({key: account.encode() for key, account in self.state.items()})
        self._watched = frozenset(watched)
        self.outcomes = dict[bytes, Told]()
        self.receipts = dict[int, bytes]()
        self.failed = Counter[str]()
        self.deployed = self.succeeded = self.gas = self.events = 0

    def take(self, header: Header, batch: Batch) -> list[Fault]:
        """Apply a block; what is wrong with it."""
        env = rules.environment_of(header, self._genesis)
        try:
            outcome = rules.apply_batch(self.state, batch, env, self.entries)
            root = self._tree.update(self._changes())
        except (OverflowError, struct.error) as error:  # of balances
            return [("roots_agree", f"cannot be applied: {error}")]
        faults: list[Fault] = []
        passed = np.array(outcome.verdicts, dtype=np.uint8) == Verdict.OK
        if not passed.all():
            row = int(np.flatnonzero(~passed)[0])
            verdict = outcome.verdicts[row]
            nonces = verdict in (Verdict.NONCE_GAP, Verdict.NONCE_REUSED)
            faults.append(("nonces" if nonces else "roots_agree", f"row {row} is {verdict.name}"))
        if header.receipts_root != rules.receipts_root(outcome.receipts):
            faults.append(("roots_agree", "receipts root"))
        if header.state_root != root:
            faults.append(("roots_agree", "state root"))
        kinds = batch.rows["kind"][passed]
        if (kinds != KIND_TRANSFER).any():
            self._note(header.height, batch.take(passed), kinds, outcome)
        return faults

    def finish(self) -> list[Fault]:
        """What is wrong with the tree."""
        if state_root(self.state, self.entries) != self._tree.update({}):
            return [("roots_agree", "the last state root, computed plainly")]
        return []

    def columns(self) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
        """Keys (n,) S32 sorted, nonces, balances."""
        keys = np.frombuffer(b"".join(self.state), dtype="S32")
        order = np.argsort(keys)
        held = list(self.state.values())
        nonces = np.array([account.nonce for account in held], dtype=np.int64)
        balances = np.array([account.balance for account in held], dtype=np.int64)
        return keys[order], nonces[order], balances[order]

    def _changes(self) -> dict[bytes, bytes]:
        """What the keys hold that were touched since the last time."""
        none = Account()
        changes = {key: self.state.get(key, none) for key in self.state.changed}
        values = {key: account.encode() if account.balance else b"" for key, account in changes.items()}
        values |= {key: self.entries.get(key, b"") for key in self.entries.changed}
        self.state.changed.clear()
        self.entries.changed.clear()
        return values

    def _note(self, height: int, batch: Batch, kinds: NDArray[np.uint8], outcome: rules.Outcome) -> None:
        heads = [receipt[:RECEIPT_BYTES] for receipt in outcome.receipts]
        of_contracts = np.flatnonzero(kinds != KIND_TRANSFER).tolist()
        outputs = tuple(outcome.applied[at].output(at) for at in of_contracts)
        rows = np.frombuffer(b"".join(heads), dtype=np.uint8).reshape(-1, RECEIPT_BYTES)
        self.receipts[height] = sha256(b"".join(Receipts(rows, outputs).encode()))
        ids = batch.ids(self._hash_rows) if self._watched else None
        for at in of_contracts:
            applied = outcome.applied[at]
            if applied.status:
                self.failed[Failure(applied.status).name] += 1
            elif kinds[at] == KIND_DEPLOY:
                self.deployed += 1
            else:
                self.succeeded += 1
            self.gas += applied.gas
            self.events += len(applied.events)
            if ids is not None and (found := ids[at].tobytes()) in self._watched:
                self.outcomes[found] = as_told(heads[at], applied, height)


def as_told(receipt: bytes, applied: RowApplied, height: int) -> Told:
    """What the API must say of a row that was applied."""
    status, fee, sender, recipient = _RECEIPT.unpack(receipt)
    return {
        "height": height,
        "status": status,
        "fee": fee,
        "sender_balance": sender,
        "recipient_balance": recipient,
        "gas": applied.gas,
        "failure": Failure(status).name if status else None,
        "results": applied.results.hex(),
        "message": applied.message,
        "events": [(contract.hex(), number, data.hex()) for contract, number, data in applied.events],
    }


def _digests(values: Iterable[bytes]) -> NDArray[np.uint8]:
    joined = b"".join(sha256(value) for value in values)
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, 32)
