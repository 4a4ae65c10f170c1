"""The command `contract verify`: whether a source is what the chain runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from actors.cli.contracts.arguments import Address, contract_key
from actors.cli.contracts.authoring import faults_shown, read_source
from actors.cli.contracts.words import options_again
from actors.cli.options import DEFAULT_URL, GenesisFile, Json, Url, trusting
from actors.console import console, emit, explained
from actors.contracts.encoding import encode_program, program_hash
from actors.contracts.language.compiler import compile_source
from actors.ledger.hashing import sha256
from actors.ledger.rows import FormatError
from actors.sdk.answers import ApiError
from actors.sdk.contract_values import InterfaceError
from actors.sdk.inclusion_proof import ProofError

app = typer.Typer()
File = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="Default: the source that was deployed.", show_default=False),
]


@app.command("verify")
@explained(FormatError, ApiError, ProofError, InterfaceError)
def verify(
    address: Address,
    file: File = None,
    url: Url = DEFAULT_URL,
    genesis_file: GenesisFile = None,
    as_json: Json = False,
) -> None:
    """Compile a source again, and compare its program with the one that the chain runs, which is proven.

    A program holds no comments and no names of locals, so two sources may have one program; `same_source`
    says whether the file is the one that was deployed. Exit code 0 if the program is the same, 1 if not.
    """
    with trusting(url, genesis_file) as (client, trust):
        contract = client.contract(contract_key(address), client.genesis())
        interface = contract.interface
        name = "the deployed source" if file is None else str(file)
        text = contract.source() if file is None else read_source(file)
        with faults_shown(file or Path(f"{contract.name}.py"), as_json):
            program = encode_program(compile_source(text, name).program)
        same = program_hash(program) == interface.program_hash
        told = {
            "contract": contract.name,
            "address": address,
            "verified": same,
            "same_source": sha256(text.encode()) == interface.source_hash,
            "program_hash": interface.program_hash.hex(),
            "compiled_hash": program_hash(program).hex(),
            "source_hash": interface.source_hash.hex(),
        }
        facts = {**told, **trust.facts(client)}
    if not as_json:
        _say(contract.name, name, same, bool(told["same_source"]))
    emit(facts, as_json)
    if not as_json and same:
        console.print(f"Next: node.py contract state {address}{escape(options_again(url))}", soft_wrap=True)
    if not same:
        raise typer.Exit(1)


def _say(contract: str, name: str, same: bool, same_source: bool) -> None:
    if not same:
        console.print(
            f"[bold red]not verified[/] {escape(name)} has another program than {escape(contract)}."
        )
        return
    other = "" if same_source else ", though it is not the very text that was deployed"
    console.print(escape(f"{contract} is verified: {name} has the program that the chain runs{other}."))
