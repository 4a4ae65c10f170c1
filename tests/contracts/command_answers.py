"""What `node.py contract` answers, as JSON and as people are told it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from actors.cli.contracts.commands import contract_app


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(contract_app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


def told(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == code, result.output
    last = json.loads(result.stdout.splitlines()[-1])
    assert isinstance(last, dict)
    return last


def said(*arguments: str | Path, code: int = 0) -> str:
    """What people are told, in one line."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())
