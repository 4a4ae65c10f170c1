"""An engine that loads object code in its cell."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from actors.execution.cells.compile_engine import CompiledCode
from actors.execution.cells.interface import CellEngine
from actors.execution.cells.packing import columns_of
from actors.kernels.compiled import Loaded, compile_object, host


@dataclass(frozen=True)
class LoadedCode:
    """found: whether the code has a function of the name that the job has as its reason."""

    found: bool


columns_of(LoadedCode)


def prepare() -> None:
    """See CellEngine."""
    Loaded(compile_object("", host()), host())


def run(job: CompiledCode) -> LoadedCode:
    """Load it, and find the function."""
    function: Any = Loaded(job.code.tobytes(), host()).function(job.why_not, ctypes.c_void_p)
    return LoadedCode(bool(ctypes.cast(function, ctypes.c_void_p).value))


LOADING: CellEngine[CompiledCode, LoadedCode] = CellEngine(__name__, LoadedCode, lambda _, answer: None)
