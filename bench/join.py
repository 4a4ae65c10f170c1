"""A new node joins a running network whose old blocks are pruned: how long, and how many bytes.

A member with `accounts` accounts commits `blocks` small blocks, makes snapshots, and prunes what its newest
snapshot has made superfluous. Then another process starts an observer that knows the genesis and the member's
address alone. `bytes_fetched`: of the snapshot, over the wire; `bytes_per_account`: the same for each account
(key, nonce and balance are 48). `join_s`: from that process's start until it stands at the member's head,
`snapshot_join_s` the part of it that the snapshot took. `roots_agree`: both answer the same state root at the
same height. Exits with 1 unless they do, the history was pruned, and the snapshot was used.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

_BANNER_TIMEOUT_S = 240
_CATCH_UP_TIMEOUT_S = 180
_LOOK_EVERY_S = 0.05


def command(
    accounts: Annotated[int, typer.Option(min=100, max=2_000_000, help="Accounts.")] = 100_000,
    blocks: Annotated[int, typer.Option(min=20, max=10_000, help="Blocks before the node joins.")] = 65,
) -> dict[str, object]:
    """Run the benchmark."""
    import tempfile
    from pathlib import Path

    from actors.topology import running_network
    from config.effective import load

    snapshot_blocks = blocks // 3
    overrides = [
        "gateway.port=0",
        "node.validators=1",
        f"network.development_accounts={accounts}",
        f"storage.snapshot_blocks={snapshot_blocks}",
        f"storage.checkpoint_blocks={max(1, snapshot_blocks // 2)}",
        "storage.retention=full",
        f"storage.retain_blocks={max(1, snapshot_blocks // 2)}",
        "consensus.block_interval_ms=5",
    ]
    with (
        tempfile.TemporaryDirectory(prefix="raychain-bench-") as scratch,
        running_network(load("local", overrides).settings, Path(scratch) / "member", 1) as (_, (member,)),
    ):
        _commit(member, blocks)
        stats = _until(lambda: _pruned(member), "the member has pruned its history")
        told = _join(member, Path(scratch) / "new")
    result = {
        "accounts": accounts,
        "snapshot_height": stats["snapshot_height"],
        "first_body_height": stats["first_body_height"],
        **told,
        "bytes_per_account": round(told["bytes_fetched"] / accounts, 1),
    }
    if not (result["roots_agree"] and result["bytes_fetched"]):
        raise RuntimeError(f"the new node did not join as it should have: {result}")
    return result


def _commit(member: Any, blocks: int) -> None:
    """One small block after another, from a few accounts in turn."""
    import numpy as np

    from actors.ledger.rows import Batch
    from actors.sdk.client import Client
    from bench.transfers import SignPlan, build_transfers

    genesis, senders = member.directory.genesis, 20
    count = -(-blocks // senders) * senders
    rows = build_transfers(SignPlan("", genesis.network, genesis.chain_tag, senders, 0, count))
    with Client(member.url) as client:
        for row in range(blocks):
            client.submit(Batch(rows[row : row + 1], np.empty(0, dtype=np.uint8)), wait="committed")


def _pruned(member: Any) -> dict[str, Any] | None:
    stats: dict[str, Any] = member.call("storage", "stats")
    return stats if stats["snapshot_height"] and stats["first_body_height"] > 1 else None


def _until(holds: Any, what: str, timeout_s: float = _CATCH_UP_TIMEOUT_S) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {timeout_s} s: {what}")
        time.sleep(_LOOK_EVERY_S)
    return found


def _join(member: Any, data_dir: Path) -> dict[str, Any]:
    """Start an observer in a process of its own, wait until it stands at the member's head, stop it."""
    import signal
    import subprocess
    import sys
    from pathlib import Path

    import msgspec

    root, log = Path(__file__).parent.parent, data_dir.parent / "new.log"
    options = [
        "--node", "new", "--join", str(member.facts["peer"]["address"]),
        "--genesis", str(member.directory.path), "--data-dir", str(data_dir),
        "--set", "gateway.port=0", "--set", "node.validators=1",
    ]  # fmt: skip
    began = time.monotonic()
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, str(root / "node.py"), "up", "--json", *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    try:
        url = _until(lambda: _url(process, log), "the new node is up", _BANNER_TIMEOUT_S)
        head = member.call("storage", "head")
        status = _until(lambda: _at(url, head.height), "the new node has caught up")
        join_s = time.monotonic() - began
    finally:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=_BANNER_TIMEOUT_S)
    begun = msgspec.json.decode(out.splitlines()[-1]).get("begun_with_snapshot") or {}
    return {
        "height": status["head"]["height"],
        "state_root": status["head"]["state_root"],
        "roots_agree": status["head"]["state_root"] == head.state_root.hex(),
        "joined_at_height": begun.get("height", 0),
        "bytes_fetched": begun.get("bytes_fetched", 0),
        "chunks": begun.get("chunks", 0),
        "snapshot_join_s": begun.get("seconds", 0.0),
        "join_s": round(join_s, 1),
    }


def _url(process: subprocess.Popen[bytes], log: Path) -> str | None:
    import re

    text = log.read_text()
    if process.poll() is not None:
        raise RuntimeError(f"the new node ended: {text[-2000:]}")
    match = re.search(r"(http://127\.0\.0\.1:\d+) ", text)
    return match.group(1) if match else None


def _at(url: str, height: int) -> dict[str, Any] | None:
    from actors.sdk.client import Client

    with Client(url) as client:
        status: dict[str, Any] = client.status()
    return status if status["head"]["height"] >= height else None
