"""Writing contracts: begin one, check it, test it. Nothing here needs a network."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from actors.cli.options import Json
from actors.console import UserError, console, emit, explained
from actors.contracts import examples
from actors.contracts.access import FunctionAccess, derive_access
from actors.contracts.encoding import encode_program, program_hash
from actors.contracts.errors import ProgramError
from actors.contracts.ir import FunctionKind
from actors.contracts.language.compiled import Compiled
from actors.contracts.language.compiler import compile_source
from actors.contracts.language.faults import LanguageError
from actors.contracts.limits import SOURCE_BYTES_MAX
from actors.contracts.verified import Verified, VerifiedFunction
from actors.contracts.verifier import verify

app = typer.Typer()
EXAMPLES = Path(examples.__file__).parent
NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
Source = Annotated[Path, typer.Argument(help="The contract's file.", show_default=False)]


@app.command("new")
@explained()
def new(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and _.", show_default=False)],
    folder: Annotated[Path, typer.Option(help="Where the two files go.")] = Path(),
    as_json: Json = False,
) -> None:
    """Write NAME.py, a counter to begin with, and test_NAME.py."""
    if not NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is no name for a contract: a lower-case letter, then letters, digits and _"
        )
    source, tests = folder / f"{name}.py", folder / f"test_{name}.py"
    for path in (source, tests):
        if path.exists():
            raise UserError(f"{path} is there already: take another name, or remove it first")
    contract = "".join(word.capitalize() for word in name.split("_"))
    folder.mkdir(parents=True, exist_ok=True)
    begun = (EXAMPLES / "counter.py").read_text().replace("class Counter:", f"class {contract}:")
    source.write_text(begun)
    template = (EXAMPLES / "test_of_counter.txt").read_text()
    tests.write_text(template.format(file=source.name, module=name, contract=contract))
    if as_json:
        emit({"contract": contract, "source": str(source), "tests": str(tests)}, True)
        return
    console.print(f"{escape(str(source))} holds the contract {contract}, {escape(str(tests))} its tests.")
    console.print(f"Next: node.py contract check {escape(str(source))}", soft_wrap=True)


@app.command("check")
@explained()
def check(source: Source, as_json: Json = False) -> None:
    """Compile a contract, and say what each function touches and costs at most."""
    compiled, verified = _read(source, as_json)
    access = {each.function: each for each in derive_access(compiled.program, compiled.lines)}
    public = [each for each in verified.functions if each.function.kind is not FunctionKind.PRIVATE]
    if as_json:
        emit(_described(compiled, public, access), True)
        return
    data = encode_program(compiled.program)
    console.print(
        f"{compiled.program.name} is right: {len(public)} functions, {len(data):,} bytes on the chain, "
        f"program {program_hash(data).hex()[:16]}."
    )
    table = Table(box=None, pad_edge=False)
    for heading in ("function", "kind", "rows known", "worst gas", "what stands in the way"):
        table.add_column(heading, justify="right" if heading == "worst gas" else "left")
    for each in public:
        touched = access[each.number]
        gas = f"{each.worst.gas:,}" + ("+" if each.worst.contract_calls else "")
        kind = each.function.kind.name.lower()
        table.add_row(each.function.name, kind, _known(touched), gas, _obstacles(compiled, touched))
    Console(highlight=False).print(table)
    console.print(f"Next: node.py contract test {escape(str(source))}", soft_wrap=True)


@app.command("test")
@explained()
def run_tests(
    source: Source,
    options: Annotated[list[str] | None, typer.Argument(help="Options for pytest, after --.")] = None,
    as_json: Json = False,
) -> None:
    """Check a contract, then run pytest on test_NAME.py beside it."""
    compiled, _ = _read(source, as_json)
    tests = source.with_name(f"test_{source.name}")
    if not tests.exists():
        raise UserError(f"{tests} is not there: put the tests of {source.name} into it")
    if find_spec("pytest") is None or find_spec("hypothesis") is None:
        raise UserError("pytest and hypothesis are not installed: uv add --dev pytest hypothesis")
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tests.parent), str(tests)]
    ended = subprocess.run(
        [*command, "-p", "no:cacheprovider", *(options or [])],
        check=False,
        capture_output=as_json,
        text=True,
    )
    passed = ended.returncode == 0
    if as_json:
        sys.stderr.write(ended.stdout + ended.stderr)
        emit({"contract": compiled.program.name, "tests": str(tests), "passed": passed}, True)
    elif passed:
        console.print(f"{compiled.program.name} passed its tests.")
        console.print(f"Next, while `node.py up` runs: node.py contract deploy {escape(str(source))}")
    if not passed:
        raise typer.Exit(1)


def _read(source: Path, as_json: bool) -> tuple[Compiled, Verified]:
    """A contract that is right; else say what is not, and exit with 1."""
    text = read_source(source)
    with faults_shown(source, as_json):
        compiled = compile_source(text, str(source))
        return compiled, verify(compiled.program)


def read_source(source: Path) -> str:
    """The text of a contract's file. Raises UserError."""
    try:
        size = source.stat().st_size
        if size > SOURCE_BYTES_MAX:
            raise UserError(f"{source} has {size:,} bytes, the limit is {SOURCE_BYTES_MAX:,}")
        return source.read_bytes().decode()
    except OSError as error:
        raise UserError(f"{source}: {error.strerror}; begin one with: node.py contract new NAME") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{source}: byte {error.start} is not UTF-8") from None


@contextlib.contextmanager
def faults_shown(source: Path, as_json: bool) -> Iterator[None]:
    """Say what is not right with a contract that is compiled within, and exit with 1."""
    try:
        yield
        return
    except LanguageError as error:
        faults = [
            {"line": each.line, "column": each.column, "what": each.what, "advice": each.advice}
            for each in error.faults
        ]
        said = [str(fault) for fault in error.faults]
    except ProgramError as error:
        faults, said = [{"line": 0, "column": 0, "what": str(error), "advice": ""}], [f"{source}: {error}"]
    if as_json:
        emit({"file": str(source), "passed": False, "faults": faults}, True)
    for line in said:
        console.print(escape(line), soft_wrap=True)
    raise typer.Exit(1)


def _known(touched: FunctionAccess) -> str:
    if touched.rows and all(row.commutes for row in touched.rows):
        return "before, commute"
    return "before" if touched.is_static else "while it runs"


def _obstacles(compiled: Compiled, touched: FunctionAccess) -> str:
    tables = compiled.program.tables
    chained = [
        f"line {row.line}: which row of {tables[row.table].name} depends on line {row.waits_for_line}"
        for row in touched.rows
        if not row.is_static
    ]
    called = [f"calls {compiled.program.imports[number].contract}" for number in touched.imports]
    return "; ".join(dict.fromkeys(chained + called))


def _described(
    compiled: Compiled, public: list[VerifiedFunction], access: dict[int, FunctionAccess]
) -> dict[str, Any]:
    program, data = compiled.program, encode_program(compiled.program)
    return {
        "file": compiled.filename,
        "passed": True,
        "contract": program.name,
        "program_bytes": len(data),
        "program_hash": program_hash(data).hex(),
        "tables": [{"name": table.name, "row_bytes": table.value_bytes} for table in program.tables],
        "functions": [
            {
                "name": each.function.name,
                "kind": each.function.kind.name.lower(),
                "accepts_coins": each.function.accepts_coins,
                "worst_gas": each.worst.gas,
                "contract_calls": each.worst.contract_calls,
                "static": access[each.number].is_static,
                "rows": [
                    {
                        "table": program.tables[row.table].name,
                        "touch": row.touch.name.lower(),
                        "static": row.is_static,
                        "commutes": row.commutes,
                        "line": row.line,
                        "waits_for_line": row.waits_for_line,
                    }
                    for row in access[each.number].rows
                ],
            }
            for each in public
        ],
    }
