"""Chooses the kernels at start: by configuration, by what the CPU can do, and by what a self-test proves."""

from __future__ import annotations

import secrets
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from . import mulx, portable, sha256_ni
from .compiled import CacheError, Host, host
from .interface import Choice, Hasher, Kernels
from .selftest import SelfTestError, check_hasher, check_verifier
from .simd import Simd
from .trust import TrustedVerifier, TrustPolicy
from .verifier import CompiledVerifier

TABLES_BYTES_MAX = 64 << 20
"""Tables of about 14,000 frequent senders; memory is taken as they come."""


def warn(message: str) -> None:
    """The alarm of callers that have none of their own."""
    warnings.warn(message, RuntimeWarning, stacklevel=2)


def select(
    choice: Choice = "auto",
    cache_dir: Path | None = None,
    cpu: Host | None = None,
    tables_bytes_max: int = TABLES_BYTES_MAX,
    policy: TrustPolicy | None = None,
    alarm: Callable[[str], None] = warn,
    seed: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Kernels:
    """Answer the kernels to use; ``Kernels.reason`` says in one line why, if others were wanted.

    ``portable`` takes hashlib and libsodium. ``auto`` and ``simd`` take the AVX-512 kernels if the CPU has
    the instructions, the compiled code can be trusted and the self-test passes; without the instructions they
    take the hasher by SHA extensions and the verifier by 128-bit products (BMI2), each on the same
    conditions; and else the portable ones.
    Compiled code is kept in ``cache_dir``, which must be this user's alone; None compiles at each start,
    which takes seconds. ``cpu`` stands in for the CPU found, to see how another one would fare.
    ``tables_bytes_max`` bounds the tables of frequent senders' keys; 0 makes none. ``policy`` says how much
    libsodium verifies again; a disagreement stops the kernel and is told to ``alarm``, once. ``seed`` decides
    what is verified again and where tables lie; it must be unknown to strangers, so None draws one.
    Raises ``ValueError`` for any other choice.
    """
    if choice not in {"auto", "portable", "simd"}:
        raise ValueError(f"kernels: expected auto, portable or simd, got {choice!r}")
    if choice == "portable":
        return portable.kernels()
    target = host() if cpu is None else cpu
    seed = secrets.randbits(128) if seed is None else seed

    def trusted(name: Literal["mulx", "avx512ifma"], kernel: CompiledVerifier, hasher: Hasher) -> Kernels:
        check_verifier(kernel.verify)
        judge = TrustedVerifier(kernel.verify, portable.verify, policy or TrustPolicy(), alarm, seed, clock)
        return Kernels(
            name=name,
            hash_rows=hasher,
            verify=judge.verify,
            statistics=lambda: {**kernel.statistics(), **judge.statistics()},
        )

    if missing := target.missing():
        why = f"this CPU ({target.cpu}) lacks {', '.join(missing)}"
        hashing = _hashing_without_avx512(target, cache_dir, why)
        if target.missing(mulx.FEATURES):
            return hashing
        try:
            kernel = mulx.Mulx(target, cache_dir, tables_bytes_max, seed)
            found = trusted("mulx", kernel, hashing.hash_rows)
        except (CacheError, SelfTestError, RuntimeError) as error:
            return replace(hashing, reason=f"{hashing.reason}; {error}")
        return replace(found, reason=f"one signature at a time, by 128-bit products: {why}")
    try:
        simd = Simd(target, cache_dir, tables_bytes_max, seed)
        check_hasher(simd.hash_rows)
        return trusted("avx512ifma", simd, simd.hash_rows)
    except (CacheError, SelfTestError, RuntimeError) as error:
        return portable.kernels(f"portable kernels serve: {error}")


def _hashing_without_avx512(target: Host, cache_dir: Path | None, why: str) -> Kernels:
    """The portable kernels, with the hasher by SHA extensions if it can be had."""
    if target.missing(sha256_ni.FEATURES):
        return portable.kernels(f"portable kernels serve: {why}")
    try:
        hash_rows = sha256_ni.ShaExtensions(target, cache_dir).hash_rows
        check_hasher(hash_rows)
    except (CacheError, SelfTestError, RuntimeError) as error:
        return portable.kernels(f"portable kernels serve: {why}; {error}")
    reason = f"libsodium verifies signatures: {why}"
    return Kernels(name="sha_ni", hash_rows=hash_rows, verify=portable.verify, reason=reason)
