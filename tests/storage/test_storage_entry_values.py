"""Values of entries: rows are written once, come back when they are released, and hash as their bytes do."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.contracts.limits import ENTRY_BYTES_MAX, ENTRY_TAG
from actors.ledger.delta import account_values
from actors.ledger.hashing import sha256_rows
from actors.storage.accounts import StateColumns
from actors.storage.entry_values import EntryValues

VALUES = st.lists(st.binary(max_size=ENTRY_BYTES_MAX), max_size=40)


def columns(values: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    widths = np.array([len(value) for value in values], dtype=np.uint64)
    return np.frombuffer(b"".join(values), dtype=np.uint8), widths


@given(st.lists(st.tuples(VALUES, st.booleans()), max_size=6))
def test_what_is_put_is_found_until_it_is_given_back(rounds: list[tuple[list[bytes], bool]]) -> None:
    kept, held = EntryValues(), list[tuple[np.ndarray, list[bytes]]]()
    for values, gives_back in rounds:
        joined, widths = columns(values)
        held.append((kept.put(joined, widths), values))
        if gives_back and len(held) > 1:
            rows, gone = held.pop(0)
            kept.release(rows[columns(gone)[1] > 0])
        in_use = [int(row) for rows, some in held for row, value in zip(rows, some, strict=True) if value]
        assert len(set(in_use)) == len(in_use) == kept.used
        for rows, some in held:
            assert kept.gather(rows, columns(some)[1]).tobytes() == b"".join(some)


@given(VALUES, st.integers(0, 5))
def test_entries_hash_as_their_bytes_beside_accounts(values: list[bytes], accounts: int) -> None:
    joined, widths = columns(values)
    keys = np.zeros((len(values) + accounts, 32), dtype=np.uint8)
    keys[: len(values), : len(ENTRY_TAG)] = np.frombuffer(ENTRY_TAG, dtype=np.uint8)
    balances = np.concatenate([widths, np.arange(1, accounts + 1, dtype=np.uint64)])
    nonces = np.zeros(len(keys), dtype=np.uint64)
    hashes = StateColumns(keys, nonces, balances, joined).hashes(sha256_rows)
    expected = [sha256(value).digest() for value in values]
    assert [found.tobytes() for found, value in zip(hashes, values, strict=False) if value] == [
        digest for digest, value in zip(expected, values, strict=True) if value
    ]
    plain = [sha256(value.tobytes()).digest() for value in account_values(nonces, balances)[len(values) :]]
    assert [found.tobytes() for found in hashes[len(values) :]] == plain
