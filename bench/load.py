"""The load generator: pre-signed pools on disk, closed and open loops, latencies from the intended send time.

Runs as a process of its own, `python -m bench.load PLAN.json`, and prints one JSON line. In the open loop a
batch is due at a fixed time whatever happened to those before it, and its latency counts from that time, so a
slow answer is not hidden by the requests that were never sent (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.ledger.rows import (
    KIND_TRANSFER,
    NEVER_EXPIRES_HEIGHT,
    ROW_DTYPE,
    ROW_VERSION,
    Batch,
    encode_batch,
)
from actors.ledger.signing import development_signer, sign_rows

LATENCY_US_MAX = 120_000_000
_CONNECTIONS_MAX = 512
_REQUEST_TIMEOUT_S = 60.0


class SignPlan(msgspec.Struct, tag="sign"):
    """Sign `count` transfers among `accounts` development accounts into `path`.

    Transfer i is sent by account first_account + i modulo `accounts` with nonce first_nonce + i // accounts.
    """

    path: str
    network: str
    chain_tag: int
    accounts: int
    start: int
    count: int
    first_nonce: int = 0
    first_account: int = 0


class LoadPlan(msgspec.Struct, tag="load"):
    """Send the rows of `path` from `start` to `stop` in batches to `url`."""

    url: str
    path: str
    start: int
    stop: int
    batch_rows: int
    mode: Literal["open", "closed"]
    rate_tps: float = 0.0
    concurrency: int = 8
    wait: str = "committed"


Plan = SignPlan | LoadPlan


def build_transfers(plan: SignPlan) -> NDArray[Any]:
    """(count,) signed rows, deterministic in the plan."""
    index = np.arange(plan.start, plan.start + plan.count)
    sender = index % plan.accounts
    recipient = (sender * 7_919 + index // plan.accounts + 1) % plan.accounts
    signers = [development_signer(plan.network, plan.first_account + i) for i in range(plan.accounts)]
    keys = np.frombuffer(b"".join(s.public_key for s in signers), dtype=np.uint8).reshape(-1, 32)
    rows = np.zeros(plan.count, dtype=ROW_DTYPE)
    rows["version"], rows["kind"], rows["chain_tag"] = ROW_VERSION, KIND_TRANSFER, plan.chain_tag
    rows["nonce"] = plan.first_nonce + index // plan.accounts
    rows["amount"], rows["fee"] = 1 + index % 97, 1 + index % 5
    rows["expiry_height"] = NEVER_EXPIRES_HEIGHT
    rows["sender"], rows["recipient"] = keys[sender], keys[recipient]
    sign_rows(rows, signers, sender)
    return rows


class _Tally:
    def __init__(self) -> None:
        from hdrh.histogram import HdrHistogram

        self.latency_us = HdrHistogram(1, LATENCY_US_MAX, 3)
        self.sent = self.accepted = self.rejected = self.failed = 0
        self.errors: dict[str, int] = {}
        self.last_answer = 0.0

    def answer(self, rows: int, accepted: int, due: float) -> None:
        now = time.perf_counter()
        self.accepted += accepted
        self.rejected += rows - accepted
        self.last_answer = now
        self.latency_us.record_value(min(max(int((now - due) * 1e6), 1), LATENCY_US_MAX), max(accepted, 1))

    def failure(self, rows: int, what: str) -> None:
        self.failed += rows
        self.errors[what] = self.errors.get(what, 0) + 1


async def _send(client: Any, plan: LoadPlan, rows: NDArray[Any], due: float, tally: _Tally) -> None:
    import httpx

    body = encode_batch(Batch(rows, np.empty(0, dtype=np.uint8)))
    tally.sent += len(rows)
    try:
        response = await client.post(
            f"{plan.url}/v1/transactions/batch",
            params={"wait": plan.wait},
            content=body,
            headers={"content-type": "application/octet-stream"},
        )
    except httpx.HTTPError as error:
        tally.failure(len(rows), type(error).__name__)
        return
    if response.status_code != 200:
        tally.failure(len(rows), f"status {response.status_code}")
        return
    tally.answer(len(rows), int(msgspec.json.decode(response.content)["accepted"]), due)


async def _open_loop(client: Any, plan: LoadPlan, batches: list[NDArray[Any]], tally: _Tally) -> None:
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number, rows in enumerate(batches):
            due = began + number * plan.batch_rows / plan.rate_tps
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(_send(client, plan, rows, due, tally))


async def _closed_loop(client: Any, plan: LoadPlan, batches: list[NDArray[Any]], tally: _Tally) -> None:
    pending = iter(batches)

    async def worker() -> None:
        for rows in pending:
            await _send(client, plan, rows, time.perf_counter(), tally)

    await asyncio.gather(*(worker() for _ in range(plan.concurrency)))


async def run_load(plan: LoadPlan) -> dict[str, Any]:
    """Run one plan against its endpoint."""
    import httpx

    pool = np.load(plan.path, mmap_mode="r")[plan.start : plan.stop]
    batches = [np.array(pool[at : at + plan.batch_rows]) for at in range(0, len(pool), plan.batch_rows)]
    tally = _Tally()
    limits = httpx.Limits(max_connections=_CONNECTIONS_MAX, max_keepalive_connections=_CONNECTIONS_MAX)
    async with httpx.AsyncClient(limits=limits, timeout=_REQUEST_TIMEOUT_S) as client:
        began = time.perf_counter()
        await (_open_loop if plan.mode == "open" else _closed_loop)(client, plan, batches, tally)
    elapsed_s = max(tally.last_answer - began, 1e-9)
    percentile = tally.latency_us.get_value_at_percentile
    return {
        "sent": tally.sent,
        "accepted": tally.accepted,
        "rejected": tally.rejected,
        "failed": tally.failed,
        "errors": tally.errors,
        "elapsed_s": elapsed_s,
        "tps": tally.accepted / elapsed_s,
        "p50_ms": percentile(50) / 1000,
        "p99_ms": percentile(99) / 1000,
        "p999_ms": percentile(99.9) / 1000,
    }


def main() -> None:
    """Carry out the plan in the file named by the first argument."""
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    if isinstance(plan, SignPlan):
        np.save(plan.path, build_transfers(plan))
        result: dict[str, Any] = {"signed": plan.count}
    else:
        import uvloop

        result = uvloop.run(run_load(plan))
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")


if __name__ == "__main__":
    main()
