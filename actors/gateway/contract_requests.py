"""What requests say of contracts, as typed and checked values; a ProblemError names field and way out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.contracts.ir import FunctionKind, Named, Shape, Table
from actors.contracts.json_values import JsonValueError, slots_from_json
from actors.contracts.limits import ARGUMENTS_BYTES_MAX, ENTRY_TAG
from actors.contracts.types import Value
from actors.contracts.verified import VerifiedFunction
from actors.gateway.contract_models import SimulateIn
from actors.gateway.contract_record import KnownContract
from actors.gateway.problem import ProblemError
from actors.gateway.simulation import NOBODY, SimulatedCall
from actors.ledger.prices import Prices

CALLABLE = FunctionKind.ENTRY, FunctionKind.VIEW
TABLE_DIGITS_MAX = 3


def simulated_call(
    contract: KnownContract, asked: SimulateIn, prices: Prices, height: int, time_ms: int
) -> SimulatedCall:
    """The call that a request asks for, at a height."""
    called = _function(contract, asked.function)
    sender = NOBODY if asked.sender is None else bytes.fromhex(asked.sender)
    if sender.startswith(ENTRY_TAG) or sender == contract.address:
        raise ProblemError("invalid", "nobody can have signed as this sender", field="sender")
    gas = prices.block_gas_max if asked.gas is None else asked.gas
    if gas > prices.block_gas_max:
        detail = f"a block has gas for {prices.block_gas_max} at most: ask for that or less"
        raise ProblemError("invalid", detail, field="gas", limit=prices.block_gas_max)
    is_view = called.function.kind is FunctionKind.VIEW
    return SimulatedCall(
        contract=contract.address,
        function=called.number,
        arguments=_arguments(called, asked.arguments),
        sender=sender,
        amount=asked.amount,
        gas=gas,
        pays=asked.amount > 0 or (sender != NOBODY and not is_view),
        height=height,
        time_ms=time_ms,
    )


def _function(contract: KnownContract, asked: int | str) -> VerifiedFunction:
    """By number or name."""
    public = [each for each in contract.verified.functions if each.function.kind in CALLABLE]
    found = next((each for each in public if asked in (each.number, each.function.name)), None)
    if found is None:
        names = ", ".join(each.function.name for each in public) or "none"
        raise ProblemError(
            "invalid", f"it has no such entry or view; those that it has: {names}", field="function"
        )
    return found


def _arguments(called: VerifiedFunction, asked: dict[str, Any] | list[Any] | str) -> bytes:
    """By name, in order, or as their bytes in hexadecimal."""
    if isinstance(asked, str):
        return _argument_bytes(asked)
    params = called.function.params
    try:
        slots = slots_from_json(params, asked, "arguments")
    except JsonValueError as error:
        raise not_a_value(error) from None
    for param, slot in zip(params, slots, strict=True):
        if param.max is not None and isinstance(slot, int) and slot > param.max:
            detail = f"the contract takes {param.max} at most"
            raise ProblemError("invalid", detail, field=f"arguments.{param.name}", limit=param.max)
    return called.params.encode(slots)


def _argument_bytes(text: str) -> bytes:
    expected = "an object by name, a list, or the bytes as hexadecimal digits"
    if len(text) > 2 * ARGUMENTS_BYTES_MAX:
        detail = f"arguments of a call are {ARGUMENTS_BYTES_MAX} bytes at most"
        raise ProblemError("invalid", detail, field="arguments", limit=ARGUMENTS_BYTES_MAX)
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(text) != 2 * len(data):
        raise ProblemError("invalid", f"expected {expected}", field="arguments")
    return data


def table_of(contract: KnownContract, asked: str) -> int:
    """The number of a table, by number or name."""
    tables = contract.verified.program.tables
    named = next((number for number, table in enumerate(tables) if table.name == asked), None)
    if named is None and asked.isascii() and asked.isdigit() and len(asked) <= TABLE_DIGITS_MAX:
        named = int(asked) if int(asked) < len(tables) else None
    if named is None:
        names = ", ".join(table.name for table in tables) or "none"
        detail = f"the contract has no such table; those that it has: {names}"
        raise ProblemError("not-found", detail, field="table")
    return named


def keys_of(table: Table, asked: Sequence[str]) -> list[Value]:
    """The keys of a row, in order."""
    if len(asked) != len(table.keys):
        kinds = ", ".join(map(str, table.keys))
        wanted = f"give key= {len(table.keys)} times, in order: {kinds}" if kinds else "a cell has no key"
        raise ProblemError("invalid", wanted, field="key", limit=len(table.keys))
    names = [Named(str(number), Shape(kind)) for number, kind in enumerate(table.keys)]
    try:
        slots = slots_from_json(names, list(asked), "key")
    except JsonValueError as error:
        raise not_a_value(error) from None
    return [slot for slot in slots if not isinstance(slot, tuple)]


def not_a_value(error: JsonValueError) -> ProblemError:
    """The problem of a value that is not of its type; what came is not repeated."""
    return ProblemError("invalid", f"expected {error.expected}", field=error.field)
