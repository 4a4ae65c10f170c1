"""Ed25519 verification of transaction rows: the compiled kernel beside libsodium, on one core.

The kernel is the eight-lane one, or the one by 128-bit products on a CPU without AVX-512 IFMA: see `kernels`.

Keys: `libsodium_per_core` (PyNaCl's VerifyKey.verify in a plain loop), `portable_per_core`,
`simd_per_core`, `simd_cached_per_core` (tables of the signers' keys at hand), `simd_ratio` and
`simd_cached_ratio` (medians of alternating runs), `batch_of_1_us`, `compile_s` (from nothing), `load_ms`
(from the cache).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from actors.kernels.verifier import CompiledVerifier


def command(
    rounds: Annotated[int, typer.Option(help="Alternating runs, of which the median counts.")] = 9,
    rows: Annotated[int, typer.Option(help="Signatures a batch.")] = 512,
    signers: Annotated[int, typer.Option(help="Keys among which the rows are shared.")] = 128,
) -> dict[str, object]:
    """Verify the same rows in turns by each way.

    The kernels get as many repeats a turn as make 4,096 rows, so that all turns last about as long.
    """
    from nacl.signing import VerifyKey

    from actors.kernels.selection import select

    portable = select("portable")
    table = signed_rows(rows, signers)
    columns = table[:, 48:80], table[:, 144:], table[:, :144]
    parts = [(row[48:80].tobytes(), row[:144].tobytes(), row[144:].tobytes()) for row in table]

    def plainly() -> None:
        for key, message, signature in parts:
            VerifyKey(key).verify(message, signature)

    ways: dict[str, tuple[Callable[[], object], int]] = {
        "libsodium_per_core": (plainly, 1),
        "portable_per_core": (lambda: portable.verify(*columns), 1),
    }
    result: dict[str, object] = {"rows": rows, "signers": signers, "kernels": "portable"}
    kernels = select("simd")
    if kernels.name not in ("avx512ifma", "mulx"):
        rates, _ = alternate(ways, rows, rounds)
        return {**result, "reason": kernels.reason, **rates}
    simd, cached, result["compile_s"], result["load_ms"] = compile_and_load(kernels.name)
    for _ in range(8):
        cached.verify(*columns)
    repeats = max(1, 4096 // rows)
    ways["simd_per_core"] = (lambda: simd.verify(*columns), repeats)
    ways["simd_cached_per_core"] = (lambda: cached.verify(*columns), repeats)
    rates, ratios = alternate(ways, rows, rounds)
    single = columns[0][:1], columns[1][:1], columns[2][:1]
    one, _ = alternate({"one": (lambda: kernels.verify(*single), 50)}, 1, rounds)
    return {
        **result,
        "kernels": kernels.name,
        "reason": kernels.reason,
        **rates,
        "simd_ratio": ratios["simd_per_core"],
        "simd_cached_ratio": ratios["simd_cached_per_core"],
        "key_tables": cached.statistics()["key_tables_made"],
        "batch_of_1_us": round(1e6 / one["one"], 1),
    }


def signed_rows(rows: int, signers: int) -> NDArray[np.uint8]:
    """A row table, each row signed by one of the signers."""
    import numpy as np
    from nacl.signing import SigningKey

    rng = np.random.default_rng(1)
    keys = [SigningKey(rng.bytes(32)) for _ in range(signers)]
    table = rng.integers(0, 256, (rows, 208), dtype=np.uint8)
    for i, row in enumerate(table):
        row[48:80] = np.frombuffer(bytes(keys[i % signers].verify_key), np.uint8)
        row[144:] = np.frombuffer(keys[i % signers].sign(row[:144].tobytes()).signature, np.uint8)
    return table


def alternate(
    ways: dict[str, tuple[Callable[[], object], int]], rows: int, rounds: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Rows a second of each way, and its ratio to the first way, as medians over rounds that take turns."""
    import statistics
    import time

    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (run, repeats) in ways.items():
            start = time.perf_counter()
            for _ in range(repeats):
                run()
            taken[name].append((time.perf_counter() - start) / repeats)
    first = next(iter(taken.values()))
    rates = {name: rows / statistics.median(seconds) for name, seconds in taken.items()}
    ratios = {
        name: round(statistics.median(a / b for a, b in zip(first, seconds, strict=True)), 2)
        for name, seconds in taken.items()
    }
    return {name: round(rate, 1) for name, rate in rates.items()}, ratios


def compile_and_load(name: str) -> tuple[CompiledVerifier, CompiledVerifier, float, float]:
    """Kernels without and with tables of keys, seconds to compile them, milliseconds to load them."""
    import tempfile
    import time
    from pathlib import Path

    from actors.kernels.compiled import host
    from actors.kernels.mulx import Mulx
    from actors.kernels.simd import Simd

    kind = Simd if name == "avx512ifma" else Mulx
    with tempfile.TemporaryDirectory() as directory:
        start = time.perf_counter()
        kind(host(), Path(directory))
        compiled = time.perf_counter()
        simd = kind(host(), Path(directory))
        loaded = time.perf_counter()
        cached = kind(host(), Path(directory), tables_bytes_max=64 << 20)
    return simd, cached, round(compiled - start, 2), round(1000 * (loaded - compiled), 1)
