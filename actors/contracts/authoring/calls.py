"""What runs now, and what contracts say to it: ctx, require, emit, send, sha256, range."""

from __future__ import annotations

import builtins
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from actors.contracts.authoring.byte_strings import Address, Hash
from actors.contracts.authoring.integers import Integer, u64
from actors.contracts.authoring.layouts import BOOL_LAYOUT, name_of
from actors.contracts.authoring.state import State
from actors.contracts.authoring.structs import Event
from actors.contracts.failures import CallFailedError, Failure
from actors.contracts.limits import EVENTS_PER_CALL_MAX, LOOP_ITERATIONS_MAX, MESSAGE_BYTES_MAX


@dataclass
class Block:
    """The block that a call stands in, and how many events the call has emitted."""

    height: int
    time_ms: int
    events: int = 0


@dataclass(frozen=True)
class Frame:
    """One contract's part of a call. read_only: it runs for a view. event_numbers: of its contract.

    call_contract(frame, interface, function, arguments, coins) calls another contract.
    """

    state: State
    block: Block
    contract: Address
    sender: Address
    origin: Address
    amount: int
    read_only: bool
    depth: int
    event_numbers: Callable[[type[Event]], int]
    call_contract: Callable[[Frame, Any, Any, tuple[Any, ...], int], Any]


_current: ContextVar[Frame | None] = ContextVar("raychain_contract_call", default=None)


def current() -> Frame:
    """The frame that runs. Raises TypeError outside of a call."""
    frame = _current.get()
    if frame is None:
        raise TypeError("no contract runs here: deploy it, and call it through the World")
    return frame


@contextmanager
def running(frame: Frame) -> Iterator[None]:
    """Everything within belongs to this frame."""
    token = _current.set(frame)
    try:
        yield
    finally:
        _current.reset(token)


def writing(what: str) -> Frame:
    """The frame that runs, if it may write."""
    frame = current()
    if frame.read_only:
        raise TypeError(f"a view does not {what}: make it an @entry")
    return frame


class Context:
    """What a call knows of its surroundings: `ctx`. Its numbers are u64."""

    @property
    def sender(self) -> Address:
        """Who called this contract: a contract, if one called."""
        return current().sender

    @property
    def contract(self) -> Address:
        """This contract."""
        return current().contract

    @property
    def amount(self) -> int:
        """Coins that came with the call."""
        return u64(current().amount)

    @property
    def height(self) -> int:
        """Of the block."""
        return u64(current().block.height)

    @property
    def time_ms(self) -> int:
        """Of the block."""
        return u64(current().block.time_ms)

    @property
    def origin(self) -> Address:
        """Who signed the transaction."""
        return current().origin

    @property
    def balance(self) -> int:
        """Coins of this contract, those that came with the call among them."""
        frame = current()
        return u64(frame.state.coins.get(frame.contract, 0))


ctx = Context()


def require(condition: bool, message: str) -> None:
    """Unless `condition` holds, the call fails with this message."""
    if not isinstance(message, str) or len(message.encode()) > MESSAGE_BYTES_MAX:
        raise TypeError(f"require takes a message of at most {MESSAGE_BYTES_MAX} bytes")
    if not BOOL_LAYOUT.coerce(condition, "the condition of require"):
        raise CallFailedError(Failure.REQUIREMENT, message)


def emit(event: Event) -> None:
    """Tell followers."""
    frame = writing("emit")
    if not isinstance(event, Event):
        raise TypeError(f"emit takes an Event, not {name_of(event)}")
    number = frame.event_numbers(type(event))
    if frame.block.events >= EVENTS_PER_CALL_MAX:
        raise CallFailedError(Failure.TOO_MANY_EVENTS)
    frame.block.events += 1
    frame.state.emit(frame.contract, number, event)


def send(to: Address, amount: int) -> None:
    """Coins of this contract go to `to`. Fails if it has fewer, or if `to` is a key of entries."""
    frame = writing("send")
    target = Address.__layout__.coerce(to, "whom send pays")
    frame.state.move(frame.contract, target, int(u64.__layout__.coerce(amount, "what send pays")))


def sha256(*values: Any) -> Hash:
    """SHA-256 of the bytes of the values, one after the other."""
    parts = []
    for value in values:
        layout = BOOL_LAYOUT if isinstance(value, bool) else getattr(value, "__layout__", None)
        if layout is None:
            raise TypeError(f"sha256 takes typed values, not {name_of(value)}: write u64(…) or Bytes[4](…)")
        parts.append(layout.encode(value))
    return Hash(hashlib.sha256(b"".join(parts)).digest())


def range(count: int, /) -> Iterator[Any]:
    """0 to count - 1, in the type of count; u64 for a literal."""
    kind = u64 if type(count) is int else type(count)
    if not issubclass(kind, Integer) or kind.low < 0:
        raise TypeError(f"range takes an unsigned integer, not {name_of(count)}: write u64(…)")
    if count > LOOP_ITERATIONS_MAX:
        raise TypeError(f"a loop has at most {LOOP_ITERATIONS_MAX} rounds, not {count}")
    return map(kind, builtins.range(int(count)))
