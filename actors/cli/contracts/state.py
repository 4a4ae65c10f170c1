"""The command `contract state`: what a contract is, and what it keeps, proven against a certificate."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from actors.cli.contracts.arguments import Address, KeyNames, contract_key, read_keys
from actors.cli.contracts.words import example_call, function_words, options_again, shown, value_facts
from actors.cli.options import DEFAULT_URL, GenesisFile, Json, KeysDir, Url, trusting
from actors.console import console, emit, explained
from actors.contracts.types import ADDRESS
from actors.directory import DEFAULT_KEYS, DirectoryError
from actors.ledger.rows import FormatError
from actors.sdk.answers import ApiError
from actors.sdk.client import Client
from actors.sdk.contract import Contract
from actors.sdk.contract_steps import TableRow
from actors.sdk.contract_values import InterfaceError
from actors.sdk.inclusion_proof import ProofError

app = typer.Typer()
TableName = Annotated[
    str | None, typer.Argument(metavar="TABLE", help="A table or cell of it.", show_default=False)
]
RowKeys = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY", help="Of the row, in the table's order.", show_default=False),
]


@app.command("state")
@explained(DirectoryError, FormatError, ApiError, ProofError, InterfaceError)
def state(
    address: Address,
    table: TableName = None,
    keys: RowKeys = None,
    url: Url = DEFAULT_URL,
    genesis_file: GenesisFile = None,
    keys_dir: KeysDir = DEFAULT_KEYS,
    as_json: Json = False,
) -> None:
    """Show a contract: its coins, functions, tables, and what its cells hold. With TABLE and KEYs: that row.

    Every value is proven here against the certificate of a block, absence too; `genesis_trust` says by which
    genesis. Where nothing is kept a row has zeros. Keys that are addresses may be names: development:0.
    """
    with trusting(url, genesis_file) as (client, trust):
        contract = client.contract(contract_key(address), client.genesis())
        again = options_again(url)
        if table is None:
            cells = contract.verified_cells()
            facts = _overview(client, contract, cells)
            if as_json:
                emit({**facts, **trust.facts(client)}, True)
                return
            values = {name: cell.value for name, cell in cells.items()}
            _show_overview(contract, values, facts, trust.facts(client), again)
            return
        names = KeyNames(keys_dir, client.genesis().network)
        kinds = contract.interface.table(table).declared.keys
        row = contract.verified_row(table, *read_keys(kinds, keys or [], names))
        _show_row(contract, row, trust.facts(client), again, as_json)


def _overview(client: Client, contract: Contract, cells: dict[str, TableRow]) -> dict[str, Any]:
    interface, account = contract.interface, client.verified_account(contract.address, client.genesis())
    return {
        "contract": contract.name,
        "address": contract.address.hex(),
        "coins": account["balance"],
        "height": max([int(account["height"]), *(cell.height for cell in cells.values())]),
        "verified": True,
        "cells": {name: value_facts(cell.value) for name, cell in cells.items()},
        "functions": function_words(interface.functions.values()),
        "tables": [each.signature for each in interface.tables.values()],
        "events": interface.event_names,
        "deployer": interface.deployer.hex(),
        "deployed_height": interface.deployed_height,
        "program_hash": interface.program_hash.hex(),
        "source_hash": interface.source_hash.hex(),
    }


def _show_overview(
    contract: Contract, cells: dict[str, Any], facts: dict[str, Any], trust: dict[str, Any], again: str
) -> None:
    held = f": {shown(cells)}" if cells else ""
    console.print(escape(f"{contract.name} at height {facts['height']}{held}."), soft_wrap=True)
    told = {**facts, "cells": [shown({name: value}) for name, value in cells.items()]}
    told["deployed"] = f"in block {told.pop('deployed_height')}"  # a shorter name, so that hashes fit
    emit({**told, **trust}, False)
    tables = [each for each in contract.interface.tables.values() if each.declared.keys]
    following = f"state {contract.address.hex()}"
    if tables:
        keys = ["development:0" if kind == ADDRESS else "KEY" for kind in tables[0].declared.keys]
        following += f" {tables[0].name} {' '.join(keys)}"
    elif call := example_call(contract.interface):
        following = f"call {contract.address.hex()} {call}"
    _say_next(following, again)


def _show_row(contract: Contract, row: TableRow, trust: dict[str, Any], again: str, as_json: bool) -> None:
    keys = [value_facts(key) for key in row.keys]
    told = {"table": row.table, "keys": keys, "height": row.height, "exists": row.exists, "verified": True}
    if as_json:
        emit({**told, "row": value_facts(row.columns), **trust}, True)
        return
    name = row.table + (f"[{', '.join(shown(key) for key in row.keys)}]" if row.keys else "")
    kept = "" if row.exists else ", since nothing is kept there"
    console.print(escape(f"{name} is {shown(row.value)} at height {row.height}{kept}."), soft_wrap=True)
    if isinstance(row.value, dict):
        emit({column: shown(value) for column, value in row.columns.items()}, False)
    emit({**told, **trust}, False)
    _say_next(f"events {contract.address.hex()}", again)


def _say_next(following: str, again: str) -> None:
    console.print(f"Next: node.py contract {escape(following + again)}", soft_wrap=True)
