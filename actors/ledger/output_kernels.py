"""Outputs of calls as MessagePack, compiled: the bytes that msgspec makes of the same outputs, out of
columns.

Source: the MessagePack specification (formats of integers, str, bin and array), each value in the shortest
form that holds it, as msgspec writes them. An output is an array of five: position, gas, results, events,
message; an event is an array of three: contract, number, fields.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from actors.ledger.output_columns import EVENT_HEAD_BYTES

CALL_BYTES_MAX = 1 + 5 + 9 + 5 + 5 + 3
"""Of an output, besides its results, events and message."""
EVENT_MORE_BYTES_MAX = 1 + 2 + 2 + 3
"""Of an event, besides what its column has of it."""


@njit(cache=True, inline="always")
def _big_endian(out, at, value, size):  # type: ignore[no-untyped-def]
    for place in range(size):
        out[at + place] = np.uint8((value >> np.uint64(8 * (size - 1 - place))) & np.uint64(0xFF))
    return at + size


@njit(cache=True)
def put_integer(out, at, value):  # type: ignore[no-untyped-def]
    """An unsigned integer; returns where it ends."""
    if value < np.uint64(1 << 7):
        out[at] = np.uint8(value)
        return at + 1
    size, code = 8, 0xCF
    if value < np.uint64(1 << 8):
        size, code = 1, 0xCC
    elif value < np.uint64(1 << 16):
        size, code = 2, 0xCD
    elif value < np.uint64(1 << 32):
        size, code = 4, 0xCE
    out[at] = np.uint8(code)
    return _big_endian(out, at + 1, value, size)


@njit(cache=True)
def put_length(out, at, length, code8, code16, code32):  # type: ignore[no-untyped-def]
    """A length behind one of these codes; code8 is 0 where the format has none of 8 bits."""
    value = np.uint64(length)
    if length < 1 << 8 and code8:
        out[at] = np.uint8(code8)
        return _big_endian(out, at + 1, value, 1)
    if length < 1 << 16:
        out[at] = np.uint8(code16)
        return _big_endian(out, at + 1, value, 2)
    out[at] = np.uint8(code32)
    return _big_endian(out, at + 1, value, 4)


@njit(cache=True)
def put_array(out, at, length):  # type: ignore[no-untyped-def]
    """The beginning of an array."""
    if length < 16:
        out[at] = np.uint8(0x90 | length)
        return at + 1
    return put_length(out, at, length, 0, 0xDC, 0xDD)


@njit(cache=True)
def put_bytes(out, at, data, start, end):  # type: ignore[no-untyped-def]
    """Bytes of a column."""
    at = put_length(out, at, end - start, 0xC4, 0xC5, 0xC6)
    for place in range(start, end):
        out[at] = data[place]
        at += 1
    return at


@njit(cache=True, nogil=True)
def encode_calls(places, gas, results, result_ends, events, event_ends, messages, texts, text_ends, out):  # type: ignore[no-untyped-def]
    """Fill `out` with an array of all outputs; returns where it ends. texts: strings, each with its head."""
    at = put_array(out, 0, len(places))
    result_at, event_at = np.int64(0), np.int64(0)
    for call in range(len(places)):
        at = put_array(out, at, 5)
        at = put_integer(out, at, np.uint64(places[call]))
        at = put_integer(out, at, gas[call])
        at = put_bytes(out, at, results, result_at, result_ends[call])
        result_at = result_ends[call]
        count, seen = 0, event_at
        while seen < event_ends[call]:
            seen += EVENT_HEAD_BYTES + np.int64(events[seen + 33]) + (np.int64(events[seen + 34]) << 8)
            count += 1
        at = put_array(out, at, count)
        while event_at < event_ends[call]:
            fields = event_at + EVENT_HEAD_BYTES
            end = fields + np.int64(events[event_at + 33]) + (np.int64(events[event_at + 34]) << 8)
            at = put_array(out, at, 3)
            at = put_bytes(out, at, events, event_at, event_at + 32)
            at = put_integer(out, at, np.uint64(events[event_at + 32]))
            at = put_bytes(out, at, events, fields, end)
            event_at = end
        number = messages[call]
        for place in range(text_ends[number - 1] if number else 0, text_ends[number]):
            out[at] = texts[place]
            at += 1
    return at


@njit(cache=True, nogil=True)
def find_events(events, event_ends, starts, widths, counts):  # type: ignore[no-untyped-def]
    """Where events begin, the widths of their fields, and how many each call has; returns how many in all."""
    at, found = np.int64(0), 0
    for call in range(len(event_ends)):
        first = found
        while at < event_ends[call]:
            starts[found] = at
            widths[found] = np.int64(events[at + 33]) + (np.int64(events[at + 34]) << 8)
            at += EVENT_HEAD_BYTES + widths[found]
            found += 1
        counts[call] = found - first
    return found
