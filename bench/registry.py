"""Makes each file of bench/ that has a function `command` a benchmark of its name."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import typer

from actors.cli.options import Json
from actors.console import explained
from actors.directory import DirectoryError
from bench.results import emit_result
from config.effective import ConfigurationError


def register(app: typer.Typer) -> None:
    """Add every benchmark to `app`; a module's text is its help."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if "\ndef command(" in path.read_text():
            module = importlib.import_module(f"bench.{path.stem}")
            runner = explained(ConfigurationError, DirectoryError)(_with_json(module.command))
            app.command(path.stem.replace("_", "-"), help=inspect.getdoc(module))(runner)


def _with_json(command: Any) -> Any:
    """The command with an option --json, printing what it returns; exit code 1 if `passed` is False in it."""

    def run(as_json: bool = False, **options: Any) -> None:
        result = command(**options)
        emit_result(result, as_json)
        if result.get("passed") is False:
            raise typer.Exit(1)

    own = inspect.signature(command, eval_str=True)
    extra = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json)
    parameters = [*own.parameters.values(), extra]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
