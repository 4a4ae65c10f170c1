"""Routes of governed functions: those that this member refused, and why."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel

from actors.gateway.model_types import U64Out
from actors.gateway.openapi import reads
from actors.gateway.roles import RoledRoute
from actors.gateway.service import Service
from actors.gateway.transaction_routes import json_response


class FunctionRefusalOut(BaseModel):
    """A governed function that this member does not have in a block."""

    id: str
    height: U64Out
    sender: str
    reason: str


class FunctionRefusalsOut(BaseModel):
    """The last ones, the newest last."""

    refused: list[FunctionRefusalOut]


def function_routes(backend: Service) -> APIRouter:
    """GET /functions/refused."""
    router = APIRouter(prefix="/v1", route_class=RoledRoute)

    @reads(router, "/functions/refused", FunctionRefusalsOut, 503)
    async def refused() -> Response:
        """Governed functions that this member refused since it started, and why."""
        found = [
            {"id": each.id.hex(), "height": each.height, "sender": each.sender.hex(), "reason": each.reason}
            for each in await backend.refused_functions()
        ]
        return json_response({"refused": found})

    return router
