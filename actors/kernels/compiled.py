"""Compiles kernels and contracts for this CPU, and keeps the object code on disk.

Rules
1. Object code is executed, so it is read only from a directory and a file that this user alone can write,
   and only if its checksum holds. Anything else raises ``CacheError``; nothing doubtful is loaded.
2. The name of a file holds a hash of all that shapes the code: CPU, its features, LLVM and llvmlite, and the
   source of this package. A change of any of them compiles anew; stale files are never read.
3. Files are written beside their name and renamed, so a reader finds all of one or none.

At most two files of kernels are added for each change of version or CPU, about 200 KB each. Of contracts,
whose code a cell loads and not this process, there are as many files as whoever keeps them allows.
"""

from __future__ import annotations

import ctypes
import json
import os
import stat
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import llvmlite
from llvmlite import binding

FEATURES = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512ifma")
"""What a CPU must have for the AVX-512 kernels, in LLVM's names: Ice Lake, Zen 4 and their successors do."""

CHECKSUM_BYTES = 32
OBJECT_BYTES_MAX = 16 << 20


class CacheError(Exception):
    """A cache directory or file that cannot be trusted or used; the message says which, and why."""


@dataclass(frozen=True)
class Host:
    """What the code is compiled for, in LLVM's names."""

    cpu: str
    features: frozenset[str]

    def missing(self, needed: Sequence[str] = FEATURES) -> list[str]:
        """The features that kernels need, the AVX-512 ones by default, and this CPU lacks."""
        return [feature for feature in needed if feature not in self.features]


@lru_cache(maxsize=1)
def host() -> Host:
    """The CPU that this process runs on; one that LLVM knows nothing about has no features."""
    try:
        features = binding.get_host_cpu_features()
    except RuntimeError:
        return Host(binding.get_host_cpu_name(), frozenset())
    return Host(binding.get_host_cpu_name(), frozenset(name for name, present in features.items() if present))


@lru_cache(maxsize=1)
def source_hash() -> bytes:
    """A hash of every source file of this package."""
    digest = sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + sha256(path.read_bytes()).digest())
    return digest.digest()


def cache_key(name: str, target: Host) -> str:
    """The hash, in hex, of all that shapes the object code of that module."""
    shape = [
        name,
        target.cpu,
        sorted(target.features),
        list(binding.llvm_version_info),
        llvmlite.__version__,
        source_hash().hex(),
    ]
    return sha256(json.dumps(shape).encode()).hexdigest()


def compile_object(text: str, target: Host) -> bytes:
    """Compile a module of LLVM IR to object code; raises ``RuntimeError`` with LLVM's message."""
    machine = _target_machine(target)
    module = binding.parse_assembly(text)
    module.verify()
    builder = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=2))
    builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))


MODULES_MAX = 16
"""Files of `module_code`: of one version there are three."""


@dataclass(slots=True)
class _Kept:
    directory: Path | None = None


_kept = _Kept()


def keep_in(directory: Path | None) -> None:
    """Where `module_code` of this process keeps code from now on; None: nowhere."""
    _kept.directory = directory


def module_code(text: str, target: Host) -> bytes:
    """The object code of a module of LLVM IR, kept by its text where `keep_in` says. Raises as `object_code`
    does."""
    name = sha256(text.encode()).hexdigest()
    return object_code(name, lambda: text, target, _kept.directory, "module", MODULES_MAX)


def _target_machine(target: Host) -> binding.TargetMachine:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = ",".join([*(f"+{name}" for name in sorted(target.features)), "-prefer-256-bit"])
    triple = binding.Target.from_default_triple()
    return triple.create_target_machine(cpu=target.cpu, features=features, opt=3, jit=True)


class Loaded:
    """Object code in executable memory, which lives as long as this object."""

    def __init__(self, code: bytes, target: Host) -> None:
        self._engine = binding.create_mcjit_compiler(binding.parse_assembly(""), _target_machine(target))
        self._engine.add_object_file(binding.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def function(self, symbol: str, *arguments: type) -> Callable[..., None]:
        """A function that returns nothing, and during whose call other Python threads run."""
        address = self._engine.get_function_address(symbol)
        return ctypes.CFUNCTYPE(None, *arguments)(address)


def object_code(
    name: str,
    emit: Callable[[], str],
    target: Host,
    directory: Path | None,
    kind: str = "kernels",
    files_max: int | None = None,
) -> bytes:
    """The object code of a module for this CPU, from the cache in ``directory`` if there is one, where it is
    compiled and stored if it is not there. kind, files_max: as of `kept_code`.

    Raises ``RuntimeError`` with LLVM's message, and ``CacheError`` if the directory or the file breaks rule
    1, or cannot be written.
    """
    if directory is None:
        return compile_object(emit(), target)
    key = cache_key(name, target)
    return kept_code(directory, kind, key, lambda: compile_object(emit(), target), files_max)


def kept_code(
    directory: Path, kind: str, key: str, make: Callable[[], bytes], files_max: int | None = None
) -> bytes:
    """The object code that a directory keeps under a key, in hex; made and stored if it is not there.

    files_max: of this kind; the oldest leave first. Raises what `make` raises, and ``CacheError`` as
    `object_code` does.
    """
    if not hasattr(os, "geteuid"):
        raise CacheError(f"code cache {directory}: this system has no owners and modes of files to check")
    path = directory / f"{kind}-{key[:32]}.bin"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_private(directory.stat(), directory, 0o700)
        try:
            return _read(path, key)
        except FileNotFoundError:
            code = make()
            _write(path, _checksum(code, key) + code)
            if files_max is not None:
                _drop_oldest(directory, kind, files_max)
            return code
    except OSError as error:
        raise CacheError(f"code cache {directory} cannot be used: {error}") from error


def _drop_oldest(directory: Path, kind: str, files_max: int) -> None:
    kept = sorted(directory.glob(f"{kind}-*.bin"), key=lambda path: path.stat().st_mtime_ns)
    for path in kept[: max(0, len(kept) - files_max)]:
        path.unlink(missing_ok=True)


def _check_private(status: os.stat_result, path: Path, needed: int) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid() or mode & 0o022:
        raise CacheError(f"code cache {path} can be written by other users (mode {mode:o})")
    if mode & needed != needed:
        raise CacheError(f"code cache {path} is not writable (mode {mode:o}); its mode should be {needed:o}")


def _checksum(code: bytes, key: str) -> bytes:
    return sha256(key.encode() + code).digest()


def _read(path: Path, key: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _check_private(status, path, 0o400)
        if status.st_size > OBJECT_BYTES_MAX:
            raise CacheError(
                f"code cache {path}: {status.st_size} bytes exceed the limit of {OBJECT_BYTES_MAX}"
            )
        content = file.read(OBJECT_BYTES_MAX)
    code = content[CHECKSUM_BYTES:]
    if content[:CHECKSUM_BYTES] != _checksum(code, key):
        path.unlink()
        raise CacheError(
            f"code cache {path} is corrupt: its checksum differs; removed, the next start compiles"
        )
    return code


def _write(path: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".code-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
