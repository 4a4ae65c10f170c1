"""Differential fuzzing of signature verification: the kernel's verdicts beside libsodium's.

A disagreement is reported with the row that shows it; see actors/kernels/cases.py for what is tried.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from actors.kernels.cases import MAKERS, Cases, compare
from actors.kernels.compiled import host
from actors.kernels.interface import SignatureVerifier
from actors.kernels.mulx import FEATURES, Mulx
from actors.kernels.simd import Simd

DISAGREEMENTS_MAX = 20
"""Rows kept in the report; a broken kernel disagrees on millions."""


def compiled_verifier() -> SignatureVerifier:
    """The kernel of this CPU itself, with tables of keys, and without libsodium's second opinion on what it
    rejects. Raises ``RuntimeError`` where libsodium alone can serve."""
    cpu = host()
    if not cpu.missing():
        return Simd(cpu, None, tables_bytes_max=16 << 20).verify
    if missing := cpu.missing(FEATURES):
        raise RuntimeError(f"nothing to compare with libsodium: this CPU lacks {', '.join(missing)}")
    return Mulx(cpu, None, tables_bytes_max=16 << 20).verify


def fuzz_signatures(
    minutes: float,
    seed: int,
    progress: Callable[[int, int], None],
    verify: SignatureVerifier | None = None,
    rows_max: int = 1024,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, object]:
    """Compare a verifier with libsodium for some minutes, by the clock given (seconds).

    The verifier is ``compiled_verifier`` if none is given; raises ``RuntimeError`` with the reason if
    they cannot be had here.

    ``progress`` is told the cases and the disagreements so far after each batch. Answers ``cases``,
    ``accepted``, ``disagreements``, ``by_kind`` (cases, accepted and disagreements of each kind), ``seed``,
    and ``rows``: in hex, the first rows that disagreed. At least one batch runs.
    """
    if verify is None:
        verify = compiled_verifier()
    cases, end = Cases(seed), clock() + 60 * minutes
    by_kind = {kind: {"cases": 0, "accepted": 0, "disagreements": 0} for kind in MAKERS}
    total = disagreed = 0
    rows: list[str] = []
    while True:
        table, kinds = cases.batch(1 + cases.pick(rows_max))
        accepted, differs = compare(verify, table)
        for kind, was_accepted, differed in zip(kinds, accepted.tolist(), differs.tolist(), strict=True):
            counts = by_kind[kind]
            counts["cases"] += 1
            counts["accepted"] += was_accepted
            counts["disagreements"] += differed
        total, disagreed = total + len(kinds), disagreed + int(differs.sum())
        shown = table[differs][: DISAGREEMENTS_MAX - len(rows)]
        rows += [row.tobytes().hex() for row in shown]
        progress(total, disagreed)
        if clock() >= end:
            break
    return {
        "cases": total,
        "accepted": sum(counts["accepted"] for counts in by_kind.values()),
        "disagreements": disagreed,
        "by_kind": by_kind,
        "seed": seed,
        "rows": rows,
    }
