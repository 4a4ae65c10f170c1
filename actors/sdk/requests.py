"""The API's requests as values, and how their answers are read: what both clients share, without I/O.

What each one asks for is said at the method of `Client` that has its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import msgspec

from actors.ledger.block import Block, InclusionProof, decode_block
from actors.ledger.genesis import Genesis, decode_genesis
from actors.ledger.receipts import ReceiptProof
from actors.ledger.rows import NEVER_EXPIRES_HEIGHT, Batch, FormatError, encode_batch
from actors.sdk.answers import (
    BINARY,
    JSON,
    CommitTimeoutError,
    UnavailableApiError,
    check_mark,
    error_of,
    foreign,
    media_of,
    network_mark,
    problem_of,
    read_object,
)
from actors.sdk.inclusion_proof import InclusionDocument, ProofError
from actors.sdk.receipt_proof import ReceiptDocument

if TYPE_CHECKING:
    import httpx

Answer = TypeVar("Answer")
WaitLevel = Literal["accepted", "durable", "committed"]
Height = int | Literal["latest"]
Consistency = Literal["bounded", "linearizable"]
_FIELDS = ("version", "kind", "flags", "chain_tag", "nonce", "amount", "fee", "expiry_height")
_REFUSAL_FIELDS = ("index", "code", "verdict", "field", "advice")
_HEXES = ("sender", "recipient", "payload_hash", "signature")
_MISSHAPEN = (FormatError, ProofError, KeyError, TypeError, ValueError, msgspec.ValidationError)


@dataclass(frozen=True, slots=True)
class RowRefusal:
    """A row of a batch that was not taken."""

    index: int
    code: int
    verdict: str
    field: str
    advice: str


@dataclass(frozen=True, slots=True)
class BatchReceipt:
    """Outcome of a batch. ids: of all its rows, in order. height: highest block with one of them.

    pending: indices of rows that were accepted and have not reached what was waited for.
    """

    ids: list[bytes]
    accepted: int
    rejected: list[RowRefusal]
    height: int | None
    pending: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Found:
    """A committed transaction, or None: then no block up to `height` holds it."""

    record: dict[str, Any] | None
    height: int


@dataclass(frozen=True, slots=True)
class ApiRequest(Generic[Answer]):
    """One request. `read` turns a good answer of one of `media` into its value; 404 may mean None instead of
    an error, or be an answer that `read` knows. asks_only: it may be repeated, although it is no GET."""

    method: str
    path: str
    read: Callable[[httpx.Response], Answer]
    options: dict[str, Any] = field(default_factory=dict)
    none_if_missing: bool = False
    reads_missing: bool = False
    media: str = JSON
    asks_only: bool = False

    def may_repeat(self, error: UnavailableApiError) -> bool:
        """Whether to ask again after this error can change nothing but the answer."""
        return self.method == "GET" or self.asks_only or error.nothing_taken

    def value(self, response: httpx.Response, network: str | None = None) -> Answer | None:
        """The answer's value. Raises ApiError; ForeignAnswerError when the answer is none of this API, or of
        another network than that of the mark `network`."""
        check_mark(response, network)
        if not response.is_success and not (response.status_code == 404 and self._knows_missing):
            raise error_of(response)
        if response.status_code == 404:
            problem_of(response)
            if self.none_if_missing:
                return None
        elif media_of(response) != self.media:
            raise foreign(response, f"{self.media} is asked for")
        try:
            return self.read(response)
        except _MISSHAPEN as error:
            raise foreign(response, f"its body is not what was asked for: {error!r}") from error

    @property
    def _knows_missing(self) -> bool:
        return self.none_if_missing or self.reads_missing


def bearer(api_key: str) -> dict[str, str]:
    """Headers that name an API key; none for an empty one."""
    return {"authorization": f"Bearer {api_key}"} if api_key else {}


def status() -> ApiRequest[dict[str, Any]]:
    return ApiRequest("GET", "/v1/status", read_object)


def actors() -> ApiRequest[dict[str, Any]]:
    return ApiRequest("GET", "/v1/actors", read_object)


def refused_functions() -> ApiRequest[dict[str, Any]]:
    return ApiRequest("GET", "/v1/functions/refused", read_object)


def members() -> ApiRequest[dict[str, Any]]:
    return ApiRequest("GET", "/v1/members", read_object)


def change_member(action: str, member: str, accept_risk: bool = False) -> ApiRequest[dict[str, Any]]:
    wanted: dict[str, Any] = {"action": action, "member": member}
    if accept_risk:
        wanted["accept_risk"] = True
    return ApiRequest("POST", "/v1/members", read_object, {"json": wanted})


def scale(validators: int) -> ApiRequest[dict[str, Any]]:
    return ApiRequest("POST", "/v1/validators", read_object, {"json": {"validators": validators}})


def maintain(action: str) -> ApiRequest[dict[str, Any]]:
    return ApiRequest("POST", "/v1/maintenance", read_object, {"json": {"action": action}})


def ready() -> ApiRequest[bool]:
    return ApiRequest("GET", "/v1/ready", lambda response: read_object(response)["ready"] is True)


def genesis(digest: bytes | None) -> ApiRequest[Genesis]:
    """The genesis that the node serves, with the hash that is asked for, or None for any."""

    def read(response: httpx.Response) -> Genesis:
        document = decode_genesis(response.content)
        check_mark(response, network_mark(document))
        if digest not in (None, document.hash()):
            raise FormatError("genesis", document.hash().hex(), "the one that is pinned")
        return document

    return ApiRequest("GET", "/v1/genesis", read)


def account(key: bytes, height: Height, consistency: Consistency) -> ApiRequest[dict[str, Any]]:
    def read(response: httpx.Response) -> dict[str, Any]:
        answer = read_object(response)
        if answer["key"] != key.hex() or not all(_is_u64(answer[n]) for n in ("nonce", "balance", "height")):
            raise FormatError(
                "account", str(answer["key"])[:64], "key, nonce, balance, height of the account"
            )
        return answer

    options = {"params": {"height": height, "consistency": consistency}}
    return ApiRequest("GET", f"/v1/accounts/{key.hex()}", read, options)


def _is_u64(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 64


def pending(key: bytes) -> ApiRequest[dict[str, Any]]:
    return ApiRequest("GET", f"/v1/accounts/{key.hex()}/pending", read_object)


def submit(batch: Batch, wait: WaitLevel) -> ApiRequest[BatchReceipt]:
    ids = [tx_id.tobytes() for tx_id in batch.ids()]

    def read(response: httpx.Response) -> BatchReceipt:
        answer = read_object(response)
        receipt = batch_receipt(ids, answer, answer["rejected"])
        if answer["wait"] != wait or (wait == "committed" and receipt.accepted and receipt.height is None):
            raise FormatError("wait", str(answer["wait"])[:16], f"{wait}, and of which height")
        return receipt

    options = {
        "params": {"wait": wait},
        "content": encode_batch(batch),
        "headers": {"Content-Type": BINARY},
    }
    return ApiRequest("POST", "/v1/transactions/batch", read, options)


def batch_receipt(ids: list[bytes], answer: dict[str, Any], rejected: Any, pending: Any = ()) -> BatchReceipt:
    """The outcome of a batch whose every row is refused, pending or through. Raises FormatError, KeyError or
    TypeError for an answer that does not account for each."""
    refusals = [RowRefusal(*(row[name] for name in _REFUSAL_FIELDS)) for row in rejected]
    refused, waiting = {refusal.index for refusal in refusals}, frozenset(pending)
    accepted, height, rows = answer["accepted"], answer["height"], len(ids)
    places = [*refused, *waiting]
    if not all(type(place) is int and 0 <= place < rows for place in places) or refused & waiting:
        raise FormatError("rejected", "places of no row", f"indices of {rows} rows, each once")
    if not _is_u64(accepted) or accepted + len(refusals) != rows or len(refused) != len(refusals):
        raise FormatError("accepted", f"{accepted} and {len(refusals)} refused", f"{rows} rows in sum")
    if height is not None and not _is_u64(height):
        raise FormatError("height", type(height).__name__, "a number or null")
    return BatchReceipt(ids, accepted, refusals, height, waiting)


def pending_receipt(batch: Batch, error: CommitTimeoutError) -> BatchReceipt:
    """What the answer to a batch that was not committed in time says of its rows. Raises FormatError where it
    does not account for each, or says that some are committed but not where."""
    ids = [tx_id.tobytes() for tx_id in batch.ids()]
    answer = {"height": None, **error.problem}
    try:
        receipt = batch_receipt(ids, answer, answer.get("rows", []), answer["pending"])
    except (KeyError, TypeError) as wrong:
        raise FormatError("pending", repr(wrong), "the outcome of each row") from wrong
    if receipt.accepted > len(receipt.pending) and receipt.height is None:
        raise FormatError("height", "none", "the height of rows that are committed")
    return receipt


def submit_one(batch: Batch, wait: WaitLevel) -> ApiRequest[dict[str, Any]]:
    tx_id = batch.ids()[0].tobytes().hex()

    def read(response: httpx.Response) -> dict[str, Any]:
        answer = read_object(response)
        status, height = answer["status"], answer["height"]
        if answer["id"] != tx_id:
            raise FormatError("id", str(answer["id"])[:64], tx_id)
        if (status == "committed") != _is_u64(height) or status not in (wait, "committed"):
            raise FormatError("status", f"{status} at {height}", f"{wait}, and committed with a height")
        return answer

    options = {"params": {"wait": wait}, "json": transaction_json(batch)}
    return ApiRequest("POST", "/v1/transactions", read, options)


def transaction(tx_id: bytes) -> ApiRequest[dict[str, Any]]:
    path = f"/v1/transactions/{tx_id.hex()}"
    return ApiRequest("GET", path, lambda got: _record(tx_id, read_object(got)), none_if_missing=True)


def _record(tx_id: bytes, answer: dict[str, Any]) -> dict[str, Any]:
    if answer["id"] != tx_id.hex() or not _is_u64(answer["height"]):
        raise FormatError("id", str(answer["id"])[:64], f"{tx_id.hex()}, and its height")
    return answer


def find(tx_id: bytes) -> ApiRequest[Found]:
    def read(response: httpx.Response) -> Found:
        answer = read_object(response)
        if response.is_success:
            return Found(_record(tx_id, answer), int(answer["height"]))
        if not _is_u64(answer.get("height")):
            raise error_of(response)
        return Found(None, int(answer["height"]))

    return ApiRequest("GET", f"/v1/transactions/{tx_id.hex()}", read, reads_missing=True)


def proof(tx_id: bytes) -> ApiRequest[InclusionProof]:
    def read(response: httpx.Response) -> InclusionProof:
        return msgspec.convert(read_object(response), InclusionDocument).decoded()

    return ApiRequest("GET", f"/v1/transactions/{tx_id.hex()}/proof", read, none_if_missing=True)


def receipt_proof(tx_id: bytes) -> ApiRequest[ReceiptProof]:
    def read(response: httpx.Response) -> ReceiptProof:
        return msgspec.convert(read_object(response), ReceiptDocument).decoded()

    return ApiRequest("GET", f"/v1/transactions/{tx_id.hex()}/receipt/proof", read, none_if_missing=True)


def state_proof(key: bytes, height: Height) -> ApiRequest[dict[str, Any]]:
    """The state proof as the node gives it, unverified: what `light_client.verify` reads, as a document."""
    return ApiRequest("GET", f"/v1/accounts/{key.hex()}/proof", read_object, {"params": {"height": height}})


def sealed_header(height: Height) -> ApiRequest[bytes]:
    path = f"/v1/blocks/{height}/header"
    return ApiRequest("GET", path, lambda response: response.content, none_if_missing=True, media=BINARY)


def block(height: Height, offset: int, limit: int) -> ApiRequest[dict[str, Any]]:
    options = {"params": {"offset": offset, "limit": limit}}
    return ApiRequest("GET", f"/v1/blocks/{height}", read_object, options, none_if_missing=True)


def raw_block(height: Height, trusted: Genesis) -> ApiRequest[Block]:
    """A block, decoded from its bytes within the genesis' bounds."""

    def read(response: httpx.Response) -> Block:
        bounds = trusted.block_transactions_max, trusted.block_payload_bytes_max
        return decode_block(response.content, *bounds)

    return ApiRequest("GET", f"/v1/blocks/{height}/raw", read, none_if_missing=True, media=BINARY)


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
