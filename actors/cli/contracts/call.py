"""The commands `contract call` and `contract simulate`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from actors.cli.contracts.arguments import (
    DEFAULT_KEY,
    Address,
    Coins,
    Gas,
    Given,
    Key,
    Tried,
    Within,
    contract_key,
    read_arguments,
)
from actors.cli.contracts.sending import SigningSession, signing
from actors.cli.contracts.words import event_facts, options_again, shown, shown_event, value_facts
from actors.cli.options import DEFAULT_URL, GenesisFile, Json, KeysDir, Url
from actors.console import UserError, console, emit, explained
from actors.contracts.ir import FunctionKind
from actors.directory import DEFAULT_KEYS, DirectoryError
from actors.ledger.rows import FormatError
from actors.sdk.answers import ApiError
from actors.sdk.contract import Contract
from actors.sdk.contract_interface import ContractFunction
from actors.sdk.contract_results import Called, ContractFailedError, Simulation, failed_words
from actors.sdk.contract_values import InterfaceError
from actors.sdk.inclusion_proof import ProofError

app = typer.Typer()
_MISTAKES = (DirectoryError, FormatError, ApiError, ProofError, InterfaceError)
FunctionName = Annotated[
    str, typer.Argument(metavar="FUNCTION", help="An entry or a view of it.", show_default=False)
]
AtHeight = Annotated[
    int | None, typer.Option("--height", min=0, help="A retained height. Default: the newest.")
]


@app.command("call")
@explained(*_MISTAKES)
def call(
    address: Address,
    function: FunctionName,
    arguments: Given = None,
    key: Key = DEFAULT_KEY,
    coins: Coins = 0,
    gas: Gas = None,
    simulate: Tried = True,
    within_s: Within = 30.0,
    url: Url = DEFAULT_URL,
    genesis_file: GenesisFile = None,
    keys_dir: KeysDir = DEFAULT_KEYS,
    as_json: Json = False,
) -> None:
    """Call a function of a contract and wait for what comes of it: results, events, what it cost.

    An entry is signed with --key and sent. It is tried on the newest state first, which tells its gas. A view
    changes nothing: it is only asked for, and free. `contract state ADDRESS` lists the functions.

    Exit code 0 if it went through, 1 if it is in a block and failed or its fate is not known, 2 if nothing
    was sent.
    """
    if not simulate and gas is None:
        raise UserError("--no-simulate: say with --gas how much it may use")
    with signing(url, genesis_file, keys_dir, key, as_json) as session:
        contract = session.client.contract(contract_key(address), session.genesis)
        wanted, again = contract.interface.function(function), options_again(url)
        values = read_arguments(wanted.params, arguments or [], session.names)
        sender = session.signer.public_key
        if wanted.kind is FunctionKind.VIEW:
            simulated = contract.simulate(function, values, sender, coins, gas)
            _tell_simulated(session, wanted, simulated, f"state {address}{again}")
            return
        with session.simulating(function):
            prepared = contract.prepare(function, values, sender, coins, gas, simulate)
        outcome = session.send(function, prepared.draft, within_s)
        called = contract.called(function, outcome.id)
        if called is None:
            session.unknown(outcome)
        if called.failure is not None:
            session.failed(function, outcome, ContractFailedError(called.failure, called.message))
        _tell_called(session, contract, function, called, again)


@app.command("simulate")
@explained(*_MISTAKES)
def simulate_call(
    address: Address,
    function: FunctionName,
    arguments: Given = None,
    key: Key = DEFAULT_KEY,
    coins: Coins = 0,
    gas: Gas = None,
    height: AtHeight = None,
    url: Url = DEFAULT_URL,
    genesis_file: GenesisFile = None,
    keys_dir: KeysDir = DEFAULT_KEYS,
    as_json: Json = False,
) -> None:
    """See what a call with --key would do, cost and return. Nothing is signed or sent.

    Exit code 0 if it would go through, 1 if it would fail.
    """
    with signing(url, genesis_file, keys_dir, key, as_json) as session:
        contract = session.client.contract(contract_key(address), session.genesis)
        wanted = contract.interface.function(function)
        values = read_arguments(wanted.params, arguments or [], session.names)
        sender = session.signer.public_key
        with session.simulating(function):
            simulated = contract.simulate(function, values, sender, coins, gas, height)
        following = " ".join(["call", address, function, *(arguments or [])])
        following += f" --coins {coins}" if coins else ""
        following = f"state {address}" if wanted.kind is FunctionKind.VIEW else following
        _tell_simulated(session, wanted, simulated, following + options_again(url, key))


def _tell_called(
    session: SigningSession, contract: Contract, function: str, called: Called, again: str
) -> None:
    paid = {"fee": called.fee, "gas": called.gas}
    if session.as_json:
        told = {"id": called.id.hex(), "status": called.status, "height": called.height}
        emit({**told, **_left_facts(called), **paid, **session.facts()}, True)
        return
    result = f" and returned {shown(called.value)}" if called.results else ""
    console.print(escape(f"{function} went through{result}, in block {called.height}."), soft_wrap=True)
    emit({"id": called.id.hex(), **_left_words(called), **paid}, False)
    console.print(f"Next: node.py contract state {contract.address.hex()}{escape(again)}", soft_wrap=True)


def _tell_simulated(
    session: SigningSession, wanted: ContractFunction, simulated: Simulation, following: str
) -> None:
    """A view's answer, or what a call would do; exit code 1 for what fails. following: the next command."""
    failed, is_view = simulated.failure is not None, wanted.kind is FunctionKind.VIEW
    cost = {
        "gas": simulated.gas,
        "fee": simulated.fee,
        "deposit": simulated.deposit,
        "entries_created": simulated.entries_created,
        "entries_removed": simulated.entries_removed,
        "static": simulated.static,
    }
    if session.as_json:
        failure = {"failure": simulated.failure, "message": simulated.message}
        status = {"status": "would fail" if failed else "view" if is_view else "would go through"}
        facts = {"height": simulated.height, **failure, **_left_facts(simulated), **cost}
        emit({**status, **facts, **session.facts()}, True)
    else:
        _say_simulated(wanted.name, simulated, is_view)
        emit({**_left_words(simulated), **cost} if not is_view else {"gas": simulated.gas}, False)
        if not failed:
            console.print(f"Next: node.py contract {escape(following)}", soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def _say_simulated(function: str, simulated: Simulation, is_view: bool) -> None:
    at = f"on the state of block {simulated.height}"
    if simulated.failure is not None:
        words = f"{failed_words(simulated.failure, simulated.message)} ({simulated.failure})"
        console.print(f"{function} [bold red]would fail[/] {at}: {escape(words)}", soft_wrap=True)
        return
    result = shown(simulated.value) if simulated.results else "nothing"
    said = f"{function} is {result}" if is_view else f"{function} would go through and return {result}"
    console.print(escape(f"{said}, {at}."), soft_wrap=True)


def _left_facts(came: Called | Simulation) -> dict[str, Any]:
    return {
        "results": value_facts(came.results),
        "events": [event_facts(event) for event in came.events],
    }


def _left_words(came: Called | Simulation) -> dict[str, Any]:
    words: dict[str, Any] = {"results": shown(came.results)} if came.results else {}
    if came.events:
        words["events"] = [shown_event(event) for event in came.events]
    return words
