"""Validators as Storage has them: whoever runs parts of heavy blocks (execution/spreading.py)."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError

from actors.execution.job import EngineError
from actors.execution.spreading import PartCall, PartWorker
from actors.faces import ValidatorFace, remote
from actors.shell import first_line, node_prefix
from actors.validator.actor import validators_of

LOOK_S, TIMEOUT_S = 2.0, 15.0


class PartValidators:
    """Those of this node, to whom parts of heavy blocks go; looked up anew every LOOK_S."""

    def __init__(self, network: bytes, node: str) -> None:
        self._node, self._looked_s = node_prefix(network, node), -LOOK_S
        self._found: dict[str, PartWorker] = {}

    def find(self) -> dict[str, PartWorker]:
        """By name."""
        if time.monotonic() >= self._looked_s + LOOK_S:
            found = validators_of(self._node)
            self._found = {name: _ValidatorParts(remote(handle)) for name, handle in found.items()}
            self._looked_s = time.monotonic()
        return self._found


class _ValidatorParts:
    def __init__(self, face: ValidatorFace) -> None:
        self._face = face

    def begin(self, job: NDArray[np.uint8]) -> PartCall:
        return _ValidatorCall(self._face.run_contracts(job))


class _ValidatorCall:
    def __init__(self, call: Any) -> None:
        self._call = call

    def result(self) -> NDArray[np.uint8]:
        try:
            answer: NDArray[np.uint8] = ray.get(self._call, timeout=TIMEOUT_S)
        except RayError as error:
            raise EngineError(first_line(error)) from error
        return answer
