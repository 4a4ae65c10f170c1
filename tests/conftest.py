"""Settings of the whole test run, and which of its processes runs which tests."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import actors  # noqa: F401 -- has bytecode kept before the processes of a run start

pytest_plugins = ("tests.property_tests",)

PROCESSES_MAX = 4
# Files that start networks of their own: one after the other, as starting several at once overloads a host.
OWN_NETWORKS = tuple(
    f"test_trials_{name}" for name in ("contracts", "memory", "network", "process", "stopping", "time")
)
TRIALS = ("quick", "all")
# What takes longest comes first, so that no process is left alone with it at the end.
FOLDERS_FIRST = (
    "cluster", "people", "trials", "simulation", "storage", "peer", "mempool", "kernels", "gateway",
)  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--trials all` runs what takes too long for every run: whole networks that are restarted and wiped."""
    parser.addoption("--trials", choices=TRIALS, default=TRIALS[0], help="all: the slow trials, too")


def folder_of(path: str) -> str:
    """The first folder under `tests` of a path or node id that begins with it."""
    return path.partition("::")[0].split("/")[1]


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run all tests in two processes or more; chosen ones in this process, unless `-n` says otherwise."""
    option, whole = config.option, config.args_source is pytest.Config.ArgsSource.TESTPATHS
    chosen = hasattr(config, "workerinput") or option.usepdb or not whole
    if config.pluginmanager.hasplugin("xdist") and option.numprocesses is None and not chosen:
        option.numprocesses = max(2, min(PROCESSES_MAX, len(os.sched_getaffinity(0))))
        option.dist = "loadscope"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One process has the Ray cluster and every network; the others take what is left, file by file."""
    from xdist.scheduler import LoadScopeScheduling

    class OneCluster(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folder = folder_of(nodeid)
            if folder == "simulation":  # whose tests share nothing
                return nodeid
            file = nodeid.partition("::")[0]
            networks = folder in ("cluster", "people") or file.removesuffix(".py").endswith(OWN_NETWORKS)
            return "cluster" if networks else file

    if config.option.dist not in ("load", "loadscope"):
        return None  # asked for by name
    config.option.loadscopereorder = False
    return OneCluster(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Compile the kernels once, before the worker processes would each compile the same."""
    # `nohup` and its like leave it ignored, for children, too.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.addinivalue_line("markers", "slow_trial: runs with --trials all only")
    if not hasattr(config, "workerinput"):
        from actors.topology import warm_kernels

        warm_kernels(lambda _text: None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest; leave slow trials out unless they are asked for."""
    if config.getoption("--trials") != "all":
        left_out = pytest.mark.skip(reason="slow: --trials all")
        for item in items:
            if item.get_closest_marker("slow_trial"):
                item.add_marker(left_out)
    order = {folder: place for place, folder in enumerate(FOLDERS_FIRST)}
    items.sort(key=lambda item: order.get(folder_of(item.nodeid), len(order)))


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Empty folders, by number: looking for a free name among thousands of them would cost every test."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def home_of_its_own(monkeypatch: pytest.MonkeyPatch, homes: Iterator[Path]) -> None:
    """Commands of a test remember networks where no other test, nor the user, finds them."""
    (home := next(homes)).mkdir(mode=0o700)
    monkeypatch.setenv("RAYCHAIN_HOME", str(home))
