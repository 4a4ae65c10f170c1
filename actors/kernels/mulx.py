"""Signatures in 64-bit registers, for CPUs that have BMI2 and lack AVX-512 IFMA: see ``words``."""

from __future__ import annotations

from pathlib import Path

from . import ed25519
from .compiled import Host, Loaded, object_code
from .emitter import Emitter
from .verifier import CompiledVerifier

FEATURES = ("bmi2",)
"""What a CPU must have, in LLVM's names: Intel's since Haswell, all Zen do."""


def emit() -> str:
    """The module, as LLVM IR."""
    emitter = Emitter(lanes=1)
    ed25519.emit(emitter)
    return emitter.text()


class Mulx(CompiledVerifier):
    """The compiled kernel of one process."""

    def __init__(
        self, target: Host, cache_dir: Path | None, tables_bytes_max: int = 0, seed: int = 0
    ) -> None:
        """Load or compile; raises ``CacheError``, or ``RuntimeError`` from LLVM. See ``CompiledVerifier``."""
        loaded = Loaded(object_code("mulx", emit, target, cache_dir), target)
        super().__init__(loaded, 1, tables_bytes_max, seed)
