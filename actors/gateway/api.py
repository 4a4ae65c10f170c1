"""The HTTP API, version 1: FastAPI's typed surface over a `Service`, the hot batch route beneath it.

Errors are problem details (see `problem.py`) on every route, also for paths and methods that do not exist.
The OpenAPI document is /v1/openapi.json. No page of this API loads anything from elsewhere.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from actors.gateway import metrics, render
from actors.gateway.backend import BusyError, UnavailableError
from actors.gateway.batch_route import BatchRoute
from actors.gateway.body import (
    BODY_BYTES_HELD_MAX,
    BodyBudget,
    DisconnectError,
    Receive,
    Report,
    Scope,
    Send,
    refuse_stream,
    send_answer,
    send_problem,
    size_of_body,
)
from actors.gateway.chain_routes import chain_routes
from actors.gateway.contract_routes import contract_routes
from actors.gateway.edge_middleware import EdgeMiddleware
from actors.gateway.events_route import EVENTS_PATH, EventsRoute
from actors.gateway.explorer_route import ExplorerRoute
from actors.gateway.function_routes import function_routes
from actors.gateway.known_contracts import KnownContracts
from actors.gateway.limits import ApiKeys
from actors.gateway.membership import Membership, membership_routes
from actors.gateway.node_routes import node_routes
from actors.gateway.openapi import BATCH_PATH, api_description, describe_batch
from actors.gateway.problem import ProblemError, of_error
from actors.gateway.proof_routes import proof_routes
from actors.gateway.roles import CALLER_KEY, AccessRole, Guarded, RoledRoute, needs
from actors.gateway.service import Service
from actors.gateway.simulator import Simulator
from actors.gateway.transaction_routes import json_response, transaction_routes
from actors.ledger.contract_payloads import ROW_PAYLOAD_BYTES_MAX
from actors.ledger.rows import FormatError
from actors.sdk.answers import NETWORK_HEADER, PROBLEM_TYPE, network_mark
from actors.settings import GatewaySettings

METRICS_PATH, TRANSACTIONS_PATH = "/metrics", "/v1/transactions"
JSON_BODY_BYTES_MAX = 32 << 10
TRANSACTION_BODY_BYTES_MAX = 2 * ROW_PAYLOAD_BYTES_MAX + 4096
ERRORS_MAX = 16
FIELD_CHARACTERS_MAX = 120
_STATUS_PROBLEMS = {
    400: "malformed",
    404: "not-found",
    405: "method-not-allowed",
    415: "unsupported-media-type",
}


_STARTS = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})


class Api:
    """The ASGI application: one route by hand, all others by FastAPI. Every answer names the network."""

    def __init__(
        self,
        backend: Service,
        report: Report,
        settings: GatewaySettings,
        keys: ApiKeys | None,
        membership: Membership | None,
    ) -> None:
        contracts = KnownContracts(backend)
        self._simulator = Simulator(backend, contracts)
        self.typed = _typed_app(backend, contracts, self._simulator, report, membership)
        self._backend, self._report = backend, report
        # Twice the longest body, so that one client alone has room for one.
        held_max = max(BODY_BYTES_HELD_MAX, 2 * backend.limits.body_bytes_max)
        self._budget = BodyBudget(held_max, settings.transfer_bytes_per_s_min)
        self._batch = Guarded(BatchRoute(backend, report, self._budget))
        self._files = ExplorerRoute()
        self._explorer = Guarded(self._files)
        self._metrics = Guarded(self._answer_metrics)
        self.gate = EdgeMiddleware(self._route, settings, keys, stale=backend.stale)
        self._mark = NETWORK_HEADER.encode(), network_mark(backend.genesis).encode()
        self.events = EventsRoute(backend, contracts, report, settings.subscribers_max)
        self._events = Guarded(self.events)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def marked(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            begun = True
            if message["type"] in _STARTS:
                message = {**message, "headers": [*message.get("headers", ()), self._mark]}
            await send(message)

        try:
            await self.gate(scope, receive, marked)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            self._report(f"{scope['method']} {scope['path']}", error)
            await send_problem(marked, of_error(error))

    def figures(self) -> dict[str, object]:
        """What the HTTP face itself counts."""
        return {**self.gate.figures(), **self.events.figures(), **self._simulator.figures()}

    @needs(AccessRole.READ, heavy=True)
    async def _answer_metrics(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """GET /metrics: this gateway's figures, and those of the node while it answers."""
        status = await self._backend.status()
        up = not status["node"]["away"]
        figures = {"http": self.figures(), "up": up, **render.plain(status)}
        await send_answer(send, 200, metrics.MEDIA_TYPE, metrics.exposition(figures).encode(), [])

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        elif path == BATCH_PATH:
            await self._batch(scope, receive, send)
        elif scope["method"] == "POST":
            await self._bounded(scope, receive, send)
        elif scope["method"] == "GET" and path == METRICS_PATH:
            await self._metrics(scope, receive, send)
        elif scope["method"] == "GET" and self._files.takes(path):
            await self._explorer(scope, receive, send)
        else:
            await self.typed(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == EVENTS_PATH:
            await self._events(scope, receive, send)
            return
        await receive()
        await refuse_stream(send, ProblemError("not-found", f"the stream of events is {EVENTS_PATH}"))

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body within its bound before FastAPI sees the request."""
        try:
            submits = scope["path"] == TRANSACTIONS_PATH
            bytes_max = TRANSACTION_BODY_BYTES_MAX if submits else JSON_BODY_BYTES_MAX
            size = size_of_body(dict(scope["headers"]), bytes_max)
            async with self._budget.body(receive, size, scope[CALLER_KEY].client) as body:
                unread = [{"type": "http.request", "body": body, "more_body": False}]

                async def replay() -> MutableMapping[str, Any]:
                    return unread.pop() if unread else await receive()

                await self.typed(scope, replay, send)
        except DisconnectError:
            return
        except (ProblemError, BusyError) as error:
            await send_problem(send, of_error(error))


class _TypedApp(FastAPI):
    """FastAPI, with the batch route in its OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = describe_batch(super().openapi())
        return self.openapi_schema


def create_app(
    backend: Service,
    report: Report,
    settings: GatewaySettings | None = None,
    keys: ApiKeys | None = None,
    membership: Membership | None = None,
) -> Api:
    """The application over a backend. `report` is told of every failure that is answered with 500.

    Without `keys` everybody may read and submit, and who asks from this machine administer. Raises
    UndeclaredRoleError for a route that does not say what its callers must be.
    """
    return Api(backend, report, settings or GatewaySettings(), keys, membership)


def _typed_app(
    backend: Service,
    contracts: KnownContracts,
    simulator: Simulator,
    report: Report,
    membership: Membership | None,
) -> FastAPI:
    app = _TypedApp(
        title="raychain",
        version="1",
        summary="Submit transactions, read committed state with proofs, try and follow contracts.",
        description=api_description(),
        openapi_url=None,  # or its route would be one without a role
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False},
    )
    for router, tag in (
        (transaction_routes(backend, contracts), "transactions"),
        (chain_routes(backend, contracts), "chain"),
        (proof_routes(backend), "chain"),
        (contract_routes(backend, contracts, simulator), "contracts"),
        (function_routes(backend), "node"),
        (node_routes(backend), "node"),
        (membership_routes(backend.genesis, membership), "node"),
        (_document_routes(app), "node"),
    ):
        app.include_router(router, tags=[tag])

    async def typed_error(_request: Request, error: Exception) -> Response:
        return problem_response(of_error(error))

    async def unexpected(request: Request, error: Exception) -> Response:
        report(f"{request.method} {request.url.path}", error)
        return problem_response(of_error(error))

    for kind in (ProblemError, FormatError, BusyError, UnavailableError):
        app.add_exception_handler(kind, typed_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, unexpected)
    return app


def _document_routes(app: FastAPI) -> APIRouter:
    """GET /openapi.json."""
    router = APIRouter(prefix="/v1", route_class=RoledRoute)

    @router.get("/openapi.json", include_in_schema=False)
    @needs(AccessRole.READ)
    async def openapi() -> Response:
        return json_response(app.openapi())

    return router


def problem_response(problem: ProblemError) -> Response:
    """ProblemError details as a response."""
    return Response(problem.body(), problem.status, problem.headers, PROBLEM_TYPE)


async def _invalid_request(_request: Request, error: Exception) -> Response:
    """422 with the fields that are wrong; 400 where the body is no JSON at all. Input is never echoed."""
    errors = error.errors() if isinstance(error, RequestValidationError) else []
    if any(entry["type"] == "json_invalid" for entry in errors):
        return problem_response(ProblemError("malformed", "the body is not JSON", field="body"))
    fields = [{"field": _field(entry["loc"]), "detail": entry["msg"]} for entry in errors[:ERRORS_MAX]]
    first = fields[0] if fields else {"field": "body", "detail": "invalid"}
    return problem_response(ProblemError("invalid", first["detail"], field=first["field"], errors=fields))


def _field(location: tuple[Any, ...]) -> str:
    """Where it is wrong, without the part of the request; keys of strangers may hold any character."""
    parts = [str(part) for part in location[1:]] or [str(part) for part in location]
    return ".".join(parts)[:FIELD_CHARACTERS_MAX].encode("utf-8", "replace").decode()


async def _http_error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    name = _STATUS_PROBLEMS.get(status, "internal" if status >= 500 else "malformed")
    response = problem_response(ProblemError(name, str(getattr(error, "detail", ""))))
    response.headers.update(getattr(error, "headers", None) or {})
    return response
