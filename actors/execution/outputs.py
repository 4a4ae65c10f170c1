"""What calls left, as columns and as the receipts have it."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from actors.contracts.running import EmittedEvent
from actors.execution.job import OutputColumns
from actors.ledger.receipts import Output

_EVENT = struct.Struct("<32sBH")


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
