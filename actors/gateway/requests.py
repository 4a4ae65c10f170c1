"""The API's requests as values, and how their answers are read: what both clients share, without I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from actors.gateway.proof import InclusionProof, ProofError
from actors.ledger.block import Block, decode_block
from actors.ledger.genesis import Genesis, decode_genesis
from actors.ledger.rows import NEVER_EXPIRES_HEIGHT, Batch, FormatError, encode_batch

if TYPE_CHECKING:
    import httpx

Answer = TypeVar("Answer")
WaitLevel = Literal["accepted", "durable", "committed"]
Height = int | Literal["latest"]
Consistency = Literal["bounded", "linearizable"]
BINARY = "application/octet-stream"
_FIELDS = ("version", "kind", "flags", "chain_tag", "nonce", "amount", "fee", "expiry_height")
_REFUSAL_FIELDS = ("index", "code", "verdict", "field", "advice")
_NOTHING_TAKEN = tuple(f"urn:raychain:problem:{name}" for name in ("busy", "too-many-requests", "observer"))
_HEXES = ("sender", "recipient", "payload_hash", "signature")


class ApiError(Exception):
    """The API answered with an error. `problem` holds the whole RFC 9457 document."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(f"{problem.get('title', 'error')}: {problem.get('detail', '')}".rstrip(": "))
        self.problem = problem
        self.status = int(problem.get("status", 0))
        self.field: str | None = problem.get("field")
        self.verdict: str | None = problem.get("verdict")


class UnavailableApiError(ApiError):
    """The node is busy, starting, or cannot be reached: retry after `retry_after_s`.

    nothing_taken: the node cannot have taken anything of what was submitted.
    """

    def __init__(self, problem: dict[str, Any], retry_after_s: float, nothing_taken: bool = False) -> None:
        super().__init__(problem)
        self.retry_after_s, self.nothing_taken = retry_after_s, nothing_taken


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


@dataclass(frozen=True, slots=True)
class Found:
    """A committed transaction, or None: then no block up to `height` holds it."""

    record: dict[str, Any] | None
    height: int


@dataclass(frozen=True, slots=True)
class Request(Generic[Answer]):
    """One request. `read` turns a good answer into its value; 404 may mean None instead of an error, or be
    an answer that `read` knows."""

    method: str
    path: str
    read: Callable[[httpx.Response], Answer]
    options: dict[str, Any] = field(default_factory=dict)
    none_if_missing: bool = False
    reads_missing: bool = False

    def may_repeat(self, error: UnavailableApiError) -> bool:
        """Whether to ask again after this error can change nothing but the answer."""
        return self.method == "GET" or error.nothing_taken

    def value(self, response: httpx.Response) -> Answer | None:
        """The answer's value. Raises ApiError, or FormatError when the answer is none of this API."""
        if response.is_success or (response.status_code == 404 and self.reads_missing):
            return self.read(response)
        if response.status_code == 404 and self.none_if_missing:
            return None
        raise error_of(response)


def error_of(response: httpx.Response) -> ApiError:
    """The typed error of an answer that is no success."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"title": response.reason_phrase}
    problem["status"] = response.status_code
    if response.status_code in (429, 503):
        after = response.headers.get("Retry-After", "1")
        nothing_taken = problem.get("type") in _NOTHING_TAKEN
        return UnavailableApiError(problem, float(after) if after.isdigit() else 1.0, nothing_taken)
    return CommitTimeoutError(problem) if response.status_code == 504 else ApiError(problem)


def bearer(api_key: str) -> dict[str, str]:
    """Headers that name an API key; none for an empty one."""
    return {"authorization": f"Bearer {api_key}"} if api_key else {}


def unreachable(error: httpx.TransportError) -> UnavailableApiError:
    """The typed error of a request that got no answer. A submission may have been taken."""
    import httpx

    problem = {"title": "The node cannot be reached", "detail": str(error) or repr(error)}
    unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    return UnavailableApiError(problem, 1.0, nothing_taken=unsent)


def _document(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError as error:
        raise FormatError("answer", response.text[:80], "JSON") from error
    if not isinstance(answer, dict):
        raise FormatError("answer", type(answer).__name__, "a JSON object")
    return answer


def status() -> Request[dict[str, Any]]:
    """Network, head, limits, figures of the node."""
    return Request("GET", "/v1/status", _document)


def actors() -> Request[dict[str, Any]]:
    """Health of each actor by its name, under `actors`."""
    return Request("GET", "/v1/actors", _document)


def members() -> Request[dict[str, Any]]:
    """Members of the network, and what each is now."""
    return Request("GET", "/v1/members", _document)


def change_member(action: str, member: str, accept_risk: bool = False) -> Request[dict[str, Any]]:
    """Begin a change of membership, at the leader."""
    wanted: dict[str, Any] = {"action": action, "member": member}
    if accept_risk:
        wanted["accept_risk"] = True
    return Request("POST", "/v1/members", _document, {"json": wanted})


def scale(validators: int) -> Request[dict[str, Any]]:
    """Have so many Validators; answers when they are there."""
    return Request("POST", "/v1/validators", _document, {"json": {"validators": validators}})


def ready() -> Request[bool]:
    """Whether all parts of the node answer."""
    return Request("GET", "/v1/ready", lambda response: bool(_document(response)["ready"]))


def genesis() -> Request[Genesis]:
    """The genesis that the node serves."""
    return Request("GET", "/v1/genesis", lambda response: decode_genesis(response.content))


def account(key: bytes, height: Height, consistency: Consistency) -> Request[dict[str, Any]]:
    """key, nonce, balance, height."""
    options = {"params": {"height": height, "consistency": consistency}}
    return Request("GET", f"/v1/accounts/{key.hex()}", _document, options)


def submit(batch: Batch, wait: WaitLevel) -> Request[BatchReceipt]:
    """A batch in the binary form."""

    def read(response: httpx.Response) -> BatchReceipt:
        answer = _document(response)
        try:
            rejected = [Refusal(*(row[name] for name in _REFUSAL_FIELDS)) for row in answer["rejected"]]
            accepted, height = int(answer["accepted"]), answer["height"]
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError("answer", repr(error), "the outcome of a batch") from error
        return BatchReceipt([tx_id.tobytes() for tx_id in batch.ids()], accepted, rejected, height)

    options = {
        "params": {"wait": wait},
        "content": encode_batch(batch),
        "headers": {"Content-Type": BINARY},
    }
    return Request("POST", "/v1/transactions/batch", read, options)


def submit_one(batch: Batch, wait: WaitLevel) -> Request[dict[str, Any]]:
    """A batch of one row as JSON."""
    options = {"params": {"wait": wait}, "json": transaction_json(batch)}
    return Request("POST", "/v1/transactions", _document, options)


def transaction(tx_id: bytes) -> Request[dict[str, Any]]:
    """A committed transaction with its receipt."""
    return Request("GET", f"/v1/transactions/{tx_id.hex()}", _document, none_if_missing=True)


def find(tx_id: bytes) -> Request[Found]:
    """A committed transaction, or up to which height there is none."""

    def read(response: httpx.Response) -> Found:
        answer = _document(response)
        if response.is_success:
            return Found(answer, int(answer["height"]))
        if not isinstance(answer.get("height"), int):
            raise error_of(response)
        return Found(None, int(answer["height"]))

    return Request("GET", f"/v1/transactions/{tx_id.hex()}", read, reads_missing=True)


def proof(tx_id: bytes) -> Request[InclusionProof]:
    """The inclusion proof as the node gives it, unverified."""
    return Request("GET", f"/v1/transactions/{tx_id.hex()}/proof", _read_proof, none_if_missing=True)


def _read_proof(response: httpx.Response) -> InclusionProof:
    answer = _document(response)
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


def state_proof(key: bytes, height: Height) -> Request[dict[str, Any]]:
    """The state proof as the node gives it, unverified: what `light_client.verify` reads, as a document."""
    return Request("GET", f"/v1/accounts/{key.hex()}/proof", _document, {"params": {"height": height}})


def sealed_header(height: Height) -> Request[bytes]:
    """Bytes of a header, its signature and its certificate."""
    return Request("GET", f"/v1/blocks/{height}/header", lambda r: r.content, none_if_missing=True)


def block(height: Height, offset: int, limit: int) -> Request[dict[str, Any]]:
    """A block's header and a page of its transactions."""
    options = {"params": {"offset": offset, "limit": limit}}
    return Request("GET", f"/v1/blocks/{height}", _document, options, none_if_missing=True)


def raw_block(height: Height, trusted: Genesis) -> Request[Block]:
    """A block, decoded from its bytes within the genesis' bounds."""

    def read(response: httpx.Response) -> Block:
        bounds = trusted.block_transactions_max, trusted.block_payload_bytes_max
        return decode_block(response.content, *bounds)

    return Request("GET", f"/v1/blocks/{height}/raw", read, none_if_missing=True)


def transaction_json(batch: Batch) -> dict[str, Any]:
    """The JSON body of a batch of one row. Raises FormatError for another number of rows."""
    if len(batch) != 1:
        raise FormatError("batch", f"{len(batch)} rows", "1 row")
    row = batch.rows[0]
    body: dict[str, Any] = {name: int(row[name]) for name in _FIELDS}
    body.update({name: row[name].tobytes().hex() for name in _HEXES})
    if body["expiry_height"] == NEVER_EXPIRES_HEIGHT:
        del body["expiry_height"]
    return {**body, "payload": batch.payloads.tobytes().hex()}
