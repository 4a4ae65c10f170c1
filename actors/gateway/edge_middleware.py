"""What every request passes before the API: origin, caller, limits, the cache of answers.

In this order, each a raw ASGI step beneath the typed surface
  * the path, the Host and the Origin (`edge.py`): 400 and 421;
  * a request id: the client's own `X-Request-Id` if it is a plain word, otherwise a new one, on each answer;
  * who asks: with API keys `Authorization: Bearer KEY` (401), otherwise the client's address; what he may do
    is left in the scope, and each endpoint compares it with its own role (`roles.py`);
  * the client's rate (429 + Retry-After) and requests in flight (503 + Retry-After), before anything is read;
  * final answers (numbered blocks, committed transactions, their proofs, sources, the genesis) from a bounded
    LRU of whole responses, with a strong ETag, `immutable` caching and 304 where the client has it already;
  * gzip for JSON of GZIP_BYTES_MIN and more where the client takes it (final answers are compressed once).

HEAD is answered as GET is, without the body. Pages of other origins read nothing; those of
`gateway.allowed_origins` read and submit; none administers. (Starlette's CORSMiddleware is not used: it
answers a foreign preflight by plain text instead of a problem.) Without keys, whoever asks from this machine,
with no proxy between, administers. Liveness and readiness pass without key, under a rate of their own, so
that a supervisor sees a busy gateway as alive.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from hashlib import blake2b
from typing import Any

from actors.gateway.backend import SOURCE_KEY, BusyError
from actors.gateway.body import Receive, Scope, Send, refuse_stream, send_answer, send_problem
from actors.gateway.edge import EdgeRules, PageOrigin, client_name, forwarded, is_loopback, path_problem
from actors.gateway.final_answers import (
    PART_BYTES,
    Captured,
    FinalAnswer,
    answer_cache,
    compresses,
    send_final,
    takes_gzip,
    zipped_bytes,
)
from actors.gateway.limits import ApiKeys, ClientLimits, digest_of
from actors.gateway.problem import ProblemError, of_error
from actors.gateway.roles import CALLER_KEY, TURNS_KEY, AccessRole, Caller
from actors.gateway.shares import ClientShares, FairTurns
from actors.gateway.streams import KeyedStreams
from actors.ledger.source import client_source
from actors.settings import GatewaySettings

App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
LIGHT_READS_MAX = 256
OUTGOING_BYTES_MAX = 256 << 20
STALE_CHARS_MAX = 200
HEALTH_PATH, READY_PATH = "/v1/health", "/v1/ready"
_FINAL = re.compile(
    r"/v1/(genesis|blocks/[0-9]{1,20}(/raw|/certificate|/header|/receipts)?"
    r"|transactions/[0-9a-fA-F]{64}(/proof|/receipt)?|contracts/[0-9a-fA-F]{64}/source)"
)
_WORD = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_KINDS = (
    *("transactions", "blocks", "accounts", "contracts", "entries"),
    *("status", "events", "functions", "genesis", "health", "ready"),
)
_WITHHELD = {
    PageOrigin.ALLOWED: (AccessRole.SUBMIT, "pages of other origins may not administer a node"),
    PageOrigin.FOREIGN: (
        AccessRole.READ,
        "pages of other origins may not submit: see gateway.allowed_origins",
    ),
}
_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD, POST"),
    (b"access-control-allow-headers", b"content-type, authorization, x-request-id"),
    (b"access-control-max-age", b"600"),
]


class EdgeMiddleware:
    """The outermost ASGI application of a gateway. stale: why what it reads may be old, or ""."""

    def __init__(
        self,
        app: App,
        settings: GatewaySettings,
        keys: ApiKeys | None = None,
        clock: Callable[[], float] = time.monotonic,
        stale: Callable[[], str] = str,
    ) -> None:
        self._app, self._keys, self._clock, self._stale = app, keys, clock, stale
        self.edge = EdgeRules(settings)
        self._limits = ClientLimits(
            settings.client_rate_max, settings.client_inflight_max, settings.requests_inflight_max
        )
        self.turns = (
            FairTurns("reads", LIGHT_READS_MAX),
            FairTurns("heavy reads", settings.heavy_reads_max),
        )
        self._streams = KeyedStreams()
        self._outgoing = ClientShares("bytes of answers that are being read", OUTGOING_BYTES_MAX)
        self._final_cache = b"public, " if keys is None else b"private, "
        self.answers = answer_cache()
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds: Counter[str] = Counter()
        self._started, self._count = f"{time.time_ns():x}".encode(), 0

    def replace_keys(self, keys: ApiKeys) -> None:
        """Other keys count from now on; streams that were opened with one that is gone end."""
        self._keys = keys
        self._streams.end_without(keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        if scope["type"] == "websocket":
            await self._websocket(scope, headers, receive, send)
            return
        began, kind, without_body = self._clock(), _kind(scope["path"]), scope["method"] == "HEAD"
        if without_body:
            scope = {**scope, "method": "GET"}
        origin = self.edge.origin(headers)
        extra: Headers = [(b"x-request-id", self._request_id(headers))]
        if self.edge.shares_reads:
            extra.append((b"vary", b"Origin"))
        if origin is PageOrigin.ALLOWED:
            extra.append((b"access-control-allow-origin", headers[b"origin"]))
        if stale := self._stale():
            extra.append((b"x-raychain-stale", _header_text(stale)))

        async def answer(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self.requests[kind, message["status"]] += 1
                message["headers"] = [*message.get("headers", []), *extra]
            elif without_body:
                message["body"] = b""
            await send(message)

        try:
            await self._checked(scope, headers, origin, receive, answer)
        except (ProblemError, BusyError) as error:
            await send_problem(answer, of_error(error))
        finally:
            self.seconds[kind] += self._clock() - began  # type: ignore[assignment]

    async def _checked(
        self, scope: Scope, headers: dict[bytes, bytes], origin: PageOrigin, receive: Receive, send: Send
    ) -> None:
        self._refuse_spelling(scope, headers)
        path, method = scope["path"], scope["method"]
        if path in (HEALTH_PATH, READY_PATH):
            await self._probed(scope, receive, send)
        elif method == "OPTIONS" and origin is PageOrigin.ALLOWED:
            await send_answer(send, 204, "text/plain", b"", _PREFLIGHT)
        else:
            if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
                detail = "bodies are read as they are: send them without Content-Encoding"
                raise ProblemError("unsupported-media-type", detail, field="content-encoding")
            await self._admitted(scope, headers, origin, receive, send)

    def _refuse_spelling(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Raise ProblemError for a path or Host that is refused; liveness is answered under any name."""
        problem = path_problem(scope)
        if problem is None and scope["path"] != HEALTH_PATH:
            problem = self.edge.host_problem(scope, headers)
        if problem is not None:
            raise problem

    async def _probed(self, scope: Scope, receive: Receive, send: Send) -> None:
        probe = f"probe:{client_name(self.edge.address(scope))}"
        self._enter(probe)
        scope[CALLER_KEY] = Caller(probe, AccessRole.PUBLIC)
        try:
            await self._app(scope, receive, send)
        finally:
            self._limits.leave(probe)

    async def _websocket(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        try:
            self._refuse_spelling(scope, headers)
            origin = self.edge.origin(headers)
            if origin is PageOrigin.FOREIGN:
                raise ProblemError("forbidden", "pages of other origins may not subscribe", field="origin")
            caller = scope[CALLER_KEY] = self._caller(scope, headers, origin)
            self._enter(caller.client)
            self._limits.leave(caller.client)  # streams have a share of their own
        except ProblemError as error:
            await receive()
            await refuse_stream(send, error)
            return
        if not caller.key:
            await self._app(scope, receive, send)
            return
        with self._streams.of_key(caller.key, receive) as receive_until_revoked:
            await self._app(scope, receive_until_revoked, send)

    def _enter(self, client: str) -> None:
        """Count a request in. Raises ProblemError 429 or 503."""
        refused = self._limits.enter(client, self._clock())
        if refused is not None:
            what, limit = refused
            problem = "too-many-requests" if what.endswith("second") else "busy"
            raise ProblemError(problem, f"{what} reached the bound of {limit}", limit=limit)

    async def _admitted(
        self, scope: Scope, headers: dict[bytes, bytes], origin: PageOrigin, receive: Receive, send: Send
    ) -> None:
        caller = self._caller(scope, headers, origin)
        client = caller.client
        self._enter(client)
        scope[SOURCE_KEY] = client_source(
            client.removeprefix("key:") if caller.key else client, bool(caller.key)
        )
        scope[CALLER_KEY], scope[TURNS_KEY] = caller, self.turns
        try:
            await self._cached(scope, headers, receive, send)
        finally:
            self._limits.leave(client)

    def _caller(self, scope: Scope, headers: dict[bytes, bytes], origin: PageOrigin) -> Caller:
        """Who asks. Raises ProblemError 401 without a valid key where one is needed."""
        if self._keys is None:
            client, key, role, withheld = self._anonymous(scope, headers)
        else:
            scheme, _, text = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
            key = digest_of(text.strip()) if scheme.lower() == "bearer" else ""
            found = self._keys.find(key)
            if found is None:
                problem = ProblemError(
                    "unauthorized", "send Authorization: Bearer KEY", field="authorization"
                )
                problem.headers["WWW-Authenticate"] = "Bearer"
                raise problem
            client, role, withheld = f"key:{found[0]}", found[1], ""
        highest, why = _WITHHELD.get(origin, (AccessRole.ADMIN, ""))
        if role > highest:
            role, withheld = highest, why
        return Caller(client, role, withheld, key)

    def _anonymous(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[str, str, AccessRole, str]:
        address = self.edge.address(scope)
        client = client_name(address)
        if is_loopback(address) and not forwarded(headers):
            return client, "", AccessRole.ADMIN, ""
        return (
            client,
            "",
            AccessRole.SUBMIT,
            "without API keys, administer the node on its machine, by no proxy",
        )

    async def _cached(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        key = scope["path"], scope.get("query_string", b"")
        if (known := self.answers.get(key)) is not None:
            if len(known.body) <= PART_BYTES:
                await send_final(send, known, headers, self._final_cache)
                return
            with self._held(scope, len(known.body)):
                await send_final(send, known, headers, self._final_cache)
            return
        final = _FINAL.fullmatch(scope["path"]) is not None
        self.answers.misses += final
        captured = Captured(send)
        await self._app(scope, receive, captured)
        if not captured.whole:
            return
        with self._held(scope, len(captured.body)):
            await self._release(key, final, captured, headers, send)

    @contextlib.contextmanager
    def _held(self, scope: Scope, size: int) -> Iterator[None]:
        """Count a large answer while its client reads it. Raises ShareError at the client's share."""
        if size <= PART_BYTES:
            yield
            return
        client = scope[CALLER_KEY].client
        self._outgoing.take(client, size)
        try:
            yield
        finally:
            self._outgoing.give(client, size)

    async def _release(
        self,
        key: tuple[str, bytes],
        final: bool,
        captured: Captured,
        headers: dict[bytes, bytes],
        send: Send,
    ) -> None:
        media = dict(captured.headers).get(b"content-type", b"")
        if final and captured.status == 200:
            zipped = zipped_bytes(captured.body) if compresses(media, captured.body) else None
            etag = b'"' + blake2b(captured.body, digest_size=16).hexdigest().encode() + b'"'
            known = FinalAnswer(media, etag, captured.body, zipped)
            if not key[1]:  # or one client's variations of the query would push out what others ask for
                self.answers.put(key, known)
            await send_final(send, known, headers, self._final_cache)
        else:
            await captured.release(takes_gzip(headers) and compresses(media, captured.body))

    def _request_id(self, headers: dict[bytes, bytes]) -> bytes:
        given = headers.get(b"x-request-id")
        if given is not None and _WORD.fullmatch(given):
            return given
        self._count += 1
        return self._started + b"-%x" % self._count

    def figures(self) -> dict[str, object]:
        """Requests by kind and status, seconds by kind, the cache of answers."""
        light, heavy = self.turns
        return {
            "requests": {f"{kind} {status}": count for (kind, status), count in self.requests.items()},
            "request_seconds": {kind: round(spent, 3) for kind, spent in self.seconds.items()},
            "requests_inflight": self._limits.inflight,
            "reads_waiting": light.waiting,
            "heavy_reads_waiting": heavy.waiting,
            "api_keys": None if self._keys is None else len(self._keys),
            "answers_cached": len(self.answers),
            "answers_bytes": self.answers.bytes,
            "answers_hits": self.answers.hits,
            "answers_misses": self.answers.misses,
        }


def _header_text(text: str) -> bytes:
    """A reason as a header may carry it."""
    plain = "".join(character if " " <= character <= "~" else " " for character in text[:STALE_CHARS_MAX])
    return plain.strip().encode()


def _kind(path: str) -> str:
    """A label of few values for metrics, whatever a stranger asks for."""
    part = path.removeprefix("/v1/").partition("/")[0]
    return part if part in _KINDS else "other"
