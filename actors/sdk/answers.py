"""Whose answer an HTTP answer is. What is not this API's own says nothing of the chain, whatever its status.

Between a client and a node stand proxies, balancers and portals that answer themselves: 502 and 504 while the
node works on, a page of HTML with 200, a redirect, half a document. An answer is a gateway's own if
  * it carries the header `raychain-network`, the first eight bytes of the genesis hash in hexadecimal, and
    that is the network which the client speaks to;
  * its media type is the one that the request asks for, or problem details (RFC 9457) of this API's types;
  * its body has the shape that the request expects.
Everything else is a ForeignAnswerError: the fate of what was submitted is unknown, and has to be asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.ledger.genesis import Genesis

if TYPE_CHECKING:
    import httpx

PROBLEM_TYPE, TYPE_PREFIX = "application/problem+json", "urn:raychain:problem:"
NETWORK_HEADER = "raychain-network"
NETWORK_BYTES = 8
JSON, BINARY = "application/json", "application/octet-stream"
RETRY_AFTER_S_MAX = 3600.0
_NOTHING_TAKEN = tuple(f"{TYPE_PREFIX}{name}" for name in ("busy", "too-many-requests", "observer"))
_SHOWN_CHARS_MAX = 60


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

    nothing_taken: the node cannot have taken anything of what was submitted. cut_off: the connection ended
    before an answer, as one that was idle does when a balancer closes it.
    """

    def __init__(
        self,
        problem: dict[str, Any],
        retry_after_s: float,
        nothing_taken: bool = False,
        cut_off: bool = False,
    ) -> None:
        super().__init__(problem)
        self.retry_after_s, self.nothing_taken, self.cut_off = retry_after_s, nothing_taken, cut_off


class ForeignAnswerError(UnavailableApiError):
    """Something else than a gateway of this network answered. A submission may have been taken, or not.

    network: the mark of the other network, where a gateway of one answered.
    """

    def __init__(self, status: int, detail: str, retry_after_s: float = 1.0, network: str = "") -> None:
        problem = {"title": "The answer is not that of a gateway of this network", "detail": detail}
        super().__init__({**problem, "status": status}, retry_after_s)
        self.network = network


class CommitTimeoutError(ApiError):
    """What was submitted is in a mempool, and was not committed within the node's bound."""


def network_mark(genesis: Genesis) -> str:
    """What the header `raychain-network` says on every answer of this network's gateways."""
    return genesis.hash()[:NETWORK_BYTES].hex()


def media_of(response: httpx.Response) -> str:
    """The media type of an answer, without parameters."""
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def foreign(response: httpx.Response, why: str, network: str = "") -> ForeignAnswerError:
    """An answer that is none of this API, as an error that says how it shows."""
    shown = media_of(response)[:_SHOWN_CHARS_MAX] or "no content type"
    detail = f"{response.status_code}, {shown}: {why}; is a proxy or another service at this address?"
    return ForeignAnswerError(response.status_code, detail, retry_after_s(response), network)


def check_mark(response: httpx.Response, network: str | None) -> str:
    """The network that an answer says it is of. Raises ForeignAnswerError for none, or for another one."""
    mark = str(response.headers.get(NETWORK_HEADER, ""))
    if not mark:
        raise foreign(response, f"without the header {NETWORK_HEADER}")
    if network is not None and mark != network:
        shown = mark[:_SHOWN_CHARS_MAX]
        raise foreign(response, f"it is of the network {shown}, {network} is asked for", shown)
    return mark


def retry_after_s(response: httpx.Response) -> float:
    """Seconds that an answer asks to wait; 1 where it does not say, RETRY_AFTER_S_MAX at the most."""
    after = response.headers.get("retry-after", "1")
    known = after.isascii() and after.isdigit() and len(after) <= 9
    return min(float(after), RETRY_AFTER_S_MAX) if known else 1.0


def problem_of(response: httpx.Response) -> dict[str, Any]:
    """The problem details of an answer. Raises ForeignAnswerError where there are none of this API."""
    if media_of(response) != PROBLEM_TYPE:
        raise foreign(response, f"an error of this API is {PROBLEM_TYPE}")
    problem = read_object(response)
    if not str(problem.get("type", "")).startswith(TYPE_PREFIX):
        raise foreign(response, f"its type does not begin with {TYPE_PREFIX}")
    return {**problem, "status": response.status_code}


def error_of(response: httpx.Response) -> ApiError:
    """The typed error of an answer that is no success."""
    try:
        problem = problem_of(response)
    except ForeignAnswerError as error:
        return error
    if response.status_code in (429, 503):
        nothing_taken = problem["type"] in _NOTHING_TAKEN
        return UnavailableApiError(problem, retry_after_s(response), nothing_taken)
    if problem["type"] == f"{TYPE_PREFIX}commit-timeout":
        return CommitTimeoutError(problem)
    return ApiError(problem)


def unreachable(error: httpx.RequestError) -> UnavailableApiError:
    """The typed error of a request that got no answer. A submission may have been taken."""
    import httpx

    problem = {"title": "The node cannot be reached", "detail": str(error) or repr(error)}
    unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    cut_off = isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError) and not unsent
    return UnavailableApiError(problem, 1.0, unsent, cut_off)


def read_object(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer. Raises ForeignAnswerError for anything else."""
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        raise foreign(response, "its body is not JSON") from None
    if not isinstance(answer, dict):
        raise foreign(response, "its body is no JSON object")
    return answer
