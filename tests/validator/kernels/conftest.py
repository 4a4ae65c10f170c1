"""The compiled kernels, shared by the tests of this folder; skipped where the CPU cannot run them."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.validator.kernels import Hasher
from actors.validator.kernels.compiled import host
from actors.validator.kernels.sha256_ni import FEATURES, ShaExtensions
from actors.validator.kernels.simd import Simd


@pytest.fixture(scope="session")
def kernel_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(scope="session")
def simd(kernel_cache: Path) -> Simd:
    if missing := host().missing():
        pytest.skip(f"this CPU lacks {missing}")
    return Simd(host(), kernel_cache)


@pytest.fixture(scope="session", params=["avx512", "sha_ni"])
def hasher(request: pytest.FixtureRequest) -> Hasher:
    """`hash_rows` of each compiled hasher that this CPU can run."""
    if request.param == "avx512":
        simd: Simd = request.getfixturevalue("simd")
        return simd.hash_rows
    if missing := host().missing(FEATURES):
        pytest.skip(f"this CPU lacks {missing}")
    return ShaExtensions(host(), None).hash_rows
