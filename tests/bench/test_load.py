"""Pools, schedules and what the generator makes of answers."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn

from actors.console import UserError
from actors.kernels.reference import verify
from actors.ledger.accounts import Account
from actors.ledger.environment import Environment
from actors.ledger.prices import FREE
from actors.ledger.rows import KIND_CALL, KIND_DEPLOY, KIND_TRANSFER, Batch
from actors.ledger.rules import apply_batch
from actors.ledger.signing import development_signer
from actors.ledger.verdict import Verdict
from bench.attack.between import Between, http_answer
from bench.generators import run_plans
from bench.load import COMMITTED, DURABLE, HISTORY_DTYPE, OPEN, REFUSED, LoadPlan, run_load
from bench.saturation import LoadRun, LoadShape, read_record, saturation_tps
from bench.schedule import Segment, constant, due_times_s, rows_due
from bench.workload import (
    FALSE_SIGNATURE,
    REPETITION,
    SHAPES,
    VALID,
    CallsPlan,
    PoolPlan,
    Shape,
    build_pool,
    occurrence,
)

TAG = 77


def plan(**fields: Any) -> PoolPlan:
    values = {"path": "", "network": "t", "chain_tag": TAG, "accounts": 9, "count": 120, **fields}
    return PoolPlan(**values)


CALLS = CallsPlan(deployer=9, fee_min=0, gas_per_unit=100, entry_deposit=1, deploy_share=0.1)


@pytest.mark.parametrize(("shape", "calls"), [*((shape, None) for shape in SHAPES), ("zipf", CALLS)])
def test_the_valid_rows_of_every_shape_apply_in_order(shape: Shape, calls: CallsPlan | None) -> None:
    pool = build_pool(
        plan(shape=shape, payload_bytes=(0, 3, 200), invalid_share=0.1, duplicate_share=0.1, calls=calls)
    )
    batch = Batch(pool.rows, pool.payloads)
    state = {development_signer("t", i).public_key: Account(0, 10**6) for i in range(9)}
    outcome = apply_batch(state, batch.take(pool.kinds == VALID), Environment(TAG, 1, bytes(32), FREE))
    assert set(outcome.verdicts) == {Verdict.OK}
    assert {VALID, FALSE_SIGNATURE, REPETITION} == set(pool.kinds.tolist())
    kinds = {KIND_TRANSFER} if calls is None else {KIND_CALL, KIND_DEPLOY}
    assert set(pool.rows["kind"][pool.kinds != FALSE_SIGNATURE].tolist()) == kinds
    ids = [tx_id.tobytes() for tx_id in batch.ids()]
    valid = {tx_id for tx_id, kind in zip(ids, pool.kinds, strict=True) if kind == VALID}
    assert {tx_id in valid for tx_id, kind in zip(ids, pool.kinds, strict=True) if kind == REPETITION} == {
        True
    }


@pytest.mark.parametrize("calls", [None, CALLS])
def test_signatures_are_what_the_kinds_say(calls: CallsPlan | None) -> None:
    pool = build_pool(plan(count=40, invalid_share=0.2, calls=calls))
    for row, kind in zip(pool.rows, pool.kinds, strict=True):
        message, signature = row.tobytes()[:144], row["signature"].tobytes()
        assert verify(row["sender"].tobytes(), signature, message) == (kind == VALID)


def test_a_pool_is_its_seed() -> None:
    one, same, other = (build_pool(plan(shape="zipf", seed=seed)) for seed in (3, 3, 4))
    assert one.rows.tobytes() == same.rows.tobytes() != other.rows.tobytes()


def test_shapes_are_what_they_are_called() -> None:
    hot = build_pool(plan(shape="hot"))
    assert len(np.unique(hot.rows["recipient"], axis=0)) == 1
    chain = build_pool(plan(shape="chains")).rows
    assert (chain["recipient"][:-1] == chain["sender"][1:]).all()
    zipf = build_pool(plan(shape="zipf", count=4_000, accounts=50)).rows
    counts = np.sort(np.unique(zipf["sender"], axis=0, return_counts=True)[1])[::-1]
    assert counts[0] > 4 * counts[len(counts) // 2]


def test_occurrence_counts_from_zero() -> None:
    assert occurrence(np.array([5, 2, 5, 5, 2])).tolist() == [0, 0, 1, 2, 1]


@pytest.mark.parametrize(
    "fields", [{"accounts": 2, "invalid_share": 0.1}, {"invalid_share": 0.6, "duplicate_share": 0.4}]
)
def test_impossible_pools_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"account|shares"):
        build_pool(plan(**fields))


def test_due_times_follow_the_segments() -> None:
    segments = [Segment(10, 0, 100), constant(5, 100), Segment(0, 0, 0), constant(2, 50)]
    assert rows_due(segments) == 500 + 500 + 100
    dues = due_times_s(segments, 10)
    assert len(dues) == 110
    assert (np.diff(dues) >= 0).all()
    assert dues[0] == 0.0
    np.testing.assert_allclose(dues[50], 10.0, atol=1e-9)
    np.testing.assert_allclose(np.diff(dues[50:100]), 0.1)
    np.testing.assert_allclose(np.diff(dues[100:]), 0.2)
    with pytest.raises(ValueError, match="negative"):
        due_times_s([Segment(1, -1, 1)], 10)


def test_saturation_is_the_best_window() -> None:
    slow = [(t / 10, 10) for t in range(100)]
    fast = [(10 + t / 100, 10) for t in range(200)]
    answers = np.array(slow + fast, dtype=np.float64)
    assert saturation_tps(answers, 2.0) == pytest.approx(1_000, rel=0.02)
    assert saturation_tps(answers[:100], 2.0) == pytest.approx(100, rel=0.1)
    assert saturation_tps(np.empty((0, 2)), 2.0) == 0.0


class Scripted:
    """A gateway that answers batch requests from a script: a status, or a verdict for all rows."""

    def __init__(self, script: list[int | Verdict]) -> None:
        self.script, self.waits = script, []  # type: ignore[var-annotated]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.waits.append(scope["query_string"].decode())
        step = self.script.pop(0) if self.script else Verdict.OK
        status, verdict = (200, step) if isinstance(step, Verdict) else (step, Verdict.OK)
        headers = [(b"content-type", b"application/octet-stream")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        rows = int.from_bytes(body[4:8], "little")
        await send({"type": "http.response.body", "body": bytes([verdict]) * rows if status == 200 else b""})


@pytest.fixture
def serve() -> Iterator[Any]:
    servers = []

    def start(script: list[int | Verdict]) -> tuple[str, Scripted]:
        app = Scripted(script)
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([sock],))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{sock.getsockname()[1]}", app

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join()


def load(url: str, tmp_path: Path, **fields: Any) -> tuple[dict[str, Any], Any, Any]:
    path = str(tmp_path / "pool.npy")
    build_pool(plan(count=20, invalid_share=0.2, seed=1)).save(path)
    history = str(tmp_path / "history")
    values = {"start": 0, "stop": 20, "batch_rows": 10, "mode": "closed", "concurrency": 1, **fields}
    result = asyncio.run(run_load(LoadPlan(url, path, history=history, **values)))
    return result, np.load(f"{history}.batches.npy"), np.load(f"{history}.fate.npy")


def test_a_batch_is_offered_until_it_is_answered_for(serve: Any, tmp_path: Path) -> None:
    url, app = serve([503, Verdict.UNAVAILABLE, Verdict.NONCE_REUSED, Verdict.OK])
    result, batches, fate = load(url, tmp_path, retry_s=30.0, durable_every=2)
    assert batches.dtype == HISTORY_DTYPE
    assert batches["attempts"].tolist() == [3, 1]
    assert (batches["answered_s"] > 0).all()
    kinds = np.load(tmp_path / "pool.kinds.npy")
    assert set(fate[kinds == VALID].tolist()) == {COMMITTED}
    assert set(fate[kinds == FALSE_SIGNATURE].tolist()) == {OPEN}
    assert (result["accepted"], result["rejected"], result["failed"]) == (
        np.count_nonzero(kinds == VALID),
        0,
        0,
    )
    assert result["errors"] == {"status 503": 1}
    # What may be pending already is not taken for journalled on a second attempt.
    assert app.waits == ["wait=durable", "wait=committed", "wait=committed", "wait=committed"]


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("text/html", b"<html>"),
        ("application/json", b'{"accepted": 10}'),
        ("application/octet-stream", bytes(9)),
        ("application/octet-stream", bytes([255] * 10)),
    ],
)
def test_an_answer_that_is_no_gateways_says_nothing_of_a_batch(
    media: str, body: bytes, tmp_path: Path
) -> None:
    with Between("http://127.0.0.1:9", lambda _asked: http_answer(200, media, body)) as proxy:
        result, batches, fate = load(proxy.url, tmp_path)
    assert (result["accepted"], result["errors"]) == (0, {"not this API's answer": 2})
    assert (batches["answered_s"] == 0).all()
    assert set(fate.tolist()) == {OPEN}


def test_what_is_told_durable_at_once_counts_as_durable(serve: Any, tmp_path: Path) -> None:
    url, _ = serve([])
    _, _, fate = load(url, tmp_path, durable_every=1)
    assert set(fate.tolist()) == {OPEN, DURABLE}


def test_a_socket_that_is_lost_at_once_is_a_failed_attempt(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = serve([])
    post, calls = httpx.AsyncClient.post, []

    async def losing(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            raise AttributeError("'NoneType' object has no attribute 'getpeername'")
        return await post(self, *args, **options)

    monkeypatch.setattr(httpx.AsyncClient, "post", losing)
    result, batches, _ = load(url, tmp_path, retry_s=30.0)
    assert result["errors"] == {"AttributeError": 1}
    assert batches["attempts"].tolist() == [2, 1]


def test_one_failed_generator_ends_all_and_says_why(tmp_path: Path, serve: Any) -> None:
    url, _ = serve([])
    path = str(tmp_path / "pool.npy")
    build_pool(plan(count=20)).save(path)
    endless = LoadPlan(url, path, 0, 20, 10, "open", rate_tps=0.001)
    with pytest.raises(RuntimeError, match="nowhere"):
        run_plans(tmp_path, [endless, LoadPlan(url, "/nowhere.npy", 0, 20, 10, "closed")])


def test_a_repetition_that_overtakes_its_row_does_not_make_it_refused(serve: Any, tmp_path: Path) -> None:
    url, _ = serve([Verdict.NONCE_REUSED])
    path = str(tmp_path / "repeating.npy")
    pool = build_pool(plan(count=20, duplicate_share=0.3, seed=1))
    assert (pool.kinds == REPETITION).any()
    pool.save(path)
    result = asyncio.run(run_load(LoadPlan(url, path, 0, 20, 20, "closed")))
    assert (result["accepted"], result["rejected"]) == (np.count_nonzero(pool.kinds == VALID), 0)


def test_without_retries_a_failure_is_one(serve: Any, tmp_path: Path) -> None:
    url, _ = serve([500, Verdict.NONCE_REUSED])
    result, batches, fate = load(url, tmp_path)
    kinds = np.load(tmp_path / "pool.kinds.npy")
    valid = [np.count_nonzero(kinds[:10] == VALID), np.count_nonzero(kinds[10:] == VALID)]
    assert (result["failed"], result["rejected"], result["accepted"]) == (valid[0], valid[1], 0)
    assert batches["answered_s"][0] == 0
    assert set(fate[10:][kinds[10:] == VALID].tolist()) == {REFUSED}


def test_what_is_parked_is_waited_for_without_retries_too(serve: Any, tmp_path: Path) -> None:
    url, _ = serve([Verdict.PARKED, Verdict.NONCE_REUSED, Verdict.POOL_FULL])
    result, batches, fate = load(url, tmp_path)
    kinds = np.load(tmp_path / "pool.kinds.npy")
    assert batches["attempts"].tolist() == [2, 1]
    assert (result["failed"], result["errors"]) == (0, {"refused POOL_FULL": result["rejected"]})
    assert set(fate[:10][kinds[:10] == VALID].tolist()) == {COMMITTED}


def test_a_record_is_offered_again_at_its_times(serve: Any, tmp_path: Path) -> None:
    url, _ = serve([])
    genesis = SimpleNamespace(network="t", chain_tag=TAG)
    shape = LoadShape(1, 1, None, accounts=36, batch_rows=10, processes=2)
    dues = np.array([0.0, 0.0, 0.05, 0.1, 0.1, 0.4])
    result = LoadRun(shape, [url], genesis, tmp_path).again(dues)  # type: ignore[arg-type]
    assert (result["sent"], result["accepted"]) == (60, 60)
    histories = [np.load(tmp_path / f"history-0-{lane}.batches.npy")["due_s"] for lane in range(2)]
    for lane, due_s in enumerate(histories):
        offered = np.sort(due_s)
        assert offered - offered[0] == pytest.approx(dues[lane::2] - dues[lane], abs=1e-6)


@pytest.mark.parametrize(
    "content", [np.array([1.0, 0.5]), np.array([-1.0, 2.0]), np.array([[0.0]]), np.array([1, 2]), np.empty(0)]
)
def test_what_is_no_record_is_named(tmp_path: Path, content: np.ndarray) -> None:
    np.save(tmp_path / "record.npy", content)
    with pytest.raises(UserError, match=r"record\.npy"):
        read_record(tmp_path / "record.npy")
    with pytest.raises(UserError, match="load --record"):
        read_record(tmp_path / "nowhere.npy")
