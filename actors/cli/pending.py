"""Commands for what is submitted and in no block yet: list it, and cancel it. Import no Ray."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from actors.cli.options import (
    DEFAULT_URL,
    GenesisFile,
    Json,
    KeysDir,
    Url,
    Watch,
    opened,
    public_key_of,
    show,
    signer_of,
    trusting,
)
from actors.cli.summaries import pending_of
from actors.console import Summary, UserError, emit, explained
from actors.directory import DEFAULT_KEYS, DirectoryError
from actors.ledger.rows import FormatError
from actors.ledger.signing import Transfer, sign_transfer
from actors.sdk.answers import ApiError
from actors.sdk.requests import WaitLevel

app = typer.Typer(no_args_is_help=True)
_MISTAKES = (DirectoryError, FormatError, ApiError)
_REPLACES_BY = 10  # a pending one makes way for one that offers a tenth more (actors/mempool/sender_queue.py)


@app.command()
@explained(*_MISTAKES)
def pending(
    account: Annotated[str, typer.Argument(help="Public key, name of a key, or development:N.")],
    url: Url = DEFAULT_URL,
    keys_dir: KeysDir = DEFAULT_KEYS,
    watch_s: Watch = 0,
    as_json: Json = False,
) -> None:
    """Transactions of an account that this node holds and no block has. Parked ones wait for `next_nonce`."""
    with opened(url) as client:
        key = public_key_of(keys_dir, account, client.genesis().network)
        show(lambda: client.pending(key), as_json, watch_s, lambda found: pending_of(found, account))


@app.command()
@explained(*_MISTAKES)
def cancel(
    nonce: Annotated[int, typer.Argument(min=0, help="Of the pending transaction; `pending` lists them.")],
    sender: Annotated[str, typer.Option("--from", help="Name of a key, or development:N.")],
    fee: Annotated[int | None, typer.Option(min=0, help="Default: what it takes, a tenth more.")] = None,
    wait: Annotated[WaitLevel, typer.Option(help="What to wait for.")] = "accepted",
    url: Url = DEFAULT_URL,
    genesis_file: GenesisFile = None,
    keys_dir: KeysDir = DEFAULT_KEYS,
    as_json: Json = False,
) -> None:
    """Put an empty transfer to yourself in the place of a pending transaction; it costs the higher fee.

    Which of the two is committed is known when one is: `tx` of both ids tells.
    """
    with trusting(url, genesis_file) as (client, _):
        genesis = client.genesis()
        signer = signer_of(keys_dir, sender, genesis.network)
        row = _row_of(client.pending(signer.public_key), nonce)
        offered = replacement_fee(int(row["fee"])) if fee is None else fee
        transfer = Transfer(signer.public_key, 0, nonce, offered)
        signed = sign_transfer(signer, genesis.chain_tag, transfer)
        answer = client.submit_one(signed, wait=wait)
        summary = Summary(
            f"An empty transfer with nonce {nonce} and fee {offered:,} is {answer['status']} in its place.",
            facts=[("id", str(answer["id"])), ("cancelled", str(row["id"]))],
            following=[f"node.py tx {row['id']}  tells whether the other was committed all the same"],
        )
        emit({**answer, "cancelled": row["id"], "fee": offered}, as_json, summary=summary)


def replacement_fee(fee: int) -> int:
    """The least fee with which a transaction displaces a pending one of that fee and the same nonce."""
    return fee + max(-(-fee // _REPLACES_BY), 1)


def _row_of(found: dict[str, Any], nonce: int) -> dict[str, Any]:
    for row in found["transactions"]:
        if int(row["nonce"]) == nonce:
            if row["state"] == "in-block":
                raise UserError(f"nonce {nonce}: {row['id']} is on its way into a block")
            return dict(row)
    if nonce < int(found["nonce"]):
        raise UserError(f"nonce {nonce}: a committed transaction has used it; the next is {found['nonce']}")
    raise UserError(f"nonce {nonce}: nothing is pending with it at this node; `pending` lists what is")
