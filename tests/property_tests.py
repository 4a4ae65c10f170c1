"""How property tests draw: new examples in every run, from one seed that the run says and that repeats it."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Timings decide nothing here: kernels compile on first use and the machine may be busy. Nothing is kept from
# run to run: what once failed is written beside its test as an `@example`. Where the variable CI is set,
# Hypothesis itself would draw the same for ever.
settings.register_profile(
    "explore",
    deadline=None,
    print_blob=True,
    derandomize=False,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("raychain", settings.get_profile("explore"), max_examples=40)
settings.load_profile("raychain")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Draw the seed before Hypothesis looks for one; a process of a run has the run's."""
    if config.option.hypothesis_seed is None:
        given = getattr(config, "workerinput", {}).get("hypothesis_seed")
        config.option.hypothesis_seed = given or str(secrets.randbelow(2**32))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give the seed to a process of the run."""
    node.workerinput["hypothesis_seed"] = node.config.option.hypothesis_seed


def _say(config: pytest.Config) -> None:
    if reporter := config.pluginmanager.getplugin("terminalreporter"):
        seed = config.option.hypothesis_seed
        reporter.write_line(f"property tests: drawn from seed {seed}, repeat with --hypothesis-seed={seed}")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Say the seed at once: who is killed has said it, too."""
    _say(session.config)


def pytest_terminal_summary(exitstatus: int, config: pytest.Config) -> None:
    """Say it again below what failed."""
    if exitstatus != pytest.ExitCode.OK:
        _say(config)
