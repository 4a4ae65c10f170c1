"""Commands that speak to a running node over HTTP: status, keys, send, balance, tx, block. Import no Ray."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from actors.cli import members, network, pending, proofs, send, top
from actors.cli.options import (
    DEFAULT_URL,
    GenesisFile,
    Json,
    KeysDir,
    Url,
    Verbose,
    Watch,
    key_bytes,
    key_path,
    known_names,
    member_names,
    now_ms,
    opened,
    public_key_of,
    show,
    trusting,
    unknown_if_unanswered,
)
from actors.cli.summaries import account_of, block_of, scaled, status_of, transaction_of
from actors.console import Summary, UserError, emit, explained
from actors.directory import DEFAULT_KEYS, DirectoryError, keys_folder, read_signer, write_secret
from actors.figures import counted, moment
from actors.ledger.rows import FormatError
from actors.ledger.signing import SEED_BYTES, Signer
from actors.sdk.answers import ApiError
from actors.sdk.inclusion_proof import ProofError
from actors.settings import WORKERS_MAX

app = typer.Typer(no_args_is_help=True)
app.add_typer(proofs.app)
app.add_typer(send.app)
app.add_typer(pending.app)
app.add_typer(members.app, name="members")
app.add_typer(network.app, name="networks")
app.add_typer(top.app)
keys_app = typer.Typer(no_args_is_help=True, help="Keys on this machine, one file each, mode 0600.")
app.add_typer(keys_app, name="keys")

_MISTAKES = (DirectoryError, FormatError, ApiError, ProofError)


@keys_app.command("new")
@explained(*_MISTAKES)
def keys_new(name: str, keys_dir: KeysDir = DEFAULT_KEYS, as_json: Json = False) -> None:
    """Make a key and keep it in a file that only you can read."""
    path = key_path(keys_dir, name)
    seed = secrets.token_bytes(SEED_BYTES)
    try:
        write_secret(path, seed)
    except FileExistsError:
        raise UserError(f"key {name!r} exists already in {path.parent}; choose another name") from None
    public_key = Signer(seed).public_key.hex()
    summary = Summary(
        f"Key {name} is made; its secret is in a file that only you can read.",
        "good",
        facts=[("public key", public_key), ("file", str(path))],
        following=[f"node.py send 100 --from development:0 --to {name}"],
    )
    emit({"name": name, "public_key": public_key, "file": str(path)}, as_json, summary=summary)


@keys_app.command("show")
@explained(*_MISTAKES)
def keys_show(
    name: Annotated[str | None, typer.Argument(help="Only this key.")] = None,
    keys_dir: KeysDir = DEFAULT_KEYS,
    as_json: Json = False,
) -> None:
    """Show public keys; secrets stay in their files."""
    folder = keys_folder(keys_dir)
    names = [name] if name else sorted(path.stem for path in folder.glob("*.key"))
    if not names:
        raise UserError(f"no keys in {folder}; make one with `node.py keys new NAME`")
    keys = {each: read_signer(key_path(keys_dir, each)).public_key.hex() for each in names}
    sentence = f"{counted(len(keys), 'key')} in {folder}."
    emit(keys, as_json, summary=Summary(sentence, titles=("name", "public key"), rows=list(keys.items())))


@app.command()
@explained(*_MISTAKES)
def status(
    url: Url = DEFAULT_URL, watch_s: Watch = 0, verbose: Verbose = False, as_json: Json = False
) -> None:
    """Say whether a node is healthy, what it does in its network, and how far it has come."""
    with opened(url) as client:

        def look() -> dict[str, Any]:
            told = client.status()
            head, peers = told.get("head") or {}, told.get("node", {}).pop("peers", [])
            return {**head, **told, "peers": peers}

        def summarize(told: Mapping[str, Any]) -> Summary:
            return status_of(told, client.actors()["actors"], member_names(client), now_ms())

        show(look, as_json, watch_s, summarize, verbose)


@app.command()
@explained(*_MISTAKES)
def scale(
    validators: Annotated[
        int, typer.Option("--validators", min=1, max=WORKERS_MAX, help="How many to have.")
    ],
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Add or remove Validators of a running node; returns when they serve, or have ended their work.

    A node that asks for keys wants an administrator's, in the environment variable RAYCHAIN_API_KEY.
    """
    with opened(url) as client:
        with unknown_if_unanswered("node.py status"):
            answer = client.scale(validators)
        emit(answer, as_json, summary=lambda: scaled(answer))


@app.command()
@explained(*_MISTAKES)
def balance(
    account: Annotated[str, typer.Argument(help="Public key, name of a key, or development:N.")],
    url: Url = DEFAULT_URL,
    genesis_file: GenesisFile = None,
    keys_dir: KeysDir = DEFAULT_KEYS,
    watch_s: Watch = 0,
    as_json: Json = False,
) -> None:
    """Balance and next nonce of an account, as the node says them; `proof` proves them."""
    with trusting(url, genesis_file) as (client, _):
        key = public_key_of(keys_dir, account, client.genesis().network)
        show(lambda: client.account(key), as_json, watch_s, lambda found: account_of(found, account))


@app.command()
@explained(*_MISTAKES)
def tx(
    transaction_id: Annotated[str, typer.Argument(metavar="ID", help="64 hex digits.")],
    url: Url = DEFAULT_URL,
    genesis_file: GenesisFile = None,
    keys_dir: KeysDir = DEFAULT_KEYS,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """A committed transaction; its inclusion proof and certificate are verified here.

    `genesis_trust` says against what: file, remembered (of first use), or node (its own word).
    """
    with trusting(url, genesis_file) as (client, trust):
        tx_id = key_bytes("id", transaction_id)
        found = client.transaction(tx_id)
        if found is None:
            raise UserError(f"no committed transaction {transaction_id}; if it was accepted, try again soon")
        header = client.verified_proof(tx_id, client.genesis())
        told = {**found, "proof_verified": True, "committed": _when(header.time_ms), **trust.facts(client)}

        def summary() -> Summary:
            return transaction_of(found, known_names(client, keys_dir), moment(header.time_ms), told["trust"])

        emit(told, as_json, summary=summary, verbose=verbose)


@app.command()
@explained(*_MISTAKES)
def block(
    height: Annotated[str, typer.Argument(help="A height, or latest.")] = "latest",
    limit: Annotated[int, typer.Option(min=0, max=1000, help="Transactions to list.")] = 5,
    url: Url = DEFAULT_URL,
    keys_dir: KeysDir = DEFAULT_KEYS,
    watch_s: Watch = 0,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """A block's header and its first transactions."""
    if height != "latest" and not height.isdecimal():
        raise UserError(f"height {height!r}: expected a number or latest")
    with opened(url) as client:

        def look() -> dict[str, Any]:
            found = client.block("latest" if height == "latest" else int(height), limit=limit)
            if found is None:
                raise UserError(_no_block(height))
            return found

        def summarize(found: Mapping[str, Any]) -> Summary:
            return block_of(found, known_names(client, keys_dir), now_ms())

        show(look, as_json, watch_s, summarize, verbose)


def _no_block(height: str) -> str:
    if height == "latest":
        return "the chain has no block yet; one is made as soon as there is a transaction: `node.py send`"
    return f"no block at height {height}; `node.py status` says how far the chain has come"


def _when(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
