"""Actors as their callers hold them. One function here says `.remote`, and nobody else does. Knows no Ray.

A face has the methods of an actor that others call; the actor's own docstrings say what each does. A call
begins at once and returns a reference to the answer. Its caller awaits that, or hands it on as an argument of
another call, where the value arrives without passing through the caller's process. Storage's face stands
beside the structs of its calls (storage/interface.py).
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from actors.ledger.block import BlockOutcome, OfferedBlock, PushReceipt
from actors.ledger.delta import Delta
from actors.ledger.membership import ChangeOutcome, MemberStanding
from actors.ledger.pending import DrawSummary, OutboxSummary, SenderPending

T = TypeVar("T")
Ref: TypeAlias = "T | Awaitable[T]"
"""An argument, or a reference to it: what another call answers."""


class _Remote:
    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def __getattr__(self, method: str) -> Any:
        call = getattr(self._handle, method).remote
        setattr(self, method, call)
        return call


def remote(handle: Any) -> Any:
    """The face of the actor behind a handle; who asks names the face's type."""
    return _Remote(handle)


class ConsensusFace(Protocol):
    """The actor `Consensus`."""

    def offer_block(self, _sender: bytes, block: OfferedBlock) -> Awaitable[None]: ...

    def line(self) -> Awaitable[str]: ...

    def prove(self, height: int, digest: bytes) -> Awaitable[bytes]: ...

    def hear_function(self, request: bytes) -> Awaitable[bytes]: ...

    def hear_change(self, request: bytes) -> Awaitable[bytes]: ...

    def hear_progress(self) -> Awaitable[bytes]: ...

    def validate_blocks(self, blocks: list[OfferedBlock]) -> Awaitable[list[BlockOutcome]]: ...

    def read_index(self) -> Awaitable[int]: ...

    def members(self) -> Awaitable[list[MemberStanding]]: ...

    def change_member(self, action: str, name: str) -> Awaitable[ChangeOutcome]: ...

    def scale_validators(self, count: int) -> Awaitable[dict[str, object]]: ...

    def status(self) -> Awaitable[dict[str, object]]: ...

    def health(self) -> Awaitable[dict[str, object]]: ...


class GatewayFace(Protocol):
    """The actor `Gateway`."""

    def committed(self, *deltas: Ref[Delta]) -> Awaitable[None]: ...

    def near_line(self) -> Awaitable[str]: ...


class MempoolFace(Protocol):
    """The actor `MempoolShard`."""

    def admit(
        self,
        rows: NDArray[Any],
        payloads: NDArray[np.uint8],
        durable: bool = False,
        sources: Sequence[str] = ("",),
        origins: NDArray[np.uint16] | None = None,
        relayed: bool = False,
    ) -> Awaitable[NDArray[np.uint8]]: ...

    def draw(
        self, rows_max: int, payload_bytes_max: int, height: int
    ) -> tuple[Awaitable[DrawSummary], Awaitable[NDArray[Any]], Awaitable[NDArray[np.uint8]]]: ...

    def draw_at_hand(
        self, rows_max: int, payload_bytes_max: int, height: int, wait_s: float = 0.0
    ) -> Awaitable[tuple[DrawSummary, NDArray[Any], NDArray[np.uint8], int]]: ...

    def near_line(self) -> Awaitable[str]: ...

    def resolve(self, draw: int, verdicts: NDArray[np.uint8]) -> Awaitable[None]: ...

    def settle(self, *deltas: Ref[Delta]) -> Awaitable[None]: ...

    def set_validators(self, workers: list[Any]) -> Awaitable[None]: ...

    def release(self) -> Awaitable[None]: ...

    def dropped(
        self, since: int = 0, wait_s: float = 0.0
    ) -> tuple[Awaitable[int], Awaitable[NDArray[np.uint8]], Awaitable[NDArray[np.uint8]]]: ...

    def outbox(
        self, since: int = 0, wait_s: float = 0.0, incarnation: int = 0
    ) -> tuple[Awaitable[OutboxSummary], Awaitable[NDArray[Any]], Awaitable[NDArray[np.uint8]]]: ...

    def pending(self, sender: bytes) -> Awaitable[SenderPending]: ...

    def offer_anew(self) -> Awaitable[None]: ...

    def health(self) -> Awaitable[dict[str, object]]: ...


class ValidatorFace(Protocol):
    """The actor `Validator`."""

    def run_contracts(self, job: NDArray[np.uint8]) -> Awaitable[NDArray[np.uint8]]: ...


class PeerFace(Protocol):
    """The actor `NodePeer`."""

    def request(
        self, identity: bytes, method: str, body: bytes, deadline_s: float | None = None
    ) -> Awaitable[bytes]: ...

    def push_block(
        self, to: list[bytes], body: Ref[NDArray[np.uint8]], deadline_s: float | None = None
    ) -> Awaitable[list[PushReceipt]]: ...

    def fetch_block(
        self, identity: bytes, height: int, digest: bytes, deadline_s: float | None = None
    ) -> Awaitable[OfferedBlock | None]: ...

    def ask_proofs(
        self, to: list[bytes], height: int, digest: bytes
    ) -> Awaitable[list[tuple[bytes, bytes]]]: ...

    def ask_headers(self, to: list[bytes], height: int, count: int) -> Awaitable[list[bytes]]: ...

    def committed(self, *deltas: Ref[Delta]) -> Awaitable[None]: ...

    def catch_up(self) -> Awaitable[None]: ...

    def peers(self) -> Awaitable[list[dict[str, object]]]: ...

    def health(self) -> Awaitable[dict[str, object]]: ...
