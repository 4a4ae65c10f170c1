"""Heights as requests name them, and the state at one of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from actors.gateway.problem import ProblemError
from actors.gateway.service import Service
from actors.storage.interface import AccountProof, RetainedHeights, StateValues

BlockHeight = Annotated[
    str, Path(pattern="^(latest|[0-9]{1,20})$", description="height of a block, or `latest`")
]
StateHeight = Annotated[
    str, Query(pattern="^(latest|[0-9]{1,20})$", description="a retained height, or `latest`")
]


async def height_of(backend: Service, height: str) -> int:
    """A height as a path names it."""
    return (await backend.head()).height if height == "latest" else int(height)


def state_height(height: str) -> int | None:
    """A height as a query names it; None is the newest."""
    return None if height == "latest" else int(height)


async def proof_at(backend: Service, key: bytes, height: str) -> AccountProof:
    """Storage's proof of a key of the state. Raises ProblemError 404 for a height that is not retained."""
    proof = await backend.state_proof(key, state_height(height))
    if isinstance(proof, RetainedHeights):
        raise not_retained(proof, height)
    return proof


async def values_at(backend: Service, keys: list[bytes], height: int | None) -> StateValues:
    """What keys of the state hold. Raises ProblemError 404 for a height that is not retained."""
    values = await backend.state_values(keys, height)
    if isinstance(values, RetainedHeights):
        raise not_retained(values, str(height))
    return values


def not_retained(kept: RetainedHeights, height: str) -> ProblemError:
    """The problem of a height whose state is not kept."""
    limit = f"{kept.oldest} to {kept.newest}"
    detail = f"no state at height {height}: it is kept for heights {limit}"
    return ProblemError("not-found", detail, field="height", limit=limit)
