"""Clients whose every operation is recorded: accounts as registers whose value is the nonce.

One writer sends transfers of an account, each until it is committed; readers ask for the nonce meanwhile. A
history is of one account and some hundred operations; then the next account is taken. And the probe: one
account more, whose transfers say whether the network commits.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from actors.ledger.genesis import Genesis
from actors.ledger.rows import FormatError
from actors.ledger.signing import Transfer, development_signer, sign_transfer
from actors.ledger.verdict import Verdict
from actors.sdk.answers import ApiError
from actors.sdk.client import Client
from actors.sdk.proxies import http_options
from bench.simulation.raft.linearizability import Operation

WRITES_OF_AN_ACCOUNT = 60
READERS = 2
PAUSE_S = 0.05
_TIMEOUT_S = 5.0
_SINK = bytes(31) + b"\x07"


class Payer:
    """Sends transactions of one development account, one after another, each until it is committed."""

    def __init__(
        self, urls: list[str], genesis: Genesis, account: int, timeout_s: float = _TIMEOUT_S
    ) -> None:
        self._signer = development_signer(genesis.network, account)
        self._tag, self._urls, self._timeout_s = genesis.chain_tag, urls, timeout_s
        self._clients: dict[str, Client] = {}
        self.nonce = 0
        self.committed: list[bytes] = []

    @property
    def key(self) -> bytes:
        """The account."""
        return self._signer.public_key

    def pay(self, until_s: float, stopped: Callable[[], bool] = lambda: False) -> bool:
        """Commit the next transaction, asking one node after another; False if it is not done by `until_s`.

        What was not committed is offered again by the next call.
        """
        batch = sign_transfer(self._signer, self._tag, self._next())
        for attempt in itertools.count():
            if time.monotonic() >= until_s or stopped():
                return False
            if self._offer(self._urls[attempt % len(self._urls)], batch, attempt):
                self.nonce += 1
                self.committed.append(batch.ids()[0].tobytes())
                return True
            time.sleep(PAUSE_S)
        return False

    def _next(self) -> Transfer:
        """What to commit with the present nonce: the same at each call."""
        return Transfer(_SINK, 1, self.nonce, fee=7)

    def _offer(self, url: str, batch: Any, attempt: int) -> bool:
        try:
            receipt = self._client(url).submit(batch, wait="committed")
        except (ApiError, FormatError, httpx.HTTPError):
            return False
        codes = [refusal.code for refusal in receipt.rejected]
        # A used nonce means that an earlier attempt was committed; nobody else sends for this account.
        return not codes or (codes == [Verdict.NONCE_REUSED] and attempt > 0)

    def _client(self, url: str) -> Client:
        return self._clients.get(url) or self._clients.setdefault(url, Client(url, self._timeout_s))

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()


class Registers:
    """One writer and some readers, as threads, until told to stop. `histories` are what the judge reads."""

    def __init__(
        self, urls: list[str], genesis: Genesis, accounts: range, seed: int, stale: bool = False
    ) -> None:
        self._urls, self._genesis, self._accounts = urls, genesis, accounts
        self._stale = stale
        self._stop = threading.Event()
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._key = b""
        self.histories: list[list[Operation]] = []
        self.committed: list[bytes] = []
        self._linearizable = _reads_linearizably(urls[0])
        self._threads = [threading.Thread(target=self._write, name="register-writer", daemon=True)]
        for number in range(READERS):
            self._threads.append(
                threading.Thread(target=self._read, args=(number,), name="register-reader", daemon=True)
            )

    def __enter__(self) -> Registers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=2 * _TIMEOUT_S)

    def _write(self) -> None:
        for account in self._accounts:
            # Where reads are only true to the node that is asked, one node is a register of its own.
            urls = self._urls if self._linearizable else [self._urls[account % len(self._urls)]]
            payer = Payer(urls, self._genesis, account)
            with self._lock:
                self.histories.append([])
                self._key, self._read_urls = payer.key, urls
                history = self.histories[-1]
            payer.committed = self.committed
            for _ in range(WRITES_OF_AN_ACCOUNT):
                operation = Operation(True, payer.nonce + 1, time.monotonic())
                with self._lock:
                    history.append(operation)
                if not payer.pay(float("inf"), self._stop.is_set):
                    payer.close()
                    return
                operation.returned_at = time.monotonic()
                time.sleep(PAUSE_S)
            payer.close()

    def _read(self, number: int) -> None:
        first: dict[bytes, int] = {}
        with httpx.Client(timeout=_TIMEOUT_S, **http_options(self._urls)) as http:
            while not self._stop.wait(PAUSE_S * (1 + number)):
                with self._lock:
                    if not self.histories:
                        continue
                    key, history = self._key, self.histories[-1]
                    url = self._chance.choice(self._read_urls)
                invoked_at = time.monotonic()
                nonce = self._nonce(http, url, key)
                if nonce is None:
                    continue
                if self._stale:
                    nonce = first.setdefault(key, nonce)
                with self._lock:
                    history.append(Operation(False, nonce, invoked_at, time.monotonic()))

    def _nonce(self, http: httpx.Client, url: str, key: bytes) -> int | None:
        query = {"consistency": "linearizable"} if self._linearizable else {}
        try:
            answer = http.get(f"{url}/v1/accounts/{key.hex()}", params=query)
            document = answer.json()
            own = answer.status_code == 200 and document["key"] == key.hex()
            return int(document["nonce"]) if own else None
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return None


def _reads_linearizably(url: str) -> bool:
    """Whether the API offers reads that are true to the network rather than to the node that is asked."""
    with httpx.Client(timeout=30, **http_options([url])) as http:
        return '"linearizable"' in http.get(f"{url}/v1/openapi.json").text
