"""The command `governed`: a Python function over all accounts, which governors of the genesis have signed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from actors.cli.governed.proposals import PROPOSAL_BYTES_MAX, FunctionProposal, decode_proposal, propose
from actors.cli.options import (
    DEFAULT_URL,
    GenesisFile,
    Json,
    KeysDir,
    Url,
    opened,
    public_key_of,
    read_file,
    signer_of,
    trusting,
)
from actors.console import UserError, console, emit, explained
from actors.contracts.limits import SOURCE_BYTES_MAX
from actors.directory import DEFAULT_KEYS, DirectoryError
from actors.execution.functions import FunctionFailedError
from actors.ledger.rows import NEVER_EXPIRES_HEIGHT, FormatError
from actors.ledger.signing import sign_transfer
from actors.sdk.answers import ApiError
from actors.sdk.delivery import DeliveryOutcome, deliver
from actors.sdk.inclusion_proof import ProofError

governed_app = typer.Typer(
    no_args_is_help=True,
    help="Governed functions: Python over the columns of all accounts, which governors have signed.",
    epilog="Write `def run(columns, arguments)` in a file, then `node.py governed make FILE --treasury KEY`.",
)
Document = Annotated[Path, typer.Argument(help="What `governed make` has written.")]
DEFAULT_SENDER = "development:0"


@governed_app.command()
@explained(DirectoryError, FormatError, ApiError, ProofError, FunctionFailedError)
def make(
    source: Annotated[Path, typer.Argument(help="A Python file with def run(columns, arguments).")],
    treasury: Annotated[str, typer.Option(help="The account that pays, or gets, the sum of all changes.")],
    out: Annotated[Path, typer.Option(help="Where to write the document.")] = Path("function.json"),
    arguments: Annotated[str, typer.Option(help="Text that the function is given.")] = "",
    key: Annotated[str, typer.Option(help="Who will submit it, and pays the fee.")] = DEFAULT_SENDER,
    expiry_height: Annotated[int, typer.Option(help="Last height that may hold it.")] = NEVER_EXPIRES_HEIGHT,
    url: Url = DEFAULT_URL,
    genesis_file: GenesisFile = None,
    keys_dir: KeysDir = DEFAULT_KEYS,
    as_json: Json = False,
) -> None:
    """Make a document of a Python file, for governors to sign.

    The file is run in a cell, and its function taken with all that it uses. `columns` has keys (n, 32),
    balances and nonces (n,) of all accounts, the place of the treasury, height and time_ms; the function
    answers (n,) int64 changes of the balances, 0 for the treasury.
    """
    text = read_file(source, SOURCE_BYTES_MAX).decode("utf-8", "strict")
    with trusting(url, genesis_file) as (client, trust):
        genesis = client.genesis()
        sender = public_key_of(keys_dir, key, genesis.network)
        nonce = int(client.account(sender)["nonce"])
        pays = public_key_of(keys_dir, treasury, genesis.network)
        proposal = propose(genesis, sender, nonce, pays, text, arguments.encode(), expiry_height)
        proposal.require_network(genesis)
        out.write_bytes(proposal.encode())
        needed = f"{genesis.governors_needed} of {len(genesis.governors)} governors have to sign it"
        told = {
            "document": str(out),
            "nonce": nonce,
            "function_bytes": len(proposal.function),
            "needed": needed,
        }
        emit({**told, **trust.facts(client)}, as_json)
    if not as_json:
        console.print(f"Next: node.py governed sign {escape(str(out))} --key GOVERNOR", soft_wrap=True)


@governed_app.command()
@explained(DirectoryError, FormatError, ApiError, ProofError, FunctionFailedError)
def sign(
    document: Document,
    key: Annotated[str, typer.Option(help="Name of a governor's key, or development:N.")],
    url: Url = DEFAULT_URL,
    genesis_file: GenesisFile = None,
    keys_dir: KeysDir = DEFAULT_KEYS,
    as_json: Json = False,
) -> None:
    """Approve a function as one of the governors: its source is shown, and its bytes are made from it again.

    Exit code 1, and nothing is signed, if the bytes are not those of the source on this machine.
    """
    proposal = _read(document)
    if not as_json:
        console.print(escape(proposal.source))
    if not proposal.matches():
        console.print(
            "[bold red]not signed[/] the bytes are not what this machine makes of the source: use Python "
            f"3.{proposal.python_minor} and the same libraries, or do not trust the document",
            soft_wrap=True,
        )
        raise typer.Exit(1)
    with trusting(url, genesis_file) as (client, trust):
        genesis = client.genesis()
        signed = proposal.approved_by(signer_of(keys_dir, key, genesis.network), genesis)
        document.write_bytes(signed.encode())
        told = {
            "document": str(document),
            "approvals": len(signed.approvals),
            "needed": genesis.governors_needed,
        }
        emit({**told, **trust.facts(client)}, as_json)


@governed_app.command()
@explained(DirectoryError, FormatError, ApiError, ProofError, FunctionFailedError)
def submit(
    document: Document,
    key: Annotated[str, typer.Option(help="Who submits it, as `make` was told.")] = DEFAULT_SENDER,
    fee: Annotated[int | None, typer.Option(help="Default: the least, or 1.")] = None,
    within_s: Annotated[
        float, typer.Option("--within", min=0, max=3600, help="Seconds to go on until its fate is known.")
    ] = 120.0,
    url: Url = DEFAULT_URL,
    genesis_file: GenesisFile = None,
    keys_dir: KeysDir = DEFAULT_KEYS,
    as_json: Json = False,
) -> None:
    """Submit a function that enough governors have signed, and wait until it is in a block, or refused.

    Exit code 0 if it is committed, as proven, 2 if it was refused, 1 if that is not known.
    """
    proposal = _read(document)
    with trusting(url, genesis_file) as (client, trust):
        genesis = client.genesis()
        signer = signer_of(keys_dir, key, genesis.network)
        if signer.public_key.hex() != proposal.sender:
            raise UserError(
                f"--key {key} is {signer.public_key.hex()}, the document is for {proposal.sender}"
            )
        least = max(genesis.fee_min, 1) if fee is None else fee
        batch = sign_transfer(signer, genesis.chain_tag, proposal.transaction(least, genesis))
        outcome = deliver(client, batch, "committed", within_s)
        refused = client.refused_functions()["refused"]
        why = next((each["reason"] for each in refused if each["id"] == outcome.id.hex()), "")
        facts = trust.facts(client)
    told = {"id": outcome.id.hex(), "status": outcome.status, "height": outcome.height, "reason": why}
    emit({**{name: value for name, value in told.items() if value != ""}, **facts}, as_json)
    _end(outcome, why)


def _end(outcome: DeliveryOutcome, why: str) -> None:
    if outcome.status == "refused":
        raise UserError(why or outcome.detail)
    if outcome.status != "committed":
        hint = f"ask with `node.py tx {outcome.id.hex()}` and `node.py governed refused`"
        console.print(f"[bold yellow]unknown[/] {escape(why or outcome.detail)}; {hint}", soft_wrap=True)
        raise typer.Exit(1)


@governed_app.command()
@explained(ApiError)
def refused(url: Url = DEFAULT_URL, as_json: Json = False) -> None:
    """List the functions that the member behind --url refused since it started, and why."""
    with opened(url) as client:
        answer = client.refused_functions()
    if as_json:
        emit(answer, True)
        return
    rows = {each["id"]: f"height {each['height']}: {each['reason']}" for each in answer["refused"]}
    emit(rows or {"refused": "none"}, False, title="refused functions")


def _read(document: Path) -> FunctionProposal:
    return decode_proposal(read_file(document, PROPOSAL_BYTES_MAX))
