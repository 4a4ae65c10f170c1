"""What a call sees of the state, and how its changes are kept apart until it has gone through."""

from __future__ import annotations

from typing import Protocol

from actors.contracts.entries import EntryStore
from actors.contracts.verified import Verified


class World(EntryStore, Protocol):
    """EntryStore, coins and contracts. An address is 32 bytes."""

    def balance(self, address: bytes) -> int:
        """Coins of an address."""

    def move(self, sender: bytes, recipient: bytes, amount: int) -> None:
        """Take coins that the sender has to the recipient."""

    def program(self, address: bytes) -> Verified | None:
        """The contract at an address, or None if there is none."""


class MemoryWorld:
    """A world in memory, for tests and for simulation."""

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.balances: dict[bytes, int] = {}
        self.programs: dict[bytes, Verified] = {}

    def entry(self, key: bytes) -> bytes:
        """See EntryStore."""
        return self.entries.get(key, b"")

    def set_entry(self, key: bytes, value: bytes) -> None:
        """See EntryStore."""
        if value:
            self.entries[key] = value
        else:
            self.entries.pop(key, None)

    def balance(self, address: bytes) -> int:
        """See World."""
        return self.balances.get(address, 0)

    def move(self, sender: bytes, recipient: bytes, amount: int) -> None:
        """See World. Raises ValueError if the sender has fewer coins."""
        if self.balance(sender) < amount:
            raise ValueError(f"{self.balance(sender)} coins of {amount}")
        self.balances[sender] = self.balance(sender) - amount
        self.balances[recipient] = self.balance(recipient) + amount

    def program(self, address: bytes) -> Verified | None:
        """See World."""
        return self.programs.get(address)


class Overlay:
    """A world as it would be after changes that the world below does not know yet."""

    def __init__(self, below: World) -> None:
        self._below = below
        self._read: dict[bytes, bytes] = {}  # entries as they are below
        self._written: dict[bytes, bytes] = {}
        self._balances: dict[bytes, int] = {}
        self._moves: list[tuple[bytes, bytes, int]] = []

    def entry(self, key: bytes) -> bytes:
        """See EntryStore."""
        value = self._written.get(key)
        return self._before(key) if value is None else value

    def set_entry(self, key: bytes, value: bytes) -> None:
        """See EntryStore."""
        self._written[key] = value

    def balance(self, address: bytes) -> int:
        """See World."""
        if address not in self._balances:
            self._balances[address] = self._below.balance(address)
        return self._balances[address]

    def move(self, sender: bytes, recipient: bytes, amount: int) -> None:
        """See World. No coins are no move."""
        if amount:
            self._balances[sender] = self.balance(sender) - amount
            self._balances[recipient] = self.balance(recipient) + amount
            self._moves.append((sender, recipient, amount))

    @property
    def balances(self) -> dict[bytes, int]:
        """Coins of all addresses that were asked for or that coins came to or went from."""
        return self._balances

    def program(self, address: bytes) -> Verified | None:
        """See World."""
        return self._below.program(address)

    def commit(self) -> tuple[int, int]:
        """Make all changes below. How many entries are there that were not before, and are no longer."""
        created = removed = 0
        for key, value in self._written.items():
            before = self._before(key)
            if value != before:
                created += not before
                removed += not value
                self._below.set_entry(key, value)
        for sender, recipient, amount in self._moves:
            self._below.move(sender, recipient, amount)
        return created, removed

    def _before(self, key: bytes) -> bytes:
        value = self._read.get(key)
        if value is None:
            value = self._read[key] = self._below.entry(key)
        return value
