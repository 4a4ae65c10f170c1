"""Requests and their answers: bounded, with deadlines, by method name.

Either side asks; an answer is matched by the asker's id and only accepted from the peer that was asked. At
the bound of open requests to one peer a further one fails with `busy`, and at that of requests from one peer
they are answered `busy` without being run; an observer's bound is lower. Long answers are prepared a few at a
time, in turns, for members apart from observers. An answer after its deadline is counted and dropped.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from loguru import logger

from actors.peer.config import PeerLimits
from actors.peer.errors import ProtocolError, RequestError
from actors.peer.messages import Request, Response
from actors.peer.turns import Turns

Handler = Callable[[bytes, bytes], Awaitable[bytes]]
"""(identity of the asker, body) -> body of the answer. Raises `RequestError` to answer an error."""


@dataclass(frozen=True, slots=True)
class Method:
    """A registered handler, who may call it, and whether its answers are long."""

    handler: Handler
    members_only: bool
    long_answers: bool


class Exchange:
    """Open requests in both directions, and the registry of methods.

    unreachable: what handlers raise when a part of the node is down; the asker hears `not_ready`.
    """

    def __init__(self, limits: PeerLimits, deadline_s: float) -> None:
        self._limits = limits
        self._turns = {
            True: Turns(limits.answers_at_once_max_members),
            False: Turns(limits.answers_at_once_max_observers),
        }
        self._deadline_s = deadline_s
        self._methods: dict[str, Method] = {}
        self._open: dict[bytes, dict[int, asyncio.Future[Response]]] = {}
        self._serving: Counter[bytes] = Counter()
        self._next_id = 0
        self.unreachable: tuple[type[Exception], ...] = ()
        self.late_total = 0
        self.refused_total = 0

    def register(
        self, method: str, handler: Handler, *, members_only: bool = False, long_answers: bool = False
    ) -> None:
        """Answer `method` with `handler`; registering again replaces."""
        self._methods[method] = Method(handler, members_only, long_answers)

    def open(self, peer: bytes, method: str, body: bytes) -> tuple[Request, asyncio.Future[Response]]:
        """Begin a request. Raises `RequestError("busy")` at the bound; `done` must follow."""
        pending = self._open.setdefault(peer, {})
        if len(pending) >= self._limits.requests_pending_max:
            raise RequestError("busy", f"{len(pending)} requests to this peer are open")
        self._next_id += 1
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        pending[self._next_id] = future
        return Request(self._next_id, method, body), future

    def done(self, peer: bytes, request_id: int) -> None:
        """Forget a request, answered or not."""
        pending = self._open.get(peer)
        if pending is not None:
            pending.pop(request_id, None)
            if not pending:
                del self._open[peer]

    def on_response(self, peer: bytes, response: Response) -> None:
        """Match an answer to its request."""
        future = self._open.get(peer, {}).get(response.id)
        if future is None or future.done():
            self.late_total += 1
        elif response.error:
            future.set_exception(RequestError(response.error))
        else:
            future.set_result(response)

    def lost(self, peer: bytes) -> None:
        """The last connection to `peer` is gone: its open requests fail now."""
        for future in self._open.get(peer, {}).values():
            if not future.done():
                future.set_exception(RequestError("lost", "the connection was lost"))

    def accept(self, peer: bytes, request: Request, *, member: bool, waiting_bytes: int) -> bool:
        """Take on a request; False at a bound. `waiting_bytes`: answers that the peer has not taken yet."""
        limits = self._limits
        refused = self._serving[peer] >= (
            limits.requests_pending_max if member else limits.requests_pending_max_observer
        )
        if not member:
            refused = refused or len(request.body) > limits.request_bytes_max_observer
            refused = refused or waiting_bytes > limits.send_backlog_bytes_max_observer // 2
        if refused:
            self.refused_total += 1
            return False
        self._serving[peer] += 1
        return True

    async def serve(self, peer: bytes, request: Request, *, member: bool) -> Response:
        """Run the handler of an accepted request; every failure becomes an error answer."""
        try:
            method = self._methods.get(request.method)
            if method is None:
                return Response(request.id, "unknown_method", b"")
            if method.members_only and not member:
                return Response(request.id, "members_only", b"")
            async with asyncio.timeout(self._deadline_s):
                if not method.long_answers:
                    return Response(request.id, "", await method.handler(peer, request.body))
                async with self._turns[member].turn(peer):
                    return Response(request.id, "", await method.handler(peer, request.body))
        except (RequestError, ProtocolError) as error:
            return Response(request.id, error.reason[:64], b"")
        except TimeoutError:
            return Response(request.id, "handler_deadline", b"")
        except self.unreachable:
            return Response(request.id, "not_ready", b"")
        except Exception:  # noqa: BLE001 - a handler's bug becomes an error answer
            logger.exception("handler of {} failed", request.method)
            return Response(request.id, "internal", b"")
        finally:
            self._serving[peer] -= 1
            if not self._serving[peer]:
                del self._serving[peer]
