"""The HTTP face against its server's own hello-world, in one run on one machine that carries both sides.

The servers run in processes of their own, the gateway over a node in memory: what is measured is HTTP,
parsing, caching, and admission to the mempool's own pool with its signature checks left out, but not Ray.
Submissions come in batches of BATCH_ROWS over SUBMIT_CONNECTIONS connections (submissions.py), each with
senders of its own, whose nonces rise with every batch; the pool settles as far behind as blocks would.
`binary_submit_us_per_tx` says where a transaction's time goes: stages by the clock, and the CPU time of both
processes, which a busy machine does not lengthen; `binary_submit_ceiling_tps` is what the generator reaches
where every batch is accepted unread. `binary_submit_real_tps` is the same load on a Gateway and a
MempoolShard that are Ray actors (gateway_real.py).
Latencies are those of an open loop at half of the measured rate, counted from the intended send time. The
ladder reads the same blocks with one connection a request, over pooled connections, from the cache of
answers, and over many connections at once.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.ledger.delta import AccountStates, ChainHead
from bench.submissions import (
    BATCH_ROWS,
    HttpConnection,
    Submitter,
    connect,
    cpu_s,
    get,
    rows_to_submit,
    status_of,
)

if TYPE_CHECKING:
    from actors.ledger.genesis import Genesis

BLOCKS, BLOCK_ROWS = 32, 20
CONNECTIONS = 32
PENDING_NONCES = 8  # of a sender, until a block takes them


async def _serve(kind: str) -> None:
    """One server of the benchmark; prints its address, runs until its standard input ends."""
    from actors.gateway.server import HttpServer, bind
    from bench.null_server import accept_all

    apps: dict[str, Any] = {"hello": lambda: _hello, "null": lambda: accept_all, "gateway": _gateway_app}
    app = apps[kind]()
    server = HttpServer(app, await bind("127.0.0.1", 0, 1.0))
    await server.started()
    sys.stdout.write(server.url + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()


async def _hello(_scope: Any, _receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


def _gateway_app() -> Any:
    """The API over a node in memory: BLOCKS signed blocks, and a mempool that checks no signatures."""
    import numpy as np

    from actors.gateway import batch_route
    from actors.gateway.api import create_app
    from actors.gateway.service import Service
    from actors.ledger.block import Block, Header
    from actors.ledger.rows import Batch, decode_batch
    from actors.mempool.admission_metrics import AdmissionMetrics
    from actors.mempool.pool import Pool, PoolBounds
    from actors.mempool.warming import warm
    from actors.settings import GatewaySettings
    from bench.mempool import BALANCE, fund
    from bench.transfers import SignPlan, build_transfers

    warm()

    genesis = _genesis()
    rows = build_transfers(SignPlan("", "bench", genesis.chain_tag, BLOCK_ROWS, 0, BLOCK_ROWS))
    batch, digest = Batch(rows, np.empty(0, dtype=np.uint8)), bytes(32)

    class _Storage:
        async def head(self) -> ChainHead:
            return ChainHead(BLOCKS, digest, digest, 0)

        async def block(self, height: int) -> bytes | None:
            header = Header(height, 1, 1, len(batch), 0, digest, digest, digest, digest, digest)
            return Block(header, bytes(64), batch).encode() if 1 <= height <= BLOCKS else None

    senders = rows_to_submit(genesis.chain_tag)
    bounds = PoolBounds(2 * PENDING_NONCES * len(senders), 16_384, 1_024)
    pool, tally = Pool(bounds, genesis.chain_tag, seed=1, prices=genesis.prices), AdmissionMetrics()
    fund(pool, senders)

    def took(stage: str, since: float, count: int) -> float:
        now = time.perf_counter()
        tally.took(stage, now - since, count)
        return now

    def decode(*arguments: Any) -> Batch:
        since = time.perf_counter()
        decoded = decode_batch(*arguments)
        took("decode", since, len(decoded))
        return decoded

    batch_route.decode_batch = decode  # type: ignore[attr-defined, assignment]

    async def admit(rows: Any, payloads: Any, *_: Any) -> Any:
        since, count = time.perf_counter(), len(rows)
        offered = Batch(np.array(rows), np.array(payloads))
        pool.check_form(offered)
        since = took("form", since, count)
        verdicts = pool.static(offered)
        since = took("static", since, count)
        pool.screen(offered, verdicts)
        since = took("screen", since, count)
        pool.insert(offered, verdicts)
        since = took("insert", since, count)
        done = offered.rows[offered.rows["nonce"] >= PENDING_NONCES]
        nonces = done["nonce"] - np.uint64(PENDING_NONCES - 1)
        pool.settle(AccountStates(pool.height + 1, done["sender"], nonces, np.full_like(nonces, BALANCE)))
        took("settle", since, count)
        return verdicts

    async def status() -> dict[str, Any]:
        return {"height": BLOCKS, "stages_us_per_tx": tally.summary()["stages_us_per_tx"]}

    settings = GatewaySettings(client_rate_max=0, batch_rows_max=BATCH_ROWS)
    service = Service(settings, genesis, [admit], _Storage(), status, 1)  # type: ignore[arg-type, list-item]

    def report(what: str, error: Exception) -> None:
        sys.stderr.write(f"{what}: {error!r}\n")

    return create_app(service, report, settings)


def _genesis() -> Genesis:
    from actors.ledger.genesis import GENESIS_VERSION, Genesis, Member

    return Genesis(
        version=GENESIS_VERSION,
        network="bench",
        created_ms=0,
        members=[Member(name="a", identity="00" * 32)],
        accounts=BLOCK_ROWS,
        supply=0,
        state_root="00" * 32,
        block_transactions_max=1000,
        block_payload_bytes_max=1 << 20,
        fee_min=0,
        balance_min=1,
    )


class _Tally:
    def __init__(self) -> None:
        from hdrh.histogram import HdrHistogram

        self.latency_us = HdrHistogram(1, 60_000_000, 3)
        self.done = self.errors = 0

    def add(self, status: int, since: float) -> None:
        self.done += 1
        self.errors += status != 200
        self.latency_us.record_value(max(1, int((time.perf_counter() - since) * 1e6)))

    def step(self, seconds: float) -> dict[str, float]:
        """Requests a second, p99 and the share of errors."""
        p99_ms = self.latency_us.get_value_at_percentile(99) / 1000
        return {
            "qps": round(self.done / seconds, 1),
            "p50_ms": round(self.latency_us.get_value_at_percentile(50) / 1000, 3),
            "p99_ms": round(p99_ms, 3),
            "error_rate": self.errors / max(self.done, 1),
        }


async def _closed(
    url: str, requests: list[bytes], seconds: float, workers: int, pooled: bool
) -> dict[str, float]:
    """`workers` that each ask again as soon as they are answered."""
    tally, began = _Tally(), time.perf_counter()

    async def work(number: int) -> None:
        connection = await connect(url)
        turn = number
        while time.perf_counter() - began < seconds:
            since = time.perf_counter()
            if not pooled:
                connection.close()
                connection = await connect(url)
            tally.add(await connection.ask(requests[turn % len(requests)]), since)
            turn += 1
        connection.close()

    await asyncio.gather(*(work(number) for number in range(workers)))
    return tally.step(time.perf_counter() - began)


async def _open(url: str, requests: list[bytes], rate: float, seconds: float) -> dict[str, float]:
    """Requests at fixed times, whatever became of those before; a latency counts from the time it was due."""
    tally, idle = _Tally(), asyncio.Queue[HttpConnection]()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await connect(url))
    began = time.perf_counter()

    async def one(number: int, due: float) -> None:
        connection = await idle.get()
        tally.add(await connection.ask(requests[number % len(requests)]), due)
        idle.put_nowait(connection)

    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            if (ahead := due - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            group.create_task(one(number, due))
    return tally.step(time.perf_counter() - began)


async def _submissions(url: str, null: str, pid: int, seconds: float) -> dict[str, object]:
    """Transactions a second into the pool in the server's process, and where their time goes."""
    import psutil

    chain_tag = int((await status_of(url))["chain_tag"])
    idle, idle_s = await Submitter(null, chain_tag).offer(seconds / 2)
    submitter = Submitter(url, chain_tag)
    await submitter.run(0.3)  # until the pool and the buffers have their size
    server, mine = psutil.Process(pid), psutil.Process()
    before = cpu_s(server), cpu_s(mine)
    rows, spent_s = await submitter.run(seconds)
    spent_us = [1e6 * (cpu_s(it) - was) / rows for it, was in zip((server, mine), before, strict=True)]
    stages = (await status_of(url))["node"]["stages_us_per_tx"]
    http_us = spent_us[0] - sum(stages.values())
    parts = {**stages, "http_and_the_rest": http_us, "gateway_cpu": spent_us[0], "generator_cpu": spent_us[1]}
    return {
        "binary_submit_tps": round(rows / spent_s),
        "binary_submit_into": "the mempool's pool in the gateway's process, without signature checks",
        "binary_submit_ceiling_tps": round(idle / idle_s),
        "binary_submit_us_per_tx": {name: round(us, 3) for name, us in parts.items()},
    }


async def _measure(urls: tuple[str, str, str], pid: int, seconds: float) -> dict[str, object]:
    hello, null, gateway = urls
    cached = [get(f"/v1/blocks/{height}") for height in range(1, BLOCKS + 1)]
    uncached = [get(f"/v1/blocks/{BLOCKS}?limit={n % 20 + 1}&x={n}") for n in range(200_000)]
    await _closed(gateway, cached, 0.2, 1, True)
    first = await _closed(hello, [get("/")], seconds, CONNECTIONS, True)
    asynchronous = await _closed(gateway, cached, seconds, CONNECTIONS, True)
    second = await _closed(hello, [get("/")], seconds, CONNECTIONS, True)
    ladder = {
        "no pool": await _closed(gateway, uncached[:50_000], seconds, 1, False),
        "pooled connections": await _closed(gateway, uncached[50_000:100_000], seconds, 1, True),
        "cache": await _closed(gateway, cached, seconds, 1, True),
        "async": asynchronous,
    }
    paced = await _open(gateway, cached, asynchronous["qps"] / 2, seconds)
    hello_rps = (first["qps"] + second["qps"]) / 2
    return {
        "hello_rps": round(hello_rps, 1),
        "cached_read_rps": asynchronous["qps"],
        "cached_read_ratio": round(asynchronous["qps"] / hello_rps, 3),
        "p50_ms": paced["p50_ms"],
        "p99_ms": paced["p99_ms"],
        "open_loop_rps": paced["qps"],
        **await _submissions(gateway, null, pid, seconds),
        "ladder": ladder,
        "connections": CONNECTIONS,
    }


def command(
    seconds: Annotated[float, typer.Option(min=0.1, max=60, help="Length of each measurement.")] = 2.0,
) -> dict[str, object]:
    """Start both servers, measure, stop them; then the actors."""
    import uvloop

    from bench import gateway_real
    from bench.mempool import BALANCE

    servers = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.gateway", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for kind in ("hello", "null", "gateway")
    ]
    try:
        urls = [str(server.stdout and server.stdout.readline()).strip() for server in servers]
        result: dict[str, object] = uvloop.run(
            _measure((urls[0], urls[1], urls[2]), servers[-1].pid, seconds)
        )
    finally:
        for server in servers:
            server.communicate()
    genesis = _genesis()
    senders = rows_to_submit(genesis.chain_tag)["sender"]
    return result | gateway_real.measure(genesis, senders, BALANCE, seconds)


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(sys.argv[1]))
