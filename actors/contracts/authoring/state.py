"""What a world of tests keeps: entries of contracts, coins, events; and how a failed call is undone.

Entries are those of the chain, key by key and byte by byte: a row's value is its columns one after the other,
cut into pieces of ENTRY_BYTES_MAX; a piece that is all zero is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from actors.contracts.authoring.byte_strings import Address
from actors.contracts.authoring.layouts import Layout, width_bytes
from actors.contracts.authoring.structs import Event
from actors.contracts.entries import entry_key
from actors.contracts.failures import CallFailedError, Failure
from actors.contracts.limits import ENTRY_BYTES_MAX, ENTRY_TAG

COINS_MAX = 2**64 - 1


@dataclass(frozen=True)
class Emitted:
    """An event as a follower sees it. number: that of the event in its contract."""

    contract: Address
    number: int
    event: Any  # an Event: its fields are read by name

    @property
    def data(self) -> bytes:
        """Its fields one after the other."""
        return self.event.__layout__.encode(self.event)  # type: ignore[no-any-return]


@dataclass
class State:
    """Entries by key, coins by address, and events in order."""

    entries: dict[bytes, bytes] = field(default_factory=dict)
    coins: dict[Address, int] = field(default_factory=dict)
    events: list[Emitted] = field(default_factory=list)
    _undo: list[Callable[[], object]] = field(default_factory=list)

    def write(self, key: bytes, value: bytes) -> None:
        """Put an entry; one that is all zero is removed."""
        self._set(self.entries, key, value if any(value) else None)

    def move(self, source: Address, target: Address, amount: int) -> None:
        """Coins from one to the other. Raises CallFailedError if there are fewer, or if entries have such
        keys as the target is."""
        if bytes(target).startswith(ENTRY_TAG):
            raise CallFailedError(Failure.RESERVED_ADDRESS)
        held = self.coins.get(source, 0)
        if held < amount:
            raise CallFailedError(Failure.INSUFFICIENT_COINS)
        self._set(self.coins, source, held - amount)
        self._set(self.coins, target, self.coins.get(target, 0) + amount)

    def emit(self, contract: Address, number: int, event: Event) -> None:
        """Add an event."""
        self.events.append(Emitted(contract, number, event))
        self._undo.append(self.events.pop)

    def _set(self, mapping: dict[Any, Any], key: Any, value: Any) -> None:
        old = mapping.get(key)
        self._undo.append(lambda: mapping.pop(key, None) if old is None else mapping.__setitem__(key, old))
        if value is None:
            mapping.pop(key, None)
        else:
            mapping[key] = value

    def keep(self) -> None:
        """What was done since the last call stays."""
        self._undo.clear()

    def undo(self) -> None:
        """What was done since the last call did not happen."""
        while self._undo:
            self._undo.pop()()


@dataclass(frozen=True)
class Rows:
    """The rows of one table of one contract."""

    state: State
    contract: Address
    number: int
    layout: Layout

    def _pieces(self, key: bytes) -> list[bytes]:
        count = -(-width_bytes(self.layout) // ENTRY_BYTES_MAX)
        return [entry_key(self.contract, self.number, piece, key) for piece in range(count)]

    def read(self, key: bytes) -> Any:
        """The value there; zero where nothing was written."""
        width, data = width_bytes(self.layout), b""
        for place, name in enumerate(self._pieces(key)):
            size = min(ENTRY_BYTES_MAX, width - place * ENTRY_BYTES_MAX)
            data += self.state.entries.get(name, bytes(size))
        return self.layout.decode(data)

    def write(self, key: bytes, value: Any) -> None:
        """Put a coerced value there."""
        data = self.layout.encode(value)
        for place, name in enumerate(self._pieces(key)):
            self.state.write(name, data[place * ENTRY_BYTES_MAX : (place + 1) * ENTRY_BYTES_MAX])
