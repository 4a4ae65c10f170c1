"""Events of contracts that a subscriber asks for: `contract=ADDRESS[.EVENT[.FIRST]]`. No I/O.

ADDRESS is 64 hexadecimal digits, EVENT the number of an event of the contract, FIRST in hexadecimal the bytes
of the event's first field, with which its `data` begins.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.contracts.limits import EVENT_BYTES_MAX, EVENTS_MAX
from actors.contracts.running import EmittedEvent
from actors.gateway.problem import ProblemError

EVENT_DIGITS_MAX = len(str(EVENTS_MAX))
_FORM = "a contract is ADDRESS, ADDRESS.EVENT or ADDRESS.EVENT.FIRST"


@dataclass(frozen=True, slots=True)
class ContractTopic:
    """Events of one contract; of one number, unless that is None; whose data begins with `first`."""

    address: bytes
    event: int | None = None
    first: bytes = b""

    def takes(self, emitted: EmittedEvent) -> bool:
        """Whether an event is among them."""
        address, number, data = emitted
        return address == self.address and self.event in (None, number) and data.startswith(self.first)


def contract_topics(texts: list[str]) -> frozenset[ContractTopic]:
    """Those of a query. Raises ProblemError 422."""
    return frozenset(map(_topic, texts))


def _topic(text: str) -> ContractTopic:
    address, *rest = text.split(".")
    if len(rest) > 2:
        raise _problem(_FORM)
    return ContractTopic(
        _bytes(address, 32, "the address is 64 hexadecimal digits"),
        _number(rest[0]) if rest else None,
        _first(rest[1]) if len(rest) == 2 else b"",
    )


def _number(text: str) -> int:
    plain = text.isascii() and text.isdigit() and len(text) <= EVENT_DIGITS_MAX
    if not plain or int(text) >= EVENTS_MAX:
        raise _problem(f"the event is a number from 0 to {EVENTS_MAX - 1}", EVENTS_MAX - 1)
    return int(text)


def _first(text: str) -> bytes:
    if not 0 < len(text) <= 2 * EVENT_BYTES_MAX:
        raise _problem(f"the first field has 1 to {EVENT_BYTES_MAX} bytes", EVENT_BYTES_MAX)
    return _bytes(text, len(text) // 2, "the first field is hexadecimal digits, two a byte")


def _bytes(text: str, size: int, expected: str) -> bytes:
    try:
        data = bytes.fromhex(text) if len(text) == 2 * size else b""
    except ValueError:
        data = b""
    if len(data) != size:
        raise _problem(f"{expected}; {_FORM}")
    return data


def _problem(detail: str, limit: int | None = None) -> ProblemError:
    return ProblemError("invalid", detail, field="contract", limit=limit)
