"""Rows that were found genuine are not verified again, and nothing else passes for one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from actors.kernels.interface import Kernels
from actors.ledger.rows import Batch
from actors.ledger.signing import Signer, Transfer, sign_transfer
from actors.settings import LogSettings, ValidatorSettings
from actors.shell import ActorContext
from actors.validator import actor as room
from actors.validator.actor import Validator
from actors.validator.verified_cache import VerifiedCache
from actors.validator.work import verify_rows


@given(st.lists(st.tuples(st.integers(0, 2**16), st.booleans()), max_size=60))
def test_what_is_known_was_added(steps: list[tuple[int, bool]]) -> None:
    """Against a set: few places, so that ids contend; forgetting is allowed, inventing is not."""
    memory, added = VerifiedCache(1, places=7), set[bytes]()
    for number, adds in steps:
        id_ = number.to_bytes(32, "little")
        column = np.frombuffer(id_, dtype=np.uint8).reshape(1, 32)
        assert not memory.known(column)[0] or id_ in added
        if adds:
            memory.add(column)
            added.add(id_)
            assert memory.known(column)[0]


def test_a_row_is_recalled_only_if_every_byte_of_it_was_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ActorContext("node", "validator-0", str(tmp_path), LogSettings(level="ERROR"))
    validator = Validator(context, ValidatorSettings(kernels="portable"))
    signer = Signer(bytes(range(32)))
    transfers = [sign_transfer(signer, 1, Transfer(bytes(32), 1, nonce, 1)).rows for nonce in range(4)]
    rows = Batch(np.concatenate(transfers), np.empty(0, dtype=np.uint8)).rows
    rows["signature"][2, 0] ^= 1
    verified: list[int] = []

    def counted(kernels: Kernels, rows: NDArray[Any]) -> NDArray[np.bool_]:
        verified.append(len(rows))
        return verify_rows(kernels, rows)

    monkeypatch.setattr(room, "verify_rows", counted)
    for expected in (4, 1):  # the false one is verified each time
        valid, _ = validator.verify(rows, 0, 4, True)
        assert list(valid) == [True, True, False, True]
        assert verified.pop() == expected
    assert validator.health()["rows_recalled"] == 3
    for at in range(rows.dtype.itemsize):
        forged = rows[:1].copy()
        forged.view(np.uint8)[at] ^= 1
        assert not validator.verify(forged, 0, 1, True)[0][0], f"byte {at}"
    assert list(validator.verify(rows, 0, 4)[0]) == [True, True, False, True]
