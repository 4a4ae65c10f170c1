"""Settings of the whole test run."""

from __future__ import annotations

from pathlib import Path

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


CLUSTER = Path(__file__).parent / "cluster"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests on real clusters share one process and its cluster; they start first."""
    for item in items:
        if item.path.is_relative_to(CLUSTER):
            item.add_marker(pytest.mark.xdist_group("cluster"))
    items.sort(key=lambda item: not item.path.is_relative_to(CLUSTER))
