"""An engine that loads object code in its cell."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.execution.cells.interface import CellEngine
from actors.execution.cells.packing import columns_of
from actors.kernels.compiled import Loaded, compile_object, host


@dataclass(frozen=True, eq=False)
class CodeToLoad:
    """code: (.,) uint8 object code. symbol: of a function in it."""

    code: NDArray[np.uint8]
    symbol: str


@dataclass(frozen=True)
class LoadedCode:
    """found: whether the code has the function."""

    found: bool


columns_of(CodeToLoad, code="u1")
columns_of(LoadedCode)


def prepare(_directory: Path | None) -> None:
    """See CellEngine."""
    Loaded(compile_object("", host()), host())


def run(job: CodeToLoad) -> LoadedCode:
    """Load it, and find the function."""
    function: Any = Loaded(job.code.tobytes(), host()).function(job.symbol, ctypes.c_void_p)
    return LoadedCode(bool(ctypes.cast(function, ctypes.c_void_p).value))


LOADING: CellEngine[CodeToLoad, LoadedCode] = CellEngine(__name__, LoadedCode, lambda _, answer: None)
