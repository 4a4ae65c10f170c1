"""Payloads of pending rows: each in a chain of chunks, taken from a free list. All functions are compiled."""

from __future__ import annotations

import numpy as np

from actors.kernels.numba_options import inlined_kernel, kernel
from actors.mempool.arena import CHUNK_BYTES, CHUNKS_FREE, CHUNKS_LIVE, CHUNKS_TOUCHED

_PAYLOAD_SHIFT = np.uint64(32)


@inlined_kernel
def payload_bytes(words, i):  # type: ignore[no-untyped-def]
    """Payload length of row i."""
    return np.int64(words[i, 0] >> _PAYLOAD_SHIFT)


@inlined_kernel
def chunks_of(size):  # type: ignore[no-untyped-def]
    """Chunks that a payload of that many bytes takes."""
    return (size + CHUNK_BYTES - 1) // CHUNK_BYTES


@kernel
def store_payload(p, slot, payloads, start, size):  # type: ignore[no-untyped-def]
    """Keep payloads[start : start + size] as the payload of a row. There is room."""
    before = np.int64(-1)
    p.links[slot].chunk = -1
    for at in range(start, start + size, CHUNK_BYTES):
        chunk = p.totals[CHUNKS_FREE]
        if chunk >= 0:
            p.totals[CHUNKS_FREE] = p.chunk_next[chunk]
        else:
            chunk = p.totals[CHUNKS_TOUCHED]
            p.totals[CHUNKS_TOUCHED] += 1
        p.totals[CHUNKS_LIVE] += 1
        for k in range(min(CHUNK_BYTES, start + size - at)):
            p.chunks[chunk, k] = payloads[at + k]
        p.chunk_next[chunk] = -1
        if before < 0:
            p.links[slot].chunk = chunk
        else:
            p.chunk_next[before] = chunk
        before = chunk


@kernel
def copy_payload(p, slot, out, start):  # type: ignore[no-untyped-def]
    """Write a row's payload to out[start:]; returns where it ends."""
    left = payload_bytes(p.words, slot)
    chunk = np.int64(p.links[slot].chunk)
    while left > 0:
        size = min(left, CHUNK_BYTES)
        for k in range(size):
            out[start + k] = p.chunks[chunk, k]
        start += size
        left -= size
        chunk = np.int64(p.chunk_next[chunk])
    return start


@kernel
def free_payload(p, slot):  # type: ignore[no-untyped-def]
    """Give the chunks of a row back."""
    chunk = np.int64(p.links[slot].chunk)
    while chunk >= 0:
        following = np.int64(p.chunk_next[chunk])
        p.chunk_next[chunk] = p.totals[CHUNKS_FREE]
        p.totals[CHUNKS_FREE] = chunk
        p.totals[CHUNKS_LIVE] -= 1
        chunk = following
