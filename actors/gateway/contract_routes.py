"""Routes of contracts: what one is, its source, rows of its tables, and what a call would do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from actors.contracts.json_values import integer_to_json, slot_to_json, slots_to_json
from actors.contracts.limits import KEYS_MAX
from actors.contracts.world import MemoryWorld
from actors.gateway import contract_render
from actors.gateway.contract_models import ContractOut, SimulateIn, SimulationOut, SourceOut, TableRowOut
from actors.gateway.contract_record import KnownContract
from actors.gateway.contract_requests import keys_of, simulated_call, table_of
from actors.gateway.heights import StateHeight, state_height, values_at
from actors.gateway.known_contracts import KnownContracts
from actors.gateway.openapi import problems, reads
from actors.gateway.problem import ProblemError, of_verdict
from actors.gateway.roles import CALLER_KEY, AccessRole, RoledRoute, needs
from actors.gateway.service import Service
from actors.gateway.simulation import SimulatedCall, SimulationOutcome
from actors.gateway.simulator import Simulator
from actors.gateway.transaction_routes import json_response
from actors.ledger.block import decode_block
from actors.ledger.contract_payloads import decode_deployment
from actors.ledger.hashing import sha256
from actors.ledger.rows import KIND_DEPLOY

KEY_CHARS_MAX = 256
ContractAddress = Annotated[
    str, Path(pattern="^[0-9a-fA-F]{64}$", description="of the contract, 64 hexadecimal digits")
]
TableName = Annotated[
    str, Path(pattern="^[A-Za-z0-9_]{1,48}$", description="a table or cell, by name or number")
]
RowKeys = Annotated[
    Sequence[Annotated[str, Query(max_length=KEY_CHARS_MAX)]],
    Query(max_length=KEYS_MAX, description="the row's keys, in order: integers, true or false, hexadecimal"),
]


def contract_routes(backend: Service, contracts: KnownContracts, simulator: Simulator) -> APIRouter:
    """GET /contracts/{address}, its source and rows of its tables; POST /contracts/{address}/simulate."""
    router = APIRouter(prefix="/v1", route_class=RoledRoute)

    @reads(router, "/contracts/{address}", ContractOut, 404, 422, 503, heavy=True)
    async def describe(address: ContractAddress) -> Response:
        """Read a contract: its program, and what can be called, read and followed."""
        contract = await contracts.get(bytes.fromhex(address))
        height = max((await backend.head()).height, contract.origin.height)
        return json_response(contract_render.description(contract, height))

    @reads(router, "/contracts/{address}/source", SourceOut, 404, 422, 503, heavy=True)
    async def source(address: ContractAddress) -> Response:
        """Read the source that came with a contract's deployment."""
        return json_response(await _source(backend, await contracts.get(bytes.fromhex(address))))

    @reads(router, "/contracts/{address}/tables/{table}", TableRowOut, 404, 422, 503)
    async def row(
        address: ContractAddress, table: TableName, key: RowKeys = (), height: StateHeight = "latest"
    ) -> Response:
        """Read a row of a contract's table, or a cell."""
        contract = await contracts.get(bytes.fromhex(address))
        return json_response(await _row(backend, contract, table, key, state_height(height)))

    @router.post(
        "/contracts/{address}/simulate",
        summary="Try a call: what it would do, answer and cost",
        response_model=SimulationOut,
        responses=problems(400, 404, 409, 413, 422, 429, 503),
    )
    @needs(AccessRole.READ)
    async def simulate(address: ContractAddress, asked: SimulateIn, request: Request) -> Response:
        contract = await contracts.get(bytes.fromhex(address))
        at, time_ms = await simulator.state_facts(asked.height)
        wanted = simulated_call(contract, asked, backend.genesis.prices, at, time_ms)
        simulated = await simulator.run(request.scope[CALLER_KEY].client, wanted)
        if simulated.verdict:
            fee = integer_to_json(simulated.fee) if simulated.applied.gas else None
            raise of_verdict(simulated.verdict, backend.genesis.prices, fee=fee)
        named = await contracts.find_all(event[0] for event in simulated.applied.events)
        return json_response(_simulated(contract, wanted, simulated, named))

    return router


async def _source(backend: Service, contract: KnownContract) -> dict[str, Any]:
    """Out of the deployment. Raises ProblemError 404 where its block is not kept."""
    height, genesis = contract.origin.height, backend.genesis
    data = await backend.block(height)
    if data is None:
        detail = f"its deployment is in block {height}, which this node keeps no more: ask one that keeps all"
        raise ProblemError("not-found", detail, field="address", limit=height)
    batch = decode_block(data, genesis.block_transactions_max, genesis.block_payload_bytes_max).batch
    offsets = batch.payload_offsets
    for at, row in enumerate(batch.rows):
        if int(row["kind"]) != KIND_DEPLOY or row["recipient"].tobytes() != contract.address:
            continue
        deployed = decode_deployment(batch.payloads[offsets[at] : offsets[at + 1]].tobytes())
        if deployed is None or sha256(deployed.source) != contract.source_hash:
            continue
        return {
            "address": contract.address.hex(),
            "source": _text(deployed.source),
            "transaction": batch.ids()[at].tobytes().hex(),
            "height": height,
        }
    raise ProblemError("not-found", f"block {height} has no deployment of it", field="address")


def _text(source: bytes) -> str:
    try:
        return source.decode()
    except UnicodeDecodeError:
        detail = "what was deployed as its source is no text: read the payload of its deployment"
        raise ProblemError("not-found", detail, field="address") from None


async def _row(
    backend: Service, contract: KnownContract, asked: str, key: Sequence[str], height: int | None
) -> dict[str, Any]:
    number = table_of(contract, asked)
    table, layout = contract.verified.program.tables[number], contract.verified.tables[number]
    keys = keys_of(table, key)
    at = layout.entry_keys(contract.address, keys)
    held = await values_at(backend, at, height)
    world = MemoryWorld()
    world.entries = dict(zip(at, held.values, strict=True))
    return {
        "height": held.height,
        "table": table.name,
        "keys": [slot_to_json(value) for value in keys],
        "exists": any(held.values),
        "row": slots_to_json(table.columns, layout.read(world, at)),
        "entries": [
            {"key": entry.hex(), "value": value.hex()} for entry, value in zip(at, held.values, strict=True)
        ],
    }


def _simulated(
    contract: KnownContract,
    wanted: SimulatedCall,
    simulated: SimulationOutcome,
    named: contract_render.Contracts,
) -> dict[str, Any]:
    applied, function = simulated.applied, contract.verified.functions[wanted.function].function
    return {
        "height": wanted.height,
        "status": int(applied.status),
        "failure": contract_render.failure_name(applied.status),
        "message": applied.message,
        "gas": integer_to_json(applied.gas),
        "fee": integer_to_json(simulated.fee),
        "deposit": integer_to_json(simulated.deposit),
        "entries_created": simulated.created,
        "entries_removed": simulated.removed,
        "results": contract_render.results(function, applied.results),
        "results_bytes": applied.results.hex(),
        "events": [
            {
                "contract": event[0].hex(),
                "number": event[1],
                **contract_render.named_event(event, named),
                "bytes": event[2].hex(),
            }
            for event in applied.events
        ],
        "changes": [
            {"key": key.hex(), "before": before.hex(), "after": after.hex()}
            for key, before, after in simulated.changes
        ],
        "static": wanted.function in contract.static,
    }
