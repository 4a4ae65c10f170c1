"""Settings of the whole test run."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# Timings decide nothing here: kernels compile on first use and the machine may be busy. Every run tries the
# same examples, so that a failure repeats; `--hypothesis-profile explore` draws new ones, and more.
settings.register_profile(
    "explore", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "raychain", settings.get_profile("explore"), derandomize=True, database=None, max_examples=40
)
settings.load_profile("raychain")


def pytest_configure(config: pytest.Config) -> None:
    """Compile the kernels once, before the worker processes would each compile the same."""
    if not hasattr(config, "workerinput"):
        from node import warm_kernels

        warm_kernels(lambda _text: None)
