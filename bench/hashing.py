"""SHA-256 of Merkle inner nodes and of transaction rows: the compiled kernel beside hashlib, on one core.

Keys: for `node_65` (prefix and two hashes) and `row_209` (prefix and transaction row), `hashlib_per_s` (a
table of messages in, a table of digests out, as the kernel does it), `hashlib_bare_per_s` (a loop over
bytes at hand that drops the digests: no Python can do with less), `simd_per_s`, and `ratio` and
`ratio_to_bare` of the kernel to these; medians of alternating runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from actors.kernels.interface import Kernels


def command(
    rounds: Annotated[int, typer.Option(help="Alternating runs, of which the median counts.")] = 9,
    rows: Annotated[int, typer.Option(help="Messages a batch.")] = 4096,
) -> dict[str, object]:
    """Hash the same rows in turns by each way."""
    from actors.kernels.selection import select

    portable, simd = select("portable"), select("simd")
    return {
        "kernels": simd.name,
        "reason": simd.reason,
        "rows": rows,
        "node_65": measure(portable, simd, 64, rows, rounds),
        "row_209": measure(portable, simd, 208, rows, rounds),
    }


def measure(portable: Kernels, simd: Kernels, row_bytes: int, rows: int, rounds: int) -> dict[str, float]:
    """Messages a second by each way, for one length."""
    import hashlib
    import statistics
    import time
    from collections.abc import Callable

    import numpy as np

    table = np.random.default_rng(1).integers(0, 256, (rows, row_bytes), dtype=np.uint8)
    messages = [row.tobytes() for row in table]

    def plainly() -> None:
        for message in messages:
            hashlib.sha256(b"\x01" + message).digest()

    def seconds(run: Callable[[], object], repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        return (time.perf_counter() - start) / repeats

    taken = [
        (
            seconds(plainly, 2),
            seconds(lambda: portable.hash_rows(table, b"\x01"), 2),
            seconds(lambda: simd.hash_rows(table, b"\x01"), 20),
        )
        for _ in range(rounds)
    ]
    names = ("hashlib_bare_per_s", "hashlib_per_s", "simd_per_s")
    rates = {name: rows / statistics.median(row[i] for row in taken) for i, name in enumerate(names)}
    return {
        **{name: float(round(rate)) for name, rate in rates.items()},
        "ratio": round(statistics.median(table_way / fast for _, table_way, fast in taken), 1),
        "ratio_to_bare": round(statistics.median(bare / fast for bare, _, fast in taken), 1),
    }
