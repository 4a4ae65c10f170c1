"""One mempool shard against one lock, one heap and an object a transaction, in the same run.

Both get the same rows and make the same decisions; signatures are left out. Admission is measured closed-loop
and, for the latencies, open-loop: batches are due at fixed times, latency counts from those, and blocks are
drawn and settled in between. Both are offered the same rate, a share of what the baseline reached. The draw
of 10,000 rows is from `rows` pending: the middle of several draws, in the worst of three pools (runs of
nonces, one row a sender, all paying one account). Figures with `cpu` in their name leave out the time that
other processes took from a busy machine.
"""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actors.mempool.pool import Pool
    from bench.mempool_baseline import LockedMempool

TAG = 7
_BATCH_ROWS = 5_000
_OPEN_BATCH_ROWS = 200
_NONCES_A_SENDER = 10
_OFFERED_SHARE = 0.6
_DRAWS = 9
_DRAW_ROWS = 10_000
_BLOCK_S = 0.05
BALANCE = 10**15


def command(
    rows: Annotated[int, typer.Option(min=100_000, max=4_000_000, help="Rows pending.")] = 1_000_000,
    baseline_rows: Annotated[
        int, typer.Option(min=20_000, max=1_000_000, help="And in the baseline.")
    ] = 200_000,
    seconds: Annotated[float, typer.Option(min=0.5, max=60, help="Length of each open loop.")] = 4.0,
) -> dict[str, object]:
    """Run the benchmark."""
    import numpy as np

    from actors.ledger.prices import FREE
    from actors.mempool.pool import Pool, PoolBounds
    from actors.mempool.warming import warm

    warm()
    rng = np.random.default_rng(1)
    baseline = _measure_baseline(baseline_rows, seconds, rng)
    offered = baseline["baseline_admissions_per_s"] * _OFFERED_SHARE
    pauses = Pauses()
    with pauses:
        result: dict[str, Any] = {}
        draws = {}
        for name, nonces, hot in (("runs", _NONCES_A_SENDER, False), ("singles", 1, False), ("hot", 1, True)):
            table = make_rows(rows, nonces, rng, hot)
            pool = Pool(PoolBounds(rows, 16_384, 1_024, spread_rows=64), TAG, seed=1, prices=FREE)
            fund(pool, table)
            per_s, per_cpu_s = _admit_all(pool, table)
            if name == "runs":
                result["admissions_per_s"] = round(per_s)
                result["admissions_per_cpu_s"] = round(per_cpu_s)
            memory = pool.memory()
            held = memory["row_bytes"] + memory["payload_bytes"] + memory["sender_bytes"]
            result[f"bytes_per_pending_{name}"] = round(held / pool.depth, 1)
            draws[name] = _time_draws(pool)
            del pool, table
        for name, times in draws.items():
            result[f"draw_10k_ms_{name}"] = _middle_ms([wall for wall, _ in times])
            result[f"draw_10k_cpu_ms_{name}"] = _middle_ms([cpu for _, cpu in times])
        p50, p99 = _open_loop(OursUnderLoad(baseline_rows, rng), offered, seconds)
    worst_bytes = max(result[f"bytes_per_pending_{name}"] for name in draws)
    return {
        "rows": rows,
        "admissions_per_s": result.pop("admissions_per_s"),
        "baseline_admissions_per_s": round(baseline["baseline_admissions_per_s"]),
        "offered_per_s": round(offered),
        "p50_ms": p50,
        "p99_ms": p99,
        "baseline_p50_ms": baseline["p50_ms"],
        "baseline_p99_ms": baseline["p99_ms"],
        "draw_10k_ms": max(result[f"draw_10k_ms_{name}"] for name in draws),
        "draw_10k_cpu_ms": max(result[f"draw_10k_cpu_ms_{name}"] for name in draws),
        "baseline_draw_10k_ms": baseline["draw_10k_ms"],
        "bytes_per_pending": worst_bytes,
        "gc_pause_max_ms": pauses.max_ms(),
        "baseline_gc_pause_max_ms": baseline["gc_pause_max_ms"],
        **result,
    }


class Pauses:
    """The longest garbage collection while it is entered, after a freeze like that of every actor."""

    def __init__(self, freeze: bool = True) -> None:
        self._freeze, self._since, self._max_s = freeze, 0.0, 0.0

    def _on_gc(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._since = time.perf_counter()
        else:
            self._max_s = max(self._max_s, time.perf_counter() - self._since)

    def __enter__(self) -> Pauses:
        from actors.shell import freeze_long_lived

        if self._freeze:
            freeze_long_lived()
        gc.callbacks.append(self._on_gc)
        return self

    def __exit__(self, *_: object) -> None:
        gc.callbacks.remove(self._on_gc)

    def max_ms(self) -> float:
        """Milliseconds."""
        return round(1e3 * self._max_s, 3)


def make_rows(count: int, nonces: int, rng: Any, hot: bool = False) -> NDArray[Any]:
    """(count,) unsigned transfers of count / nonces senders, in rounds of nonces, with random fees."""
    import numpy as np

    from actors.ledger.rows import NEVER_EXPIRES_HEIGHT, ROW_DTYPE

    senders = count // nonces
    index = np.arange(count)
    table = np.zeros(count, dtype=ROW_DTYPE)
    table["version"] = table["kind"] = 1
    table["chain_tag"], table["expiry_height"], table["amount"] = TAG, NEVER_EXPIRES_HEIGHT, 1
    table["nonce"] = index // senders
    table["fee"] = rng.integers(1, 1_000, count)
    keys = rng.integers(0, 256, (senders, 32), dtype=np.uint8)
    table["sender"] = keys[index % senders]
    table["recipient"] = keys[0] if hot else keys[rng.integers(0, senders, count)]
    return table


def fund(pool: Pool, table: NDArray[Any]) -> None:
    """Give every sender of the table (they stand in its first round) a balance."""
    import numpy as np

    from actors.ledger.delta import AccountStates

    keys = np.ascontiguousarray(table["sender"][table["nonce"] == 0])
    zeros = np.zeros(len(keys), dtype=np.uint64)
    pool.settle(AccountStates(1, keys, zeros, zeros + np.uint64(BALANCE)))


def admit(pool: Pool, rows: NDArray[Any]) -> int:
    """Static checks, screen and insert, as the actor does; how many were accepted."""
    import numpy as np

    from actors.ledger.rows import Batch

    batch = Batch(rows, np.empty(0, dtype=np.uint8))
    pool.check_form(batch)
    verdicts = pool.static(batch)
    pool.screen(batch, verdicts)
    pool.insert(batch, verdicts)
    return int((verdicts == 0).sum())


def _admit_all(pool: Pool, table: NDArray[Any]) -> tuple[float, float]:
    accepted, began, cpu_began = 0, time.perf_counter(), time.process_time()
    for at in range(0, len(table), _BATCH_ROWS):
        accepted += admit(pool, table[at : at + _BATCH_ROWS])
    elapsed_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    if accepted != len(table):
        raise RuntimeError(f"{accepted} of {len(table)} valid rows were admitted")
    return accepted / elapsed_s, accepted / cpu_s


def _time_draws(pool: Pool) -> list[tuple[float, float]]:
    times = []
    for _ in range(_DRAWS):
        began, cpu_began = time.perf_counter(), time.process_time()
        drawn = pool.draw(_DRAW_ROWS, 0, 2)
        times.append((time.perf_counter() - began, time.process_time() - cpu_began))
        if len(drawn.batch) != _DRAW_ROWS:
            raise RuntimeError(f"{len(drawn.batch)} rows drawn of {_DRAW_ROWS}")
        pool.release()
    return times


def _middle_ms(times: list[float]) -> float:
    return round(1e3 * sorted(times)[len(times) // 2], 2)


class OursUnderLoad:
    """A pool with rows to come, and blocks drawn and settled on the way."""

    def __init__(self, count: int, rng: Any) -> None:
        from actors.ledger.prices import FREE
        from actors.mempool.pool import Pool, PoolBounds

        self.rows = make_rows(count, _NONCES_A_SENDER, rng)
        self._pool = Pool(PoolBounds(count, 16_384, 1_024, spread_rows=64), TAG, seed=1, prices=FREE)
        fund(self._pool, self.rows)

    def admit(self, start: int, stop: int) -> None:
        """Offer some rows."""
        admit(self._pool, self.rows[start:stop])

    def block(self, rows_max: int) -> None:
        """Draw and settle a block."""
        import numpy as np

        from actors.ledger.delta import AccountStates

        rows = self._pool.draw(rows_max, 0, 2).batch.rows
        nonces = np.ascontiguousarray(rows["nonce"]) + np.uint64(1)
        balances = np.full(len(rows), BALANCE, dtype=np.uint64)
        self._pool.settle(AccountStates(2, np.ascontiguousarray(rows["sender"]), nonces, balances))


class BaselineUnderLoad:
    """The same for the baseline."""

    def __init__(self, count: int, rng: Any) -> None:
        self.rows = make_rows(count, _NONCES_A_SENDER, rng)
        self._pool = new_baseline(self.rows)

    def admit(self, start: int, stop: int) -> None:
        """Offer some rows."""
        self._pool.admit(self.rows[start:stop])

    def block(self, rows_max: int) -> None:
        """Draw and settle a block."""
        drawn = self._pool.draw(rows_max)
        nonces = {tx.sender: tx.nonce + 1 for tx in drawn}
        self._pool.settle(2, list(nonces), list(nonces.values()), [BALANCE] * len(nonces))


def new_baseline(table: NDArray[Any]) -> LockedMempool:
    """A baseline whose senders have balances."""
    from bench.mempool_baseline import LockedMempool

    pool = LockedMempool(TAG, 1_024, len(table))
    keys = [key.tobytes() for key in table["sender"][table["nonce"] == 0]]
    pool.settle(1, keys, [0] * len(keys), [BALANCE] * len(keys))
    return pool


def _open_loop(target: Any, rate: float, seconds: float) -> tuple[float, float]:
    """(p50, p99) milliseconds from when a batch was due to when it was admitted."""
    import numpy as np

    half = len(target.rows) // 2
    target.admit(0, half)
    batches = min(int(rate * seconds / _OPEN_BATCH_ROWS), half // _OPEN_BATCH_ROWS)
    latencies = np.empty(batches)
    began = time.perf_counter()
    next_block = began + _BLOCK_S
    for number in range(batches):
        due = began + number * _OPEN_BATCH_ROWS / rate
        while time.perf_counter() < due:
            time.sleep(max(0.0, min(due - time.perf_counter(), 0.0005)))
        if time.perf_counter() >= next_block:
            target.block(int(rate * _BLOCK_S))
            next_block += _BLOCK_S
        target.admit(half + number * _OPEN_BATCH_ROWS, half + (number + 1) * _OPEN_BATCH_ROWS)
        latencies[number] = time.perf_counter() - due
    p50, p99 = np.percentile(latencies, [50, 99]) * 1e3
    return round(float(p50), 3), round(float(p99), 3)


def _measure_baseline(count: int, seconds: float, rng: Any) -> dict[str, Any]:
    pauses = Pauses(freeze=False)
    with pauses:
        table = make_rows(count, _NONCES_A_SENDER, rng)
        pool, accepted = new_baseline(table), 0
        began = time.perf_counter()
        for at in range(0, count, _BATCH_ROWS):
            accepted += pool.admit(table[at : at + _BATCH_ROWS]).count(0)
        per_s = count / (time.perf_counter() - began)
        if accepted != count:
            raise RuntimeError(f"the baseline admitted {accepted} of {count} valid rows")
        began = time.perf_counter()
        pool.draw(_DRAW_ROWS)
        draw_s = time.perf_counter() - began
        del pool
        p50, p99 = _open_loop(BaselineUnderLoad(count, rng), per_s * _OFFERED_SHARE, seconds)
    return {
        "baseline_admissions_per_s": per_s,
        "draw_10k_ms": round(1e3 * draw_s, 2),
        "p50_ms": p50,
        "p99_ms": p99,
        "gc_pause_max_ms": pauses.max_ms(),
    }
