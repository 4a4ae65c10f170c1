"""What commands say of answers that a healthy network does not give."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from actors.cli.summaries import block_of, check_summary, members_of, status_of
from actors.console import Summary
from bench.demo_report import demo_summary
from tests.people.conftest import ROOT, fits
from tests.people.terminal import ROWS

HASH = "ab" * 32
PEER = {
    "state": "active",
    "address": "127.0.0.1:7002",
    "identity": "b",
    "last_seen_s": 0.02,
    "rtt_ms": 1.4,
    "member": True,
}
NODE = {
    "identity": "a",
    "role": "follower",
    "leader": "b",
    "transactions": 5,
    "validators": 1,
    "peers": [PEER],
}
NAMES = {"a": "node-1", "b": "node-2", "c": "node-3"}
HEAD = {"height": 7, "time_ms": 1_796_103_751_407}
STATUS = {"network": "local", "chain_id": HASH, "head": HEAD, "node": NODE, "peers": [PEER]}


def printed(summary: Summary) -> str:
    text = io.StringIO()
    summary.show(Console(file=text, width=80))
    return text.getvalue()


def member(number: int, **facts: Any) -> dict[str, Any]:
    identity = "abc"[number - 1]
    row = {"number": number, "name": f"node-{number}", "identity": identity, "address": "", "role": "voter"}
    return {**row, "leader": number == 2, "disk": "named", **facts}


@pytest.mark.parametrize(
    ("gateway", "actors", "words"),
    [
        ({"ready": True}, {"mempool-0": {"depth": 3}}, "✓ node-1 is healthy: it follows node-2, at height 7"),
        (
            {"ready": False, "unready_reasons": ["no leader is known"]},
            {},
            "✗ node-1 is not ready: no leader is known.",
        ),
        ({"ready": True}, {"validator-0": None}, "! node-1 works, but without validator-0"),
    ],
)
def test_status_says_first_whether_a_node_is_healthy(
    gateway: dict[str, Any], actors: dict[str, Any], words: str
) -> None:
    text = printed(status_of({**STATUS, "gateway": gateway}, actors, NAMES, HEAD["time_ms"] + 2_000))
    assert text.startswith(words)
    assert fits(text)
    assert len(text.splitlines()) <= ROWS


def test_members_that_are_away_are_told() -> None:
    """A stopped one was shown as a voter like the others."""
    status = {"node": NODE}
    rows = [member(1), member(2, behind=0), member(3, behind=12)]
    text = printed(members_of({"members": rows, "majority": 2}, status, "127.0.0.1:7001", 7))
    assert text.startswith("! 2 of 3 members vote and can be reached, node-2 leads; node-3 is away.")
    assert "away" in next(line for line in text.splitlines() if line.startswith("node-3"))
    assert "12 blocks" in text
    rows[1:] = [member(2), member(3)]
    text = printed(members_of({"members": rows, "majority": 2}, {"node": {**NODE, "peers": []}}, "-", 7))
    assert text.startswith("✗ 1 of 3 members vote and can be reached")
    assert "2 are needed" in text.replace("\n", " ")
    rows[0] = member(1, disk="awaited")
    assert "new disk" in printed(members_of({"members": rows, "majority": 2}, status, "-", 7))


def test_a_block_of_many_says_which_are_listed() -> None:
    header = {
        "height": 3, "transaction_count": 9, "proposer": "b", "time_ms": HEAD["time_ms"], "hash": HASH,
        "state_root": HASH,
    }  # fmt: skip
    row = {"id": HASH, "kind_name": "transfer", "sender": "a", "recipient": "b", "amount": 5_000, "fee": 1}
    text = printed(block_of({"header": header, "transactions": [row]}, NAMES, HEAD["time_ms"]))
    assert text.startswith("Block 3 has 9 transactions; node-2 made it. The first 1:")
    assert "5,000" in text


def test_a_damaged_disk_is_named_with_its_first_fault() -> None:
    problem = {"family": "blocks", "key": "07", "what": "its seal is broken"}
    result = {"ok": False, "problem": problem, "height": 7, "value_bytes": 10}
    text = printed(check_summary(result, ROOT / "data" / "node-1", False))
    assert text.startswith("✗ Damaged")
    assert "its seal is broken" in text.replace("\n", " ")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "bench" / "results").glob("demo*.json")), ids=lambda path: path.stem
)
def test_the_demo_ends_in_a_verdict_on_one_screen(path: Any) -> None:
    result = json.loads(path.read_text())
    text = printed(demo_summary(result))
    assert text.startswith("✓ Passed: ")
    assert "node.py up" in text
    assert fits("\n".join(line for line in text.splitlines() if "node.py" not in line))
    assert len(text.splitlines()) <= ROWS


def test_a_demo_that_did_not_hold_says_what() -> None:
    result = json.loads((ROOT / "bench" / "results" / "demo.json").read_text())
    failed = {**result, "passed": False, "nothing_lost": False, "lost_committed": 7, "calls_agree": False}
    text = printed(demo_summary(failed))
    assert text.startswith("✗ Failed: nothing lost, calls agree;")
    assert "7 of " in text
    killed = {**result, "killed": "node-2", "failover_ms": 350.0}
    assert "node-2" in printed(demo_summary(killed))
    assert "350 ms later" in printed(demo_summary(killed))
