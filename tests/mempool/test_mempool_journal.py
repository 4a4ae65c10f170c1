"""The journal's bytes: round trips, every cut, every flipped bit, and noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.ledger.contract_payloads import ROW_PAYLOAD_BYTES_MAX
from actors.ledger.rows import ROW_DTYPE, Batch, FormatError, concatenate
from actors.mempool import journal
from actors.mempool.journal import (
    FILE_HEADER_BYTES,
    RECORD_BODY_BYTES_MAX,
    JournalHeader,
    decode_journal_header,
    encode_records,
    records_bytes_max,
    scan_records,
)

HEADER = JournalHeader(chain_tag=2**63 + 5, shard=1, shards=3)


def batch_of(first_nonce: int, payloads: list[bytes]) -> Batch:
    rows = np.zeros(len(payloads), dtype=ROW_DTYPE)
    rows["nonce"] = np.arange(first_nonce, first_nonce + len(payloads))
    rows["payload_bytes"] = [len(payload) for payload in payloads]
    return Batch(rows, np.frombuffer(b"".join(payloads), dtype=np.uint8))


def same(left: Batch, right: Batch) -> bool:
    return left.rows.tobytes() == right.rows.tobytes() and left.payloads.tobytes() == right.payloads.tobytes()


def file_of(batches: list[Batch]) -> tuple[bytes, list[int]]:
    """The file, and where each record ends."""
    data, ends = HEADER.encode(), []
    for batch in batches:
        data += encode_records(batch)
        ends.append(len(data))
    return data, ends


payload_lists = st.lists(st.lists(st.binary(max_size=9), min_size=1, max_size=3), max_size=4)


@given(payload_lists)
def test_what_is_written_is_read(lists: list[list[bytes]]) -> None:
    batches = [batch_of(10 * i, payloads) for i, payloads in enumerate(lists)]
    data, _ = file_of(batches)
    assert decode_journal_header(data) == HEADER
    scan = scan_records(data)
    assert len(scan.batches) == len(batches)
    assert all(same(a, b) for a, b in zip(scan.batches, batches, strict=True))
    assert (scan.whole_bytes, scan.damaged, scan.torn_bytes) == (len(data), 0, 0)


def test_large_batches_are_split_and_bounded_in_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "RECORD_ROWS_MAX", 4)
    batch = batch_of(0, [bytes(i) for i in range(11)])
    data = HEADER.encode() + encode_records(batch)
    scan = scan_records(data)
    assert [len(part) for part in scan.batches] == [4, 4, 3]
    assert same(concatenate(scan.batches), batch)
    assert len(data) - FILE_HEADER_BYTES == records_bytes_max(11, len(batch.payloads))


def test_records_of_the_longest_payloads_are_whole_records() -> None:
    """A rewritten journal of many deployments has more bytes than one record may have."""
    count = RECORD_BODY_BYTES_MAX // ROW_PAYLOAD_BYTES_MAX + 2
    batch = batch_of(0, [bytes([i % 251]) * ROW_PAYLOAD_BYTES_MAX for i in range(count)])
    data = HEADER.encode() + encode_records(batch)
    scan = scan_records(data)
    assert (len(scan.batches), scan.torn_bytes) == (2, 0)
    assert same(concatenate(scan.batches), batch)
    assert len(data) - FILE_HEADER_BYTES <= records_bytes_max(count, len(batch.payloads))


def test_every_cut_keeps_exactly_the_whole_records() -> None:
    batches = [batch_of(10 * i, [b"a" * i, b"b"]) for i in range(3)]
    data, ends = file_of(batches)
    for cut in range(FILE_HEADER_BYTES, len(data) + 1):
        scan = scan_records(data[:cut])
        whole = [end for end in ends if end <= cut]
        assert len(scan.batches) == len(whole)
        assert scan.whole_bytes == (whole[-1] if whole else FILE_HEADER_BYTES)
        assert scan.torn_bytes == cut - scan.whole_bytes
        assert scan.damaged == 0


@settings(max_examples=80)
@given(st.data())
def test_a_flipped_bit_costs_its_record_alone(data: st.DataObject) -> None:
    batches = [batch_of(10 * i, [b"xyz" * i]) for i in range(4)]
    whole, ends = file_of(batches)
    at = data.draw(st.integers(FILE_HEADER_BYTES, len(whole) - 1))
    broken = bytearray(whole)
    broken[at] ^= 1 << data.draw(st.integers(0, 7))
    hit = next(i for i, end in enumerate(ends) if at < end)
    scan = scan_records(bytes(broken))
    left = batches[:hit] + batches[hit + 1 :]
    assert len(scan.batches) == 3
    assert all(same(a, b) for a, b in zip(scan.batches, left, strict=True))
    assert (scan.damaged, scan.torn_bytes > 0) == ((0, True) if hit == 3 else (1, False))


@settings(max_examples=80)
@given(st.lists(st.one_of(st.binary(max_size=40), st.just(b"RCJR"), st.just(b"RCJR\xff\xff\xff\xff"))))
def test_noise_is_read_as_nothing(pieces: list[bytes]) -> None:
    data = HEADER.encode() + b"".join(pieces)
    scan = scan_records(data)
    assert scan.batches == []
    assert scan.torn_bytes == len(data) - FILE_HEADER_BYTES


def test_the_search_for_records_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SALVAGE_TRIES_MAX", 5)
    good = encode_records(batch_of(0, [b""]))
    assert len(scan_records(HEADER.encode() + b"RCJR" * 5 + good).batches) == 1
    assert scan_records(HEADER.encode() + b"RCJR" * 9 + good).batches == []


def test_an_intact_checksum_over_a_malformed_batch_is_skipped() -> None:
    batch = batch_of(0, [b"abc"])
    batch.rows["payload_bytes"] = 2
    good = batch_of(5, [b"d"])
    scan = scan_records(HEADER.encode() + encode_records(batch) + encode_records(good))
    assert (len(scan.batches), scan.damaged) == (1, 1)


@given(st.binary(max_size=FILE_HEADER_BYTES - 1))
def test_a_short_header_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match=r"journal\.header"):
        decode_journal_header(data)


def test_another_magic_is_refused() -> None:
    with pytest.raises(FormatError, match=r"journal\.magic"):
        decode_journal_header(b"RCJ9" + HEADER.encode()[4:])
