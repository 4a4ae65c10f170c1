"""The compiled kernels, shared by the tests of this folder; skipped where the CPU cannot run them."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.validator.kernels.compiled import host
from actors.validator.kernels.simd import Simd


@pytest.fixture(scope="session")
def kernel_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(scope="session")
def simd(kernel_cache: Path) -> Simd:
    if missing := host().missing():
        pytest.skip(f"this CPU lacks {missing}")
    return Simd(host(), kernel_cache)
