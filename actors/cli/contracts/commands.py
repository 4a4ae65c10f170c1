"""The command `contract`: its parts in the order of use, from an empty file to calls on a network."""

from __future__ import annotations

import typer

from actors.cli.contracts import authoring, call, deploy, events, state, verify

contract_app = typer.Typer(
    no_args_is_help=True,
    help="Contracts: write one in typed Python, check, test and deploy it, call it, see what it keeps.",
    epilog="Begin with `node.py contract new counter`; more to copy is in actors/contracts/examples/.",
)
for part in (authoring, deploy, call, state, events, verify):
    contract_app.add_typer(part.app)
