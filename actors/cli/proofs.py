"""Commands of proofs: `proof` fetches one from a node, `verify` checks one offline. Import no Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from actors.cli.options import (
    DEFAULT_URL,
    GenesisFile,
    Json,
    KeysDir,
    Url,
    key_bytes,
    public_key_of,
    read_file,
    trusting,
)
from actors.console import Summary, UserError, console, emit, explained
from actors.directory import DEFAULT_KEYS, DirectoryError
from actors.figures import figure, size
from actors.gateway import render
from actors.ledger.block import CERTIFICATE_VOTES_MAX
from actors.ledger.genesis import Genesis
from actors.ledger.rows import ROW_BYTES, FormatError
from actors.sdk.answers import ApiError
from actors.sdk.inclusion_proof import ProofError
from actors.sdk.light_client import BLOCKS_MAX, PROOF_FILE_BYTES_MAX, verify, verify_proof
from actors.sdk.trust import GENESIS_VARIABLE, TrustError, read_genesis

app = typer.Typer()

_BLOCK_FIXED_BYTES = 1024 + CERTIFICATE_VOTES_MAX * 96


@app.command()
@explained(ApiError, DirectoryError, FormatError, ProofError)
def proof(
    out: Annotated[Path, typer.Option("--out", help="File to write the proof to.")],
    account: Annotated[
        str, typer.Option("--account", help="Public key, name of a key, or development:N.")
    ] = "",
    transaction: Annotated[str, typer.Option("--tx", help="Or a transaction's id, 64 hex digits.")] = "",
    height: Annotated[str, typer.Option("--height", help="A retained height, or latest.")] = "latest",
    format: Annotated[Literal["json", "ics23"], typer.Option("--format")] = "json",
    block_out: Annotated[
        Path | None, typer.Option("--block-out", help="File for the header, signature, certificate.")
    ] = None,
    url: Url = DEFAULT_URL,
    genesis_file: GenesisFile = None,
    keys_dir: KeysDir = DEFAULT_KEYS,
    as_json: Json = False,
) -> None:
    """Fetch a proof of an account (its presence or absence), or of a transaction, for `verify` or others.

    It is verified before it is written; `genesis_trust` says against what.
    """
    if bool(account) == bool(transaction):
        raise UserError("say what to prove: --account KEY or --tx ID, one of them")
    if height != "latest" and not height.isdecimal():
        raise UserError(f"--height {height}: expected a number or latest")
    if transaction and format == "ics23":
        raise UserError("--format ics23: for --account; inclusion of transactions is proven by RFC 9162")
    with trusting(url, genesis_file) as (client, trust):
        if account:
            key = public_key_of(keys_dir, account, client.genesis().network)
            document = client.state_proof(key, "latest" if height == "latest" else int(height))
            verify(client.genesis(), [], msgspec.json.encode(document), key)
        else:
            tx_id = key_bytes("--tx", transaction)
            found = client.proof(tx_id)
            if found is None:
                raise UserError(f"--tx {transaction}: no committed transaction has this id")
            verify_proof(client.genesis(), tx_id, found)
            document = render.plain(found)
        at = int(document["height"])
        sealed = client.sealed_header(at) if block_out is not None and at else None
        facts = trust.facts(client)
    data = bytes.fromhex(document["ics23"]) if format == "ics23" else msgspec.json.encode(document)
    if not data:
        raise UserError("ICS-23 has no absence proof in a state without accounts; take --format json")
    _write(out, data)
    if block_out is not None and sealed is not None:
        _write(block_out, sealed)
    summary = {"out": str(out), "bytes": len(data), "height": document["height"], "format": format}
    if account:
        summary["proves"] = "absence" if document["value"] is None else "presence"
    against = f" --account {account}" if format == "ics23" else ""
    header = f" --block {block_out}" if block_out is not None else ""
    people = Summary(
        f"The proof is in {out}, {size(len(data))}; it was verified before it was written.",
        "good",
        facts=[("of", account or transaction), ("height", f"{at:,}"), ("trust", facts["trust"])],
        following=[f"node.py verify --genesis FILE{header} --proof {out}{against}  on any machine"],
    )
    emit({**summary, **facts}, as_json, summary=people)


@app.command(name="verify")
@explained(DirectoryError, FormatError, TrustError)
def verify_command(
    genesis: Annotated[
        Path,
        typer.Option("--genesis", envvar=GENESIS_VARIABLE, help="The genesis that you trust, or its folder."),
    ],
    proof: Annotated[Path, typer.Option("--proof", help="JSON of `proof`, or ICS-23 bytes.")],
    block: Annotated[
        list[Path] | None,
        typer.Option("--block", help="Header or block file; repeat for a chain, oldest first."),
    ] = None,
    account: Annotated[
        str, typer.Option("--account", help="Whom an ICS-23 proof is about: as `proof --account` has it.")
    ] = "",
    keys_dir: KeysDir = DEFAULT_KEYS,
    as_json: Json = False,
) -> None:
    """Check a proof offline against a genesis: header chain, certificate, proof. Exit code 1 if it fails."""
    trusted = read_genesis(genesis)
    blocks = block or []
    if len(blocks) > BLOCKS_MAX:
        raise UserError(f"{len(blocks)} blocks given, at most {BLOCKS_MAX}")
    files = [read_file(path, _block_bytes_max(trusted)) for path in blocks]
    key = public_key_of(keys_dir, account, trusted.network) if account else None
    try:
        result = verify(trusted, files, read_file(proof, PROOF_FILE_BYTES_MAX), key)
    except ProofError as error:
        console.print("[bold red]not verified[/]", str(error), soft_wrap=True)
        if as_json:
            emit({"verified": False, "check": error.check, "reason": str(error)}, True)
        raise typer.Exit(1) from None
    told = {**result, "genesis_trust": "file", "genesis": trusted.hash().hex()}
    summary = Summary(
        f"Verified: it holds in every network of the genesis {genesis}, whoever gave the proof.",
        "good",
        facts=[(name.replace("_", " "), figure(name, value)) for name, value in result.items()],
    )
    emit(told, as_json, summary=summary)


def _block_bytes_max(genesis: Genesis) -> int:
    rows_bytes = genesis.block_transactions_max * ROW_BYTES
    return _BLOCK_FIXED_BYTES + rows_bytes + genesis.block_payload_bytes_max


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
