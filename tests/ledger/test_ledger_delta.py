"""A delta is keys and bytes of values: accounts among entries of other kinds, on the disk as in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from actors.ledger.accounts import ACCOUNT_BYTES, Account
from actors.ledger.delta import NO_IDS, AccountStates, Delta, StateEntryKind
from actors.local_socket import decoder, encode
from actors.storage import errors, formats

OTHER = 7
FACTS = 5, b"h" * 32, b"r" * 32
WORD = st.integers(0, 2**64 - 1)
ACCOUNTS = st.tuples(st.just(int(StateEntryKind.ACCOUNT)), st.builds(Account, WORD, WORD).map(Account.encode))
OTHERS = st.tuples(st.just(OTHER), st.binary(max_size=64))
ENTRIES = st.dictionaries(st.binary(min_size=32, max_size=32), ACCOUNTS | OTHERS, max_size=8)


def bytes_column(parts: list[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(parts), dtype=np.uint8)


def delta_of(entries: dict[bytes, tuple[int, bytes]], height: int = 4) -> Delta:
    kinds, values = [kind for kind, _ in entries.values()], [value for _, value in entries.values()]
    widths = [len(value) for value in values]
    columns = np.array(kinds, dtype=np.uint8), np.array(widths, dtype=np.uint8), bytes_column(values)
    return Delta(height, bytes_column(list(entries)).reshape(-1, 32), *columns, *FACTS, NO_IDS)


def entries_of(delta: Delta) -> list[tuple[bytes, tuple[int, bytes]]]:
    values, at, found = delta.values.tobytes(), 0, []
    for key, kind, width in zip(delta.keys, delta.kinds.tolist(), delta.widths.tolist(), strict=True):
        found.append((key.tobytes(), (kind, values[at : at + width])))
        at += width
    assert at == len(values)
    return found


@given(ENTRIES)
def test_entries_of_several_kinds_survive_disk_and_socket(entries: dict[bytes, tuple[int, bytes]]) -> None:
    delta = delta_of(entries)
    body = b"".join(formats.delta_parts(delta))
    for back in (formats.decode_delta(body), decoder(Delta)(encode(delta))):
        assert entries_of(back) == list(entries.items())
        assert (back.height, back.time_ms, back.hash, back.state_root) == (4, *FACTS)
    assert entries_of(delta.by_key()) == sorted(entries.items())
    for cut in range(len(body)):
        with pytest.raises(errors.CorruptionError):
            formats.decode_delta(body[:cut])


@given(ENTRIES)
def test_accounts_are_found_among_other_entries(entries: dict[bytes, tuple[int, bytes]]) -> None:
    accounts = delta_of(entries).accounts()
    told = zip(accounts.keys, accounts.nonces.tolist(), accounts.balances.tolist(), strict=True)
    found = {key.tobytes(): Account(nonce, balance).encode() for key, nonce, balance in told}
    assert found == {key: value for key, (kind, value) in entries.items() if kind == StateEntryKind.ACCOUNT}
    assert accounts.height == 4


def test_accounts_alone_make_a_delta_and_come_back() -> None:
    keys = np.arange(96, dtype=np.uint8).reshape(3, 32)
    states = AccountStates(9, keys, np.arange(3, dtype=np.uint64), np.full(3, 2**63, np.uint64))
    delta = Delta.of_accounts(states, *FACTS, NO_IDS)
    assert [value for _, (_, value) in entries_of(delta)] == [Account(n, 2**63).encode() for n in range(3)]
    pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]] = zip(
        delta.accounts().columns(), states.columns(), strict=True
    )
    for got, wanted in pairs:
        assert np.array_equal(got, wanted)
        assert not np.shares_memory(got, wanted)


def test_deltas_of_the_form_before_are_read() -> None:
    """Columns of accounts, as disks of earlier releases have them."""
    keys, words = np.arange(64, dtype=np.uint8), np.array([3, 4, 500, 600], dtype=np.uint64)
    head = (9).to_bytes(8, "little") + (5).to_bytes(8, "little") + (2).to_bytes(8, "little")
    body = head + b"h" * 32 + b"r" * 32 + keys.tobytes() + words.tobytes()
    delta = formats.decode_delta(body)
    keys_of, nonces, balances = delta.accounts().columns()
    assert (delta.height, delta.time_ms, nonces.tolist(), balances.tolist()) == (9, 5, [3, 4], [500, 600])
    assert keys_of.tobytes() == keys.tobytes()
    with pytest.raises(errors.CorruptionError):
        formats.decode_delta(body[:-1])


def test_an_account_of_another_width_and_an_unknown_form_are_corrupt() -> None:
    narrow = delta_of({bytes(32): (StateEntryKind.ACCOUNT, bytes(ACCOUNT_BYTES - 1))})
    with pytest.raises(errors.CorruptionError, match="1 entries"):
        formats.decode_delta(b"".join(formats.delta_parts(narrow)))
    body = bytearray(b"".join(formats.delta_parts(msgspec.structs.replace(delta_of({}), height=1))))
    body[20] = 9
    with pytest.raises(errors.CorruptionError, match="0 entries"):
        formats.decode_delta(bytes(body))
