"""How commands speak: people's text and logs on standard error, the result on standard output.

With --json the last line of standard output is one JSON object. A mistake of the user's ends in one line that
names the thing and the way out, and exit code 2; a check that did not hold in exit code 1.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

console = Console(stderr=True, highlight=False)
Command = TypeVar("Command", bound=Callable[..., Any])


class UserError(Exception):
    """A mistake that the user can mend; shown without a stack trace."""


def emit(result: Mapping[str, Any], as_json: bool, title: str = "") -> None:
    """Print a result: one JSON line, or a table for people."""
    if as_json:
        sys.stdout.write(msgspec.json.encode(dict(result)).decode() + "\n")
        sys.stdout.flush()
        return
    out = Console(highlight=False)
    table = Table(title=title or None, show_header=False, box=None, pad_edge=False)
    for name, value in result.items():
        table.add_row(name, _words(value))
    out.print(table)


def _words(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return "  ".join(f"{key}={_words(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "\n".join(_words(item) for item in value)
    return str(value)


def explained(*mistakes: type[Exception]) -> Callable[[Command], Command]:
    """Decorate a command: the named errors become one line and exit code 2."""

    caught: tuple[type[Exception], ...] = (UserError, *mistakes)

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(*args: Any, **kwargs: Any) -> Any:
            try:
                return command(*args, **kwargs)
            except caught as error:
                console.print("[bold red]error[/]", escape(str(error)), soft_wrap=True)
                raise typer.Exit(2) from None

        return run  # type: ignore[return-value]

    return decorate
