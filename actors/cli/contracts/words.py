"""How commands say what contracts hold, return and emit: to people, and as JSON."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from actors.cli.contracts.arguments import DEFAULT_KEY, typed
from actors.cli.options import DEFAULT_URL, URL_VARIABLE
from actors.contracts.ir import FunctionKind
from actors.contracts.json_values import slot_to_json
from actors.sdk.contract_interface import ContractEvent, ContractFunction, ContractInterface
from actors.sdk.contract_values import values_in_json

_SHOWN_BYTES_MAX = 16


def shown(value: Any) -> str:
    """A value, or several by name, in a line for people. Among others long bytes are cut; --json has them."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={_cut(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return f"[{', '.join(_cut(each) for each in value)}]"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    return str(value)


def _cut(value: Any) -> str:
    if isinstance(value, bytes) and len(value) > _SHOWN_BYTES_MAX:
        return f"{value[: _SHOWN_BYTES_MAX // 2].hex()}…"
    return f"({shown(value)})" if isinstance(value, dict) else shown(value)


def shown_event(event: ContractEvent) -> str:
    """`Counted(who=ab.., by=5)`; of an unknown contract: where it is of, and how long it is."""
    if event.fields is None:
        return f"event {event.number} of {_cut(event.contract)}, {len(event.data)} bytes"
    return f"{event.name}({shown(event.fields)})"


def event_facts(event: ContractEvent) -> dict[str, Any]:
    """An event as JSON."""
    facts: dict[str, Any] = {
        "contract": event.contract.hex(),
        "event": event.number,
        "name": event.name,
        "fields": values_in_json(event.fields),
        "data": event.data.hex(),
    }
    if event.height is not None and event.transaction is not None:
        facts |= {"height": event.height, "transaction": event.transaction.hex()}
    return facts


def value_facts(value: Any) -> Any:
    """One value, or several by name, as JSON."""
    return values_in_json(value) if isinstance(value, dict) else slot_to_json(value)


def function_words(functions: Iterable[ContractFunction]) -> list[str]:
    """A line for each."""
    return [
        f"{each.kind.name.lower():<6}{each.signature}" + (", takes coins" if each.accepts_coins else "")
        for each in functions
    ]


def options_again(url: str, key: str = DEFAULT_KEY) -> str:
    """The options that a next command needs to speak to the same gateway with the same key."""
    given = "" if url == DEFAULT_URL or os.environ.get(URL_VARIABLE) == url else f" --url {url}"
    return given + ("" if key == DEFAULT_KEY else f" --key {key}")


def example_call(interface: ContractInterface) -> str:
    """FUNCTION and arguments of a call that can be typed; empty for a contract without entries."""
    entries = [each for each in interface.functions.values() if each.kind is FunctionKind.ENTRY]
    if not entries:
        return ""
    return " ".join([entries[0].name, *(typed(each) for each in entries[0].params)])
