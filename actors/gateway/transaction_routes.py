"""Routes of single transactions: submit, read, prove."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from actors.gateway import render
from actors.gateway.backend import SOURCE_KEY, BusyError, UnavailableError, Wait
from actors.gateway.known_contracts import KnownContracts
from actors.gateway.models import ProofOut, ReceiptOut, Submitted, TransactionIn, TransactionOut
from actors.gateway.openapi import problems, reads
from actors.gateway.problem import ProblemError, of_verdict
from actors.gateway.roles import AccessRole, RoledRoute, needs
from actors.gateway.service import Service
from actors.ledger.hashing import sha256
from actors.ledger.rows import LEAF_PREFIX
from actors.ledger.verdict import Verdict
from actors.storage.interface import StoredTransaction

TransactionId = Annotated[
    str, Path(pattern="^[0-9a-fA-F]{64}$", description="SHA-256(0x00 ‖ row), 64 hexadecimal digits")
]


def json_response(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer; integers up to 2^64-1 are written exactly."""
    return Response(msgspec.json.encode(document), status, headers, "application/json")


def transaction_routes(backend: Service, contracts: KnownContracts) -> APIRouter:
    """POST /transactions, GET /transactions/{id} and its proof."""
    router = APIRouter(prefix="/v1", route_class=RoledRoute)

    @router.post(
        "/transactions",
        summary="Submit one signed transaction",
        status_code=202,
        response_model=Submitted,
        responses={
            200: {"model": Submitted, "description": "Committed"},
            **problems(400, 409, 413, 422, 429, 503, 504),
        },
    )
    @needs(AccessRole.SUBMIT)
    async def submit(
        transaction: TransactionIn, request: Request, wait: Annotated[Wait, Query()] = Wait.ACCEPTED
    ) -> Response:
        batch = transaction.batch()
        tx_id = sha256(LEAF_PREFIX + batch.rows.tobytes()).hex()
        submission = await backend.submit_single(batch, wait, request.scope.get(SOURCE_KEY, ""))
        if len(submission.pending):
            detail = "accepted but not committed yet; ask for it by id"
            raise ProblemError("commit-timeout", detail, id=tx_id)
        verdict = int(submission.verdicts[0])
        parked = verdict == Verdict.PARKED or len(submission.parked) > 0
        missing = await _missing_nonce(batch.rows["sender"].tobytes()) if parked else None
        if verdict not in (Verdict.OK, Verdict.DUPLICATE):
            raise of_verdict(verdict, backend.genesis.prices, id=tx_id, waits_for_nonce=missing)
        committed = submission.height is not None
        status = Wait.COMMITTED if committed else wait
        state = "committed" if committed else "parked" if parked else "pending"
        answer = {
            "id": tx_id,
            "status": status.value,
            "height": submission.height,
            "state": state,
            "waits_for_nonce": missing,
        }
        return json_response(answer, 200 if committed else 202)

    async def _missing_nonce(sender: bytes) -> int | None:
        try:
            return (await backend.pending(sender)).next_nonce
        except (UnavailableError, BusyError):
            return None

    @reads(router, "/transactions/{id}", TransactionOut, 404, 422, 503)
    async def read(id: TransactionId) -> Response:
        """Read a committed transaction and its receipt."""
        height = None
        if (record := await backend.transaction(bytes.fromhex(id))) is None:
            # The height first: what is committed in between must not seem absent from it.
            height = await backend.committed_height()
            record = await backend.transaction(bytes.fromhex(id))
        if record is None:
            raise not_committed(height)
        return json_response(await _rendered(record, contracts))

    @reads(router, "/transactions/{id}/receipt", ReceiptOut, 404, 422, 503)
    async def receipt(id: TransactionId) -> Response:
        """What applying a committed transaction did."""
        record = await backend.transaction(bytes.fromhex(id))
        if record is None:
            raise not_committed()
        return json_response((await _rendered(record, contracts))["receipt"])

    @reads(router, "/transactions/{id}/proof", ProofOut, 404, 422, 503, heavy=True)
    async def prove(id: TransactionId) -> Response:
        """Prove that a transaction is in a final block."""
        record = await backend.inclusion_proof(bytes.fromhex(id))
        if record is None:
            raise not_committed()
        return json_response({"id": id.lower(), **render.plain(record)})

    return router


async def _rendered(record: StoredTransaction, contracts: KnownContracts) -> dict[str, Any]:
    events = () if record.output is None else record.output.events
    named = await contracts.find_all(contract for contract, _, _ in events)
    return render.stored_transaction(record, named)


def not_committed(height: int | None = None) -> ProblemError:
    """The problem of an id that is in no block that this node knows. height: up to which it has looked."""
    return ProblemError(
        "not-found",
        "no committed transaction has this id; it may still be pending",
        field="id",
        height=height,
    )
