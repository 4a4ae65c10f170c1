"""Chooses the kernels at start: by configuration, by what the CPU can do, and by what a self-test proves."""

from __future__ import annotations

from pathlib import Path

from . import portable
from .compiled import CacheError, Host, host
from .interface import Choice, Kernels
from .selftest import SelfTestError, check_hasher, check_verifier
from .simd import Simd


def select(choice: Choice = "auto", cache_dir: Path | None = None, cpu: Host | None = None) -> Kernels:
    """Answer the kernels to use; ``Kernels.reason`` says in one line why, if others were wanted.

    ``portable`` takes hashlib and libsodium. ``auto`` and ``simd`` take the AVX-512 kernels if the CPU has
    the instructions, the compiled code can be trusted and the self-test passes, and else the portable ones.
    Compiled code is kept in ``cache_dir``, which must be this user's alone; None compiles at each start,
    which takes seconds. ``cpu`` stands in for the CPU found, to see how another one would fare.
    Raises ``ValueError`` for any other choice.
    """
    if choice not in {"auto", "portable", "simd"}:
        raise ValueError(f"kernels: expected auto, portable or simd, got {choice!r}")
    if choice == "portable":
        return portable.kernels()
    target = host() if cpu is None else cpu
    if missing := target.missing():
        return portable.kernels(f"portable kernels serve: this CPU ({target.cpu}) lacks {', '.join(missing)}")
    try:
        simd = Simd(target, cache_dir)
        check_hasher(simd.hash_rows)
        check_verifier(simd.verify)
    except (CacheError, SelfTestError, RuntimeError) as error:
        return portable.kernels(f"portable kernels serve: {error}")
    return simd.kernels()
