"""The command `send`: transfers whose fate it says truthfully: committed as proven, refused, or unknown."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import Progress

from actors.cli.options import (
    DEFAULT_URL,
    GenesisFile,
    Json,
    KeysDir,
    Url,
    addresses,
    api_key,
    public_key_of,
    signer_of,
    trusting,
)
from actors.console import Standing, Summary, UserError, console, emit, explained
from actors.directory import DEFAULT_KEYS, DirectoryError
from actors.figures import span
from actors.ledger.genesis import Genesis
from actors.ledger.rows import NEVER_EXPIRES_HEIGHT, FormatError
from actors.ledger.signing import Signer, Transfer, sign_transfer
from actors.sdk.answers import ApiError
from actors.sdk.client import AsyncClient
from actors.sdk.delivery import DeliveryOutcome, deliver
from actors.sdk.inclusion_proof import ProofError
from actors.sdk.requests import WaitLevel
from actors.sdk.sender import RefusedError, Sent, UnconfirmedError
from actors.sdk.wallet import Wallet

PROVEN_MAX = 1_000
PROOFS_AT_ONCE = 16
PROOF_PAUSE_S = 0.2
UNKNOWN_SHOWN_MAX = 20
app = typer.Typer()


@app.command()
@explained(DirectoryError, FormatError, ApiError, ProofError)
def send(
    amount: Annotated[int, typer.Argument(help="Smallest units to send.")],
    sender: Annotated[str, typer.Option("--from", help="Name of a key, or development:N.")],
    to: Annotated[str, typer.Option("--to", help="Public key, name of a key, or development:N.")],
    fee: Annotated[
        int | None, typer.Option(help="Offered to the proposer. Default: the least, or 1.")
    ] = None,
    nonce: Annotated[int | None, typer.Option(help="Default: the account's next.")] = None,
    expiry_height: Annotated[int, typer.Option(help="Last height that may hold it.")] = NEVER_EXPIRES_HEIGHT,
    memo: Annotated[str, typer.Option(help="Text to carry as the payload.")] = "",
    wait: Annotated[WaitLevel, typer.Option(help="What to wait for.")] = "committed",
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="So many such transfers.")] = 1,
    within_s: Annotated[
        float, typer.Option("--within", min=0, max=3600, help="Seconds to go on until its fate is known.")
    ] = 30.0,
    url: Url = DEFAULT_URL,
    genesis_file: GenesisFile = None,
    keys_dir: KeysDir = DEFAULT_KEYS,
    as_json: Json = False,
) -> None:
    """Sign a transfer and submit it. With --count many, each is retried until it is committed, once.

    `status` is committed (verified by its proof), refused, or unknown: then it may yet be committed, and its
    id tells. Exit code 0 if what was waited for is reached, 2 if it was refused, 1 if that is not known.
    """
    if count > 1 and (nonce is not None or wait != "committed"):
        raise UserError("--count: many transfers get their nonces by themselves and wait until committed")
    with trusting(url, genesis_file) as (client, trust):
        genesis = client.genesis()
        signer = signer_of(keys_dir, sender, genesis.network)
        recipient = public_key_of(keys_dir, to, genesis.network)
        fee = max(genesis.fee_min, 1) if fee is None else fee
        if count > 1:
            draft = Transfer(recipient, amount, 0, fee, expiry_height, memo.encode())
            result = asyncio.run(_send_many(url, genesis, signer, draft, count, within_s))
            facts = trust.facts(client)
            summary = _summary_of_many(result, count, facts["trust"])
            emit({**result, **facts}, as_json, summary=summary)
            if result["committed"] < count:
                raise typer.Exit(2 if result["refused"] == count else 1)
            return
        number = client.account(signer.public_key)["nonce"] if nonce is None else nonce
        transfer = Transfer(recipient, amount, int(number), fee, expiry_height, memo.encode())
        batch = sign_transfer(signer, genesis.chain_tag, transfer)
        outcome = deliver(client, batch, wait, within_s)
        _tell(outcome, trust.facts(client), as_json)


def _tell(outcome: DeliveryOutcome, trust: dict[str, Any], as_json: bool) -> None:
    """Print what became of a transfer, and end with the exit code that says the same."""
    answer = {"id": outcome.id.hex(), "status": outcome.status, "height": outcome.height}
    reasons = {"verdict": outcome.verdict, "detail": outcome.detail}
    told = {**answer, **{name: text for name, text in reasons.items() if text}, **trust}
    emit(told, as_json, summary=lambda: _summary(outcome, trust["trust"]))
    if outcome.status == "refused":
        raise UserError(outcome.detail)
    if outcome.status == "unknown":
        hint = f"it may yet be committed: ask with `node.py tx {outcome.id.hex()}` before you send another"
        console.print(f"[bold yellow]unknown[/] {escape(outcome.detail)}; {hint}", soft_wrap=True)
        raise typer.Exit(1)


def _summary(outcome: DeliveryOutcome, trust: str) -> Summary:
    """What became of one transfer."""
    standings: dict[str, Standing] = {"committed": "good", "refused": "bad", "unknown": "warn"}
    where = f" in block {outcome.height:,}" if outcome.height is not None else ""
    facts = [("id", outcome.id.hex())]
    if outcome.status == "committed":
        facts.append(("proof", trust))
    following = [f"node.py tx {outcome.id.hex()}"] if outcome.status != "refused" else []
    standing = standings.get(outcome.status, "good")
    return Summary(f"{outcome.status.capitalize()}{where}.", standing, facts=facts, following=following)


def _summary_of_many(result: dict[str, Any], count: int, trust: str) -> Summary:
    """What became of many."""
    done, sentence = result["committed"], f"{result['committed']:,} of {count:,} transfers are committed"
    if done:
        sentence += f", in blocks {result['first_height']:,} to {result['last_height']:,}"
    facts = [
        ("rate", f"{result['per_second']:,} a second, {span(result['seconds'])} in all"),
        ("proven", f"{result['proven']:,} of them, {trust}"),
    ]
    others = {name: int(result[name]) for name in ("refused", "unknown", "unsent") if result[name]}
    facts += [(name, f"{number:,}") for name, number in others.items()]
    if others:
        facts.append(("why", str(result.get("detail", ""))))
    standing: Standing = "good" if done == count else "bad" if not done else "warn"
    return Summary(f"{sentence}.", standing, facts=facts, following=["node.py status"])


class _Fates:
    """What became of many transfers, each once."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.verdicts: Counter[str] = Counter()
        self.unknown: list[bytes] = []
        self.unsent, self.error = 0, ""

    def failed(self, error: Exception) -> None:
        """One that was not committed, as far as is known."""
        self.error = str(error)
        if isinstance(error, RefusedError):
            self.verdicts[error.verdict] += 1
        elif isinstance(error, UnconfirmedError) and error.id not in self.unknown:
            self.unknown.append(error.id)
        else:  # a wallet that gave up raises what it gave up for, and sends nothing more
            self.unsent += 1

    def facts(self, proven: int) -> dict[str, Any]:
        """What the command says."""
        heights = [each.height for each in self.sent]
        facts: dict[str, Any] = {
            "committed": len(self.sent),
            "proven": proven,
            "refused": sum(self.verdicts.values()),
            "unknown": len(self.unknown),
            "unsent": self.unsent,
            "first_height": min(heights, default=None),
            "last_height": max(heights, default=None),
        }
        if self.error:
            ids = [each.hex() for each in self.unknown[:UNKNOWN_SHOWN_MAX]]
            facts |= {"verdicts": dict(self.verdicts), "unknown_ids": ids, "detail": self.error}
        return facts


async def _send_many(
    url: str, genesis: Genesis, signer: Signer, draft: Transfer, count: int, within_s: float
) -> dict[str, Any]:
    """`count` transfers like the draft, with automatic nonces, many in flight."""
    began, fates = time.monotonic(), _Fates()
    opening = AsyncClient(addresses(url), api_key=api_key(), genesis=genesis)
    async with opening as client, Wallet(client, signer, deadline_s=within_s) as wallet:
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task("committed", total=count)

            async def one() -> None:
                payload, expiry = draft.payload, draft.expiry_height
                try:
                    sent = await wallet.transfer(draft.recipient, draft.amount, draft.fee, payload, expiry)
                except (RefusedError, UnconfirmedError, ApiError) as error:
                    fates.failed(error)
                else:
                    fates.sent.append(sent)
                    bar.advance(task)

            await asyncio.gather(*(one() for _ in range(count)))
        seconds = time.monotonic() - began
        proven = await _prove(client, genesis, fates, within_s)
    rates = {"seconds": round(seconds, 2), "per_second": round(len(fates.sent) / seconds, 1)}
    return {**fates.facts(proven), **rates, "retries": wallet.retries}


async def _prove(client: AsyncClient, genesis: Genesis, fates: _Fates, within_s: float) -> int:
    """Verify the proofs of up to PROVEN_MAX committed transfers, spread over all; what cannot be proven is of
    unknown fate. How many were proven."""
    every = max(1, -(-len(fates.sent) // PROVEN_MAX))
    chosen, until = fates.sent[::every], time.monotonic() + within_s
    room = asyncio.Semaphore(PROOFS_AT_ONCE)

    async def proves(sent: Sent) -> bool:
        async with room:
            while True:
                try:
                    await client.verified_proof(sent.id, genesis)
                except (ApiError, ProofError) as error:
                    fates.error = str(error)
                    if time.monotonic() >= until:
                        return False
                else:
                    return True
                await asyncio.sleep(PROOF_PAUSE_S)

    outcomes = await asyncio.gather(*(proves(sent) for sent in chosen))
    doubtful = {sent.id for sent, proven in zip(chosen, outcomes, strict=True) if not proven}
    fates.sent = [sent for sent in fates.sent if sent.id not in doubtful]
    fates.unknown += doubtful
    return sum(outcomes)
