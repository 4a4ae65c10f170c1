"""The command line of a node; how its parts are wired is in `actors/topology.py`."""

from __future__ import annotations

import functools
import os
import signal
import sys


def _leave_while_importing() -> None:
    """Until a command is under way a signal ends this process at once: `up` with 0, as when it is asked to
    stop later, others as shells expect. First of all, since the imports take a second or two."""
    wanted = sys.argv[1:2] == ["up"]

    def leave(number: int, _frame: object) -> None:
        if wanted and "--json" in sys.argv:
            os.write(1, b'{"stopped":"while it started"}\n')
        os._exit(0 if wanted else 128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, leave)


if __name__ == "__main__":
    _leave_while_importing()

# First, since `actors` has compiled code kept: what comes after it is imported faster.
from actors.machine import stopping

# isort: split

import typer

from actors.cli.config import config_app
from actors.console import explained
from actors.directory import DirectoryError
from actors.ledger.rows import FormatError
from actors.machine.limits import TooLittleMemoryError
from actors.machine.runtime import keep_private
from actors.machine.standard_error import move_python_stderr
from config.effective import ConfigurationError

_MISTAKES = (ConfigurationError, DirectoryError, FormatError, TooLittleMemoryError)


@functools.cache
def built() -> typer.Typer:
    """The command line with all its commands."""
    from actors.cli import chain, logs, members, offline, repair
    from actors.cli.contracts.commands import contract_app
    from actors.cli.doctor import doctor
    from actors.cli.governed.commands import governed_app
    from actors.cli.guide import arrange
    from actors.cli.up import up
    from actors.cli.version import of_every_command
    from bench import demo, registry
    from bench import stress as hunts
    from bench.attack.commands import command_attack
    from bench.soak import commands as soak_commands

    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        help="raychain: a permissioned blockchain node whose parts are Ray actors.",
    )
    bench_app = typer.Typer(no_args_is_help=True, help="Benchmarks; each prints ratios measured in one run.")
    app.callback()(of_every_command)
    app.command()(explained(*_MISTAKES)(up))
    app.command("demo")(explained(*_MISTAKES)(demo.command_demo))
    app.command("attack")(explained(*_MISTAKES)(command_attack))
    app.command()(doctor)
    app.add_typer(config_app, name="config")
    app.add_typer(contract_app, name="contract")
    app.add_typer(governed_app, name="governed")
    app.add_typer(bench_app, name="bench")
    app.add_typer(chain.app)
    app.add_typer(offline.app)
    app.add_typer(logs.app)
    repair.register(members.app)
    app.add_typer(soak_commands.app)
    for name, hunt in hunts.APPS.items():
        app.add_typer(hunt, name=name)
    registry.register(bench_app)
    return arrange(app)


def main() -> None:
    """Entry point of `node.py` and `raychain`."""
    move_python_stderr()
    keep_private()
    stopping.interrupt_on_signals()
    built()()


if __name__ == "__main__":
    main()
