"""Governed functions run in a cell: what they see, what they answer, and how they fail."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from actors.execution.cells.interface import CellLimits
from actors.execution.functions import FunctionColumns, FunctionFailedError, FunctionRunner, function_of
from actors.ledger.effects import BalanceEffects
from actors.ledger.governed_payloads import GovernedCall, lock_of

cloudpickle.register_pickle_by_value(sys.modules[__name__])
LIMITS = CellLimits(cpu_s=2.0, wall_s=60.0, job_bytes_max=1 << 20, answer_bytes_max=1 << 20, keep_bytes=0)
KEYS = np.arange(4 * 32, dtype=np.uint8).reshape(4, 32)
COLUMNS = FunctionColumns(
    KEYS, np.array([100, 200, 300, 400], dtype=np.uint64), np.arange(4, dtype=np.uint64), 1, 7, 1_700_000
)


def ran(function: Callable[..., Any], arguments: bytes = b"", **fields: Any) -> BalanceEffects:
    known = {"python_minor": sys.version_info.minor, "lock": lock_of(version)}
    body = cloudpickle.dumps(function)
    call = GovernedCall(**{**known, **fields}, function=body, arguments=arguments, approvals=())
    runner = FunctionRunner(LIMITS)
    try:
        return runner.run(call, COLUMNS)
    finally:
        runner.close()


def changes(columns: FunctionColumns) -> Any:
    return np.zeros(len(columns.keys), dtype=np.int64)


def test_a_function_sees_columns_and_arguments_and_answers_changes() -> None:
    def interest(columns: Any, arguments: bytes) -> Any:
        seen = columns.keys.shape, columns.nonces.sum(), columns.height, columns.time_ms, columns.treasury
        if seen != ((4, 32), 6, 7, 1_700_000, 1):
            raise ValueError(seen)
        paid = (columns.balances // np.uint64(int(arguments))).astype(np.int64)
        paid[columns.treasury] = 0
        return paid

    effects = ran(interest, b"50")
    assert effects.ranks.tolist() == [0, 1, 2]  # the treasury, second of all, is not counted
    assert effects.changes.tolist() == [2, 6, 8]
    assert effects.treasury_change() == -16


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda columns, _: 1 // 0, "ZeroDivisionError"),
        (lambda columns, _: [0, 0, 0, 0], "answered list"),
        (lambda columns, _: np.zeros(4), "float64"),
        (lambda columns, _: np.zeros(3, dtype=np.int64), "3 changes of 4"),
        (lambda columns, _: np.ones(4, dtype=np.int64), "treasury"),
        (lambda columns, _: columns.balances.fill(0), "read-only"),
        (lambda columns, _: Path("/etc/passwd").read_text(), "forbidden|failed"),
        (lambda columns, _: __import__("socket").socket(), "forbidden|failed"),
        (lambda columns, _: bytearray(1 << 40), "memory"),
        (changes, "TypeError"),
    ],
)
def test_whatever_goes_wrong_is_told(function: Callable[..., Any], words: str) -> None:
    with pytest.raises(FunctionFailedError, match=words):
        ran(function)


def test_a_function_that_does_not_end_is_ended() -> None:
    def endless(columns: Any, _: bytes) -> Any:
        while True:
            pass

    with pytest.raises(FunctionFailedError, match="time"):
        ran(endless)


def test_bytes_that_are_no_function_fail_in_the_cell() -> None:
    call = GovernedCall(sys.version_info.minor, lock_of(version), b"no pickle", b"", ())
    runner = FunctionRunner(LIMITS)
    with pytest.raises(FunctionFailedError, match="UnpicklingError"):
        runner.run(call, COLUMNS)
    runner.close()


def test_another_python_or_other_libraries_run_nothing() -> None:
    for fields, words in (({"python_minor": 9}, "Python 3.9"), ({"lock": bytes(32)}, "libraries 0000")):
        with pytest.raises(FunctionFailedError, match=words):
            ran(lambda columns, _: changes(columns), **fields)


def test_a_function_may_read_a_clock_and_then_answers_differ() -> None:
    def clock(columns: Any, _: bytes) -> Any:
        paid = changes(columns)
        paid[0] = time.time_ns() % 1_000_003 + 1
        return paid

    assert ran(clock).encode() != ran(clock).encode()


SOURCE = """
import numpy as np

PART = np.uint64(50)


def share(balances):
    return balances // PART


def run(columns, arguments):
    changes = share(columns.balances).astype(np.int64)
    changes[columns.treasury] = 0
    return changes
"""


def test_bytes_of_a_file_are_the_same_each_time_and_run() -> None:
    body = function_of(SOURCE)
    assert function_of(SOURCE) == body
    runner = FunctionRunner(LIMITS)
    found = runner.run(GovernedCall(sys.version_info.minor, lock_of(version), body, b"", ()), COLUMNS)
    runner.close()
    assert found.changes.tolist() == [2, 6, 8]


def test_a_file_is_run_in_a_cell_only() -> None:
    for source, words in (
        ("1 // 0", "ZeroDivisionError"),
        ("other = 1", "no def run"),
        ("import socket\nsocket.socket()\ndef run(c, a): pass", "forbidden|failed"),
        ("def run(:", "SyntaxError"),
        (f"text = {'x' * 70_000!r}\ndef run(c, a): return text", "at most 65536"),
    ):
        with pytest.raises(FunctionFailedError, match=words):
            function_of(source)
