"""The API's requests about contracts, as values: what requests.py is for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors.ledger.rows import FormatError
from actors.sdk.answers import read_object
from actors.sdk.requests import Answer, ApiRequest, Height

if TYPE_CHECKING:
    import httpx


def contract(address: bytes) -> ApiRequest[dict[str, Any]]:
    """What is at an address: program, hashes, where it comes from. 404 if there is no contract."""
    return _about(address, f"/v1/contracts/{address.hex()}")


def source(address: bytes) -> ApiRequest[dict[str, Any]]:
    """The source that its deployment carried. 404 if there is none, or its block is pruned."""
    return _about(address, f"/v1/contracts/{address.hex()}/source")


def simulate(
    address: bytes, body: dict[str, Any], read: Callable[[httpx.Response], Answer]
) -> ApiRequest[Answer]:
    """What a call would do."""
    path = f"/v1/contracts/{address.hex()}/simulate"
    return ApiRequest("POST", path, read, {"json": body}, asks_only=True)


def entry_proof(key: bytes, height: Height) -> ApiRequest[dict[str, Any]]:
    """The state proof of an entry as the node gives it, unverified."""
    return ApiRequest("GET", f"/v1/entries/{key.hex()}/proof", read_object, {"params": {"height": height}})


def _about(address: bytes, path: str) -> ApiRequest[dict[str, Any]]:
    def read(response: httpx.Response) -> dict[str, Any]:
        answer = read_object(response)
        if answer["address"] != address.hex():
            raise FormatError("address", str(answer["address"])[:64], address.hex())
        return answer

    return ApiRequest("GET", path, read)
