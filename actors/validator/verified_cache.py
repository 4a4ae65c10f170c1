"""Which rows a Validator has found genuine of late, so that a block does not cost again what its rows did.

A member's mempool has the signatures of gossiped rows checked, and soon the same rows come in a block. What
is remembered is a row's id, SHA-256 over all its bytes, sender and signature included: an equal id is an
equal row. Each id has one place, by a hash that strangers cannot aim; a later id takes the place of an
earlier one, which then is only verified once more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actors.kernels.multilinear import MultilinearHash, scaled
from actors.ledger.hashing import DIGEST_BYTES

PLACES = 1 << 17  # 4 MiB


class VerifiedCache:
    """Ids of rows whose signatures held. No id is remembered that was not given to `add`.

    seed: as for MultilinearHash.
    """

    def __init__(self, seed: int, places: int = PLACES) -> None:
        self._hash = MultilinearHash(seed)
        self._ids = np.zeros((places, DIGEST_BYTES), dtype=np.uint8)
        self._taken = np.zeros(places, dtype=np.bool_)

    def known(self, ids: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """(n,) bool: which of (n, 32) ids are remembered."""
        places = self._places(ids)
        same: NDArray[np.bool_] = (self._ids[places] == ids).all(axis=1)
        return self._taken[places] & same

    def add(self, ids: NDArray[np.uint8]) -> None:
        """Remember (n, 32) ids of rows that were found genuine."""
        places = self._places(ids)
        self._ids[places] = ids
        self._taken[places] = True

    def _places(self, ids: NDArray[np.uint8]) -> NDArray[np.int64]:
        return scaled(self._hash(ids), len(self._ids))
