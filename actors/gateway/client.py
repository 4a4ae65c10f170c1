"""A small synchronous client of the HTTP API. Imports neither Ray nor the server.

    with Client("http://127.0.0.1:8470") as client:
        receipt = client.submit(batch, wait="committed")
        client.verified_proof(receipt.ids[0])

Answers are the API's JSON as dictionaries. Errors are typed: ApiError carries the problem details,
UnavailableApiError may be retried after `retry_after_s` (submitting is idempotent), CommitTimeoutError says
that what was submitted is still pending.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import httpx

from actors.gateway.proof import InclusionProof, ProofError, verify_proof
from actors.ledger.block import Block, Header, decode_block
from actors.ledger.genesis import Genesis, decode_genesis
from actors.ledger.rows import NEVER_EXPIRES_HEIGHT, Batch, FormatError, encode_batch

WaitLevel = Literal["accepted", "durable", "committed"]
BINARY = "application/octet-stream"
_FIELDS = ("version", "kind", "flags", "chain_tag", "nonce", "amount", "fee", "expiry_height")
_HEXES = ("sender", "recipient", "signature")


class ApiError(Exception):
    """The API answered with an error. `problem` holds the whole RFC 9457 document."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(f"{problem.get('title', 'error')}: {problem.get('detail', '')}".rstrip(": "))
        self.problem = problem
        self.status = int(problem.get("status", 0))
        self.field: str | None = problem.get("field")
        self.verdict: str | None = problem.get("verdict")


class UnavailableApiError(ApiError):
    """The node is busy, starting, or cannot be reached: retry after `retry_after_s`."""

    def __init__(self, problem: dict[str, Any], retry_after_s: float) -> None:
        super().__init__(problem)
        self.retry_after_s = retry_after_s


class CommitTimeoutError(ApiError):
    """What was submitted is in a mempool, and was not committed within the node's bound."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row of a batch that was not taken."""

    index: int
    code: int
    verdict: str
    field: str
    advice: str


@dataclass(frozen=True, slots=True)
class BatchReceipt:
    """Outcome of a batch. ids: of all its rows, in order. height: highest block with one of them."""

    ids: list[bytes]
    accepted: int
    rejected: list[Refusal]
    height: int | None


class Client:
    """One connection pool to one gateway. `timeout_s` bounds every request, waits included."""

    def __init__(
        self, url: str, timeout_s: float = 60.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout_s, transport=transport)
        self._genesis: Genesis | None = None

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
        return self._json("GET", "/v1/status")

    def ready(self) -> bool:
        """True once the node serves."""
        try:
            return bool(self._json("GET", "/v1/ready")["ready"])
        except UnavailableApiError:
            return False

    def genesis(self) -> Genesis:
        """The genesis that the node serves, read once. To trust it, compare its hash with one you know."""
        if self._genesis is None:
            self._genesis = decode_genesis(self._send("GET", "/v1/genesis").content)
        return self._genesis

    def account(self, key: bytes) -> dict[str, Any]:
        """key, nonce (of the next transaction), balance, height."""
        return self._json("GET", f"/v1/accounts/{key.hex()}")

    def submit(self, batch: Batch, wait: WaitLevel = "accepted") -> BatchReceipt:
        """Submit a batch in the binary form; refused rows are listed in the receipt, not raised."""
        answer = self._json(
            "POST",
            "/v1/transactions/batch",
            params={"wait": wait},
            content=encode_batch(batch),
            headers={"Content-Type": BINARY},
        )
        ids = [tx_id.tobytes() for tx_id in batch.ids()]
        rejected = [Refusal(**row) for row in answer["rejected"]]
        return BatchReceipt(ids, answer["accepted"], rejected, answer["height"])

    def submit_one(self, batch: Batch, wait: WaitLevel = "accepted") -> dict[str, Any]:
        """Submit a batch of one row as JSON. Returns id, status, height; a refusal raises ApiError."""
        return self._json("POST", "/v1/transactions", params={"wait": wait}, json=transaction_json(batch))

    def transaction(self, tx_id: bytes) -> dict[str, Any] | None:
        """A committed transaction with its receipt, or None."""
        return self._json_or_none(f"/v1/transactions/{tx_id.hex()}")

    def proof(self, tx_id: bytes) -> InclusionProof | None:
        """The proof as the node gives it, unverified; None when the transaction is not committed."""
        answer = self._json_or_none(f"/v1/transactions/{tx_id.hex()}/proof")
        if answer is None:
            return None
        try:
            return InclusionProof(
                height=int(answer["height"]),
                index=int(answer["index"]),
                size=int(answer["size"]),
                leaf=bytes.fromhex(answer["leaf"]),
                proof=[bytes.fromhex(node) for node in answer["proof"]],
                header=bytes.fromhex(answer["header"]),
                signature=bytes.fromhex(answer["signature"]),
                certificate=bytes.fromhex(answer["certificate"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ProofError("answer", f"is no proof: {error!r}") from error

    def verified_proof(self, tx_id: bytes, genesis: Genesis | None = None) -> Header:
        """Fetch a proof and check it here against a genesis you trust (the node's own if None is given).

        Returns the header of the block. Raises ProofError naming the check that fails.
        """
        proof = self.proof(tx_id)
        if proof is None:
            raise ProofError("proof", "the node knows no committed transaction of this id")
        return verify_proof(genesis or self.genesis(), tx_id, proof)

    def block(
        self, height: int | Literal["latest"], offset: int = 0, limit: int = 20
    ) -> dict[str, Any] | None:
        """A block's header and a page of its transactions, or None."""
        return self._json_or_none(f"/v1/blocks/{height}", params={"offset": offset, "limit": limit})

    def raw_block(self, height: int | Literal["latest"]) -> Block | None:
        """A block, decoded from its bytes, or None."""
        try:
            data = self._send("GET", f"/v1/blocks/{height}/raw").content
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        genesis = self.genesis()
        return decode_block(data, genesis.block_transactions_max, genesis.block_payload_bytes_max)

    def _json_or_none(self, path: str, **options: Any) -> dict[str, Any] | None:
        try:
            return self._json("GET", path, **options)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        response = self._send(method, path, **options)
        try:
            answer = response.json()
        except ValueError as error:
            raise FormatError("answer", response.text[:80], "JSON") from error
        if not isinstance(answer, dict):
            raise FormatError("answer", type(answer).__name__, "a JSON object")
        return answer

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            problem = {"title": "The node cannot be reached", "detail": str(error) or repr(error)}
            raise UnavailableApiError(problem, 1.0) from error
        if response.is_success:
            return response
        raise _error(response)


def _error(response: httpx.Response) -> ApiError:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"title": response.reason_phrase}
    problem["status"] = response.status_code
    if response.status_code in (429, 503):
        after = response.headers.get("Retry-After", "1")
        return UnavailableApiError(problem, float(after) if after.isdigit() else 1.0)
    return CommitTimeoutError(problem) if response.status_code == 504 else ApiError(problem)


def transaction_json(batch: Batch) -> dict[str, Any]:
    """The JSON body of a batch of one row. Raises FormatError for another number of rows."""
    if len(batch) != 1:
        raise FormatError("batch", f"{len(batch)} rows", "1 row")
    row = batch.rows[0]
    body: dict[str, Any] = {field: int(row[field]) for field in _FIELDS}
    body.update({field: row[field].tobytes().hex() for field in _HEXES})
    if body["expiry_height"] == NEVER_EXPIRES_HEIGHT:
        del body["expiry_height"]
    return {
        **body,
        "payload": batch.payloads.tobytes().hex(),
        "payload_hash": row["payload_hash"].tobytes().hex(),
    }
