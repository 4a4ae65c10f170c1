"""Routes of the node itself: status, liveness, readiness."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from actors.gateway import render
from actors.gateway.backend import RETRY_AFTER_S, Backend
from actors.gateway.models import HealthOut, ReadyOut, StatusOut
from actors.gateway.openapi import problems
from actors.gateway.transaction_routes import json_response


def node_routes(backend: Backend) -> APIRouter:
    """GET /status, /health, /ready."""
    router = APIRouter()

    @router.get(
        "/status",
        summary="The network, its head, the limits and figures of this node",
        response_model=StatusOut,
        responses=problems(503),
    )
    async def status() -> Response:
        genesis, limits = backend.genesis, backend.limits
        answer = {
            "network": genesis.network,
            "chain_id": genesis.hash().hex(),
            "chain_tag": genesis.chain_tag,
            "limits": {
                "batch_rows_max": limits.rows_max,
                "batch_payload_bytes_max": limits.payload_bytes_max,
                "batch_body_bytes_max": limits.body_bytes_max,
            },
            **render.plain(await backend.status()),
        }
        return json_response(answer)

    @router.get("/health", summary="Liveness: the process answers", response_model=HealthOut)
    async def health() -> Response:
        return json_response({"status": "ok"})

    @router.get(
        "/ready",
        summary="Readiness: the parts behind it answer too",
        response_model=ReadyOut,
        responses={503: {"model": ReadyOut, "description": "A part does not answer"}},
    )
    async def ready() -> Response:
        parts = await backend.ready()
        everything = all(parts.values())
        headers = None if everything else {"Retry-After": str(RETRY_AFTER_S)}
        return json_response({"ready": everything, "parts": parts}, 200 if everything else 503, headers)

    return router
