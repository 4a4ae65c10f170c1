"""Routes for light clients: accounts and entries proven against a state root, receipts against a receipts
root, and headers with what makes them final."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response

from actors.contracts.limits import ENTRY_TAG
from actors.gateway import contract_render, render
from actors.gateway.chain_routes import AccountKey
from actors.gateway.contract_models import EntryProofOut, ReceiptProofOut
from actors.gateway.heights import BlockHeight, StateHeight, height_of, proof_at
from actors.gateway.models import StateProofOut
from actors.gateway.openapi import BYTES_ANSWER, problems, reads
from actors.gateway.problem import ProblemError
from actors.gateway.roles import AccessRole, RoledRoute, needs
from actors.gateway.service import Service
from actors.gateway.transaction_routes import TransactionId, json_response, not_committed
from actors.ledger.block import HEADER_BYTES
from actors.ledger.signing import SIGNATURE_BYTES
from actors.storage.interface import AccountProof

_OCTETS = "application/octet-stream"
_TAG = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in ENTRY_TAG.hex())
EntryKey = Annotated[
    str,
    Path(
        pattern=f"^{_TAG}[0-9a-fA-F]{{48}}$",
        description=f"key of an entry, 64 hexadecimal digits that begin with {ENTRY_TAG.hex()}",
    ),
]
ProofFormat = Annotated[
    Literal["json", "ics23"], Query(description="ics23 answers with `CommitmentProof` bytes")
]


def proof_routes(backend: Service) -> APIRouter:
    """GET /accounts/{key}/proof, /entries/{key}/proof, /transactions/{id}/receipt/proof, and
    /blocks/{height}/header."""
    router = APIRouter(prefix="/v1", route_class=RoledRoute)

    @router.get(
        "/accounts/{key}/proof",
        summary="Prove an account, or that it does not exist, against the state root of a final block",
        response_model=StateProofOut,
        responses={200: {"content": BYTES_ANSWER}, **problems(404, 422, 503)},
    )
    @needs(AccessRole.READ, heavy=True)
    async def prove(
        key: AccountKey, height: StateHeight = "latest", format: ProofFormat = "json"
    ) -> Response:
        proof = await proof_at(backend, bytes.fromhex(key), height)
        return _answer(proof, format, render.plain(proof))

    @router.get(
        "/entries/{key}/proof",
        summary="Prove a contract's entry, or its absence, against the state root of a final block",
        response_model=EntryProofOut,
        responses={200: {"content": BYTES_ANSWER}, **problems(404, 422, 503)},
    )
    @needs(AccessRole.READ, heavy=True)
    async def entry(key: EntryKey, height: StateHeight = "latest", format: ProofFormat = "json") -> Response:
        proof = await proof_at(backend, bytes.fromhex(key), height)
        document = render.plain(proof)
        for of_account in ("nonce", "balance"):
            del document[of_account]
        return _answer(proof, format, document)

    @reads(router, "/transactions/{id}/receipt/proof", ReceiptProofOut, 404, 422, 503, heavy=True)
    async def prove_receipt(id: TransactionId) -> Response:
        """Prove what a transaction did: its receipt and its events, under a final block's receipts root."""
        record = await backend.receipt_proof(bytes.fromhex(id))
        if record is None:
            raise not_committed()
        output = record.output and contract_render.proven_output(record.output)
        return json_response({"id": id.lower(), **render.plain(record), "output": output})

    @reads(router, "/blocks/{height}/header", None, 404, 422, 503)
    async def header(height: BlockHeight) -> Response:
        """The bytes of a header, its signature and its certificate."""
        wanted = await height_of(backend, height)
        block = await backend.block(wanted) if wanted else None
        certificate = await backend.certificate(wanted) if block is not None else None
        if block is None or certificate is None:
            raise ProblemError("not-found", f"no final block at height {wanted}", field="height")
        return Response(block[: HEADER_BYTES + SIGNATURE_BYTES] + certificate, media_type=_OCTETS)

    return router


def _answer(proof: AccountProof, format: str, document: dict[str, Any]) -> Response:
    if format == "json":
        return json_response(document)
    if not proof.ics23:
        raise ProblemError("not-found", "ICS-23 has no absence proof in a state without accounts")
    return Response(proof.ics23, media_type=_OCTETS)
