"""The parts of contracts in the SDK that need no gateway: values, offers, nonces, filters, positions."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.contracts import examples
from actors.contracts.ir import Named, Shape
from actors.contracts.json_values import slot_to_json
from actors.contracts.slots import SlotLayout
from actors.contracts.types import ADDRESS, BOOL, U8, U64, U128, bytes_type
from actors.ledger.contract_payloads import contract_address, decode_deployment
from actors.ledger.prices import Prices
from actors.ledger.rows import KIND_CALL, KIND_DEPLOY
from actors.ledger.signing import Signer, Transfer, sign_transfer
from actors.sdk.answers import UnavailableApiError, read_object
from actors.sdk.contract_interface import Arguments, single
from actors.sdk.contract_offers import (
    PreparedDeployment,
    WantedDeployment,
    fee_for,
    prepare_deployment,
    with_nonce,
)
from actors.sdk.contract_requests import simulate
from actors.sdk.contract_results import ContractFailedError, failure_name
from actors.sdk.contract_values import InterfaceError, example, named_values, slot_of, value_of_text
from actors.sdk.nonces import NonceSequence
from actors.sdk.requests import submit_one
from actors.sdk.subscribe import EventFilter, _Position, events_url
from bench.contract_fuzz.arguments import random_slot
from tests.contracts.programs import TYPES, random_shape

EXAMPLES = Path(examples.__file__).parent
ALICE = Signer(b"a" * 32).public_key
PRICES = Prices(3, 10)


@given(st.integers(0, 2**64))
def test_a_value_comes_back_as_it_went_in_and_as_json_and_typed_text_have_it(seed: int) -> None:
    rng = Random(seed)
    named = [Named(f"a{n}", random_shape(rng)) for n in range(3)]
    slots = [random_slot(rng, each.shape) for each in named]
    data = SlotLayout(each.shape for each in named).encode(slots)
    values = named_values(named, data)
    for each, slot in zip(named, slots, strict=True):
        value = values[each.name]
        assert slot_of(each.name, each.shape, value) == slot
        in_json = slot_to_json(slot)
        assert slot_of(each.name, each.shape, in_json) == slot
        typed = ",".join(map(str, in_json)) if isinstance(in_json, list) else str(in_json)
        assert slot_of(each.name, each.shape, value_of_text(each.shape, typed)) == slot


@pytest.mark.parametrize("kind", TYPES, ids=str)
@pytest.mark.parametrize("count", [0, 3])
def test_examples_are_values_of_their_types(kind: object, count: int) -> None:
    shape = Shape(kind, count)  # type: ignore[arg-type]
    slot_of("x", shape, value_of_text(shape, example(shape)))


@pytest.mark.parametrize(
    ("shape", "value", "greatest", "words"),
    [
        (Shape(U8), 256, None, "n: got 256, expected u8, an integer from 0 to 255, as in n=5"),
        (Shape(U64), 1.0, None, "n: got 1.0, expected u64"),
        (Shape(U64), 17, 16, r"n: got 17, expected UpTo\[u64, 16\], at most 16, as in n=5"),
        (Shape(U64), "x", 3, r"expected UpTo\[u64, 3\], u64, an integer .* as in n=3"),
        (Shape(U128), None, None, "n: got None, expected u128"),
        (Shape(BOOL), 2, None, "n: got 2, expected true or false, as in n=true"),
        (Shape(ADDRESS), b"short", None, "expected Address, 64 hexadecimal digits"),
        (Shape(bytes_type(2)), "0g", None, "n: got '0g', expected .*4 hexadecimal digits, as in n=0000"),
        (Shape(U8, 3), [1, 2], None, r"n: got \[1, 2\], expected Array\[u8, 3\], .*as in n=5,5,5"),
        (Shape(U8, 2), [1, 300], None, r"n\[1\]: got 300"),
    ],
)
def test_a_misfit_is_named_with_its_type_and_an_example(
    shape: Shape, value: object, greatest: int | None, words: str
) -> None:
    with pytest.raises(InterfaceError, match=words):
        slot_of("n", shape, value, greatest)


def test_results_as_one_value() -> None:
    assert single({}) is None
    assert single({"value": 5}) == 5
    assert single({"value0": 5, "value1": True}) == (5, True)
    assert single({"amount": 5, "owner": b"x"}) == {"amount": 5, "owner": b"x"}


def test_an_offer_covers_gas_and_deposits() -> None:
    assert fee_for(PRICES, 0, 0) == 3
    assert fee_for(PRICES, 101, 2) == 3 + 2 + 2 * PRICES.entry_deposit
    assert fee_for(PRICES, 100, -5) == 3 + 1


def test_a_deployment_is_tried_and_knows_its_size() -> None:
    source = (EXAMPLES / "token.py").read_text()

    def prepared_of(
        name: str, arguments: Arguments, coins: int = 0, simulate: bool = True
    ) -> PreparedDeployment:
        text = (EXAMPLES / f"{name}.py").read_text()
        wanted = WantedDeployment(text, arguments, ALICE, coins, simulate=simulate)
        return prepare_deployment(wanted, PRICES, 7, 1_000)

    prepared = prepared_of("token", {"supply": 9})
    assert (prepared.name, prepared.draft.kind) == ("Token", KIND_DEPLOY)
    deployment = decode_deployment(prepared.draft.payload)
    assert deployment is not None
    assert deployment.source == source.encode()
    assert deployment.arguments == (9).to_bytes(8, "little")
    least = PRICES.fee_min + prepared.gas // PRICES.gas_per_unit + prepared.entries * PRICES.entry_deposit
    assert prepared.draft.fee > least, "the INIT writes, too"
    with pytest.raises(ContractFailedError, match="takes no coins"):
        prepared_of("token", {"supply": 9}, coins=5)
    assert prepared_of("token", {"supply": 9}, coins=5, simulate=False).draft.fee > least
    assert prepared_of("exchange", []).gas > 0, "imports are met on the chain"


def test_a_deployment_goes_where_its_nonce_leads() -> None:
    deployment = with_nonce(Transfer(bytes(32), 0, 0, kind=KIND_DEPLOY), ALICE, 6)
    assert (deployment.nonce, deployment.recipient) == (6, contract_address(ALICE, 6))
    assert with_nonce(Transfer(ALICE, 0, 0, kind=KIND_CALL), ALICE, 6).recipient == ALICE


def test_failures_have_names_and_those_of_later_releases_numbers() -> None:
    assert [failure_name(status) for status in (0, 6, 200)] == [None, "REQUIREMENT", "FAILURE_200"]


@given(st.lists(st.integers(0, 3), max_size=40))
def test_a_nonce_is_given_out_once_and_the_least_first(steps: list[int]) -> None:
    nonces, taken = NonceSequence(10), list[int]()
    for step in steps:
        if step < 2 or not taken:
            nonce = nonces.take()
            assert nonce not in taken
            assert nonce == min(set(range(10, 200)) - set(taken))
            taken.append(nonce)
        else:
            nonces.give_back(taken.pop(0 if step == 2 else -1))
        assert nonces.gap_below(taken) == any(set(range(10, nonce)) - set(taken) for nonce in taken)


def test_nonces_below_the_chains_are_used_up() -> None:
    nonces = NonceSequence(0)
    for _ in range(4):
        nonces.take()
    nonces.give_back(1)
    nonces.passed(2)
    assert not nonces.gap_below([3])
    assert nonces.take() == 4
    nonces.passed(9)
    assert nonces.take() == 9


def test_filters_in_the_address_of_a_subscription() -> None:
    at = "11" * 32
    wanted = [EventFilter(bytes.fromhex(at)), EventFilter(bytes.fromhex(at), 2, b"\xff\x00")]
    url = events_url("http://a:1", False, from_height=3, contracts=wanted)
    assert url == f"ws://a:1/v1/events?contract={at}&contract={at}.2.ff00&from_height=3"
    with pytest.raises(ValueError, match="of which"):
        str(EventFilter(bytes.fromhex(at), None, b"x"))


def test_an_event_is_yielded_once_though_its_height_is_read_again() -> None:
    position = _Position(None, False)
    position.takes({"type": "hello", "height": 4})
    events = [
        {"type": "event", "height": height, "transaction": transaction, "position": place}
        for height, transaction, place in [(5, "aa", 0), (5, "aa", 1), (5, "bb", 0), (6, "aa", 0)]
    ]
    assert [position.takes(event) for event in events[:3]] == [True, True, True]
    assert position.height == 5
    assert [position.takes(event) for event in events] == [False, False, False, True]


def test_what_only_asks_may_be_asked_again() -> None:
    cut_off = UnavailableApiError({}, 1.0)
    assert simulate(bytes(32), {}, read_object).may_repeat(cut_off)
    assert not submit_one(sign_transfer(Signer(b"a" * 32), 0, Transfer(ALICE, 1, 0)), "accepted").may_repeat(
        cut_off
    )
