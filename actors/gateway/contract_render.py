"""Contracts, and what their calls left, as the dictionaries that the JSON answers are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from actors.contracts.failures import Failure
from actors.contracts.ir import Event, Function, FunctionKind, Named, Param, Table
from actors.contracts.json_values import integer_to_json, slots_to_json, type_text
from actors.contracts.running import EmittedEvent
from actors.contracts.slots import SlotLayout
from actors.contracts.types import Slot
from actors.contracts.verified import VerifiedFunction
from actors.gateway.contract_record import KnownContract
from actors.ledger.receipts import Output

Contracts = Mapping[bytes, KnownContract]
"""Those whose events can be named, by address."""


def description(contract: KnownContract, height: int) -> dict[str, Any]:
    """A contract, and what it offers."""
    program, origin = contract.verified.program, contract.origin
    public = [each for each in contract.verified.functions if each.function.kind is not FunctionKind.PRIVATE]
    return {
        "address": contract.address.hex(),
        "height": height,
        "name": program.name,
        "program": contract.program.hex(),
        "program_hash": contract.program_hash.hex(),
        "source_hash": contract.source_hash.hex(),
        "deployer": origin.deployer.hex(),
        "deployed_height": origin.height,
        "nonce": origin.nonce,
        "functions": [_function(each, each.number in contract.static) for each in public],
        "tables": [_table(number, table) for number, table in enumerate(program.tables)],
        "events": [_event(number, event) for number, event in enumerate(program.events)],
        "imports": [
            {"address": each.address.hex(), "contract": each.contract, "function": each.function}
            for each in program.imports
        ],
    }


def _function(verified: VerifiedFunction, static: bool) -> dict[str, Any]:
    function: Function = verified.function
    return {
        "number": verified.number,
        "name": function.name,
        "kind": function.kind.name.lower(),
        "accepts_coins": function.accepts_coins,
        "params": [_param(param) for param in function.params],
        "results": _named([named for _, named in function.results]),
        "gas_max": integer_to_json(verified.worst.gas),
        "contract_calls": verified.worst.contract_calls,
        "static": static,
    }


def _param(param: Param) -> dict[str, Any]:
    own = {"name": param.name, "type": type_text(param.shape)}
    return own if param.max is None else {**own, "max": integer_to_json(param.max)}


def _table(number: int, table: Table) -> dict[str, Any]:
    keys = [str(kind) for kind in table.keys]
    return {"number": number, "name": table.name, "keys": keys, "columns": _named(table.columns)}


def _event(number: int, event: Event) -> dict[str, Any]:
    return {"number": number, "name": event.name, "fields": _named(event.fields)}


def _named(names: Sequence[Named]) -> list[dict[str, str]]:
    return [{"name": each.name, "type": type_text(each.shape)} for each in names]


def results(function: Function, data: bytes) -> dict[str, object]:
    """What a call has answered, by name; empty where there is nothing."""
    if not data:
        return {}
    return slots_by_name([named for _, named in function.results], data)


def slots_by_name(names: Sequence[Named], data: bytes) -> dict[str, object]:
    """Encoded slots by name."""
    slots: list[Slot] = SlotLayout(each.shape for each in names).decode(data)
    return slots_to_json(names, slots)


def named_event(emitted: EmittedEvent, contracts: Contracts) -> dict[str, Any]:
    """Name and fields of an event; nothing where its contract is not among those."""
    address, number, data = emitted
    contract = contracts.get(address)
    if contract is None:
        return {}
    event = contract.verified.program.events[number]
    return {"name": event.name, "fields": slots_by_name(event.fields, data)}


def output(left: Output, status: int, contracts: Contracts) -> dict[str, Any]:
    """What a receipt of a deployment or a call says besides that of a transfer."""
    return {
        "gas": integer_to_json(left.gas),
        "failure": failure_name(status),
        "message": left.message,
        "results": left.results.hex(),
        "events": [{**_event_bytes(event), **named_event(event, contracts)} for event in left.events],
    }


def proven_output(left: Output) -> dict[str, Any]:
    """What of it a receipt's proof binds, as sdk/receipt_proof.py reads it."""
    return {
        "gas": integer_to_json(left.gas),
        "results": left.results.hex(),
        "events": [_event_bytes(event) for event in left.events],
    }


def _event_bytes(event: EmittedEvent) -> dict[str, Any]:
    contract, number, data = event
    return {"contract": contract.hex(), "number": number, "data": data.hex()}


def failure_name(status: int) -> str | None:
    """Why a call failed, in a word; None for one that went through."""
    return Failure(status).name if status else None
