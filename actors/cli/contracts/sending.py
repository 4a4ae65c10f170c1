"""Signing what was prepared for a contract, sending it, and saying what became of it.

Exit codes of the commands that send: 0 if it is committed and went through, 1 if it is committed and failed,
or if its fate is not known, 2 if nothing was sent or it was refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.markup import escape

from actors.cli.contracts.arguments import KEY_VARIABLE, KeyNames
from actors.cli.options import Trust, signer_of, trusting
from actors.console import UserError, console, emit
from actors.ledger.genesis import Genesis
from actors.ledger.signing import Signer, Transfer, sign_transfer
from actors.sdk.answers import ApiError
from actors.sdk.client import Client
from actors.sdk.contract_offers import with_nonce
from actors.sdk.contract_results import ContractFailedError, failed_words
from actors.sdk.delivery import DeliveryOutcome, deliver

_POOR = ("INSUFFICIENT_BALANCE", "SENDER_BELOW_MINIMUM")


@dataclass(frozen=True)
class SigningSession:
    """A command that may sign with one key. key: as the user names it."""

    client: Client
    trust: Trust
    genesis: Genesis
    signer: Signer
    key: str
    names: KeyNames
    as_json: bool

    def facts(self) -> dict[str, Any]:
        """What it was all verified against."""
        return self.trust.facts(self.client)

    def send(self, what: str, draft: Transfer, within_s: float) -> DeliveryOutcome:
        """Give a draft its nonce, sign it, and offer it until it is committed; else say what is known, and
        end with the exit code that says the same."""
        account = self.client.account(self.signer.public_key)
        self._require_coins(int(account["balance"]), draft)
        signed = with_nonce(draft, self.signer.public_key, int(account["nonce"]))
        batch = sign_transfer(self.signer, self.genesis.chain_tag, signed)
        outcome = deliver(self.client, batch, "committed", within_s)
        if outcome.status == "refused":
            self._emit(outcome, verdict=outcome.verdict, detail=outcome.detail)
            raise UserError(f"{what} was refused: {outcome.detail}")
        if outcome.status != "committed":
            self.unknown(outcome)
        return outcome

    def _require_coins(self, balance: int, draft: Transfer) -> None:
        needed = draft.amount + draft.fee + self.genesis.balance_min
        if balance < needed:
            self._too_poor(balance, f"needs {needed:,}: the most that this costs, and what it has to keep")

    @contextlib.contextmanager
    def simulating(self, what: str) -> Iterator[None]:
        """What is tried within is not sent if it would fail, or if the key cannot pay for it."""
        try:
            yield
        except ContractFailedError as error:
            self.not_sent(what, error)
        except ApiError as error:
            if error.verdict not in _POOR:
                raise
            account = self.client.account(self.signer.public_key)
            self._too_poor(int(account["balance"]), "cannot pay for this")

    def _too_poor(self, balance: int, why: str) -> NoReturn:
        raise UserError(
            f"nothing was sent: {self.key} has {balance:,} coins and {why}. Send it some with `node.py "
            f"send`, or sign with another key: --key NAME, or {KEY_VARIABLE}"
        )

    def not_sent(self, what: str, error: ContractFailedError) -> NoReturn:
        """It would fail: exit code 2."""
        if self.as_json:
            emit({"status": "not sent", "failure": error.failure, "message": error.message}, True)
        words = failed_words(error.failure, error.message)
        raise UserError(f"nothing was sent: {what} would fail: {words} ({error.failure})")

    def failed(self, what: str, outcome: DeliveryOutcome, error: ContractFailedError) -> NoReturn:
        """It is committed, and has changed nothing but what it paid: exit code 1."""
        self._emit(outcome, "failed", failure=error.failure, message=error.message)
        words = escape(f"{failed_words(error.failure, error.message)} ({error.failure})")
        console.print(
            f"{escape(what)} [bold red]failed[/] in block {outcome.height}: {words}. It has paid "
            "for what it used, and changed nothing else.",
            soft_wrap=True,
        )
        raise typer.Exit(1)

    def unknown(self, outcome: DeliveryOutcome) -> NoReturn:
        """What came of it is not to be had: exit code 1."""
        detail = outcome.detail or f"it is in block {outcome.height}, but no gateway has its receipt"
        self._emit(outcome, detail=detail)
        ask = f"ask with `node.py tx {outcome.id.hex()}`"
        hint = f"it may yet be committed: {ask} before you send another" if outcome.height is None else ask
        console.print(f"[bold yellow]unknown[/] {escape(detail)}; {hint}", soft_wrap=True)
        raise typer.Exit(1)

    def _emit(self, outcome: DeliveryOutcome, status: str = "", **more: Any) -> None:
        if self.as_json:
            told = {"id": outcome.id.hex(), "status": status or outcome.status, "height": outcome.height}
            emit({**told, **more, **self.facts()}, True)


@contextlib.contextmanager
def signing(
    url: str, genesis_file: Path | None, keys_dir: Path, key: str, as_json: bool
) -> Iterator[SigningSession]:
    """A connection, and the key that signs."""
    with trusting(url, genesis_file) as (client, trust):
        genesis = client.genesis()
        names = KeyNames(keys_dir, genesis.network)
        signer = signer_of(keys_dir, key, genesis.network)
        yield SigningSession(client, trust, genesis, signer, key, names, as_json)
