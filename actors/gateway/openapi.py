"""What the OpenAPI document says beyond what FastAPI derives: problem answers, and the raw batch route."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from actors.contracts.failures import Failure
from actors.gateway.models import BatchSubmitted, ProblemOut
from actors.gateway.problem import TITLES, kind_of_verdict
from actors.gateway.roles import AccessRole, Endpoint, Heavy, needs
from actors.ledger.verdict import Verdict, explain
from actors.sdk.answers import PROBLEM_TYPE

BATCH_PATH = "/v1/transactions/batch"
BYTES_ANSWER = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_SCHEMAS = "#/components/schemas/"
_PROBLEM = {PROBLEM_TYPE: {"schema": {"$ref": _SCHEMAS + "ProblemOut"}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers these statuses with problem details; any may answer 400."""
    titles: dict[int, list[str]] = {}
    for status, title in TITLES.values():
        titles.setdefault(status, []).append(title)
    return {
        status: {"description": "; or ".join(titles[status]), "content": _PROBLEM}
        for status in sorted({400, *statuses})
    }


def reads(
    router: APIRouter, path: str, answer: type | None, *statuses: int, heavy: Heavy = False
) -> Callable[[Endpoint], Endpoint]:
    """Declare a GET for who may read; its docstring is the summary. answer: its model, None for bytes."""
    responses = problems(*statuses)
    kind: dict[str, Any] = {"response_model": answer, "responses": responses}
    if answer is None:
        kind = {"response_class": Response, "responses": {200: {"content": BYTES_ANSWER}, **responses}}

    def declare(endpoint: Endpoint) -> Endpoint:
        summary = (endpoint.__doc__ or "").rstrip(".")
        endpoint.__doc__ = None  # or it would be the description as well
        router.get(path, summary=summary, **kind)(needs(AccessRole.READ, heavy)(endpoint))
        return endpoint

    return declare


def api_description() -> str:
    """The document's opening words in Markdown: conventions, and every verdict with its status."""
    rows = [
        f"| {verdict.value} | {verdict.name} | {TITLES[kind_of_verdict(verdict)][0]} | "
        f"{explain(verdict)[0] or '-'} | {explain(verdict)[1]} |"
        for verdict in Verdict
        if verdict != Verdict.OK
    ]
    failures = ", ".join(f"{failure.value} {failure.name}" for failure in Failure)
    return (
        "Amounts, nonces and heights are unsigned 64-bit JSON integers; JavaScript reads integers exactly to "
        "2^53-1 only, so request bodies may carry them as decimal strings. Keys, ids, hashes and signatures "
        "are hexadecimal. Errors are RFC 9457 problem details (`application/problem+json`) with `field`, "
        "`limit`, and for a refused transaction `code` and `verdict`; 429 and 503 carry `Retry-After`. "
        "Every answer of a gateway carries `raychain-network`, the first 16 digits of the genesis hash: one "
        "without it is of a proxy or something else between, and says nothing of what was submitted. "
        "Submitting the same transaction again is harmless: before signing a nonce anew, ask for the "
        "transaction by its id, since it may have committed although no answer arrived. Integers in answers "
        "about contracts are strings of their digits from 2^53 on. The status of a receipt or simulation is "
        f"0, or why the call failed: {failures}.\n\n"
        "| code | verdict | status | field | advice |\n|---|---|---|---|---|\n" + "\n".join(rows)
    )


def describe_batch(document: dict[str, Any]) -> dict[str, Any]:
    """Add the batch route, and the schemas that only it and the problems use, to FastAPI's document."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in (BatchSubmitted, ProblemOut):
        schema = model.model_json_schema(ref_template=_SCHEMAS + "{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    document["paths"][BATCH_PATH] = {"post": _batch_operation()}
    return document


def _batch_operation() -> dict[str, Any]:
    answers = {"application/json": {"schema": {"$ref": _SCHEMAS + "BatchSubmitted"}}, **BYTES_ANSWER}
    refused = problems(400, 408, 413, 415, 422, 503, 504)
    return {
        "tags": ["transactions"],
        "summary": "Submit a binary batch",
        "description": (
            "Body: magic RCB1, count u32, payload_bytes u64, the 208-byte rows, the payloads in row order; "
            "little-endian. Answers JSON, or with Accept: application/octet-stream one verdict byte a row. "
            "Rows that are refused are listed; the others are unharmed. 503 when no row was taken because "
            "the mempool is away or full, 504 when rows are accepted but not committed in time (`pending` "
            "lists them). Ids are not returned: an id is SHA-256(0x00 ‖ row)."
        ),
        "operationId": "submit_batch",
        "parameters": [
            {
                "name": "wait",
                "in": "query",
                "required": False,
                "schema": {
                    "type": "string",
                    "enum": ["accepted", "durable", "committed"],
                    "default": "accepted",
                },
            }
        ],
        "requestBody": {"required": True, "content": BYTES_ANSWER},
        "responses": {
            "200": {
                "description": "The verdict of every row",
                "content": answers,
                "headers": {
                    "Raychain-Height": {
                        "description": "binary answer only: highest block that holds one of the rows",
                        "schema": {"type": "integer"},
                    }
                },
            },
            **{str(status): answer for status, answer in refused.items()},
        },
    }
