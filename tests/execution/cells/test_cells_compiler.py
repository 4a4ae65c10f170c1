"""Contracts are compiled in a cell: what takes too long or too much costs a child, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from actors.contracts import ir
from actors.contracts.encoding import decode_program, encode_program
from actors.contracts.gas import Weights
from actors.contracts.native.program import lowered
from actors.contracts.native.public import symbol_of
from actors.contracts.verifier import verify
from actors.execution.cells.compile_engine import CompiledCode, CompileJob, check_code
from actors.execution.cells.compiler import COMPILE_LIMITS, ProgramCompiler, code_name
from actors.execution.cells.interface import CellError, CellLimits, CellReason
from actors.execution.cells.process import CellProcess
from actors.kernels.compiled import CacheError, compile_object, host, kept_code
from bench.attack.contract_bombs import choices, reads
from bench.contract_examples import example_program
from tests.execution.cells.loading_engine import LOADING, CodeToLoad

COUNTER = example_program("counter").program
WEIGHTS = Weights()
TIGHT = CellLimits(cpu_s=0.3, wall_s=60.0, job_bytes_max=1 << 20, answer_bytes_max=32 << 20)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, bytes]]:
    directory = tmp_path_factory.mktemp("code") / "contracts"
    compiler = ProgramCompiler(directory)
    yield directory, compiler.compile(COUNTER, WEIGHTS)
    compiler.close()


def test_code_is_what_this_process_would_compile_and_is_kept(kept: tuple[Path, bytes]) -> None:
    directory, code = kept
    assert code == compile_object(lowered(verify(decode_program(COUNTER), WEIGHTS)), host())
    later = ProgramCompiler(directory)
    assert later.compile(COUNTER, WEIGHTS) == code
    assert later.facts()["starts"] == 0
    later.close()


def test_kept_code_is_of_its_program_and_weights_alone(kept: tuple[Path, bytes]) -> None:
    directory, _ = kept
    refusing = ProgramCompiler(directory, CellLimits(job_bytes_max=1, answer_bytes_max=1))
    for program, weights in ((COUNTER, Weights(read=21)), (example_program("token").program, WEIGHTS)):
        with pytest.raises(CellError, match="too_large"):
            refusing.compile(program, weights)
    refusing.close()


def test_code_loads_in_a_cell(kept: tuple[Path, bytes]) -> None:
    cell = CellProcess(LOADING, COMPILE_LIMITS)
    try:
        assert cell.run(CodeToLoad(np.frombuffer(kept[1], np.uint8), symbol_of(0))).found
        assert cell.facts()["filtered"]
    finally:
        cell.close()


def test_a_bomb_ends_at_its_limit_once_and_the_next_program_is_compiled() -> None:
    compiler = ProgramCompiler(None, TIGHT)
    try:
        for _ in range(2):
            with pytest.raises(CellError) as ended:
                compiler.compile(choices(), WEIGHTS)
            assert ended.value.reason is CellReason.TIME
        assert compiler.facts()["starts"] == 2
        assert compiler.facts()["ended"] == {"time": 1}
        assert compiler.compile(encode_program(_small()), WEIGHTS)
    finally:
        compiler.close()


def test_a_bomb_of_memory_ends_at_its_limit() -> None:
    compiler = ProgramCompiler(None, CellLimits(cpu_s=60.0, wall_s=600.0, memory_bytes=48 << 20))
    try:
        with pytest.raises(CellError) as ended:
            compiler.compile(reads(1_000), WEIGHTS)
        assert ended.value.reason in (CellReason.MEMORY, CellReason.DIED)
    finally:
        compiler.close()


@pytest.mark.parametrize("code", [0, (16 << 20) + 1])
def test_an_answer_that_is_no_code_is_refused(code: int) -> None:
    job = CompileJob(COUNTER, WEIGHTS, "cpu", ())
    with pytest.raises(ValueError):
        check_code(job, CompiledCode(np.zeros(code, np.uint8)))


def test_a_directory_keeps_as_many_files_of_a_kind_as_it_may(tmp_path: Path) -> None:
    for number in range(5):
        made = kept_code(tmp_path, "contract", f"{number:032}".ljust(64, "0"), lambda: b"code", files_max=3)
        assert made == b"code"
        os.utime(tmp_path / f"contract-{number:032}.bin", (number, number))
    kept_code(tmp_path, "kernels", "0" * 64, lambda: b"other")
    assert len(list(tmp_path.glob("contract-*"))) == 3
    assert len(list(tmp_path.glob("kernels-*"))) == 1


def test_doubtful_code_is_not_read(tmp_path: Path) -> None:
    kept_code(tmp_path, "contract", "1" * 64, lambda: b"code")
    (tmp_path / f"contract-{'1' * 32}.bin").write_bytes(b"other".ljust(40))
    with pytest.raises(CacheError, match="corrupt"):
        kept_code(tmp_path, "contract", "1" * 64, lambda: b"code")
    assert code_name(COUNTER, WEIGHTS) != code_name(COUNTER, Weights(read=21))


def test_what_is_no_program_is_refused() -> None:
    compiler = ProgramCompiler(None, TIGHT)
    with pytest.raises(CellError, match="failed: ProgramError"):
        compiler.compile(b"\x90", WEIGHTS)
    compiler.close()


def _small() -> ir.Program:
    function = ir.Function("f", ir.FunctionKind.ENTRY, False, (), (), (), ())
    return ir.Program(ir.IR_VERSION, "Small", (), (), (), ("",), (function,))
