"""The command `contract deploy`: a file becomes a contract on the network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from actors.cli.contracts.arguments import (
    DEFAULT_KEY,
    Coins,
    Gas,
    Key,
    Tried,
    Within,
    read_arguments,
)
from actors.cli.contracts.authoring import Source, faults_shown, read_source
from actors.cli.contracts.sending import SigningSession, signing
from actors.cli.contracts.words import example_call, options_again
from actors.cli.options import DEFAULT_URL, GenesisFile, Json, KeysDir, Url
from actors.console import console, emit, explained
from actors.contracts.ir import Param
from actors.contracts.language.compiler import compile_source
from actors.contracts.verifier import verify
from actors.directory import DEFAULT_KEYS, DirectoryError
from actors.ledger.rows import FormatError
from actors.sdk.answers import ApiError
from actors.sdk.contract import Contract, find_deployed, run
from actors.sdk.contract_offers import PreparedDeployment, WantedDeployment
from actors.sdk.contract_results import ContractFailedError, DeployedContract
from actors.sdk.contract_steps import deployment_steps
from actors.sdk.contract_values import InterfaceError
from actors.sdk.delivery import DeliveryOutcome
from actors.sdk.inclusion_proof import ProofError

app = typer.Typer()
InitArguments = Annotated[
    list[str] | None,
    typer.Option("--arg", metavar="NAME=VALUE", help="A parameter of the contract's @init; repeat for each."),
]


@app.command("deploy")
@explained(DirectoryError, FormatError, ApiError, ProofError, InterfaceError)
def deploy(
    source: Source,
    arg: InitArguments = None,
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
    """Compile a contract and put it on the network: then everybody may call it, and nobody can change it.

    Its @init is tried here first, and what would fail is not sent. --key pays: gas, by the length of program
    and source, and a deposit for each 64 bytes of the program. Without --key it is the first development
    account, which a local `up` has given coins.

    Exit code 0 if the contract is there, 1 if its deployment failed or its fate is not known, 2 if nothing
    was sent.
    """
    text = read_source(source)
    with signing(url, genesis_file, keys_dir, key, as_json) as session:
        prepared = _prepared(session, source, text, arg or [], (coins, gas, simulate))
        outcome = session.send("the deployment", prepared.draft, within_s)
        deployed = _deployed(session, outcome, prepared.name)
        contract = session.client.contract(deployed.address, session.genesis)
        _tell(session, contract, deployed, options_again(url, key))


def _prepared(
    session: SigningSession, source: Path, text: str, arg: list[str], how: tuple[int, int | None, bool]
) -> PreparedDeployment:
    with faults_shown(source, session.as_json):
        arguments = read_arguments(_init_params(text, str(source)), arg, session.names, "--arg ")
        wanted = WantedDeployment(text, arguments, session.signer.public_key, *how, str(source))
        with session.simulating("the deployment"):
            prepared = run(session.client, deployment_steps(session.genesis, wanted))
    return prepared


def _init_params(text: str, filename: str) -> tuple[Param, ...]:
    init = verify(compile_source(text, filename).program).init
    return () if init is None else init.function.params


def _deployed(session: SigningSession, outcome: DeliveryOutcome, name: str) -> DeployedContract:
    try:
        deployed = find_deployed(session.client, outcome.id)
    except ContractFailedError as error:
        session.failed(f"the deployment of {name}", outcome, error)
    if deployed is None:
        session.unknown(outcome)
    return deployed


def _tell(session: SigningSession, contract: Contract, deployed: DeployedContract, again: str) -> None:
    address = deployed.address.hex()
    told = {
        "contract": contract.name,
        "address": address,
        "id": deployed.id.hex(),
        "height": deployed.height,
        "fee": deployed.fee,
        "gas": deployed.gas,
        "program_hash": contract.interface.program_hash.hex(),
    }
    if session.as_json:
        emit({**told, **session.facts()}, True)
        return
    console.print(f"{escape(contract.name)} is deployed, in block {deployed.height}.")
    emit({**told, **session.facts()}, False)
    call = example_call(contract.interface)
    following = f"call {address} {call}" if call else f"state {address}"
    console.print(f"Next: node.py contract {escape(following + again)}", soft_wrap=True)
