"""Governed functions in a cell: the one place where bytes are unpickled, after their governors were verified.

All that a function can import is imported before the cell gives up its means: NumPy, and these modules.
"""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path

import cloudpickle
import numpy as np

from actors.execution.functions import FunctionAnswer, FunctionColumns, FunctionJob

__all__ = ["prepare", "run"]

MODULES = (
    "bisect", "collections", "dataclasses", "datetime", "decimal", "fractions", "functools", "hashlib",
    "itertools", "json", "math", "operator", "random", "statistics", "string", "struct", "time", "typing",
    "numpy.random",
)  # fmt: skip


class WrongAnswerError(TypeError):
    """A function answered what are no changes."""


def prepare(_directory: Path | None) -> None:
    """See CellEngine: what a function may import, and one that takes every way through `run`."""
    for module in MODULES:
        importlib.import_module(module)
    function = cloudpickle.dumps(lambda columns, _: np.zeros_like(columns.nonces, dtype=np.int64))
    one = np.ones(1, dtype=np.uint64)
    columns = FunctionColumns(np.zeros((1, 32), dtype=np.uint8), one, one, 0, 1, 0)
    run(FunctionJob(_bytes(function), _bytes(b"x"), columns))


def _bytes(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.frombuffer(data, dtype=np.uint8)


def run(job: FunctionJob) -> FunctionAnswer:
    """What the function answers. Raises what it raises, and WrongAnswerError."""
    function = pickle.loads(job.function.tobytes())
    changes = function(job.columns, job.arguments.tobytes())
    if not isinstance(changes, np.ndarray) or changes.dtype != np.int64 or changes.ndim != 1:
        got = (
            f"{changes.dtype} {changes.shape}" if isinstance(changes, np.ndarray) else type(changes).__name__
        )
        raise WrongAnswerError(f"it answered {got}, not ({len(job.columns.keys)},) int64 changes")
    return FunctionAnswer(np.ascontiguousarray(changes))
