"""Roles belong to endpoints: each one declares what a caller must be, and checks it itself.

`needs` writes the role on the function or application that answers; `RoledRoute` (typed routes) and `Guarded`
(raw ones) compare it with the caller whom the gate left in the scope, when they run. So it does not matter
by which path, method or spelling a request came to an endpoint, and one without a role cannot be built.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from actors.gateway.backend import BusyError
from actors.gateway.body import Receive, Scope, Send, refuse_stream, send_problem
from actors.gateway.problem import ProblemError, of_error
from actors.gateway.shares import FairTurns

CALLER_KEY = "raychain.caller"
TURNS_KEY = "raychain.turns"
STARTS_KEY = "raychain.starts"
_ROLE, _HEAVY = "raychain_role", "raychain_heavy"
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Query = bytes
Heavy = bool | Callable[[Query], bool]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class AccessRole(IntEnum):
    """What a caller may do; each role includes those before it. A key has one of the last three."""

    PUBLIC = 0
    READ = 1
    SUBMIT = 2
    ADMIN = 3


class UndeclaredRoleError(Exception):
    """An endpoint says nothing of the role that it needs: the application must not start."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as the gate found out. client: the name that shares are counted under.

    role: the highest that is granted; `withheld` says why it is no higher, for the caller to read.
    key: SHA-256 of the API key in hexadecimal, "" without one.
    """

    client: str
    role: AccessRole
    withheld: str = ""
    key: str = ""


def needs(role: AccessRole, heavy: Heavy = False) -> Callable[[Endpoint], Endpoint]:
    """Declare an endpoint's role; and whether (or for which query strings) answering is heavy work."""

    def declare(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _ROLE, role)
        asked = heavy if callable(heavy) else (lambda _query: heavy)
        setattr(endpoint, _HEAVY, staticmethod(asked))  # or an instance of a class would bind it
        return endpoint

    return declare


def role_of(endpoint: object) -> AccessRole:
    """The declared role. Raises UndeclaredRoleError."""
    role = getattr(endpoint, _ROLE, None)
    if not isinstance(role, AccessRole):
        name = getattr(endpoint, "__qualname__", type(endpoint).__name__)
        raise UndeclaredRoleError(f"endpoint {name} declares no role: use @needs(Role...)")
    return role


def permit(scope: Scope, role: AccessRole) -> Caller:
    """The caller, if it has the role. Raises ProblemError 403 saying what is missing; 401 for nobody."""
    caller = scope.get(CALLER_KEY)
    if not isinstance(caller, Caller):
        raise ProblemError("unauthorized", "nobody said who asks", field="authorization")
    if caller.role < role:
        detail = caller.withheld or f"this needs the role {role.name.lower()}"
        raise ProblemError("forbidden", detail, field="origin" if "origin" in detail else "authorization")
    return caller


def _turns(scope: Scope, heavy: Callable[[Query], bool]) -> FairTurns | None:
    turns = scope.get(TURNS_KEY)
    if turns is None:
        return None
    light, weighty = turns
    chosen: FairTurns = weighty if heavy(scope.get("query_string", b"")) else light
    return chosen


class RoledRoute(APIRoute):
    """A typed route that checks its endpoint's role, and answers reads in the turn of their client."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind the check. Raises UndeclaredRoleError."""
        handler, role = super().get_route_handler(), role_of(self.endpoint)
        heavy, reads = getattr(self.endpoint, _HEAVY), role is AccessRole.READ

        async def checked(request: Request) -> Response:
            caller = permit(request.scope, role)
            turns = _turns(request.scope, heavy) if reads else None
            if turns is None:
                return await handler(request)
            await turns.enter(caller.client)
            try:
                return await handler(request)
            finally:
                turns.leave(caller.client)

        return checked


class Guarded:
    """A raw ASGI application behind the check of the role that it declares."""

    def __init__(self, app: App) -> None:
        self._app, self.role = app, role_of(app)
        self._heavy = getattr(app, _HEAVY)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            client = permit(scope, self.role).client
            turns = _turns(scope, self._heavy) if self.role is AccessRole.READ else None
            if turns is not None:
                await turns.enter(client)
        except (ProblemError, BusyError) as error:
            await _refuse(scope, receive, send, of_error(error))
            return
        try:
            await self._app(scope, receive, send)
        finally:
            if turns is not None:
                turns.leave(client)


async def _refuse(scope: Scope, receive: Receive, send: Send, problem: ProblemError) -> None:
    if scope["type"] == "websocket":
        await receive()
        await refuse_stream(send, problem)
    else:
        await send_problem(send, problem)
