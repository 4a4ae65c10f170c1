"""Rows, batches and static checks: layout, round trips, fuzz, and equality with the plain rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.ledger import rules
from actors.ledger.accounts import unpack
from actors.ledger.checks import static_verdicts
from actors.ledger.environment import Environment
from actors.ledger.prices import Prices
from actors.ledger.rows import (
    BATCH_HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    ROW_BYTES,
    ROW_DTYPE,
    ROW_VERSION,
    ROW_WORDS,
    SIGNED_BYTES,
    Batch,
    FormatError,
    concatenate,
    decode_batch,
    empty_batch,
    encode_batch,
    shard_of,
)
from actors.ledger.signing import Signer, Transfer, sign_transfer
from actors.ledger.verdict import Verdict, explain
from tests.ledger.strategies import CHAIN_TAG, batches

PRICES = Prices(1, 1)
LIMITS = {"rows_max": 1_000, "payload_bytes_max": 1 << 20}


def test_the_row_has_the_documented_layout() -> None:
    assert ROW_DTYPE.itemsize == ROW_BYTES == 8 * ROW_WORDS
    assert ROW_DTYPE.fields is not None
    offsets = {name: ROW_DTYPE.fields[name][1] for name in ROW_DTYPE.names or ()}
    assert offsets["chain_tag"] == 8
    assert offsets["nonce"] == 16
    assert offsets["sender"] == 48
    assert offsets["recipient"] == 80
    assert offsets["payload_hash"] == 112
    assert offsets["signature"] == SIGNED_BYTES == 144


def test_a_signed_row_is_accepted_by_an_independent_library() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    signer = Signer(b"\x07" * 32)
    batch = sign_transfer(signer, CHAIN_TAG, Transfer(b"\x01" * 32, 5, 0, fee=1, payload=b"memo"))
    raw = batch.rows.tobytes()
    Ed25519PublicKey.from_public_bytes(signer.public_key).verify(raw[SIGNED_BYTES:], raw[:SIGNED_BYTES])
    assert not static_verdicts(batch, CHAIN_TAG, 1, PRICES).any()


def test_a_signer_never_shows_its_seed() -> None:
    assert (b"\x07" * 32).hex() not in repr(Signer(b"\x07" * 32))


@pytest.mark.parametrize("field", ["amount", "nonce", "fee", "expiry_height"])
def test_signing_names_the_field_that_is_out_of_range(field: str) -> None:
    values: dict[str, Any] = {"recipient": bytes(32), "amount": 1, "nonce": 0, field: 2**64}
    with pytest.raises(FormatError, match=field):
        sign_transfer(Signer(bytes(32)), 0, Transfer(**values))


@given(batches, st.lists(st.binary(max_size=40), max_size=40))
def test_batches_survive_the_round_trip(batch: Batch, payloads: list[bytes]) -> None:
    rows = batch.rows.copy()
    blob = b"".join(payloads[: len(rows)])
    for row, payload in zip(rows, payloads, strict=False):
        row["payload_bytes"] = len(payload)
    original = Batch(rows, np.frombuffer(blob, dtype=np.uint8))
    again = decode_batch(encode_batch(original), **LIMITS)
    assert again.rows.tobytes() == original.rows.tobytes()
    assert again.payloads.tobytes() == blob


@given(batches, st.data())
def test_a_damaged_batch_is_refused_or_reads_as_what_it_says(batch: Batch, data: st.DataObject) -> None:
    encoded = bytearray(encode_batch(batch))
    cut = data.draw(st.integers(0, len(encoded)))
    at = data.draw(st.integers(0, BATCH_HEADER_BYTES - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(encoded[:cut]), bytes(encoded), bytes(encoded) + b"\0"):
        with pytest.raises(FormatError) as raised:
            decode_batch(damaged, **LIMITS)
        assert raised.value.field.startswith(("batch", "rows"))


@given(st.binary(max_size=600))
def test_any_bytes_are_a_batch_or_a_format_error(data: bytes) -> None:
    try:
        batch = decode_batch(data, **LIMITS)
    except FormatError:
        return
    assert encode_batch(batch) == data


def test_a_header_that_claims_too_much_is_refused_before_anything_is_allocated() -> None:
    claim = b"RCB1" + (2**32 - 1).to_bytes(4, "little") + bytes(8)
    with pytest.raises(FormatError, match=r"batch\.count"):
        decode_batch(claim, **LIMITS)


def test_take_keeps_payloads_with_their_rows() -> None:
    signer, payloads = Signer(bytes(32)), [b"", b"abc", b"", b"defgh"]
    batch = concatenate(
        [sign_transfer(signer, 0, Transfer(bytes(32), 1, n, payload=p)) for n, p in enumerate(payloads)]
    )
    by_mask = batch.take(np.array([True, False, True, True]))
    by_index = batch.take(np.array([3, 1]))
    assert by_mask.payloads.tobytes() == b"defgh"
    assert by_index.payloads.tobytes() == b"defghabc"
    assert list(by_index.rows["nonce"]) == [3, 1]
    assert len(concatenate([])) == len(empty_batch()) == 0


@given(batches, st.sampled_from([1, 5, 6, 7]))
def test_static_checks_equal_the_plain_rules(batch: Batch, height: int) -> None:
    env = Environment(CHAIN_TAG, height, bytes(32), PRICES)
    expected = [rules.static_verdict(tx, env) for tx in unpack(batch)]
    assert list(static_verdicts(batch, CHAIN_TAG, height, PRICES)) == expected


@pytest.mark.parametrize("at", [0, 2, 4])
@pytest.mark.parametrize(
    ("field", "value", "verdict"),
    [
        ("version", ROW_VERSION + 1, Verdict.BAD_VERSION),
        ("kind", 0, Verdict.UNKNOWN_KIND),
        ("flags", 1, Verdict.BAD_FLAGS),
        ("chain_tag", CHAIN_TAG + 1, Verdict.WRONG_CHAIN),
        ("expiry_height", 4, Verdict.EXPIRED),
        ("amount", 2**64 - 1, Verdict.AMOUNT_OVERFLOW),
        ("fee", 0, Verdict.FEE_BELOW_MINIMUM),
        ("nonce", 2**64 - 1, Verdict.NONCE_LIMIT),
        ("payload_bytes", PAYLOAD_BYTES_MAX + 1, Verdict.BAD_PAYLOAD),
        ("payload_hash", [0] * 31 + [1], Verdict.BAD_PAYLOAD),
        ("expiry_height", 5, Verdict.OK),
        ("amount", 2**64 - 2, Verdict.OK),
    ],
)
def test_one_row_that_is_not_plain_among_plain_ones(at: int, field: str, value: Any, verdict: int) -> None:
    signer = Signer(bytes(32))
    rows = concatenate(
        [sign_transfer(signer, CHAIN_TAG, Transfer(bytes(32), 1, n, fee=1)) for n in range(5)]
    ).rows.copy()
    rows[field][at] = value
    rows.flags.writeable = False
    expected = [Verdict.OK] * 5
    expected[at] = Verdict(verdict)
    assert list(static_verdicts(Batch(rows, np.empty(0, np.uint8)), CHAIN_TAG, 5, PRICES)) == expected


@pytest.mark.parametrize(("size", "damage"), [(1, 0), (7, 1), (PAYLOAD_BYTES_MAX, 0)])
def test_payload_hashes_are_checked(size: int, damage: int) -> None:
    batch = sign_transfer(Signer(bytes(32)), CHAIN_TAG, Transfer(bytes(32), 1, 0, payload=b"x" * size))
    payloads = batch.payloads.copy()
    payloads[0] ^= damage
    verdict = static_verdicts(Batch(batch.rows, payloads), CHAIN_TAG, 1, PRICES)[0]
    assert verdict == (Verdict.BAD_PAYLOAD if damage else Verdict.OK)


def test_a_payload_above_the_bound_is_refused() -> None:
    rows = sign_transfer(Signer(bytes(32)), CHAIN_TAG, Transfer(bytes(32), 1, 0, payload=b"x")).rows.copy()
    rows["payload_bytes"] = PAYLOAD_BYTES_MAX + 1
    big = Batch(rows, np.zeros(PAYLOAD_BYTES_MAX + 1, dtype=np.uint8))
    assert static_verdicts(big, CHAIN_TAG, 1, PRICES)[0] == Verdict.BAD_PAYLOAD


def test_every_verdict_has_words_and_unknown_ones_raise() -> None:
    for verdict in Verdict:
        assert explain(verdict)[1]
    with pytest.raises(ValueError, match="250"):
        explain(250)


def test_shards_cover_all_senders_and_depend_on_the_key_alone() -> None:
    senders = np.random.default_rng(5).integers(0, 256, (1_000, 32), dtype=np.uint8)
    shards = shard_of(senders, 3)
    assert set(shards) == {0, 1, 2}
    assert (shards == shard_of(senders.copy(), 3)).all()
