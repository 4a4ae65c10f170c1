"""The load generator: pre-signed pools on disk, closed and open loops, latencies from the intended send time.

Runs as a process of its own, `python -m bench.load PLAN.json`, and prints one JSON line. In the open loop a
batch is due at a fixed time whatever happened to those before it, and its latency counts from that time, so a
slow answer is not hidden by the requests that were never sent (no coordinated omission). With `retry_s` a
batch is offered again, at the next endpoint, until all its valid rows are answered for: submitting is
idempotent, and a row whose nonce is used by then has been committed.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.ledger.rows import Batch, encode_batch
from actors.ledger.verdict import Verdict
from actors.sdk.proxies import http_options
from bench.schedule import Segment, due_times_s
from bench.token_load import TokenPlan, build_token_calls
from bench.transfers import SignPlan, build_transfers
from bench.workload import FALSE_SIGNATURE, REPETITION, VALID, PoolPlan, SignedPool, build_pool, open_pool

LATENCY_US_MAX = 600_000_000
BATCHES_INFLIGHT_MAX = 4_096
_CONNECTIONS_MAX = 512
_REQUEST_TIMEOUT_S = 60.0
_RETRY_PAUSE_S = (0.05, 1.0)
# A parked row is kept: what it follows is on its way from another gateway. So it is always asked for again.
_PARKED_S = 60.0
_BINARY = "application/octet-stream"
_CODE_MAX = max(Verdict)
# What httpx lets through when a socket is lost right after it was connected.
_OF_A_LOST_SOCKET = (AttributeError, RuntimeError, OSError)

OPEN, COMMITTED, DURABLE, REFUSED = 0, 1, 2, 3
"""What the history says of a row: never answered for, reported committed, reported durable, refused."""

HISTORY_DTYPE = np.dtype(
    [("row", "<i8"), ("rows", "<i4"), ("attempts", "<i4"), ("due_s", "<f8"), ("answered_s", "<f8")]
)
"""One batch: its first row, and times of CLOCK_MONOTONIC; answered_s is 0 for one that was given up."""

_AGAIN = frozenset(
    (
        Verdict.UNAVAILABLE,
        Verdict.POOL_FULL,
        Verdict.SENDER_LIMIT,
        Verdict.NONCE_GAP,
        Verdict.DUPLICATE,
        Verdict.PARKED,
        Verdict.INSUFFICIENT_BALANCE,
    )
)


class LoadPlan(msgspec.Struct, tag="load"):
    """Send the rows of `path` from `start` to `stop` in batches to `url`, in turn with `more_urls`.

    An open loop follows `segments`, or the due times (seconds) in the file `replay`, or else `rate_tps`. It
    begins at `begin_s` of CLOCK_MONOTONIC, so that several generators begin together. One batch in
    `durable_every` waits for `durable_wait` instead of `wait`, and what it is told counts as durable.
    `history` is the prefix of two files: batches (HISTORY_DTYPE) and a byte a row. Once `stop_file` exists no
    further batch is offered.
    """

    url: str
    path: str
    start: int
    stop: int
    batch_rows: int
    mode: Literal["open", "closed"]
    rate_tps: float = 0.0
    concurrency: int = 8
    wait: str = "committed"
    more_urls: list[str] = []
    segments: list[Segment] = []
    replay: str = ""
    begin_s: float = 0.0
    retry_s: float = 0.0
    durable_every: int = 0
    durable_wait: str = "durable"
    history: str = ""
    stop_file: str = ""


Plan = SignPlan | TokenPlan | LoadPlan | PoolPlan


@dataclass(slots=True)
class _Unit:
    """One batch to offer. rows: where it lies in the pool."""

    number: int
    first_row: int
    body: bytes
    kinds: NDArray[np.uint8]


class _Tally:
    """What became of every row. Valid rows, false signatures and repetitions are counted apart."""

    def __init__(self, plan: LoadPlan, kinds: NDArray[np.uint8]) -> None:
        from hdrh.histogram import HdrHistogram

        self.latency_us = HdrHistogram(1, LATENCY_US_MAX, 3)
        self.sent = self.accepted = self.rejected = self.failed = 0
        self.false_signatures = self.false_refused = self.repetitions = self.repetitions_refused = 0
        self.errors: dict[str, int] = {}
        self.last_answer = 0.0
        self.first_row = plan.start
        # A repetition may overtake its row, while that one's batch is on its way.
        self._repeats = bool((kinds == REPETITION).any())
        self.fate = np.zeros(plan.stop - plan.start, dtype=np.uint8)
        self.batches: list[tuple[int, int, int, float, float]] = []

    def error(self, what: str, count: int = 1) -> None:
        self.errors[what] = self.errors.get(what, 0) + count

    def answered(
        self, unit: _Unit, verdicts: NDArray[np.uint8], due: float, attempts: int, fate: int
    ) -> None:
        """A batch is answered for; due: on the clock of perf_counter."""
        now = time.perf_counter()
        valid, taken = unit.kinds == VALID, _taken(verdicts, attempts > 1 or self._repeats)
        accepted = int(np.count_nonzero(valid & taken))
        refused = int(np.count_nonzero(valid)) - accepted
        self.accepted += accepted
        self.rejected += refused
        for code in verdicts[valid & ~taken]:
            self.error(f"refused {Verdict(int(code)).name}")
        false, repeated = unit.kinds == FALSE_SIGNATURE, unit.kinds == REPETITION
        self.false_refused += int(np.count_nonzero(false & (verdicts == Verdict.BAD_SIGNATURE)))
        self.repetitions_refused += int(np.count_nonzero(repeated & (verdicts != Verdict.OK)))
        self.last_answer = now
        if accepted:
            late_us = min(max(int((now - due) * 1e6), 1), LATENCY_US_MAX)
            self.latency_us.record_value(late_us, accepted)
        place = slice(unit.first_row - self.first_row, unit.first_row - self.first_row + len(verdicts))
        self.fate[place] = np.where(valid & taken, fate, np.where(valid, REFUSED, OPEN))
        self._note(unit, attempts, due, now)

    def given_up(self, unit: _Unit, due: float, attempts: int) -> None:
        """Nobody knows what became of a batch."""
        self.failed += int(np.count_nonzero(unit.kinds == VALID))
        self._note(unit, attempts, due, 0.0)

    def offered(self, unit: _Unit) -> None:
        """Count the rows of a batch, once."""
        self.sent += int(np.count_nonzero(unit.kinds == VALID))
        self.false_signatures += int(np.count_nonzero(unit.kinds == FALSE_SIGNATURE))
        self.repetitions += int(np.count_nonzero(unit.kinds == REPETITION))

    def _note(self, unit: _Unit, attempts: int, due: float, answered: float) -> None:
        """perf_counter and monotonic are one clock on Linux; history is in the latter's terms."""
        self.batches.append((unit.first_row, len(unit.kinds), attempts, due, answered))

    def result(self, began: float) -> dict[str, Any]:
        """What the process prints."""
        elapsed_s = max(self.last_answer - began, 1e-9)
        percentile = self.latency_us.get_value_at_percentile
        return {
            "sent": self.sent,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "failed": self.failed,
            "false_signatures": self.false_signatures,
            "false_signatures_refused": self.false_refused,
            "repetitions": self.repetitions,
            "repetitions_refused": self.repetitions_refused,
            "errors": self.errors,
            "elapsed_s": elapsed_s,
            "tps": self.accepted / elapsed_s,
            "p50_ms": percentile(50) / 1000,
            "p99_ms": percentile(99) / 1000,
            "p999_ms": percentile(99.9) / 1000,
            "max_ms": self.latency_us.get_max_value() / 1000,
            "histogram": self.latency_us.encode().decode(),
        }


def _taken(verdicts: NDArray[np.uint8], offered_before: bool) -> NDArray[np.bool_]:
    """Rows that are pending or committed; of one that was offered before, a used nonce says the latter."""
    taken: NDArray[np.bool_] = verdicts == Verdict.OK
    return taken | (verdicts == Verdict.NONCE_REUSED) if offered_before else taken


class _Sender:
    """Offers batches over HTTP, again and again if the plan says so."""

    def __init__(self, client: Any, plan: LoadPlan, tally: _Tally) -> None:
        self._client, self._plan, self._tally = client, plan, tally
        self._urls = [plan.url, *plan.more_urls]

    async def send(self, unit: _Unit, due: float) -> None:
        """One batch, until it is answered for or given up."""
        plan, tally = self._plan, self._tally
        durable = bool(plan.durable_every) and unit.number % plan.durable_every == 0
        wait, fate = (plan.durable_wait, DURABLE) if durable else (plan.wait, COMMITTED)
        tally.offered(unit)
        pause_s = _RETRY_PAUSE_S[0]
        for attempts in itertools.count(1):
            url = self._urls[(unit.number + attempts - 1) % len(self._urls)]
            verdicts = await self._attempt(url, unit, wait)
            said = set() if verdicts is None else set(verdicts[unit.kinds == VALID].tolist())
            patience_s = max(plan.retry_s, _PARKED_S if Verdict.PARKED in said else 0.0)
            if verdicts is not None and (not said & _AGAIN or not patience_s):
                tally.answered(unit, verdicts, due, attempts, fate)
                return
            if time.perf_counter() + pause_s > due + patience_s:
                tally.given_up(unit, due, attempts)
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _RETRY_PAUSE_S[1])
            # A row that is pending already may not be in a journal: ask for what can be told for certain.
            wait, fate = plan.wait, COMMITTED

    async def _attempt(self, url: str, unit: _Unit, wait: str) -> NDArray[np.uint8] | None:
        """Verdicts of one request, None if it failed."""
        import httpx

        try:
            response = await self._client.post(
                f"{url}/v1/transactions/batch",
                params={"wait": wait},
                content=unit.body,
                headers={"content-type": _BINARY, "accept": _BINARY},
            )
        except (httpx.HTTPError, *_OF_A_LOST_SOCKET) as error:
            self._tally.error(type(error).__name__)
            return None
        if response.status_code != 200:
            self._tally.error(f"status {response.status_code}")
            return None
        verdicts = np.frombuffer(response.content, dtype=np.uint8)
        media = response.headers.get("content-type", "").partition(";")[0].strip()
        if media != _BINARY or len(verdicts) != len(unit.kinds) or (verdicts > _CODE_MAX).any():
            self._tally.error("not this API's answer")
            return None
        return verdicts


def _units(plan: LoadPlan, pool: SignedPool) -> Iterator[_Unit]:
    """The plan's batches, each encoded when its turn comes: a pool may be larger than memory."""
    ends = np.zeros(len(pool.rows) + 1, dtype=np.int64)
    np.cumsum(pool.rows["payload_bytes"], out=ends[1:])
    for number, at in enumerate(range(plan.start, plan.stop, plan.batch_rows)):
        place = slice(at, min(at + plan.batch_rows, plan.stop))
        payloads = np.array(pool.payloads[ends[place.start] : ends[place.stop]])
        body = encode_batch(Batch(np.array(pool.rows[place]), payloads))
        yield _Unit(number, at, body, pool.kinds[place])


def _dues(plan: LoadPlan) -> NDArray[np.float64]:
    if plan.replay:
        dues = np.load(plan.replay)
    elif plan.segments:
        dues = due_times_s(plan.segments, plan.batch_rows)
    else:
        batches = -(-(plan.stop - plan.start) // plan.batch_rows)
        dues = np.arange(batches) * plan.batch_rows / plan.rate_tps
    return np.asarray(dues, dtype=np.float64)


async def _open_loop(
    sender: _Sender, dues: NDArray[np.float64], units: Iterator[_Unit], began: float, stop_file: str
) -> None:
    """At most BATCHES_INFLIGHT_MAX at a time; those that wait for their turn are late, and counted so."""
    room = asyncio.Semaphore(BATCHES_INFLIGHT_MAX)

    async def one(unit: _Unit, due: float) -> None:
        try:
            await sender.send(unit, due)
        finally:
            room.release()

    async with asyncio.TaskGroup() as group:
        for unit, after_s in zip(units, dues.tolist(), strict=False):
            await asyncio.sleep(max(0.0, began + after_s - time.perf_counter()))
            if stop_file and os.path.exists(stop_file):
                break
            await room.acquire()
            group.create_task(one(unit, began + after_s))


async def _closed_loop(sender: _Sender, concurrency: int, units: Iterator[_Unit]) -> None:
    async def worker() -> None:
        for unit in units:
            await sender.send(unit, time.perf_counter())

    await asyncio.gather(*(worker() for _ in range(concurrency)))


async def run_load(plan: LoadPlan) -> dict[str, Any]:
    """Run one plan against its endpoints."""
    import httpx

    pool = open_pool(plan.path)
    units, tally = _units(plan, pool), _Tally(plan, pool.kinds)
    limits = httpx.Limits(max_connections=_CONNECTIONS_MAX, max_keepalive_connections=_CONNECTIONS_MAX)
    way = http_options([plan.url, *plan.more_urls], asynchronous=True)
    async with httpx.AsyncClient(limits=limits, timeout=_REQUEST_TIMEOUT_S, **way) as client:
        sender = _Sender(client, plan, tally)
        began = max(time.perf_counter(), plan.begin_s)
        if plan.mode == "open":
            await _open_loop(sender, _dues(plan), units, began, plan.stop_file)
        else:
            await _closed_loop(sender, plan.concurrency, units)
    if plan.history:
        np.save(f"{plan.history}.batches.npy", np.array(tally.batches, dtype=HISTORY_DTYPE))
        np.save(f"{plan.history}.fate.npy", tally.fate)
    return tally.result(began)


def main() -> None:
    """Carry out the plan in the file named by the first argument."""
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    if isinstance(plan, SignPlan):
        np.save(plan.path, build_transfers(plan))
        result: dict[str, Any] = {"signed": plan.count}
    elif isinstance(plan, TokenPlan):
        build_token_calls(plan).save(plan.transfers.path)
        result = {"signed": plan.transfers.count}
    elif isinstance(plan, PoolPlan):
        build_pool(plan).save(plan.path)
        result = {"signed": plan.count}
    else:
        import uvloop

        result = uvloop.run(run_load(plan))
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")


if __name__ == "__main__":
    main()
