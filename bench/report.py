"""Writes bench/RESULTS.md from results: files that hold what commands printed with `--json`, one a file.

A result is kept by `node.py bench signatures --json | tail -n 1 > bench/results/bench-signatures.json`.
What bench/measures.py does not name stays in the files alone. The same files give the same text; what stands
in RESULTS.md after the line that begins with `<!-- By hand` is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from actors.console import UserError
from bench.measures import MEASURES

FOLDER = Path(__file__).parent
RUN_KEYS = {"command", "machine", "cores", "commit", "date"}
BY_HAND = "<!-- By hand"
_HEAD = """# Measurements

Written by `node.py bench report` from `bench/results/`, whose files hold everything that a run printed. Times
on a shared machine wander by a factor of three; every ratio is taken within one run.
"""

Figures = list[tuple[str, str]]
"""What was measured, in words, and how much."""


def command(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files, one JSON object each; bench/results/*.json if none.")
    ] = None,
    into: Annotated[Path, typer.Option(help="What is written.")] = FOLDER / "RESULTS.md",
) -> dict[str, object]:
    """Write the report."""
    results = [read_result(path) for path in files or stored()]
    before = into.read_text() if into.exists() else ""
    into.write_text(generated(results) + by_hand(before))
    return {"into": str(into), "results": len(results)}


def stored() -> list[Path]:
    """The results that are kept beside the benchmarks."""
    return sorted((FOLDER / "results").glob("*.json"))


def read_result(path: Path) -> dict[str, Any]:
    """A result. Raises UserError when it is none."""
    try:
        result = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path}: {error}; give what a command printed with --json") from None
    if not isinstance(result, dict) or not set(result.get("run", ())) >= RUN_KEYS:
        raise UserError(f"{path}: does not say in `run` by what command, where and when it was measured")
    return result


def generated(results: Sequence[Mapping[str, Any]]) -> str:
    """The report, in the order of the commands, and of the dates where there are several of one."""
    ordered = sorted(results, key=lambda result: (named(result), result["run"]["date"], str(result)))
    return "\n".join([_HEAD, *map(_section, ordered)])


def by_hand(text: str) -> str:
    """The part of an earlier report that people wrote."""
    at = text.find(BY_HAND)
    return "" if at < 0 else "\n" + text[at:]


def named(result: Mapping[str, Any]) -> str:
    """The command with its options, as documents name it: `demo --nodes 1`."""
    return str(result["run"]["command"]).removeprefix("node.py ")


def figures(result: Mapping[str, Any]) -> Figures:
    """What MEASURES names of a result, the most telling first; of an unknown command every plain value."""
    known = [name for name in MEASURES if f"{named(result)} ".startswith(f"{name} ")]
    measures = MEASURES[max(known, key=len)] if known else {key: f"`{key}`" for key in result if key != "run"}
    return [
        (words.format(**names), _figure(value))
        for path, words in measures.items()
        for value, names in _found(result, path.split("."), {})
        if isinstance(value, str | int | float)
    ]


def _section(result: Mapping[str, Any]) -> str:
    run = result["run"]
    rows = [f"| {words} | {figure} |" for words, figure in figures(result)]
    where = f"{run['cores']} cores of {run['machine']}, commit {run['commit']}, {run['date']}."
    return "\n".join(
        [f"## `{named(result)}`", "", where, "", "| measured | figure |", "|---|---|", *rows, ""]
    )


def _found(value: Any, path: Sequence[str], names: dict[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """What lies at a path, and words for it; `*` is every item, which lends its plain values as words."""
    if not path:
        yield value, names
    elif path[0] == "*":
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            own = item if isinstance(item, Mapping) else {}
            yield from _found(item, path[1:], {**names, **own, "key": key})
    elif isinstance(value, Mapping) and path[0] in value:
        yield from _found(value[path[0]], path[1:], names)


def _figure(value: str | float) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and abs(value) < 100:
        return f"{value:.3g}"
    return value if isinstance(value, str) else f"{value:,.0f}"
