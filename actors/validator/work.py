"""What a Validator computes: signatures of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.kernels.interface import Kernels
from actors.ledger.hashing import DIGEST_BYTES
from actors.ledger.rows import SENDER_AT_BYTE, SIGNATURE_AT_BYTE, SIGNED_BYTES, row_matrix


def verify_rows(kernels: Kernels, rows: NDArray[Any]) -> NDArray[np.bool_]:
    """(n,) bool: whether each row is signed by its sender."""
    table = row_matrix(rows)
    return kernels.verify(
        table[:, SENDER_AT_BYTE : SENDER_AT_BYTE + DIGEST_BYTES],
        table[:, SIGNATURE_AT_BYTE:],
        table[:, :SIGNED_BYTES],
    )
