"""One signed transaction, offered until its fate is known: success is what was proven.

    outcome = deliver(client, batch, wait="committed", within_s=30.0)

Rules
  * An answer counts if it is a gateway's own (see answers.py). After any other, or none, the transaction may
    have been taken: it is asked for by its id, and offered again, which is harmless, since its bytes stay.
  * `committed` is said of a transaction whose inclusion in a certified block was verified here, against the
    genesis that the client is pinned to; without a pin, against the one that the node gives, and `deliver`
    says so nowhere: `client.genesis_trust` does.
  * `refused` is said if no earlier attempt may have been taken, or if it can never be committed: another
    transaction of the sender has its nonce (the account's nonce at some height is beyond it), or its expiry
    is over, and no block up to there holds the id.
  * Otherwise it is `unknown` after `within_s`, and `detail` says what was met last. It may yet be committed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from actors.ledger.rows import Batch
from actors.sdk.answers import ApiError, CommitTimeoutError, UnavailableApiError
from actors.sdk.client import Client
from actors.sdk.inclusion_proof import ProofError
from actors.sdk.requests import WaitLevel

PAUSE_FIRST_S, PAUSE_MAX_S = 0.1, 2.0
_KEPT = frozenset({"DUPLICATE", "PARKED"})
_PASSING = frozenset({"UNAVAILABLE", "POOL_FULL", "SENDER_LIMIT"})


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """status: accepted, durable, committed, refused or unknown. height: of its block, if it is committed."""

    id: bytes
    status: str
    height: int | None = None
    verdict: str = ""
    detail: str = ""


class _Delivery:
    def __init__(self, client: Client, batch: Batch, wait: WaitLevel) -> None:
        self._client, self._batch, self._wait = client, batch, wait
        self._id = batch.ids()[0].tobytes()
        self._unsure = False
        self.detail = "no gateway answered"

    def attempt(self) -> DeliveryOutcome | None:
        """Offer it once, and look for it if that leaves a doubt; None while its fate is unknown."""
        try:
            answer = self._client.submit_one(self._batch, self._wait)
        except CommitTimeoutError as error:
            self._unsure, self.detail = True, str(error)
        except UnavailableApiError as error:
            self._unsure |= not error.nothing_taken
            self.detail = str(error)
        except ApiError as error:
            self.detail = str(error)
            return self._met(error)
        else:
            return (
                self._proven()
                if answer["status"] == "committed"
                else DeliveryOutcome(self._id, answer["status"])
            )
        return self._looked_up() if self._unsure else None

    def _met(self, error: ApiError) -> DeliveryOutcome | None:
        """What a gateway's own refusal, or failure, makes of it."""
        if error.verdict == "DUPLICATE" and self._wait == "accepted":
            return DeliveryOutcome(self._id, "accepted")
        if error.status >= 500 or error.verdict in _KEPT:
            self._unsure = True
        elif error.verdict not in _PASSING:
            found = self._looked_up() if self._unsure or error.verdict == "NONCE_REUSED" else None
            never = not self._unsure or error.status == 422
            return found or (self._refused(error) if never else None)
        return self._looked_up() if self._unsure else None

    def unknown(self) -> DeliveryOutcome:
        """What there is to say when time is over."""
        return DeliveryOutcome(self._id, "unknown", detail=self.detail)

    def _refused(self, error: ApiError) -> DeliveryOutcome:
        return DeliveryOutcome(self._id, "refused", None, error.verdict or "", str(error))

    def _proven(self) -> DeliveryOutcome | None:
        """Committed as the proof says. A node that is behind the one that answered may not have it yet."""
        try:
            genesis = self._client.genesis()
            header = self._client.verified_proof(self._id, genesis)
        except (ApiError, ProofError) as error:
            self._unsure, self.detail = True, str(error)
            return None
        return DeliveryOutcome(self._id, "committed", header.height)

    def _looked_up(self) -> DeliveryOutcome | None:
        """Its fate by its id."""
        row = self._batch.rows[0]
        try:
            account = self._client.account(row["sender"].tobytes())
            found = self._client.find(self._id)
        except ApiError as error:
            self.detail = str(error)
            return None
        if found.record is not None:
            return self._proven()
        if account["nonce"] > int(row["nonce"]) and found.height >= account["height"]:
            detail = "another transaction of the sender has its nonce"
            return DeliveryOutcome(self._id, "refused", None, "NONCE_REUSED", detail)
        if found.height >= int(row["expiry_height"]):
            detail = f"no block up to {found.height} holds it, and it may not be in a later one"
            return DeliveryOutcome(self._id, "refused", None, "EXPIRED", detail)
        return None


def deliver(
    client: Client,
    batch: Batch,
    wait: WaitLevel = "committed",
    within_s: float = 30.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> DeliveryOutcome:
    """Offer a batch of one row until its fate is known, or `within_s` is over, by the rules above."""
    delivery, until, pause_s = _Delivery(client, batch, wait), clock() + within_s, PAUSE_FIRST_S
    while (outcome := delivery.attempt()) is None:
        left_s = until - clock()
        if left_s <= 0:
            return delivery.unknown()
        sleep(min(pause_s * random.uniform(0.5, 1.0), left_s))
        pause_s = min(2 * pause_s, PAUSE_MAX_S)
    return outcome
