"""What came of calls and deployments, and of simulated ones, as an application reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from actors.contracts.failures import Failure
from actors.sdk.contract_interface import ContractEvent, ContractFunction, ContractInterface, single


class ContractFailedError(Exception):
    """A call or deployment that does not go through. failure: its name, as in failures.py; message: of the
    `require` that did not hold. id: of the transaction that failed on the chain and paid for it, or None:
    it would fail, and nothing was sent."""

    def __init__(self, failure: str, message: str, id: bytes | None = None) -> None:
        super().__init__(failed_words(failure, message))
        self.failure, self.message, self.id = failure, message, id


class EventsLostError(Exception):
    """Events of these heights are not to be had: this reader was too slow, or the node does not keep those
    blocks. To go on without them, begin anew after `to_height`."""

    def __init__(self, from_height: int, to_height: int) -> None:
        super().__init__(f"events of the blocks {from_height} to {to_height} are not to be had")
        self.from_height, self.to_height = from_height, to_height


def failed_words(failure: str, message: str) -> str:
    """A failure in words: the message of its `require`, or what it is called."""
    return message or failure.lower().replace("_", " ")


@dataclass(frozen=True)
class Simulation:
    """What a call would do on the state of the block at `height`. Nothing was sent.

    failure: name, or None if it would go through; message: of its `require`. deposit: what new entries cost,
    less what comes back. results: by name; `value`: as one value. changes: entries, as the gateway says.
    """

    height: int
    failure: str | None
    message: str
    gas: int
    fee: int
    deposit: int
    entries_created: int
    entries_removed: int
    results: dict[str, Any]
    events: tuple[ContractEvent, ...]
    changes: tuple[dict[str, Any], ...]
    static: bool

    @property
    def value(self) -> Any:
        """The results as one value."""
        return single(self.results)

    def require_success(self) -> None:
        """Raises ContractFailedError for what would fail."""
        if self.failure is not None:
            raise ContractFailedError(self.failure, self.message)


@dataclass(frozen=True)
class Called:
    """A call that is committed. failure: name, or None if it went through; one that failed has paid `fee` and
    changed nothing else. results: by name; `value`: as one value. gas: used."""

    id: bytes
    height: int
    failure: str | None
    message: str
    results: dict[str, Any]
    events: tuple[ContractEvent, ...]
    fee: int
    gas: int

    @property
    def status(self) -> str:
        """`ok`, or `failed`."""
        return "ok" if self.failure is None else "failed"

    @property
    def value(self) -> Any:
        """The results as one value."""
        return single(self.results)


@dataclass(frozen=True)
class DeployedContract:
    """A contract that is on the chain, and what it took."""

    address: bytes
    id: bytes
    height: int
    fee: int
    gas: int


def read_simulated(
    interface: ContractInterface, function: ContractFunction, answer: Mapping[str, Any]
) -> Simulation:
    """Raises KeyError, TypeError or ValueError for what is no answer to it."""
    failure = answer["failure"]
    results = bytes.fromhex(answer["results_bytes"])
    return Simulation(
        int(answer["height"]),
        failure if failure is None else str(failure),
        str(answer["message"]),
        int(answer["gas"]),
        int(answer["fee"]),
        int(answer["deposit"]),
        int(answer["entries_created"]),
        int(answer["entries_removed"]),
        {} if failure is not None else function.decode(results),
        _events(interface, answer["events"], "bytes"),
        tuple(dict(change) for change in answer["changes"]),
        bool(answer["static"]),
    )


def read_called(
    interface: ContractInterface, function: ContractFunction, record: Mapping[str, Any]
) -> Called:
    """Raises KeyError, TypeError or ValueError for what is no transaction with its receipt."""
    receipt = record["receipt"]
    status = int(receipt["status"])
    return Called(
        bytes.fromhex(record["id"]),
        int(record["height"]),
        failure_name(status),
        str(receipt["message"]),
        {} if status else function.decode(bytes.fromhex(receipt["results"])),
        _events(interface, receipt["events"], "data"),
        int(receipt["fee"]),
        int(receipt["gas"]),
    )


def read_deployed(record: Mapping[str, Any]) -> DeployedContract:
    """Raises ContractFailedError for one that failed on the chain, and what `read_called` raises."""
    receipt, tx_id = record["receipt"], bytes.fromhex(record["id"])
    if failure := failure_name(int(receipt["status"])):
        raise ContractFailedError(failure, str(receipt["message"]), tx_id)
    address, fee, gas = bytes.fromhex(record["recipient"]), int(receipt["fee"]), int(receipt["gas"])
    return DeployedContract(address, tx_id, int(record["height"]), fee, gas)


def failure_name(status: int) -> str | None:
    """What a receipt's status is called; None for 0. One of a later release has its number."""
    if not status:
        return None
    return Failure(status).name if status in {each.value for each in Failure} else f"FAILURE_{status}"


def read_event(interface: ContractInterface, told: Mapping[str, Any], data: str = "data") -> ContractEvent:
    """Raises KeyError, TypeError or ValueError for what is none. data: what its bytes are called."""
    contract, number = bytes.fromhex(told["contract"]), int(told["number"])
    named = told.get("name"), told.get("fields")
    return interface.event(contract, number, bytes.fromhex(told[data]), *named)


def read_followed(interface: ContractInterface, message: Mapping[str, Any]) -> ContractEvent:
    """An event of a stream (subscribe.py). Raises KeyError, TypeError or ValueError for what is none."""
    event = read_event(interface, {**message, "number": message["event"]})
    transaction = bytes.fromhex(message["transaction"])
    return replace(event, height=int(message["height"]), transaction=transaction)


def _events(interface: ContractInterface, told: Any, data: str) -> tuple[ContractEvent, ...]:
    return tuple(read_event(interface, each, data) for each in told)
