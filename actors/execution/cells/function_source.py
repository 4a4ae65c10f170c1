"""The bytes of a governed function, made of its source in a cell, since the source may be somebody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from actors.execution.cells import functions
from actors.execution.functions import SourceAnswer, SourceJob

__all__ = ["prepare", "run"]

FUNCTION_NAME = "run"


class NoFunctionError(LookupError):
    """A file has no function of that name."""


def prepare(directory: Path | None) -> None:
    """See CellEngine: all that functions may import, and one that is made."""
    functions.prepare(directory)
    source = b"import numpy as np\n\n\ndef run(columns, arguments):\n    return np.zeros(1)\n"
    run(SourceJob(np.frombuffer(source, dtype=np.uint8)))


def run(job: SourceJob) -> SourceAnswer:
    """The function of the file by value, with all of the file that it uses. Raises what the file raises, and
    NoFunctionError."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(job.source.tobytes().decode(), "function.py", "exec"), space)
    function = space.get(FUNCTION_NAME)
    if not callable(function):
        raise NoFunctionError(f"there is no def {FUNCTION_NAME}(columns, arguments)")
    return SourceAnswer(np.frombuffer(cloudpickle.dumps(function), dtype=np.uint8))
