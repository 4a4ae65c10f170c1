"""Settings of the whole test run."""

from __future__ import annotations

import pytest
from hypothesis import settings

# Timings decide nothing here: kernels compile on first use and the machine may be busy.
settings.register_profile("raychain", deadline=None, print_blob=True)
settings.load_profile("raychain")


def pytest_configure(config: pytest.Config) -> None:
    """Compile the kernels once, before the worker processes would each compile the same."""
    if not hasattr(config, "workerinput"):
        from node import warm_kernels

        warm_kernels(lambda _text: None)
