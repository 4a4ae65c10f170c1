"""Receipts as columns have the bytes and the root that single ones have."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.ledger.hashing import sha256_rows
from actors.ledger.output_columns import in_turn, output_columns, outputs_of
from actors.ledger.receipt_columns import ReceiptColumns, reports
from actors.ledger.receipts import RECEIPT_BYTES, Output, Receipts, decode_receipts

SIZES = st.sampled_from([0, 1, 8, 31, 32, 127, 128, 255, 256, 300, 512])
NUMBERS = st.one_of(
    st.sampled_from([0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**64 - 1]),
    st.integers(0, 2**64 - 1),
)


def filled(size: int, with_what: int) -> bytes:
    return bytes([with_what]) * size


EVENTS = st.builds(
    lambda contract, number, size: (filled(32, contract), number, filled(size, number)),
    st.integers(0, 3),
    st.integers(0, 255),
    SIZES,
)
OUTPUTS = st.lists(
    st.builds(
        lambda gas, size, events, message: Output(0, gas, filled(size, 7), tuple(events), message),
        NUMBERS,
        SIZES,
        st.one_of(st.lists(EVENTS, max_size=4), st.lists(EVENTS, min_size=15, max_size=18)),
        st.sampled_from(["", "no", "a balance is too small", "ж" * 32, "x" * 31, "x" * 32]),
    ),
    max_size=20,
)


def placed(outputs: list[Output], gaps: list[int]) -> tuple[list[Output], int]:
    """Outputs at rising places, and how many rows there are."""
    at, found = 0, list[Output]()
    for output, gap in zip(outputs, gaps, strict=False):
        at += gap
        found.append(Output(at, output.gas, output.results, output.events, output.message))
        at += 1
    return found, at + 1


@given(OUTPUTS, st.lists(st.sampled_from([0, 0, 0, 1, 130, 300]), min_size=20, max_size=20))
def test_columns_have_the_bytes_and_the_root_of_single_outputs(
    outputs: list[Output], gaps: list[int]
) -> None:
    outputs, count = placed(outputs, gaps)
    rows = np.arange(count * RECEIPT_BYTES, dtype=np.uint8).reshape(count, RECEIPT_BYTES)
    single, columns = Receipts(rows, tuple(outputs)), ReceiptColumns(rows, output_columns(outputs))
    data = b"".join(columns.encode())
    assert data == b"".join(single.encode())
    assert columns.root(sha256_rows) == single.root(sha256_rows)
    assert decode_receipts(data, count).outputs == tuple(outputs_of(columns.outputs)) == tuple(outputs)
    assert [row.tobytes() for row in reports(columns.outputs, sha256_rows)] == [o.report() for o in outputs]


@given(OUTPUTS, st.integers(0, 20))
def test_columns_that_follow_each_other_are_one(outputs: list[Output], cut: int) -> None:
    outputs, _ = placed(outputs, [0] * 20)
    parts = [part for part in (outputs[:cut], outputs[cut:]) if part]
    assert outputs_of(in_turn([output_columns(part) for part in parts])) == outputs
