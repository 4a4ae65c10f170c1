"""Routes of the chain: accounts, blocks, certificates, the genesis."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal
from urllib.parse import parse_qsl

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from actors.gateway import render
from actors.gateway.heights import BlockHeight, StateHeight, height_of, proof_at
from actors.gateway.known_contracts import KnownContracts
from actors.gateway.models import (
    AccountOut,
    BlockOut,
    BlockPageOut,
    CertificateOut,
    PendingOut,
    ReceiptPageOut,
)
from actors.gateway.openapi import problems, reads
from actors.gateway.problem import ProblemError
from actors.gateway.roles import AccessRole, RoledRoute, needs
from actors.gateway.service import Service
from actors.gateway.transaction_routes import json_response
from actors.ledger.block import HEADER_BYTES, decode_block, decode_header
from actors.ledger.delta import AccountState
from actors.ledger.receipts import decode_receipts

PAGE_TRANSACTIONS_MAX = 500
PAGE_HEADERS_MAX = 100
PAGE_READS_AT_ONCE = 8
QUERY_FIELDS_MAX = 64

AccountKey = Annotated[
    str, Path(pattern="^[0-9a-fA-F]{64}$", description="Ed25519 public key, 64 hexadecimal digits")
]
Consistency = Annotated[
    Literal["bounded", "linearizable"],
    Query(
        description="bounded: a head at most `gateway.staleness_max_ms` old; "
        "linearizable: nothing committed before the request is missing"
    ),
]


async def _block_bytes(backend: Service, height: str) -> bytes:
    wanted = await height_of(backend, height)
    if wanted == 0:
        raise ProblemError("not-found", "block 0 is the genesis: see /v1/genesis", field="height")
    data = await backend.block(wanted)
    if data is None:
        raise ProblemError("not-found", f"no block at height {wanted}", field="height")
    return data


def _at_a_height(query: bytes) -> bool:
    """Whether an account is asked for at a height, which Storage answers with a proof."""
    if b"height" not in query and b"%" not in query:
        return False
    try:
        asked = dict(parse_qsl(query.decode("latin-1"), max_num_fields=QUERY_FIELDS_MAX))
    except ValueError:
        return True
    return asked.get("height", "latest") != "latest"


def chain_routes(backend: Service, contracts: KnownContracts) -> APIRouter:
    """GET /accounts/{key}, /blocks/..., /genesis."""
    router = APIRouter(prefix="/v1", route_class=RoledRoute)

    @reads(router, "/accounts/{key}", AccountOut, 404, 422, 503, heavy=_at_a_height)
    async def account(
        key: AccountKey, height: StateHeight = "latest", consistency: Consistency = "bounded"
    ) -> Response:
        """Read an account, at the head or at a height; the answer says of which height it is."""
        if height == "latest":
            account = await backend.account(bytes.fromhex(key), consistency == "linearizable")
        else:
            proven = await proof_at(backend, bytes.fromhex(key), height)
            account = AccountState(proven.nonce, proven.balance, proven.height)
        return json_response({"key": key.lower(), **render.plain(account)})

    @reads(router, "/accounts/{key}/pending", PendingOut, 422, 503, heavy=True)
    async def pending(key: AccountKey) -> Response:
        """Pending transactions of an account at this node."""
        held = await backend.pending(bytes.fromhex(key))
        return json_response({"key": key.lower(), **render.pending(held)})

    @reads(router, "/blocks", BlockPageOut, 422, 503, heavy=True)
    async def blocks(
        before: Annotated[
            int | None, Query(ge=0, le=2**63 - 1, description="cursor: heights below it; `next` of a page")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_HEADERS_MAX)] = 20,
    ) -> Response:
        """List headers, newest first, a page at a time."""
        head = (await backend.head()).height
        newest = head if before is None else min(head, before - 1)
        heights = range(newest, max(0, newest - limit), -1)
        headers = []
        for start in range(0, len(heights), PAGE_READS_AT_ONCE):
            some = heights[start : start + PAGE_READS_AT_ONCE]
            found = await asyncio.gather(*(backend.block(height) for height in some))
            headers += [render.header(decode_header(data[:HEADER_BYTES])) for data in found if data]
        last = headers[-1]["height"] if headers else 0
        return json_response({"blocks": headers, "next": last if last > 1 else None})

    @reads(router, "/blocks/{height}", BlockOut, 404, 422, 503, heavy=True)
    async def block(
        height: BlockHeight,
        offset: Annotated[int, Query(ge=0, le=2**32)] = 0,
        limit: Annotated[int, Query(ge=0, le=PAGE_TRANSACTIONS_MAX)] = 20,
    ) -> Response:
        """Read a block, with a page of its transactions."""
        genesis = backend.genesis
        data = await _block_bytes(backend, height)
        decoded = decode_block(data, genesis.block_transactions_max, genesis.block_payload_bytes_max)
        return json_response(render.block(decoded, offset, limit))

    @reads(router, "/blocks/{height}/raw", None, 404, 422, 503, heavy=True)
    async def raw(height: BlockHeight) -> Response:
        """The bytes of a block: header, signature, batch."""
        return Response(await _block_bytes(backend, height), media_type="application/octet-stream")

    @reads(router, "/blocks/{height}/certificate", CertificateOut, 404, 422, 503)
    async def certificate(height: BlockHeight) -> Response:
        """The votes that make a block final."""
        wanted = await height_of(backend, height)
        data = await backend.certificate(wanted) if wanted else None
        if not data:
            raise ProblemError("not-found", f"no certificate at height {wanted}", field="height")
        return json_response(render.certificate(wanted, data))

    @reads(router, "/blocks/{height}/receipts", ReceiptPageOut, 404, 422, 503, heavy=True)
    async def receipts(
        height: BlockHeight,
        offset: Annotated[int, Query(ge=0, le=2**32)] = 0,
        limit: Annotated[int, Query(ge=0, le=PAGE_TRANSACTIONS_MAX)] = 100,
    ) -> Response:
        """What applying each transaction of a block did, a page at a time."""
        wanted = await height_of(backend, height)
        header = await backend.header(wanted)
        data = await backend.receipts(wanted) if header is not None else None
        if header is None or data is None:
            raise ProblemError("not-found", f"no block at height {wanted}", field="height")
        decoded = decode_receipts(data, header.transaction_count)
        page = range(*slice(offset, offset + limit).indices(header.transaction_count))
        emitted = (event for output in decoded.outputs if output.position in page for event in output.events)
        named = await contracts.find_all(contract for contract, _, _ in emitted)
        return json_response({"height": wanted, **render.receipts(decoded, offset, page, named)})

    @router.get("/genesis", summary="The genesis document, in its canonical form", responses=problems(503))
    @needs(AccessRole.READ)
    async def genesis() -> Response:
        return Response(backend.genesis.encode(), media_type="application/json")

    return router
