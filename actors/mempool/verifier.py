"""What a mempool shard needs of the Validators."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class SignatureChecks(Protocol):
    """The pool of Validators as admission calls it. `verify` raises RuntimeError when nobody answers.

    flow: whose rows they are; those of one flow wait behind each other, and flows take turns.
    """

    async def verify(self, rows: NDArray[Any], *, flow: str = "") -> NDArray[np.bool_]: ...

    def set_workers(self, workers: list[Any]) -> None: ...

    def statistics(self) -> dict[str, float]: ...
