"""Commands against a served node: many transfers at once, and looking again and again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from actors.cli.chain import app
from tests.gateway.gateway_fake_node import FakeNode
from tests.gateway.gateway_served import Served


@pytest.fixture
def served() -> Iterator[Served]:
    running = Served(FakeNode())
    yield running
    running.stop()
    assert running.faults == []


def lines_of(*arguments: str, code: int = 0) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def test_many_transfers_are_sent_and_committed(served: Served) -> None:
    async def make_blocks() -> None:
        while True:
            await asyncio.sleep(0.005)
            if any(shard.pending for shard in served.node.shards):
                served.node.commit()

    blocks = asyncio.run_coroutine_threadsafe(make_blocks(), served._loop)
    where = ("--from", "development:0", "--to", "development:1", "--url", served.url)
    (sent,) = lines_of("send", "5", *where, "--count", "40")
    assert sent["committed"] == 40
    assert 1 <= sent["first_height"] <= sent["last_height"]
    (account,) = lines_of("balance", "development:0", "--url", served.url)
    assert account["nonce"] == 40
    assert lines_of("send", "5", *where, "--count", "2", "--nonce", "7", code=2) == []
    blocks.cancel()


def test_pending_transactions_are_listed_and_only_those_can_be_cancelled(served: Served) -> None:
    where = ("--url", served.url)
    to = ("--from", "development:0", "--to", "development:1", "--wait", "accepted")
    (sent,) = lines_of("send", "5", *to, "--fee", "10", *where)
    (found,) = lines_of("pending", "development:0", *where)
    assert (found["nonce"], found["next_nonce"]) == (0, 1)
    ((row,),) = (found["transactions"],)
    assert (row["id"], row["nonce"], row["fee"], row["state"]) == (sent["id"], 0, 10, "ready")
    assert lines_of("cancel", "1", "--from", "development:0", *where, code=2) == []
    served.node.commit()
    assert lines_of("cancel", "0", "--from", "development:0", *where, code=2) == []


def test_watching_prints_a_line_each_time_until_it_is_interrupted(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    looks = lines_of("status", "--url", served.url, "--watch", "2")
    assert [look["height"] for look in looks] == [0, 0, 0]
    assert pauses == [2.0, 2.0, 2.0]
