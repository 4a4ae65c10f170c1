"""Governed functions on paper: payloads, approvals, effects and their bounds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.ledger.accounts import unpack
from actors.ledger.effects import BalanceEffects, decode_effects
from actors.ledger.governed_payloads import (
    GOVERNED_BYTES_MAX,
    GovernedCall,
    Governors,
    decode_governed,
    is_approved,
)
from actors.ledger.rows import FormatError
from actors.ledger.signing import Signer
from tests.ledger.governed_blocks import (
    GOVERNORS,
    LOCK,
    SIGNERS,
    effects_of,
    function_row,
    payload_of,
    statement,
)

I64 = st.integers(-(2**63), 2**63 - 1)
some_effects = st.dictionaries(
    st.integers(0, 2**20) | st.integers(0, 40), I64.filter(bool) | st.integers(1, 200), max_size=30
).map(effects_of)


@given(some_effects)
def test_effects_come_back_and_have_one_encoding(effects: BalanceEffects) -> None:
    data = effects.encode()
    found = decode_effects(data)
    assert found.ranks.tolist() == effects.ranks.tolist()
    assert found.changes.tolist() == effects.changes.tolist()
    assert found.encode() == data
    assert effects.treasury_change() == -sum(effects.changes.tolist())


@given(some_effects, st.data())
def test_other_bytes_are_refused_or_are_the_encoding_of_what_they_say(
    effects: BalanceEffects, data: st.DataObject
) -> None:
    body = bytearray(effects.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(0, len(body)))] if data.draw(st.booleans()) else body
    try:
        found = decode_effects(bytes(body))
    except FormatError:
        return
    assert found.encode() == bytes(body)
    assert found.changes.all()
    assert (np.diff(found.ranks) > 0).all()


@given(st.binary(max_size=200))
def test_any_bytes_are_effects_or_refused(body: bytes) -> None:
    for candidate in (body, b"RCE1" + body):
        try:
            assert decode_effects(candidate).encode() == candidate
        except FormatError:
            continue


def test_a_million_changes_of_four_bytes_fit_the_payloads_of_a_block() -> None:
    changes = np.full(1_000_000, 70_000, dtype=np.int64)
    effects = BalanceEffects(np.arange(1_000_000), changes)
    assert len(effects.encode()) == 4_000_016 < 4 << 20


calls = st.builds(
    GovernedCall,
    st.integers(0, 255),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=1, max_size=60),
    st.binary(max_size=60),
    st.dictionaries(st.integers(0, 255), st.binary(min_size=64, max_size=64), min_size=1, max_size=5).map(
        lambda found: tuple(sorted(found.items()))
    ),
)


@given(calls, st.data())
def test_payloads_come_back_and_what_is_none_is_refused(call: GovernedCall, data: st.DataObject) -> None:
    payload = call.encode()
    assert decode_governed(payload) == call
    assert decode_governed(payload + b"\0") is None
    assert decode_governed(payload[: data.draw(st.integers(0, len(payload) - 1))]) is None
    mutated = bytearray(payload)
    mutated[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    found = decode_governed(bytes(mutated))
    assert found is None or found.encode() == bytes(mutated)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_payload_or_none(body: bytes) -> None:
    found = decode_governed(body)
    assert found is None or found.encode() == body


def test_a_payload_over_its_bound_is_none() -> None:
    assert decode_governed(bytes(GOVERNED_BYTES_MAX + 1)) is None


SAID = statement(77, bytes(32), b"t" * 32, nonce=3, arguments=b"7")


def approved(payload: bytes, governors: Governors = GOVERNORS, **fields: int) -> bool:
    return is_approved(unpack(function_row(SAID, payload, **fields))[0], governors)


def test_as_many_governors_as_needed_approve_and_no_others() -> None:
    assert approved(payload_of(SAID))
    assert approved(payload_of(SAID, (1, 2)))
    assert not approved(payload_of(SAID, (1,)))
    assert not approved(payload_of(SAID, (0, 1, 2)))
    assert not approved(payload_of(SAID), Governors())
    assert not approved(payload_of(SAID), Governors(GOVERNORS.keys[:2], 2))
    assert not approved(payload_of(SAID), Governors(tuple(reversed(GOVERNORS.keys)), 2))
    assert not approved(b"")


def test_an_approval_is_good_for_one_sender_nonce_network_and_function() -> None:
    for name, value in (
        ("chain_tag", 78), ("sender", b"s" * 32), ("nonce", 4), ("treasury", bytes(32)), ("expiry_height", 9),
        ("python_minor", 12), ("lock", b"l" * 32), ("function", b"other"), ("arguments", b""),
    ):  # fmt: skip
        fields = {field: getattr(SAID, field) for field in SAID.__slots__} | {name: value}
        other = type(SAID)(**fields)
        assert other.encode() != SAID.encode()
        signed = tuple((at, SIGNERS[at].sign(other.encode())) for at in (0, 2))
        call = GovernedCall(SAID.python_minor, SAID.lock, SAID.function, SAID.arguments, signed)
        assert not approved(call.encode()), name


def test_a_stranger_does_not_govern() -> None:
    stranger = Signer(bytes(32)).sign(SAID.encode())
    call = GovernedCall(
        11, LOCK, SAID.function, SAID.arguments, ((0, SIGNERS[0].sign(SAID.encode())), (1, stranger))
    )
    assert not approved(call.encode())
