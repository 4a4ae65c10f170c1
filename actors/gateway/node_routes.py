"""Routes of the node itself: status, actors, mempool, peers, validators, liveness, readiness."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from actors.gateway import render
from actors.gateway.backend import RETRY_AFTER_S
from actors.gateway.models import (
    ActorsOut,
    HealthOut,
    MaintainedOut,
    MaintenanceIn,
    MempoolOut,
    PeersOut,
    ReadyOut,
    ScaledOut,
    ScaleIn,
    StatusOut,
    ValidatorsOut,
)
from actors.gateway.openapi import problems, reads
from actors.gateway.problem import ProblemError
from actors.gateway.roles import AccessRole, RoledRoute, needs
from actors.gateway.service import Service
from actors.gateway.transaction_routes import json_response


def node_routes(backend: Service) -> APIRouter:
    """GET /status, /actors, /mempool, /peers, /validators, /health, /ready, and what administrators do."""
    router = APIRouter(prefix="/v1", route_class=RoledRoute)

    @router.get(
        "/status",
        summary="The network, its head, the limits and figures of this node",
        response_model=StatusOut,
    )
    @needs(AccessRole.READ, heavy=True)
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

    @router.get("/actors", summary="What each actor of the node says of itself", response_model=ActorsOut)
    @needs(AccessRole.READ, heavy=True)
    async def actors() -> Response:
        return json_response({"actors": render.plain(await backend.actors())})

    @router.get("/mempool", summary="Pending transactions, a shard at a time", response_model=MempoolOut)
    @needs(AccessRole.READ, heavy=True)
    async def mempool() -> Response:
        every = await backend.actors()
        shards = [
            {
                "shard": name,
                **{field: (health or {}).get(field) for field in ("depth", "inflight", "capacity")},
            }
            for name, health in every.items()
            if name.startswith("mempool-")
        ]
        total = {field: sum(int(shard[field] or 0) for shard in shards) for field in ("depth", "capacity")}
        return json_response({**total, "shards": shards})

    @reads(router, "/peers", PeersOut, 503, heavy=True)
    async def peers() -> Response:
        """Other nodes that this one knows."""
        return json_response({"peers": render.plain(await backend.peers())})

    @reads(router, "/validators", ValidatorsOut, 503, heavy=True)
    async def validators() -> Response:
        """Validator workers and their queue."""
        return json_response(render.plain(await backend.validators()))

    @router.post(
        "/validators",
        summary="Have so many Validators from now on",
        description="For administrators; without API keys, for callers on this machine. Answers when done.",
        response_model=ScaledOut,
        responses=problems(400, 403, 408, 413, 422, 503),
    )
    @needs(AccessRole.ADMIN)
    async def scale(wanted: ScaleIn) -> Response:
        return json_response(render.plain(await backend.scale_validators(wanted.validators)))

    @router.post(
        "/maintenance",
        summary="Make a snapshot of the head, or a copy of the database beside it, while the node runs",
        description="For administrators; without API keys, for callers on this machine. Answers when done.",
        response_model=MaintainedOut,
        responses=problems(400, 403, 404, 408, 413, 422, 503),
    )
    @needs(AccessRole.ADMIN)
    async def maintain(wanted: MaintenanceIn) -> Response:
        if wanted.action == "copy":
            return json_response({"action": wanted.action, "folder": await backend.copy_database()})
        made = await backend.snapshot_now()
        if not made:
            raise ProblemError("not-found", "the chain has no block yet: there is nothing to make one of")
        return json_response({"action": wanted.action, "snapshot": made})

    @router.get("/health", summary="Liveness: the process answers", response_model=HealthOut)
    @needs(AccessRole.PUBLIC)
    async def health() -> Response:
        return json_response({"status": "ok"})

    @router.get(
        "/ready",
        summary="Readiness: the parts behind it answer, and it takes part in the network",
        response_model=ReadyOut,
        responses={503: {"model": ReadyOut, "description": "Not ready, and why"}},
    )
    @needs(AccessRole.PUBLIC)
    async def ready() -> Response:
        parts, reasons = await backend.ready()
        headers = {"Retry-After": str(RETRY_AFTER_S)} if reasons else None
        answer = {"ready": not reasons, "parts": parts, "reasons": list(reasons)}
        return json_response(answer, 503 if reasons else 200, headers)

    return router
