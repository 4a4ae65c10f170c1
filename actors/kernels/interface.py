"""The contract of the kernels: what callers may pass, and what every implementation answers.

The portable implementation (hashlib, libsodium) defines the right answers. The AVX-512 one, and for CPUs
without AVX-512 the hasher by SHA extensions and the verifier by 128-bit products, must give the same answer
on every input, and are chosen only where they prove so at start.

Arrays are columns of a row table, so rows may be any number of bytes apart, but the bytes of one row lie
side by side. Nothing here is secret: signatures, keys and messages are public, and timing may depend on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Choice = Literal["auto", "portable", "simd"]

HASH_BYTES = 32
KEY_BYTES = 32
SIGNATURE_BYTES = 64
ROW_BYTES_MAX = 1 << 20
"""Longest prefix and row, or signed message, that a kernel takes: far above any fixed-width row."""


class Hasher(Protocol):
    """SHA-256 (FIPS 180-4) of many messages of one length."""

    def __call__(self, messages: NDArray[np.uint8], prefix: bytes = b"") -> NDArray[np.uint8]:
        """Hash ``prefix || row`` for each row of ``messages``.

        ``messages`` is (n, L) uint8, any distance between rows; the answer is a new (n, 32) uint8 array.
        Raises ``ShapeError`` for another shape or dtype, or if prefix and row exceed ``ROW_BYTES_MAX``.
        """
        ...


class SignatureVerifier(Protocol):
    """Ed25519 (RFC 8032) verification of many signatures over messages of one length."""

    def __call__(
        self, keys: NDArray[np.uint8], signatures: NDArray[np.uint8], messages: NDArray[np.uint8]
    ) -> NDArray[np.bool_]:
        """Answer libsodium's verdict on each row.

        ``keys`` is (n, 32), ``signatures`` (n, 64), ``messages`` (n, M), all uint8 with any distance between
        rows; the answer is a new (n,) bool array. Raises ``ShapeError`` for another shape or dtype, or if M
        exceeds ``ROW_BYTES_MAX``.
        """
        ...


class ShapeError(ValueError):
    """A column whose dtype, width or number of rows is not what the kernel takes."""


def no_statistics() -> dict[str, int]:
    """Counters of an implementation that keeps none."""
    return {}


@dataclass(frozen=True)
class Kernels:
    """One implementation of every kernel, and why it was the one chosen.

    ``name`` is of the verifier, or ``sha_ni`` where only the hasher is not the portable one.
    ``reason`` is one line for the log: empty when the wanted implementation was there to use.
    ``statistics`` answers monotone counters for metrics, by name; empty for the portable implementation.
    """

    name: Literal["portable", "sha_ni", "mulx", "avx512ifma"]
    hash_rows: Hasher
    verify: SignatureVerifier
    reason: str = ""
    statistics: Callable[[], dict[str, int]] = field(default=no_statistics)


def column(
    name: str, values: NDArray[np.uint8], width_bytes: int | None, rows: int | None
) -> NDArray[np.uint8]:
    """Check one argument, and copy it only if the bytes within its rows are not side by side.

    Raises ``ShapeError`` naming the argument, what was expected and what came.
    """
    if values.dtype != np.uint8 or values.ndim != 2:
        raise ShapeError(f"{name}: expected a 2-dimensional uint8 array, got {values.ndim}-d {values.dtype}")
    if width_bytes is not None and values.shape[1] != width_bytes:
        raise ShapeError(f"{name}: expected {width_bytes} bytes a row, got {values.shape[1]}")
    if values.shape[1] > ROW_BYTES_MAX:
        raise ShapeError(f"{name}: {values.shape[1]} bytes a row exceed the limit of {ROW_BYTES_MAX}")
    if rows is not None and values.shape[0] != rows:
        raise ShapeError(f"{name}: expected {rows} rows, got {values.shape[0]}")
    if values.shape[1] > 1 and values.strides[1] != 1:
        return np.ascontiguousarray(values)
    return values


def hashed_column(messages: NDArray[np.uint8], prefix: bytes) -> NDArray[np.uint8]:
    """Check the argument of a hasher; raises ``ShapeError``."""
    messages = column("messages", messages, None, None)
    hashed_bytes = len(prefix) + messages.shape[1]
    if hashed_bytes > ROW_BYTES_MAX:
        raise ShapeError(f"messages: prefix and row of {hashed_bytes} bytes exceed {ROW_BYTES_MAX}")
    return messages


def signature_columns(
    keys: NDArray[np.uint8], signatures: NDArray[np.uint8], messages: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Check the three columns of a verification against each other; raises ``ShapeError``."""
    keys = column("keys", keys, KEY_BYTES, None)
    rows = keys.shape[0]
    return (
        keys,
        column("signatures", signatures, SIGNATURE_BYTES, rows),
        column("messages", messages, None, rows),
    )
