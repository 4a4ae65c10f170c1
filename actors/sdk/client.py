"""Clients of the HTTP API, blocking and asynchronous. They import neither Ray nor the server.

    with Client("http://127.0.0.1:8470", genesis=read_genesis(Path("data"))) as client:
        receipt = client.submit(batch, wait="committed")
        client.verified_proof(receipt.ids[0])

Answers are the API's JSON as dictionaries. Errors are typed: ApiError carries the problem details,
UnavailableApiError may be retried after `retry_after_s` (submitting is idempotent), CommitTimeoutError says
that what was submitted is still pending, ForeignAnswerError that something else than a gateway of this
network answered: what was submitted may have been taken or not, so ask for it by id (delivery.py does).

genesis: what the network is known by, a document or its hash (32 bytes), from a source that you trust. Then
no answer of another network is taken for one of this, and proofs are judged by it. Without one, a client
takes the network of the first answer for the one it speaks to, and proves nothing.

`AsyncClient` has the same calls, awaited.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from actors.ledger.block import Block, Header, InclusionProof
from actors.ledger.genesis import Genesis
from actors.ledger.receipts import ReceiptProof
from actors.ledger.rows import Batch
from actors.sdk import requests
from actors.sdk.answers import UnavailableApiError, check_mark, unreachable
from actors.sdk.attempts import Attempts
from actors.sdk.contract import AsyncContract, Contract, run, run_async
from actors.sdk.contract_steps import open_steps
from actors.sdk.endpoints import Endpoints
from actors.sdk.inclusion_proof import ProofError
from actors.sdk.light_client import verify, verify_proof
from actors.sdk.proxies import http_options
from actors.sdk.receipt_proof import proven_receipt
from actors.sdk.requests import ApiRequest, BatchReceipt, Consistency, Found, Height, WaitLevel, bearer
from actors.sdk.subscribe import Event, EventFilter, follow
from actors.sdk.trust import Pin

if TYPE_CHECKING:
    import httpx

Answer = TypeVar("Answer")
TIMEOUT_S = 60.0


def _proven(genesis: Genesis, tx_id: bytes, proof: InclusionProof | None) -> Header:
    if proof is None:
        raise ProofError("proof", "the node knows no committed transaction of this id")
    return verify_proof(genesis, tx_id, proof)


def _proven_account(genesis: Genesis, key: bytes, document: dict[str, Any]) -> dict[str, Any]:
    return verify(genesis, [], msgspec.json.encode(document), key)


class _Base:
    """What both clients know: whom to ask, and of which network they are."""

    def __init__(
        self,
        urls: str | Sequence[str],
        patience_s: float,
        genesis: Genesis | bytes | None,
        retry_refused: bool,
    ) -> None:
        self._endpoints = Endpoints(urls, patience_s, retry_refused=retry_refused)
        self._pin = Pin(genesis)
        self._network = self._pin.mark

    @property
    def genesis_trust(self) -> str:
        """`pinned` where the caller said which network this is, `node` where the node's word has to do."""
        return "node" if self._pin.digest is None else "pinned"

    def _value(self, request: ApiRequest[Answer], response: httpx.Response) -> Answer | None:
        value = request.value(response, self._network)
        if self._network is None:
            self._network = check_mark(response, None)
        return value


class Client(_Base):
    """A connection pool to one gateway, or to several of one network (see endpoints.py for which is asked).

    timeout_s bounds every attempt, waits included; patience_s is how long requests that can be repeated are
    repeated while no gateway answers (retry_refused=False: not where all refuse the connection). ca_file:
    certificates to trust for https, instead of the system's. api_key: of a node that asks for keys; every
    request carries it. genesis: see the module. Raises AddressError, or ProxyError (see proxies.py).
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        timeout_s: float = TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
        patience_s: float = 0.0,
        ca_file: str = "",
        api_key: str = "",
        genesis: Genesis | bytes | None = None,
        retry_refused: bool = True,
    ) -> None:
        import httpx  # here, since it takes longer to import than all the rest

        super().__init__(urls, patience_s, genesis, retry_refused)
        way = http_options(self._endpoints.urls if transport is None else [], ca_file)
        self._http = httpx.Client(timeout=timeout_s, transport=transport, headers=bearer(api_key), **way)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def status(self) -> dict[str, Any]:
        """Network, head, limits, figures of the node."""
        return self.ask(requests.status())

    def actors(self) -> dict[str, Any]:
        """Health of each actor by its name, under `actors`; None for one that is away."""
        return self.ask(requests.actors())

    def refused_functions(self) -> dict[str, Any]:
        """Governed functions that the member behind this gateway refused, and why, under `refused`."""
        return self.ask(requests.refused_functions())

    def members(self) -> dict[str, Any]:
        """Members of the network, one row each, and how many make a majority."""
        return self.ask(requests.members())

    def change_member(self, action: str, member: str, accept_risk: bool = False) -> dict[str, Any]:
        """add, promote, remove, transfer (leadership to) or readmit a member, by name; readmit alone needs
        accept_risk. Raises ApiError with the reason when consensus refuses it."""
        return self.ask(requests.change_member(action, member, accept_risk))

    def scale(self, validators: int) -> dict[str, Any]:
        """Have so many Validators from now on. Returns validators, and the names added and removed."""
        return self.ask(requests.scale(validators))

    def maintain(self, action: str) -> dict[str, Any]:
        """Have the node make a `snapshot` of its head, or a `copy` of its database; returns what it made."""
        return self.ask(requests.maintain(action))

    def ready(self) -> bool:
        """True once the node serves; False while it cannot be reached."""
        try:
            return self.ask(requests.ready())
        except UnavailableApiError:
            return False

    def genesis(self) -> Genesis:
        """The pinned genesis; without one, that which the node serves, read once and proven by nothing."""
        if self._pin.document is None:
            self._pin.document = self.ask(requests.genesis(self._pin.digest))
        return self._pin.document

    def account(
        self, key: bytes, height: Height = "latest", consistency: Consistency = "bounded"
    ) -> dict[str, Any]:
        """key, nonce (of the next transaction), balance, and the height they are of.

        linearizable: nothing that was committed before the call is missing.
        """
        return self.ask(requests.account(key, height, consistency))

    def submit(self, batch: Batch, wait: WaitLevel = "accepted") -> BatchReceipt:
        """Submit a batch in the binary form; refused rows are listed in the receipt, not raised."""
        return self.ask(requests.submit(batch, wait))

    def pending(self, key: bytes) -> dict[str, Any]:
        """Pending transactions of an account at this node: key, nonce, next_nonce, height, transactions."""
        return self.ask(requests.pending(key))

    def submit_one(self, batch: Batch, wait: WaitLevel = "accepted") -> dict[str, Any]:
        """Submit a batch of one row as JSON. Returns id, status, height; a refusal raises ApiError."""
        return self.ask(requests.submit_one(batch, wait))

    def transaction(self, tx_id: bytes) -> dict[str, Any] | None:
        """A committed transaction with its receipt, or None."""
        return self._send(requests.transaction(tx_id))

    def find(self, tx_id: bytes) -> Found:
        """As `transaction`, and where there is none, up to which height there is none."""
        return self.ask(requests.find(tx_id))

    def proof(self, tx_id: bytes) -> InclusionProof | None:
        """The proof as the node gives it, unverified; None when the transaction is not committed."""
        return self._send(requests.proof(tx_id))

    def verified_proof(self, tx_id: bytes, genesis: Genesis | None = None) -> Header:
        """Fetch a proof and check it here, against the genesis given or pinned.

        Returns the header of the block. Raises ProofError naming the check that fails: `genesis` where
        neither is there. To give `client.genesis()` without a pin is to check the node against itself.
        """
        return _proven(genesis or self._trusted(), tx_id, self.proof(tx_id))

    def verified_receipt(self, tx_id: bytes, genesis: Genesis | None = None) -> ReceiptProof:
        """What a transaction did and told, proven here as in `verified_proof`."""
        return proven_receipt(genesis or self._trusted(), tx_id, self._send(requests.receipt_proof(tx_id)))

    def state_proof(self, key: bytes, height: Height = "latest") -> dict[str, Any]:
        """An account's proof at a retained height as the node gives it, unverified."""
        return self.ask(requests.state_proof(key, height))

    def verified_account(self, key: bytes, genesis: Genesis | None = None) -> dict[str, Any]:
        """An account's nonce and balance, proven here as in `verified_proof`."""
        return _proven_account(genesis or self._trusted(), key, self.state_proof(key))

    def sealed_header(self, height: Height = "latest") -> bytes | None:
        """Bytes of a final block's header, signature and certificate, or None."""
        return self._send(requests.sealed_header(height))

    def block(self, height: Height, offset: int = 0, limit: int = 20) -> dict[str, Any] | None:
        """A block's header and a page of its transactions, or None."""
        return self._send(requests.block(height, offset, limit))

    def raw_block(self, height: Height) -> Block | None:
        """A block, decoded from its bytes, or None."""
        return self._send(requests.raw_block(height, self.genesis()))

    def contract(self, address: bytes, genesis: Genesis | None = None) -> Contract:
        """The contract at an address, read once. With a genesis, given or pinned, its program is proven to be
        the one of the state. Raises ApiError (404 if there is none), InterfaceError, ProofError."""
        trusted = genesis is not None or self._pin.digest is not None
        judge = genesis or self.genesis()
        return Contract(self, run(self, open_steps(address, judge, trusted)), judge, trusted)

    def _trusted(self) -> Genesis:
        self._pin.check()
        return self.genesis()

    def ask(self, request: ApiRequest[Answer]) -> Answer:
        """The answer to a request of requests.py or contract_requests.py."""
        return cast(Answer, self._send(request))

    def _send(self, request: ApiRequest[Answer]) -> Answer | None:
        import httpx

        attempts = Attempts(self._endpoints, request)
        while True:
            url = self._endpoints.current
            try:
                try:
                    response = self._http.request(request.method, url + request.path, **request.options)
                except httpx.RequestError as error:
                    raise unreachable(error) from error
                return self._value(request, response)
            except UnavailableApiError as error:
                pause_s = attempts.pause_s(url, error)
                if pause_s is None:
                    raise
            time.sleep(pause_s)


class AsyncClient(_Base):
    """`Client` with awaited calls; many may be open at once, up to `connections_max` connections."""

    def __init__(
        self,
        urls: str | Sequence[str],
        timeout_s: float = TIMEOUT_S,
        connections_max: int = 64,
        transport: httpx.AsyncBaseTransport | None = None,
        patience_s: float = 0.0,
        ca_file: str = "",
        api_key: str = "",
        genesis: Genesis | bytes | None = None,
        retry_refused: bool = True,
    ) -> None:
        import httpx

        super().__init__(urls, patience_s, genesis, retry_refused)
        self._ca_file, self._api_key = ca_file, api_key
        limits = httpx.Limits(max_connections=connections_max, max_keepalive_connections=connections_max)
        way = http_options(self._endpoints.urls if transport is None else [], ca_file, asynchronous=True)
        self._http = httpx.AsyncClient(
            timeout=timeout_s, limits=limits, transport=transport, headers=bearer(api_key), **way
        )

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def status(self) -> dict[str, Any]:
        return await self.ask(requests.status())

    async def actors(self) -> dict[str, Any]:
        return await self.ask(requests.actors())

    async def refused_functions(self) -> dict[str, Any]:
        return await self.ask(requests.refused_functions())

    async def members(self) -> dict[str, Any]:
        return await self.ask(requests.members())

    async def change_member(self, action: str, member: str, accept_risk: bool = False) -> dict[str, Any]:
        return await self.ask(requests.change_member(action, member, accept_risk))

    async def scale(self, validators: int) -> dict[str, Any]:
        return await self.ask(requests.scale(validators))

    async def maintain(self, action: str) -> dict[str, Any]:
        return await self.ask(requests.maintain(action))

    async def ready(self) -> bool:
        try:
            return await self.ask(requests.ready())
        except UnavailableApiError:
            return False

    async def genesis(self) -> Genesis:
        if self._pin.document is None:
            self._pin.document = await self.ask(requests.genesis(self._pin.digest))
        return self._pin.document

    async def account(
        self, key: bytes, height: Height = "latest", consistency: Consistency = "bounded"
    ) -> dict[str, Any]:
        return await self.ask(requests.account(key, height, consistency))

    async def submit(self, batch: Batch, wait: WaitLevel = "accepted") -> BatchReceipt:
        return await self.ask(requests.submit(batch, wait))

    async def submit_one(self, batch: Batch, wait: WaitLevel = "accepted") -> dict[str, Any]:
        return await self.ask(requests.submit_one(batch, wait))

    async def transaction(self, tx_id: bytes) -> dict[str, Any] | None:
        return await self._send(requests.transaction(tx_id))

    async def pending(self, key: bytes) -> dict[str, Any]:
        return await self.ask(requests.pending(key))

    async def find(self, tx_id: bytes) -> Found:
        return await self.ask(requests.find(tx_id))

    async def proof(self, tx_id: bytes) -> InclusionProof | None:
        return await self._send(requests.proof(tx_id))

    async def verified_proof(self, tx_id: bytes, genesis: Genesis | None = None) -> Header:
        return _proven(genesis or await self._trusted(), tx_id, await self.proof(tx_id))

    async def verified_receipt(self, tx_id: bytes, genesis: Genesis | None = None) -> ReceiptProof:
        proof = await self._send(requests.receipt_proof(tx_id))
        return proven_receipt(genesis or await self._trusted(), tx_id, proof)

    async def state_proof(self, key: bytes, height: Height = "latest") -> dict[str, Any]:
        return await self.ask(requests.state_proof(key, height))

    async def verified_account(self, key: bytes, genesis: Genesis | None = None) -> dict[str, Any]:
        return _proven_account(genesis or await self._trusted(), key, await self.state_proof(key))

    async def sealed_header(self, height: Height = "latest") -> bytes | None:
        return await self._send(requests.sealed_header(height))

    async def block(self, height: Height, offset: int = 0, limit: int = 20) -> dict[str, Any] | None:
        return await self._send(requests.block(height, offset, limit))

    async def raw_block(self, height: Height) -> Block | None:
        return await self._send(requests.raw_block(height, await self.genesis()))

    def follow(
        self,
        blocks: bool = True,
        accounts: Iterable[bytes] = (),
        keys: Iterable[bytes] = (),
        from_height: int | None = None,
        contracts: Iterable[EventFilter] = (),
    ) -> AsyncIterator[Event]:
        """What becomes final, from this client's gateways: `follow` of subscribe.py."""
        urls, known = self._endpoints.urls, (self._ca_file, self._api_key, self._pin.digest)
        return follow(urls, blocks, accounts, keys, from_height, *known, contracts=contracts)

    async def contract(self, address: bytes, genesis: Genesis | None = None) -> AsyncContract:
        trusted = genesis is not None or self._pin.digest is not None
        judge = genesis or await self.genesis()
        return AsyncContract(self, await run_async(self, open_steps(address, judge, trusted)), judge, trusted)

    async def _trusted(self) -> Genesis:
        self._pin.check()
        return await self.genesis()

    async def ask(self, request: ApiRequest[Answer]) -> Answer:
        return cast(Answer, await self._send(request))

    async def _send(self, request: ApiRequest[Answer]) -> Answer | None:
        import httpx

        attempts = Attempts(self._endpoints, request)
        while True:
            url = self._endpoints.current
            try:
                try:
                    response = await self._http.request(request.method, url + request.path, **request.options)
                except httpx.RequestError as error:
                    raise unreachable(error) from error
                return self._value(request, response)
            except UnavailableApiError as error:
                pause_s = attempts.pause_s(url, error)
                if pause_s is None:
                    raise
            await asyncio.sleep(pause_s)
