"""Clients of contracts: who deploys the examples, and callers who note what the API tells them of each call.

A caller sends one call after another, each until it is committed, and then asks a node for its receipt: what
was told is held against what the interpreter makes of the chain.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from actors.console import UserError
from actors.ledger.genesis import Genesis
from actors.ledger.rows import KIND_CALL, ROW_DTYPE, FormatError
from actors.ledger.signing import Transfer, development_signer
from actors.sdk.answers import ApiError
from bench.contract_calls import CallFiller
from bench.contract_examples import Catalog
from bench.soak.registers import PAUSE_S, Payer
from bench.soak.replay import Told

OPENING_S_MAX = 60.0
ANSWER_S_MAX = 30.0
_JOIN_S = 10.0
_NUMBERS = ("status", "fee", "sender_balance", "recipient_balance", "gas")


class _Opener(Payer):
    """Deploys the examples, and opens the exchange."""

    def __init__(self, urls: list[str], genesis: Genesis, account: int) -> None:
        super().__init__(urls, genesis, account)
        self.steps = Catalog(self.key, genesis.prices).opening()

    def _next(self) -> Transfer:
        return self.steps[self.nonce]


def deploy_examples(urls: list[str], genesis: Genesis, account: int) -> list[bytes]:
    """Commit all that the catalog of a development account begins with; the ids. Raises UserError if that
    takes too long."""
    opener, until = _Opener(urls, genesis, account), time.monotonic() + OPENING_S_MAX
    for _ in opener.steps:
        if not opener.pay(until):
            raise UserError(f"the examples were not deployed within {OPENING_S_MAX:.0f} s")
    opener.close()
    return opener.committed


class _Caller(Payer):
    """Calls examples, drawn from the seed."""

    def __init__(
        self,
        urls: list[str],
        genesis: Genesis,
        account: int,
        catalog: Catalog,
        keys: NDArray[np.uint8],
        seed: int,
    ) -> None:
        super().__init__(urls, genesis, account)
        self._filler = CallFiller(catalog, keys, np.random.default_rng(seed))
        self._drawn = Transfer(b"", 0, -1)

    def _next(self) -> Transfer:
        if self._drawn.nonce != self.nonce:
            rows = np.zeros(1, dtype=ROW_DTYPE)
            rows["nonce"], rows["sender"] = self.nonce, np.frombuffer(self.key, dtype=np.uint8)
            payload, row = self._filler.fill(rows).tobytes(), rows[0]
            self._drawn = Transfer(
                row["recipient"].tobytes(), int(row["amount"]), self.nonce, int(row["fee"]),
                payload=payload, kind=KIND_CALL,
            )  # fmt: skip
        return self._drawn

    def receipt(self, tx_id: bytes, turn: int) -> Told | None:
        """What a node says of a committed call; None if none answers within ANSWER_S_MAX."""
        until = time.monotonic() + ANSWER_S_MAX
        for attempt in itertools.count(turn):
            url = self._urls[attempt % len(self._urls)]
            try:
                answer = self._client(url).transaction(tx_id)
            except (ApiError, FormatError, httpx.HTTPError):
                answer = None
            if answer is not None:
                return heard(answer)
            if time.monotonic() >= until:
                return None
            time.sleep(PAUSE_S)
        return None


class Callers:
    """A thread for each account, until told to stop. told: receipts by id, as the API gave them."""

    def __init__(
        self, urls: list[str], genesis: Genesis, deployer: int, accounts: Sequence[int], seed: int
    ) -> None:
        catalog = Catalog(development_signer(genesis.network, deployer).public_key, genesis.prices)
        keys = [development_signer(genesis.network, account).public_key for account in accounts]
        others = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, 32)
        callers = [
            _Caller(urls, genesis, account, catalog, others, seed * 64 + number)
            for number, account in enumerate(accounts)
        ]
        self._stop = threading.Event()
        self.committed: list[bytes] = []
        self.told: list[tuple[bytes, Told]] = []
        self._threads = [
            threading.Thread(target=self._call, args=(caller,), name="caller", daemon=True)
            for caller in callers
        ]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=ANSWER_S_MAX + _JOIN_S)

    def _call(self, caller: _Caller) -> None:
        for turn in itertools.count():
            if not caller.pay(float("inf"), self._stop.is_set):
                break
            tx_id = caller.committed[-1]
            self.committed.append(tx_id)
            told = caller.receipt(tx_id, turn)
            if told is not None:
                self.told.append((tx_id, told))
            if self._stop.wait(PAUSE_S):
                break
        caller.close()


def heard(answer: dict[str, Any]) -> Told:
    """What the API says of a call, in the words of `replay.as_told`; None where it says nothing."""
    receipt = answer["receipt"]
    numbers = {name: _number(receipt.get(name)) for name in _NUMBERS}
    noted = receipt.get("events") or ()
    events = [tuple(event.get(name) for name in ("contract", "number", "data")) for event in noted]
    words = {name: receipt.get(name) for name in ("failure", "results", "message")}
    return {"height": _number(answer["height"]), **numbers, **words, "events": events}


def _number(value: object) -> int | None:
    """Numbers beyond 2^53 come as strings."""
    return int(value) if isinstance(value, int | str) else None
