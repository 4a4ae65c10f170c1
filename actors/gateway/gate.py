"""What every HTTP request passes before the API: identity, limits, the cache of final answers, metrics.

In this order, each a raw ASGI step beneath the typed surface
  * a request id: the client's own `X-Request-Id` if it is a plain word, otherwise a new one, on every answer;
  * with an API key file, `Authorization: Bearer KEY`, and the role that the path needs (401, 403);
  * the client's rate (429 + Retry-After) and requests in flight (503 + Retry-After), before anything is read;
  * final answers (numbered blocks, committed transactions, their proofs, the genesis) from a bounded LRU of
    whole responses, with a strong ETag, `immutable` caching and 304 where the client has it already;
  * gzip for JSON of GZIP_BYTES_MIN and more where the client takes it (final answers are compressed once);
  * cross-origin readers: none, except the origins of `gateway.allowed_origins`.

Liveness and readiness pass without key and limits, so that a supervisor sees a busy gateway as alive.
"""

from __future__ import annotations

import re
import time
import zlib
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from actors.gateway.backend import SOURCE_KEY
from actors.gateway.body import Receive, Scope, Send, send_answer, send_problem
from actors.gateway.limits import ApiKeys, ClientLimits, Role
from actors.gateway.problem import ProblemError
from actors.settings import GatewaySettings

App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
ANSWERS_BYTES_MAX, ANSWERS_MAX = 64 << 20, 20_000
GZIP_BYTES_MIN = 1024
SOURCE_CHARS_MAX = 128  # the mempool's bound of a source's name
FINAL_CACHE = b"public, max-age=31536000, immutable"
_FINAL = re.compile(
    r"^/v1/(genesis|blocks/[0-9]{1,20}(/raw|/certificate|/header|/receipts)?"
    r"|transactions/[0-9a-fA-F]{64}(/proof|/receipt)?)$"
)
_WORD = re.compile(rb"^[A-Za-z0-9._-]{1,64}$")
_ALWAYS = ("/v1/health", "/v1/ready")
_ADMIN_PATHS = ("/v1/validators", "/v1/members")
_LOOPBACK = ("127.0.0.1", "::1")
_KINDS = ("transactions", "blocks", "accounts", "status", "events", "genesis", "health", "ready")


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """A whole answer that never changes, plain and compressed."""

    media: bytes
    etag: bytes
    body: bytes
    zipped: bytes | None


class AnswerCache:
    """Final answers by path and query; the least recently used leave at the bounds."""

    def __init__(self, bytes_max: int = ANSWERS_BYTES_MAX, entries_max: int = ANSWERS_MAX) -> None:
        self._bytes_max, self._entries_max = bytes_max, entries_max
        self._answers: OrderedDict[tuple[str, bytes], FinalAnswer] = OrderedDict()
        self.bytes = self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: tuple[str, bytes]) -> FinalAnswer | None:
        answer = self._answers.get(key)
        if answer is None:
            return None
        self.hits += 1
        self._answers.move_to_end(key)
        return answer

    def put(self, key: tuple[str, bytes], answer: FinalAnswer) -> None:
        """Keep an answer; one that is larger than the whole cache is not kept."""
        if (old := self._answers.pop(key, None)) is not None:
            self.bytes -= _size(old)
        if _size(answer) > self._bytes_max:
            return
        self._answers[key] = answer
        self.bytes += _size(answer)
        while self.bytes > self._bytes_max or len(self._answers) > self._entries_max:
            self.bytes -= _size(self._answers.popitem(last=False)[1])


class Gate:
    """The outermost ASGI application of a gateway."""

    def __init__(
        self,
        app: App,
        settings: GatewaySettings,
        keys: ApiKeys | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._keys, self._clock = app, keys, clock
        self._origins = {origin.encode() for origin in settings.allowed_origins}
        self._limits = ClientLimits(
            settings.client_rate_max, settings.client_inflight_max, settings.requests_inflight_max
        )
        self.answers = AnswerCache()
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds: Counter[str] = Counter()
        self._started, self._count = f"{time.time_ns():x}".encode(), 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._websocket(scope, receive, send)
            return
        began, headers, kind = self._clock(), dict(scope["headers"]), _kind(scope["path"])
        extra: Headers = [(b"x-request-id", self._request_id(headers))]
        extra += self._cors(headers)

        async def answer(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self.requests[kind, message["status"]] += 1
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        try:
            if scope["path"] in _ALWAYS:
                await self._app(scope, receive, answer)
            elif scope["method"] == "OPTIONS" and len(extra) > 1:
                await send_answer(answer, 204, "text/plain", b"", _PREFLIGHT)
            else:
                await self._admitted(scope, headers, receive, answer)
        finally:
            self.seconds[kind] += self._clock() - began  # type: ignore[assignment]

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._client(scope, dict(scope["headers"]))
        except ProblemError as error:
            await receive()
            code = {401: 3000, 403: 3003}.get(error.status, 1008)
            await send({"type": "websocket.close", "code": code, "reason": str(error)})
            return
        await self._app(scope, receive, send)

    async def _admitted(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        try:
            name = self._client(scope, headers)
            refused = self._limits.enter(name, self._clock())
            if refused is not None:
                what, limit = refused
                problem = "too-many-requests" if what.endswith("second") else "busy"
                raise ProblemError(problem, f"{what} reached the bound of {limit}", limit=limit)
        except ProblemError as error:
            await send_problem(send, error)
            return
        source = f"anonymous:{name}" if self._keys is None else f"known:{name.removeprefix('key:')}"
        scope[SOURCE_KEY] = source[:SOURCE_CHARS_MAX]
        try:
            await self._cached(scope, headers, receive, send)
        finally:
            self._limits.leave(name)

    def _client(self, scope: Scope, headers: dict[bytes, bytes]) -> str:
        """Who asks. Raises ProblemError: 401 without a valid key where one is needed, 403 below the role."""
        address = (scope.get("client") or ("",))[0]
        posts = scope.get("method") == "POST"
        administers = posts and scope["path"] in _ADMIN_PATHS
        if administers and b"origin" in headers and headers[b"origin"] not in self._origins:
            raise ProblemError("forbidden", "other origins may not administer a node", field="origin")
        if self._keys is None:
            if administers and address not in _LOOPBACK:
                raise ProblemError("forbidden", "without API keys, administer the node on its machine")
            return str(address)
        scheme, _, text = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        found = self._keys.find(text.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            problem = ProblemError("unauthorized", "send Authorization: Bearer KEY", field="authorization")
            problem.headers["WWW-Authenticate"] = "Bearer"
            raise problem
        name, role = found
        needed = Role.ADMIN if administers else Role.SUBMIT if posts else Role.READ
        if role < needed:
            raise ProblemError(
                "forbidden", f"this needs the role {needed.name.lower()}", field="authorization"
            )
        return f"key:{name}"

    async def _cached(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        key = scope["path"], scope.get("query_string", b"")
        if (known := self.answers.get(key)) is not None:
            await _send_final(send, known, headers)
            return
        final = _FINAL.match(scope["path"]) is not None
        self.answers.misses += final
        captured = _Captured(send)
        await self._app(scope, receive, captured)
        if not captured.whole:
            return
        media = dict(captured.headers).get(b"content-type", b"")
        if final and captured.status == 200:
            zipped = _zipped(captured.body) if _compresses(media, captured.body) else None
            etag = b'"' + blake2b(captured.body, digest_size=16).hexdigest().encode() + b'"'
            known = FinalAnswer(media, etag, captured.body, zipped)
            self.answers.put(key, known)
            await _send_final(send, known, headers)
        else:
            await captured.release(_takes_gzip(headers) and _compresses(media, captured.body))

    def _request_id(self, headers: dict[bytes, bytes]) -> bytes:
        given = headers.get(b"x-request-id")
        if given is not None and _WORD.match(given):
            return given
        self._count += 1
        return self._started + b"-%x" % self._count

    def _cors(self, headers: dict[bytes, bytes]) -> Headers:
        origin = headers.get(b"origin")
        if origin is None or origin not in self._origins:
            return []
        return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]

    def figures(self) -> dict[str, object]:
        """Requests by kind and status, seconds by kind, the cache of answers."""
        return {
            "requests": {f"{kind} {status}": count for (kind, status), count in self.requests.items()},
            "request_seconds": {kind: round(spent, 3) for kind, spent in self.seconds.items()},
            "requests_inflight": self._limits.inflight,
            "answers_cached": len(self.answers),
            "answers_bytes": self.answers.bytes,
            "answers_hits": self.answers.hits,
            "answers_misses": self.answers.misses,
        }


_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", b"content-type, authorization, x-request-id"),
    (b"access-control-max-age", b"600"),
]


class _Captured:
    """Holds an answer back until it is whole; one that comes in several parts passes through as it is."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: MutableMapping[str, Any] | None = None
        self.status, self.headers, self.body, self.whole = 0, [], b"", False  # type: ignore[var-annotated]

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            self.status, self.headers = message["status"], list(message.get("headers", []))
        elif self._start is not None and not message.get("more_body"):
            self.body, self.whole = message.get("body", b""), True
        else:
            if self._start is not None:
                await self._send(self._start)
                self._start = None
            await self._send(message)

    async def release(self, zipped: bool) -> None:
        """Send what was held back, compressed if asked."""
        body, headers = self.body, self.headers
        if zipped:
            body = _zipped(body)
            headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
            length = str(len(body)).encode()
            headers += [(b"content-length", length), (b"content-encoding", b"gzip")]
            headers += [(b"vary", b"Accept-Encoding")]
        await self._send({"type": "http.response.start", "status": self.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


async def _send_final(send: Send, answer: FinalAnswer, headers: dict[bytes, bytes]) -> None:
    caching = [(b"etag", answer.etag), (b"cache-control", FINAL_CACHE), (b"vary", b"Accept-Encoding")]
    known = headers.get(b"if-none-match")
    if known is not None and (known.strip() == b"*" or answer.etag in known):
        await send({"type": "http.response.start", "status": 304, "headers": caching})
        await send({"type": "http.response.body", "body": b""})
        return
    body = answer.body
    if answer.zipped is not None and b"accept-encoding" in headers and _takes_gzip(headers):
        body = answer.zipped
        caching.append((b"content-encoding", b"gzip"))
    length = str(len(body)).encode()
    caching += ((b"content-type", answer.media), (b"content-length", length))
    await send({"type": "http.response.start", "status": 200, "headers": caching})
    await send({"type": "http.response.body", "body": body})


def _takes_gzip(headers: dict[bytes, bytes]) -> bool:
    offered = headers.get(b"accept-encoding", b"").lower()
    return b"gzip" in offered and b"gzip;q=0" not in offered.replace(b" ", b"")


def _compresses(media: bytes, body: bytes) -> bool:
    return len(body) >= GZIP_BYTES_MIN and (b"json" in media or media.startswith(b"text/"))


def _zipped(body: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def _size(answer: FinalAnswer) -> int:
    return len(answer.body) + len(answer.zipped or b"") + 256


def _kind(path: str) -> str:
    """A label of few values for metrics, whatever a stranger asks for."""
    part = path.removeprefix("/v1/").partition("/")[0]
    return part if part in _KINDS else "other"
