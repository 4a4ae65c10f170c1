"""Offers of transactions: what goes in comes out, within bounds, and the verdicts decide how they travel."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.ledger.contract_payloads import ROW_PAYLOAD_BYTES_MAX
from actors.ledger.rows import PAYLOAD_BYTES_MAX, ROW_DTYPE, Batch, FormatError, concatenate
from actors.ledger.source import KINDS, relayed_source
from actors.ledger.verdict import Verdict as Judgement
from actors.peer import offers
from actors.peer.gossip import ItemVerdict
from actors.peer.offers import (
    OFFER_BYTES_MAX,
    OFFER_ROWS_MAX,
    UnknownVersionError,
    decode_offer,
    encode_offers,
    outcome,
)
from actors.peer.spread import TOPICS, TRANSACTIONS


def batch_of(sizes: list[int]) -> Batch:
    rows = np.zeros(len(sizes), dtype=ROW_DTYPE)
    rows["nonce"], rows["payload_bytes"] = np.arange(len(sizes)), sizes
    return Batch(rows, (np.arange(sum(sizes)) % 251).astype(np.uint8))


def test_an_offer_fits_the_topic_that_carries_it() -> None:
    (limit,) = [topic.body_bytes_max for topic in TOPICS if topic.name == TRANSACTIONS]
    assert limit >= OFFER_BYTES_MAX


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.sampled_from([0, 1, PAYLOAD_BYTES_MAX]), min_size=1, max_size=60),
    times=st.sampled_from([1, 20, 200]),
    kinds=st.lists(st.integers(0, 2), min_size=1, max_size=60),
)
def test_offers_hold_every_row_once_by_standing_and_in_order(
    sizes: list[int], times: int, kinds: list[int]
) -> None:
    batch = batch_of(sizes * times)
    of_row = np.resize(np.array(kinds, dtype=np.uint8), len(batch))
    by_standing: dict[str, list[Batch]] = {}
    for body in encode_offers(batch, of_row, 1234):
        assert len(body) <= OFFER_BYTES_MAX
        standing, part = decode_offer(body)
        assert 0 < len(part) <= OFFER_ROWS_MAX
        by_standing.setdefault(standing, []).append(part)
    for number, standing in enumerate(KINDS):
        whole, mine = concatenate(by_standing.get(standing, [])), batch.take(of_row == number)
        assert whole.rows.tobytes() == mine.rows.tobytes()
        assert whole.payloads.tobytes() == mine.payloads.tobytes()


def test_an_offer_takes_the_longest_payload_of_any_kind() -> None:
    batch = batch_of([ROW_PAYLOAD_BYTES_MAX, 0, ROW_PAYLOAD_BYTES_MAX])
    (body,) = encode_offers(batch, np.zeros(3, dtype=np.uint8), 1)
    assert decode_offer(body)[1].payloads.tobytes() == batch.payloads.tobytes()


def test_the_same_rows_offered_again_are_another_item() -> None:
    batch, kinds = batch_of([0, 3]), np.zeros(2, dtype=np.uint8)
    assert list(encode_offers(batch, kinds, 1)) != list(encode_offers(batch, kinds, 2))


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=64), at=st.integers(0, 460), cut=st.integers(0, 500))
def test_whatever_comes_is_an_offer_or_a_named_error(data: bytes, at: int, cut: int) -> None:
    (body,) = encode_offers(batch_of([3, 0]), np.zeros(2, dtype=np.uint8), 1)
    for damaged in (data, body[:at] + data + body[at + len(data) :], body[:cut]):
        with contextlib.suppress(FormatError):
            standing, batch = decode_offer(damaged)
            assert standing in KINDS
            assert int(batch.rows["payload_bytes"].sum()) == len(batch.payloads)


def test_bounds_and_versions_are_named() -> None:
    (body,) = encode_offers(batch_of([0]), np.zeros(1, dtype=np.uint8), 1)
    with pytest.raises(UnknownVersionError, match=r"offer\.version"):
        decode_offer(b"\x02" + body[1:])
    with pytest.raises(FormatError, match=r"offer\.standing"):
        decode_offer(b"\x01\x03" + body[2:])
    with pytest.raises(FormatError, match=r"batch\.count"):
        decode_offer(body[:20] + b"\xff\xff\x00\x00" + body[24:])
    with pytest.raises(FormatError, match=r"offer\.rows"):
        decode_offer(body[:20] + bytes(12))
    with pytest.raises(FormatError, match=r"offer\.header"):
        decode_offer(body[:5])


def test_a_member_vouches_for_a_standing_and_nobody_else_does() -> None:
    assert relayed_source(b"\x01\x02", True, "known") == "known:member-0102"
    assert relayed_source(b"\x01\x02", False, "member") == "anonymous:peer-0102"


@pytest.mark.parametrize(
    ("verdicts", "whole", "onward"),
    [
        ([Judgement.OK, Judgement.OK], ItemVerdict.ACCEPT, []),
        ([Judgement.OK, Judgement.DUPLICATE], ItemVerdict.ACCEPT, []),
        ([Judgement.DUPLICATE, Judgement.DUPLICATE], ItemVerdict.IGNORE, []),
        ([Judgement.OK, Judgement.NONCE_REUSED, Judgement.OK], ItemVerdict.IGNORE, [0, 2]),
        ([Judgement.POOL_FULL, Judgement.UNAVAILABLE], ItemVerdict.IGNORE, []),
        ([Judgement.EXPIRED, Judgement.BAD_VERSION, Judgement.UNKNOWN_KIND], ItemVerdict.IGNORE, []),
        ([Judgement.OK, Judgement.BAD_SIGNATURE], ItemVerdict.REJECT, [0]),
        ([Judgement.WRONG_CHAIN], ItemVerdict.REJECT, []),
    ],
)
def test_verdicts_decide_how_an_offer_travels(
    verdicts: list[Judgement], whole: ItemVerdict, onward: list[int]
) -> None:
    decided, rows = outcome(np.array(verdicts, dtype=np.uint8))
    assert (decided, np.flatnonzero(rows).tolist()) == (whole, onward)


def test_every_condemned_verdict_can_be_seen_without_the_state() -> None:
    needs_state = {Judgement.NONCE_REUSED, Judgement.NONCE_GAP, Judgement.INSUFFICIENT_BALANCE}
    assert not needs_state & {Judgement(int(code)) for code in offers._CONDEMNED}
