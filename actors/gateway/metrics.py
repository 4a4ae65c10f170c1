"""The gateway's figures as Prometheus text (exposition format 0.0.4): every number by its path of names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SAMPLES_MAX = 5_000
_NOT_A_NAME = re.compile(r"[^a-zA-Z0-9_]+")
# Mappings whose keys are values of one label and not names of their own.
_LABELLED = {
    "requests": "kind",
    "request_seconds": "kind",
    "stages_us_per_tx": "stage",
    "rows": "outcome",
    "queues": "queue",
    "parts": "part",
}


def exposition(figures: Mapping[str, Any], prefix: str = "raychain") -> str:
    """One sample a number, in the order given; other values are left out. At most SAMPLES_MAX samples."""
    lines: list[str] = []
    typed: set[str] = set()
    for count, (name, labels, value) in enumerate(_samples(prefix, figures, "")):
        if count >= SAMPLES_MAX:
            break
        if name not in typed:
            typed.add(name)
            lines.append(f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}")
        lines.append(f"{name}{labels} {value}")
    return "\n".join(lines) + "\n"


def _samples(prefix: str, value: Any, labels: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(value, Mapping):
        label = _LABELLED.get(prefix.rpartition(":")[2])
        for key, entry in value.items():
            if label and not labels:
                yield from _samples(prefix, entry, f'{{{label}="{_escaped(str(key))}"}}')
            else:
                yield from _samples(f"{prefix}:{_NOT_A_NAME.sub('_', str(key))}", entry, labels)
    elif isinstance(value, bool):
        yield prefix.replace(":", "_"), labels, str(int(value))
    elif isinstance(value, int | float):
        yield prefix.replace(":", "_"), labels, repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
