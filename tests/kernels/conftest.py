"""The compiled kernels, shared by the tests of this folder; skipped where the CPU cannot run them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from actors.kernels import compiled, mulx
from actors.kernels.compiled import host
from actors.kernels.interface import Hasher
from actors.kernels.mulx import Mulx
from actors.kernels.sha256_ni import FEATURES, ShaExtensions
from actors.kernels.simd import Simd
from actors.kernels.verifier import CompiledVerifier
from actors.shell import kernel_cache_dir


@pytest.fixture(scope="session")
def kernel_cache() -> Path:
    """Where nodes keep them: any change of the sources compiles anew, and only that."""
    return kernel_cache_dir()


@pytest.fixture(scope="session")
def simd(kernel_cache: Path) -> Simd:
    if missing := host().missing():
        pytest.skip(f"this CPU lacks {missing}")
    return Simd(host(), kernel_cache)


Make = Callable[..., CompiledVerifier]


@pytest.fixture(scope="session", params=["avx512", "mulx"])
def make(request: pytest.FixtureRequest, kernel_cache: Path) -> Make:
    """Makes verifiers of each kind that this CPU can run; takes tables_bytes_max and seed."""
    kind, needed = {"avx512": (Simd, compiled.FEATURES), "mulx": (Mulx, mulx.FEATURES)}[request.param]
    if missing := host().missing(needed):
        pytest.skip(f"this CPU lacks {missing}")
    return lambda **options: kind(host(), kernel_cache, **options)


@pytest.fixture(scope="session")
def verifier(make: Make) -> CompiledVerifier:
    """One without tables."""
    return make()


@pytest.fixture(scope="session", params=["avx512", "sha_ni"])
def hasher(request: pytest.FixtureRequest) -> Hasher:
    """`hash_rows` of each compiled hasher that this CPU can run."""
    if request.param == "avx512":
        simd: Simd = request.getfixturevalue("simd")
        return simd.hash_rows
    if missing := host().missing(FEATURES):
        pytest.skip(f"this CPU lacks {missing}")
    return ShaExtensions(host(), None).hash_rows
