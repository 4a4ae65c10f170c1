"""How commands speak: people's text and logs on standard error, the result on standard output.

A result for people is a summary: one sentence that says what is so and whether it is good, a table that fits
80 columns, and what to do next; --verbose adds every figure. With --json the last line of standard output is
one JSON object. A mistake of the user's ends in one line that names the thing and the way out, and exit code
2; a check that did not hold in exit code 1.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from actors.figures import figure

console = Console(stderr=True, highlight=False)
Command = TypeVar("Command", bound=Callable[..., Any])
Standing = Literal["good", "warn", "bad", ""]
MARKS: dict[Standing, tuple[str, str]] = {
    "good": ("✓", "bold green"),
    "warn": ("!", "bold yellow"),
    "bad": ("✗", "bold red"),
    "": ("", "bold"),
}


class UserError(Exception):
    """A mistake that the user can mend; shown without a stack trace."""


@dataclass(frozen=True)
class Summary:
    """A result as people read it.

    standing: whether what the sentence says is as it should be; "" where there is nothing to judge.
    checks: (standing, what was checked, what was found). facts: rows of a name and words. titles, rows: a
    table, its columns as wide as what they hold. following: commands to try next.
    """

    sentence: str
    standing: Standing = ""
    checks: Sequence[tuple[Standing, str, str]] = ()
    facts: Sequence[tuple[str, str]] = ()
    titles: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default=())
    following: Sequence[str] = ()

    def show(self, out: Console) -> None:
        """Print it."""
        mark, style = MARKS[self.standing]
        out.print(Text(f"{mark} {self.sentence}".strip(), style))
        for part in self._parts():
            out.print()
            out.print(part)
        for number, command in enumerate(self.following):
            if not number:
                out.print()
            out.print(Text(f"{'     ' if number else 'next:'} {command}"), soft_wrap=True)

    def _parts(self) -> Iterator[Table]:
        if self.checks:
            yield _grid([(Text(*MARKS[standing]), *words) for standing, *words in self.checks])
        if self.facts:
            yield _grid([(Text(name, "dim"), words) for name, words in self.facts])
        if self.rows:
            yield _table(self.titles, self.rows)


def _grid(rows: Iterable[Sequence[str | Text]]) -> Table:
    """Rows without titles; the last column takes what is left of the line."""
    listed = list(rows)
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(1, max(map(len, listed), default=0)):
        grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for row in listed:
        grid.add_row(*(escape(cell) if isinstance(cell, str) else cell for cell in row))
    return grid


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(title.upper(), overflow="fold", header_style="dim")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def emit(
    result: Mapping[str, Any],
    as_json: bool,
    title: str = "",
    summary: Callable[[], Summary] | Summary | None = None,
    verbose: bool = False,
) -> None:
    """Print a result: one JSON line, or for people its summary; every figure where there is none, or besides
    where `verbose`."""
    if as_json:
        sys.stdout.write(msgspec.json.encode(dict(result)).decode() + "\n")
        sys.stdout.flush()
        return
    out = Console(highlight=False)
    if summary is not None:
        (summary if isinstance(summary, Summary) else summary()).show(out)
        if not verbose:
            return
        out.print()
    if title:
        out.print(Text(title, "bold"))
    out.print(_grid(_every(result)))


def _every(result: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """A row for each plain value; those of a value that has parts are below it, indented."""
    rows: list[tuple[str, str]] = []
    for name, value in result.items():
        parts = dict(enumerate(value, 1)) if _is_long(value) else value
        if isinstance(parts, Mapping) and parts:
            rows += [
                (f"{above}{name}", ""),
                *_every({str(key): each for key, each in parts.items()}, above + "  "),
            ]
        else:
            rows.append((f"{above}{name}", figure(str(name), value)))
    return rows


def _is_long(value: Any) -> bool:
    """Whether it is a list whose items have parts themselves."""
    return isinstance(value, list) and any(isinstance(each, Mapping) for each in value)


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
