"""Requests about contracts: whatever comes becomes checked values, or a problem that names its field."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from actors.contracts.ir import FunctionKind
from actors.contracts.types import fits
from actors.gateway.contract_models import SimulateIn
from actors.gateway.contract_record import KnownContract
from actors.gateway.contract_requests import keys_of, simulated_call, table_of
from actors.gateway.problem import ProblemError
from actors.ledger.contract_state import Origin
from actors.ledger.prices import Prices
from tests.gateway.gateway_contracts import compiled
from tests.gateway.test_gateway_contracts import ROUNDS
from tests.ledger.contract_transactions import example

PRICES = Prices(1, 5)
NAMES = ("token", "escrow", "exchange", "auction", "vote", "rounds")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary(max_size=40).map(bytes.hex),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


@cache
def known(name: str) -> KnownContract:
    source = ROUNDS if name == "rounds" else example(name)[1].decode()
    program, verified = compiled(source)
    return KnownContract(b"c" * 32, program, bytes(64), Origin(1, 0, bytes(32)), verified, frozenset())


@st.composite
def bodies(draw: st.DrawFn) -> tuple[KnownContract, dict[str, Any]]:
    """A request that is nearly right: a function that there is, arguments by name or in order, some wrong."""
    contract = known(draw(st.sampled_from(NAMES)))
    function = draw(st.sampled_from(contract.verified.functions)).function
    values = st.integers(0, 9) | st.just("5") | st.just("ab" * 32) | st.booleans() | JSON
    arguments = {param.name: draw(values) for param in function.params}
    body: dict[str, Any] = {
        "function": function.name,
        "arguments": draw(st.sampled_from((arguments, list(arguments.values()), "00" * 8))),
        **draw(
            st.dictionaries(st.sampled_from(("sender", "amount", "gas", "height", "arguments", "x")), JSON)
        ),
    }
    return contract, body


def hold(error: ProblemError, status: int, *fields: str) -> None:
    """A refusal is short and names what it is about."""
    assert error.status == status
    assert error.document["field"].split(".")[0] in fields
    assert len(error.document["detail"]) < 2_000


def check(contract: KnownContract, document: bytes) -> None:
    try:
        asked = SimulateIn.model_validate_json(document)
        wanted = simulated_call(contract, asked, PRICES, 3, 7)
    except ValidationError:
        return
    except ProblemError as error:
        hold(error, 422, "function", "arguments", "sender", "gas")
        return
    called = contract.verified.functions[wanted.function]
    assert called.function.kind in (FunctionKind.ENTRY, FunctionKind.VIEW)
    assert 0 <= wanted.gas <= PRICES.block_gas_max
    assert 0 <= wanted.amount < 2**64
    if not isinstance(asked.arguments, str):
        slots = called.params.decode(wanted.arguments)
        for param, slot in zip(called.function.params, slots, strict=True):
            values = slot if isinstance(slot, tuple) else (slot,)
            assert all(fits(param.shape.type, value) for value in values)
            assert param.max is None or slot <= param.max  # type: ignore[operator]


@given(bodies())
def test_nearly_right_requests_are_calls_or_problems(drawn: tuple[KnownContract, dict[str, Any]]) -> None:
    check(drawn[0], json.dumps(drawn[1]).encode())


@given(st.sampled_from(NAMES), JSON)
def test_any_json_is_a_call_or_refused(name: str, document: Any) -> None:
    check(known(name), json.dumps(document).encode())


@given(st.sampled_from(NAMES), st.text(max_size=10), st.lists(st.text(max_size=70), max_size=5), st.data())
def test_any_keys_are_those_of_a_row_or_refused(
    name: str, asked: str, key: list[str], data: st.DataObject
) -> None:
    contract = known(name)
    tables = contract.verified.program.tables
    choices = [table.name for table in tables] + [str(number) for number in range(len(tables) + 1)]
    asked = data.draw(st.sampled_from(choices)) if data.draw(st.booleans()) else asked
    try:
        number = table_of(contract, asked)
    except ProblemError as error:
        hold(error, 404, "table")
        return
    table = tables[number]
    assert asked in (table.name, str(number), f"{number:02}", f"{number:03}")
    good = {"Address": "ab" * 32, "u64": "7", "u8": "7", "Hash": "00" * 32}
    if data.draw(st.booleans()):
        key = [good[str(kind)] for kind in table.keys]
    try:
        keys = keys_of(table, key)
    except ProblemError as error:
        hold(error, 422, "key")
        return
    assert all(fits(kind, value) for kind, value in zip(table.keys, keys, strict=True))
    assert contract.verified.tables[number].entry_keys(contract.address, keys)
