"""Every reason for not trusting the compiled kernels ends in the portable ones, with one clear line."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from llvmlite import binding as llvm

from actors.kernels import compiled, mulx, portable, selection, sha256_ni
from actors.kernels.cases import Cases
from actors.kernels.compiled import Host, cache_key, host
from actors.kernels.interface import Kernels
from actors.kernels.selection import select
from actors.kernels.sha256_ni import FEATURES, ShaExtensions
from actors.kernels.simd import Simd

needs_avx512 = pytest.mark.skipif(bool(host().missing()), reason="this CPU lacks AVX-512 IFMA")
needs_sha = pytest.mark.skipif(bool(host().missing(FEATURES)), reason="this CPU lacks the SHA extensions")
needs_mulx = pytest.mark.skipif(bool(host().missing(mulx.FEATURES)), reason="this CPU lacks BMI2")
OLDER = Host(host().cpu, host().features - set(compiled.FEATURES))
OLDEST = Host(host().cpu, OLDER.features - set(mulx.FEATURES))


def serves_portably(kernels: Kernels, why: str) -> None:
    assert kernels.name == "portable"
    assert why in kernels.reason
    assert "\n" not in kernels.reason
    assert kernels.hash_rows(np.zeros((1, 0), np.uint8))[0].tobytes().hex().startswith("e3b0c442")


def test_a_cpu_without_the_instructions(tmp_path: Path) -> None:
    without = Host("skylake", frozenset({"avx2"}))
    serves_portably(select("auto", tmp_path, without), "lacks avx512f")
    assert list(tmp_path.iterdir()) == []


@needs_sha
def test_sha_extensions_hash_where_avx512_is_missing(tmp_path: Path) -> None:
    kernels = select("auto", tmp_path, OLDEST)
    assert kernels.name == "sha_ni"
    assert "libsodium verifies signatures: this CPU" in kernels.reason
    assert "lacks avx512f" in kernels.reason
    rows = np.arange(640, dtype=np.uint8).reshape(10, 64)
    assert np.array_equal(kernels.hash_rows(rows, b"\1"), portable.sha256_rows(rows, b"\1"))
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@needs_sha
def test_sha_extensions_that_fail_the_self_test(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(ShaExtensions):
        def hash_rows(self, messages: np.ndarray, prefix: bytes = b"") -> np.ndarray:
            digests = super().hash_rows(messages, prefix)
            digests[-1, 31] ^= 1
            return digests

    monkeypatch.setattr(sha256_ni, "ShaExtensions", Wrong)
    serves_portably(select("auto", None, OLDEST), "differs from hashlib")


@pytest.fixture(scope="module")
def older_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a CPU without AVX-512 compiles at its first start."""
    folder = tmp_path_factory.mktemp("older")
    assert select("auto", folder, OLDER).name == "mulx"
    return folder


def libsodium_serves(kernels: Kernels, why: str) -> None:
    assert kernels.name in {"sha_ni", "portable"}
    assert kernels.verify is portable.verify
    assert why in kernels.reason
    assert "\n" not in kernels.reason


@needs_mulx
def test_128_bit_products_verify_where_avx512_is_missing(older_cache: Path) -> None:
    files = {file: file.stat().st_mtime_ns for file in older_cache.iterdir()}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    kernels = select("auto", older_cache, OLDER, seed=1)
    assert (kernels.name, {file: file.stat().st_mtime_ns for file in older_cache.iterdir()}) == (
        "mulx",
        files,
    )
    assert "by 128-bit products: this CPU" in kernels.reason
    assert "lacks avx512f" in kernels.reason
    table, _ = Cases(4).batch(40)
    columns = table[:, 48:80], table[:, 144:], table[:, :144]
    before = kernels.statistics()
    assert np.array_equal(kernels.verify(*columns), portable.verify(*columns))
    after = kernels.statistics()
    assert after["signatures"] == before["signatures"] + 40
    assert after["rejections_confirmed"] > before["rejections_confirmed"]
    rows = np.arange(640, dtype=np.uint8).reshape(10, 64)
    assert np.array_equal(kernels.hash_rows(rows, b"\1"), portable.sha256_rows(rows, b"\1"))


@needs_mulx
def test_corrupt_code_for_128_bit_products(older_cache: Path, tmp_path: Path) -> None:
    for source in older_cache.iterdir():
        content = bytearray(source.read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / source.name).write_bytes(content)
        (tmp_path / source.name).chmod(0o600)
    libsodium_serves(select("auto", tmp_path, OLDER), "corrupt")


@needs_mulx
def test_128_bit_products_that_fail_the_self_test(older_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(mulx.Mulx):
        def verify(self, keys: np.ndarray, signatures: np.ndarray, messages: np.ndarray) -> np.ndarray:
            verdicts = super().verify(keys, signatures, messages)
            verdicts[-1] ^= True
            return verdicts

    monkeypatch.setattr(mulx, "Mulx", Wrong)
    libsodium_serves(select("auto", older_cache, OLDER), "differs from libsodium's")


@needs_mulx
def test_a_read_only_cache_on_an_older_cpu(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    libsodium_serves(select("auto", tmp_path, OLDER), "not writable")


def test_a_cpu_that_llvm_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> dict[str, bool]:
        raise RuntimeError("failed to get host cpu features")

    monkeypatch.setattr(llvm, "get_host_cpu_features", unknown)
    assert compiled.host.__wrapped__().missing() == list(compiled.FEATURES)


@needs_avx512
def test_a_system_without_owners_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "geteuid")
    serves_portably(select("auto", tmp_path), "no owners")


@needs_avx512
def test_the_kernels_count_what_they_do(simd: Simd, kernel_cache: Path) -> None:
    kernels = select("simd", kernel_cache, seed=1)
    before = kernels.statistics()
    table, _ = Cases(3).batch(40)
    columns = table[:, 48:80], table[:, 144:], table[:, :144]
    assert np.array_equal(kernels.verify(*columns), portable.verify(*columns))
    after = kernels.statistics()
    assert after["signatures"] == before["signatures"] + 40
    assert after["rejections_confirmed"] > before["rejections_confirmed"]
    assert after["kernel_stopped"] == after["disagreements"] == 0


def kept(kernel_cache: Path) -> Path:
    """This version's file: others may lie beside it, of earlier ones and of contracts."""
    return kernel_cache / f"kernels-{cache_key('avx512', host())[:32]}.bin"


@needs_avx512
def test_compiled_code_is_written_once_and_privately(simd: Simd, kernel_cache: Path) -> None:
    file = kept(kernel_cache)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.stat()
    assert select("simd", kernel_cache).name == "avx512ifma"
    assert file.stat().st_mtime_ns == before.st_mtime_ns


@needs_avx512
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty"])
def test_a_corrupt_cache(simd: Simd, kernel_cache: Path, tmp_path: Path, damage: str) -> None:
    source = kept(kernel_cache)
    content = bytearray(source.read_bytes())
    content[len(content) // 2] ^= 1
    broken = {"flip": bytes(content), "truncate": source.read_bytes()[:-1], "empty": b""}[damage]
    copy = tmp_path / source.name
    copy.write_bytes(broken)
    copy.chmod(0o600)
    serves_portably(select("auto", tmp_path), "corrupt")
    assert not copy.exists()


@needs_avx512
@pytest.mark.parametrize(("mode", "why"), [(0o500, "not writable"), (0o777, "written by other users")])
def test_a_directory_of_the_wrong_mode(tmp_path: Path, mode: int, why: str) -> None:
    tmp_path.chmod(mode)
    serves_portably(select("auto", tmp_path), why)
    tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == []


@needs_avx512
def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    serves_portably(select("auto", tmp_path / "file" / "cache"), "cannot be used")


@needs_avx512
def test_a_file_that_others_can_write(simd: Simd, kernel_cache: Path, tmp_path: Path) -> None:
    source = kept(kernel_cache)
    copy = tmp_path / source.name
    copy.write_bytes(source.read_bytes())
    copy.chmod(0o666)
    serves_portably(select("auto", tmp_path), "written by other users")


@needs_avx512
def test_a_link_is_not_followed(simd: Simd, kernel_cache: Path, tmp_path: Path) -> None:
    source = kept(kernel_cache)
    (tmp_path / source.name).symlink_to(source)
    serves_portably(select("auto", tmp_path), "cannot be used")


@needs_avx512
def test_a_self_test_that_fails(simd: Simd, kernel_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(Simd):
        def hash_rows(self, messages: np.ndarray, prefix: bytes = b"") -> np.ndarray:
            digests = super().hash_rows(messages, prefix)
            digests[-1, 31] ^= 1
            return digests

    monkeypatch.setattr(selection, "Simd", Wrong)
    serves_portably(select("auto", kernel_cache), "differs from hashlib")


@needs_avx512
def test_a_self_test_of_signatures_that_fails(
    simd: Simd, kernel_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(Simd):
        def verify(self, keys: np.ndarray, signatures: np.ndarray, messages: np.ndarray) -> np.ndarray:
            verdicts = super().verify(keys, signatures, messages)
            verdicts[-1] ^= True
            return verdicts

    monkeypatch.setattr(selection, "Simd", Wrong)
    serves_portably(select("auto", kernel_cache), "differs from libsodium's")
