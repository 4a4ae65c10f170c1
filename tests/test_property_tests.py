"""Runs draw anew, and the seed that a run says draws the same again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DRAWS = """
import os
from hypothesis import given, strategies as st

@given(st.integers())
def test_draws(number):
    with open(os.environ["DRAWN"], "a") as drawn:
        print(number, file=drawn)

@given(st.integers())
def test_fails(number):
    assert number < 10
"""


class Run:
    """What a run of such tests drew and said."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        drawn, tests = folder / "drawn", folder / "test_draws.py"
        drawn.write_text("")
        tests.write_text(DRAWS)
        plugins = ("_hypothesis_pytestplugin", "xdist.plugin", "tests.property_tests")
        command = [sys.executable, "-m", "pytest", *(f"-p{name}" for name in plugins), "-c", os.devnull]
        done = subprocess.run(
            [*command, "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *arguments, str(tests)],
            env=os.environ | {"DRAWN": str(drawn), "CI": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
        self.said, self.drawn = done.stdout, drawn.read_text().split()
        seeds = set(re.findall(r"--hypothesis-seed=(\d+)", self.said))
        assert len(seeds) == 1, self.said
        (self.seed,) = seeds


def test_a_run_draws_anew_and_says_how_to_repeat_it(tmp_path: Path) -> None:
    first, second = Run(tmp_path), Run(tmp_path)
    assert len(first.drawn) == len(second.drawn) == 40
    assert first.seed != second.seed
    assert first.drawn != second.drawn
    assert "@reproduce_failure(" in first.said
    assert Run(tmp_path, f"--hypothesis-seed={first.seed}").drawn == first.drawn


def test_processes_of_a_run_draw_from_its_seed(tmp_path: Path) -> None:
    several = Run(tmp_path, "-n", "1")
    assert Run(tmp_path, f"--hypothesis-seed={several.seed}").drawn == several.drawn
