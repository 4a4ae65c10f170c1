"""The state as the rules of contracts see it: accounts and entries, whatever they are kept in."""

from __future__ import annotations

from typing import Protocol

from actors.ledger.accounts import Account, Entries, State, account_at


class LedgerView(Protocol):
    """The state within a block that is being executed."""

    def account(self, key: bytes, height: int) -> Account:
        """As `accounts.account_at`."""
        ...

    def set_account(self, key: bytes, account: Account) -> None:
        """Keep it; one without a balance goes at the end of the block."""
        ...

    def entry(self, key: bytes) -> bytes:
        """The bytes of a contract's entry, or empty if there is none."""
        ...

    def set_entry(self, key: bytes, value: bytes) -> None:
        """Keep other bytes there than before; empty ones remove the entry."""
        ...


class PlainLedger:
    """The view of the plain reference."""

    def __init__(self, state: State, entries: Entries) -> None:
        self._state, self._entries = state, entries

    def account(self, key: bytes, height: int) -> Account:
        """See LedgerView."""
        return account_at(self._state, key, height)

    def set_account(self, key: bytes, account: Account) -> None:
        """See LedgerView."""
        self._state[key] = account

    def entry(self, key: bytes) -> bytes:
        """See LedgerView."""
        return self._entries.get(key, b"")

    def set_entry(self, key: bytes, value: bytes) -> None:
        """See LedgerView."""
        if value:
            self._entries[key] = value
        else:
            del self._entries[key]
