"""Jobs as one buffer each, between a node's own processes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actors.execution.cells.packing import packed, unpack
from actors.execution.contract_engine import ContractEngine
from actors.execution.job import EngineNotReadyError, Job


def run_packed(engine: ContractEngine, job: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The packed outcome of a packed job, empty while there is no code for it. Raises EngineError, and
    FormatError for what is no job."""
    try:
        (outcome,) = engine.run_all([unpack(Job, job.data)])
    except EngineNotReadyError:
        return np.empty(0, dtype=np.uint8)
    return packed(outcome)
