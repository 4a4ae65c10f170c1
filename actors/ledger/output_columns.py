"""What calls left, as columns and as the receipts have it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from actors.contracts.running import EmittedEvent
from actors.ledger.receipts import Output

_EVENT = struct.Struct("<32sBH")
EVENT_HEAD_BYTES = _EVENT.size
"""Before the fields of an event in a column: contract, number, width."""


@dataclass(frozen=True, slots=True, eq=False)
class OutputColumns:
    """What calls among the rows that passed left besides the state: (c,) columns, and blobs with where each
    call's part ends.

    places: (c,) uint32, among the rows that passed. gas: (c,) uint64, used. results, events: (.,) uint8 with
    result_ends, event_ends: (c,) int64. An event: contract 32 bytes, its number u8, width u16, its fields.
    messages: (c,) uint16 numbers in `texts`, of requirements that did not hold; 0 is none, texts[0] empty.
    """

    places: NDArray[np.uint32]
    gas: NDArray[np.uint64]
    results: NDArray[np.uint8]
    result_ends: NDArray[np.int64]
    events: NDArray[np.uint8]
    event_ends: NDArray[np.int64]
    messages: NDArray[np.uint16]
    texts: tuple[str, ...]


def output_columns(outputs: Sequence[Output]) -> OutputColumns:
    """Columns of single ones, in the order of their places."""
    texts = ("", *sorted({output.message for output in outputs} - {""}))
    number = {text: place for place, text in enumerate(texts)}
    events = [
        b"".join(_EVENT.pack(*event[:2], len(event[2])) + event[2] for event in output.events)
        for output in outputs
    ]
    return OutputColumns(
        np.array([output.position for output in outputs], dtype=np.uint32),
        np.array([output.gas for output in outputs], dtype=np.uint64),
        np.frombuffer(b"".join(output.results for output in outputs), dtype=np.uint8),
        np.cumsum([len(output.results) for output in outputs], dtype=np.int64),
        np.frombuffer(b"".join(events), dtype=np.uint8),
        np.cumsum([len(each) for each in events], dtype=np.int64),
        np.array([number[output.message] for output in outputs], dtype=np.uint16),
        texts,
    )


def outputs_of(columns: OutputColumns) -> list[Output]:
    """The inverse: one by one."""
    outputs, results_at, events_at = list[Output](), 0, 0
    for call, (place, gas) in enumerate(zip(columns.places.tolist(), columns.gas.tolist(), strict=True)):
        results_end, events_end = int(columns.result_ends[call]), int(columns.event_ends[call])
        results = columns.results[results_at:results_end].tobytes()
        events = _events(columns.events[events_at:events_end].tobytes())
        outputs.append(Output(place, gas, results, events, columns.texts[columns.messages[call]]))
        results_at, events_at = results_end, events_end
    return outputs


def _encode(event: EmittedEvent) -> bytes:
    contract, number, data = event
    return _EVENT.pack(contract, number, len(data)) + data


def _events(data: bytes) -> tuple[EmittedEvent, ...]:
    events, at = list[EmittedEvent](), 0
    while at < len(data):
        contract, number, width = _EVENT.unpack_from(data, at)
        at += _EVENT.size
        events.append((contract, number, data[at : at + width]))
        at += width
    return tuple(events)


def in_turn(columns: Sequence[OutputColumns]) -> OutputColumns:
    """All of these, whose places follow each other."""
    if len(columns) == 1:
        return columns[0]
    return (
        joined(columns, np.concatenate([each.places for each in columns])) if columns else output_columns([])
    )


def joined(columns: Sequence[OutputColumns], places: NDArray[np.integer]) -> OutputColumns:
    """All of these, by their new places: (m,), in the order of the columns."""
    order = np.argsort(places, kind="stable")
    texts = ("", *sorted({text for each in columns for text in each.texts} - {""}))
    numbers = {text: number for number, text in enumerate(texts)}
    messages = [
        np.array([numbers[text] for text in each.texts], dtype=np.uint16)[each.messages] for each in columns
    ]
    results, result_ends = _in_order(
        [each.results for each in columns], [each.result_ends for each in columns], order
    )
    events, event_ends = _in_order(
        [each.events for each in columns], [each.event_ends for each in columns], order
    )
    return OutputColumns(
        places[order].astype(np.uint32),
        np.concatenate([each.gas for each in columns])[order],
        results,
        result_ends,
        events,
        event_ends,
        np.concatenate(messages)[order],
        texts,
    )


def _in_order(
    blobs: list[NDArray[np.uint8]], ends: list[NDArray[np.int64]], order: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Parts of blobs, in another order, and where they end."""
    blob = np.concatenate(blobs)
    starts_of_blobs = [0, *accumulate(len(each) for each in blobs)]
    joined = np.concatenate([each + start for each, start in zip(ends, starts_of_blobs, strict=False)])
    starts = np.concatenate([[0], joined])[:-1]
    # Where a blob begins, the part before it may not have ended: each blob is exactly its parts.
    widths = (joined - starts)[order]
    new_ends = np.cumsum(widths)
    at = np.arange(int(widths.sum())) + np.repeat(starts[order] - (new_ends - widths), widths)
    return blob[at], new_ends.astype(np.int64)
