"""Binary batches over raw HTTP/1.1 connections, with as little work as a load generator can do."""

from __future__ import annotations

import asyncio
import time
from typing import Any

BATCH_ROWS = 5_000
SUBMIT_CONNECTIONS = 4
BATCH_PATH = "/v1/transactions/batch"


def rows_to_submit(chain_tag: int) -> Any:
    """One unsigned row, of nonce 0, of each sender; BATCH_ROWS senders a connection."""
    import numpy as np

    from bench.mempool import make_rows

    table = make_rows(SUBMIT_CONNECTIONS * BATCH_ROWS, 1, np.random.default_rng(7))
    table["chain_tag"] = chain_tag
    return table


class HttpConnection(asyncio.Protocol):
    """One HTTP/1.1 connection, one request at a time: as little as a load generator can do."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._answer: asyncio.Future[int] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0 or self._answer is None:
            return
        head = bytes(self._data[:end]).lower()
        at = head.find(b"content-length:")
        if at < 0:
            self._fail(ValueError(f"an answer without content-length: {head[:80]!r}"))
            return
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self._data) >= end + 4 + length:
            del self._data[: end + 4 + length]
            answer, self._answer = self._answer, None
            answer.set_result(int(head[9:12]))

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error or ConnectionError("closed"))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    async def ask(self, request: bytes) -> int:
        """The status of the answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        self._transport.close()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/octet-stream\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


async def connect(url: str) -> HttpConnection:
    """A connection to a server at http://HOST:PORT."""
    host, port = url.removeprefix("http://").split(":")
    _, protocol = await asyncio.get_running_loop().create_connection(HttpConnection, host, int(port))
    return protocol


class Submitter:
    """Offers batches to a gateway, one at a time a connection; every batch's nonces follow the one before."""

    def __init__(self, url: str, chain_tag: int) -> None:
        import numpy as np

        from actors.ledger.rows import BATCH_HEADER_BYTES, ROW_DTYPE, Batch, encode_batch

        self._url = url
        self._requests: list[tuple[bytearray, Any]] = []
        for part in np.split(rows_to_submit(chain_tag), SUBMIT_CONNECTIONS):
            body = encode_batch(Batch(part, np.empty(0, dtype=np.uint8)))
            request = bytearray(post(BATCH_PATH, body))
            at = len(request) - len(body) + BATCH_HEADER_BYTES
            self._requests.append((request, np.frombuffer(request, ROW_DTYPE, len(part), at)))

    async def run(self, seconds: float) -> tuple[int, float]:
        """Rows taken in, and the seconds it took. Raises RuntimeError if one was refused."""
        before = await self._accepted()
        offered, spent_s = await self.offer(seconds)
        admitted = await self._accepted() - before
        if admitted != offered:
            raise RuntimeError(f"{admitted} of {offered} rows were admitted")
        return offered, spent_s

    async def offer(self, seconds: float) -> tuple[int, float]:
        """Rows answered for, and the seconds it took: at least one request a connection.

        Raises RuntimeError for an answer other than 200.
        """
        began, statuses, offered = time.perf_counter(), set[int](), 0

        async def work(request: bytearray, rows: Any) -> None:
            nonlocal offered
            connection = await connect(self._url)
            while True:
                statuses.add(await connection.ask(bytes(request)))
                rows["nonce"] += 1
                offered += len(rows)
                if time.perf_counter() - began >= seconds:
                    break
            connection.close()

        await asyncio.gather(*(work(*request) for request in self._requests))
        if statuses != {200}:
            raise RuntimeError(f"answers {sorted(statuses)}")
        return offered, time.perf_counter() - began

    async def _accepted(self) -> int:
        return int((await status_of(self._url))["gateway"]["rows"]["accepted"])


async def status_of(url: str) -> Any:
    """What /v1/status says."""
    import httpx

    from actors.sdk.proxies import http_options

    async with httpx.AsyncClient(base_url=url, **http_options([url], asynchronous=True)) as http:
        return (await http.get("/v1/status")).json()


def cpu_s(process: Any) -> float:
    """CPU seconds of a process so far."""
    times = process.cpu_times()
    return float(times.user + times.system)
