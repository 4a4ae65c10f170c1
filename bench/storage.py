"""The storage path alone, on a real disk: blocks, durability modes, snapshots, restarts, pruning.

`tps`: transactions executed, persisted and committed a second in blocks of `rows`, by durability mode (median
block; `sync` waits for the disk with every block). `raw_fsync_mb_s`: plain sequential writes of as many bytes
as a block's write batch has, each followed by fdatasync, in the same run; `ratio_to_raw_fsync`: what the
write of a block in mode `sync` reaches of it. `group_commit_speedup`: transactions a second when submissions
of `submission_rows` share a block and its sync, over those when each has a sync of its own. `us_per_tx`: by
stage, in mode sync. `bytes_written_per_tx`: what the kernel says this process wrote for a transaction, with
compactions; `write_amplification`: over the row's own bytes. `snapshot_s`, `restore_s`: for `accounts`
accounts. `recovery_s`: from opening the directory to serving, with `accounts` accounts and `replay_blocks`
blocks since the last checkpoint. `disk`: bytes a transaction and an account before and after pruning to the
newest tenth of the blocks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from actors.storage.chain import Chain
    from bench.storage_workload import Proposer, WorkloadNetwork

_RAW_WRITES = 12
_ROW_BYTES = 200
_WARM_UP_BLOCKS = 2


def command(
    accounts: Annotated[int, typer.Option(min=16, max=20_000_000, help="Accounts.")] = 1_000_000,
    rows: Annotated[int, typer.Option(min=1, max=100_000, help="Transfers in a block.")] = 10_000,
    blocks: Annotated[int, typer.Option(min=2, max=10_000, help="Measured blocks in each mode.")] = 20,
    replay_blocks: Annotated[int, typer.Option(min=1, help="Blocks after the last checkpoint.")] = 1_000,
    replay_rows: Annotated[int, typer.Option(min=1, help="Transfers in each of those.")] = 100,
    submission_rows: Annotated[int, typer.Option(min=1, help="Transfers in one submission.")] = 10,
    directory: Annotated[str, typer.Option(help="Where to write; default: a temporary folder.")] = "",
) -> dict[str, object]:
    """Run the benchmark."""
    import tempfile
    from pathlib import Path

    from actors.console import console
    from actors.kernels.selection import select
    from actors.shell import kernel_cache_dir
    from bench.storage_workload import found

    kernels = select("auto", kernel_cache_dir())
    network = found(accounts, kernels.hash_rows, rows)
    with tempfile.TemporaryDirectory(prefix="raychain-bench-", dir=directory or None) as scratch:
        folder = Path(scratch)
        console.print(f"committing blocks of {rows:,} over {accounts:,} accounts in each mode")
        figures = measure_modes(network, folder, rows, blocks)
        console.print("one sync for each submission, and one for all")
        figures |= measure_groups(network, folder / "sync", submission_rows, figures["tps"]["sync"])
        console.print("snapshot, restore, recovery, pruning")
        figures |= measure_snapshot(network, folder)
        figures |= measure_recovery(network, folder / "sync", replay_blocks, replay_rows)
        figures |= measure_pruning(network, folder / "none")
    return {"accounts": accounts, "rows": rows, "blocks": blocks, "kernels": kernels.name, **figures}


def _proposer(chain: Chain, network: WorkloadNetwork) -> Proposer:
    import numpy as np

    from bench.storage_workload import Proposer

    return Proposer(chain, network.allocation.keys, np.random.default_rng(5))


def measure_modes(network: WorkloadNetwork, folder: Path, rows: int, blocks: int) -> dict[str, Any]:
    """Commit blocks in each durability mode, and write the same bytes plainly."""
    import statistics

    tps: dict[str, int] = {}
    figures: dict[str, Any] = {}
    for mode in ("none", "interval", "sync"):
        chain = network.open(folder / mode, sync=mode == "sync")
        proposer, spent_s, stages, sizes, synced = _proposer(chain, network), [], [], [], time.perf_counter()
        chain.checkpointer.write(chain.state, sync=True)
        for number in range(_WARM_UP_BLOCKS + blocks):
            batch = proposer.batch(rows)
            written_before = _bytes_written() if number == _WARM_UP_BLOCKS else figures.get("_written", 0)
            figures["_written"] = written_before
            began = time.perf_counter()
            block = proposer.execute(batch)
            executed = time.perf_counter()
            header = proposer.header(block)
            sealed = time.perf_counter()
            written, _ = proposer.persist(header)
            if mode == "interval" and time.perf_counter() - synced > 0.2:
                chain.disk.sync()
                synced = time.perf_counter()
            if number >= _WARM_UP_BLOCKS:
                spent_s.append(time.perf_counter() - sealed + executed - began)
                stages.append({"execute": (executed - began) * 1e6, **written.stages_us})
                sizes.append(written.bytes_written)
        tps[mode] = round(rows / statistics.median(spent_s))
        if mode == "sync":
            figures["us_per_tx"] = {
                name: round(statistics.median(stage[name] for stage in stages) / rows, 3)
                for name in stages[0]
            }
            size = int(statistics.median(sizes))
            raw = raw_fsync_mb_s(folder / "raw", size)
            writing_s = statistics.median(stage["write"] for stage in stages) / 1e6
            figures["raw_fsync_mb_s"] = round(raw, 1)
            figures["ratio_to_raw_fsync"] = round(size / writing_s / 1e6 / raw, 3)
        chain.disk.close()
        per_tx = (_bytes_written() - figures.pop("_written")) / (rows * blocks)
        if mode == "sync":
            figures["bytes_written_per_tx"] = round(per_tx)
            figures["write_amplification"] = round(per_tx / _ROW_BYTES, 2)
    return {"tps": tps, **figures}


def raw_fsync_mb_s(path: Path, size: int) -> float:
    """Megabytes a second of sequential writes of `size` bytes, each followed by fdatasync (median)."""
    import os
    import statistics

    spent_s, block = [], os.urandom(size)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    for _ in range(_RAW_WRITES):
        began = time.perf_counter()
        os.write(descriptor, block)
        os.fdatasync(descriptor)
        spent_s.append(time.perf_counter() - began)
    os.close(descriptor)
    path.unlink()
    return size / statistics.median(spent_s) / 1e6


def _bytes_written() -> int:
    """Bytes that this process has sent to the block layer, or to files where the kernel does not say."""
    import psutil

    return int(psutil.Process().io_counters().write_bytes)


def measure_groups(network: WorkloadNetwork, directory: Path, rows: int, grouped_tps: int) -> dict[str, Any]:
    """A block and a sync of its own for each submission, against full blocks."""
    chain = network.open(directory)
    proposer = _proposer(chain, network)
    batches = [proposer.batch(rows) for _ in range(60)]
    spent_s = 0.0
    for batch in batches:
        began = time.perf_counter()
        block = proposer.execute(batch)
        executed = time.perf_counter()
        header = proposer.header(block)
        sealed = time.perf_counter()
        proposer.persist(header)
        spent_s += time.perf_counter() - sealed + executed - began
    chain.disk.close()
    alone_tps = rows * len(batches) / spent_s
    return {
        "submission_rows": rows,
        "tps_one_sync_per_submission": round(alone_tps),
        "group_commit_speedup": round(grouped_tps / alone_tps, 1),
    }


def measure_snapshot(network: WorkloadNetwork, folder: Path) -> dict[str, Any]:
    """Snapshot the head of the `sync` chain, and begin another directory with it."""
    from actors.ledger.block import decode_sealed_header
    from actors.storage.disk import Disk
    from actors.storage.reads import Reader
    from actors.storage.snapshot_store import SnapshotStore, begin_with

    chain = network.open(folder / "sync")
    height = chain.head.height
    (sealed,) = Reader(chain).sealed_headers(height, 1)
    store = SnapshotStore(chain.disk, network.genesis, network.hash_rows)
    began = time.perf_counter()
    manifest = store.make(chain.state, height, decode_sealed_header(sealed), chain.head)
    snapshot_s = time.perf_counter() - began
    (kept,) = [kept for kept in store.kept() if kept.height == height]
    began = time.perf_counter()
    disk = Disk(folder / "restored")
    begin_with(disk, network.genesis, manifest.encode(), sealed, store.chunk, network.hash_rows)
    disk.close()
    other = network.open(folder / "restored")
    restore_s = time.perf_counter() - began
    if other.head_state_root != chain.head_state_root or other.head != chain.head:
        raise RuntimeError("the restored chain is another one")
    other.disk.close()
    store.prune(0)
    chain.disk.close()
    return {
        "snapshot_s": round(snapshot_s, 2),
        "restore_s": round(restore_s, 2),
        "snapshot_bytes": kept.stored_bytes,
        "snapshot_chunks": kept.chunks,
    }


def measure_recovery(network: WorkloadNetwork, directory: Path, blocks: int, rows: int) -> dict[str, Any]:
    """Open a directory whose last checkpoint is `blocks` blocks old, as after a crash."""
    import shutil

    chain = network.open(directory, sync=False)
    chain.checkpointer.write(chain.state, sync=True)
    proposer = _proposer(chain, network)
    for _ in range(blocks):
        proposer.persist(proposer.header(proposer.execute(proposer.batch(rows))))
    chain.disk.sync()
    crashed = directory.parent / "crashed"
    shutil.copytree(directory, crashed)
    head = chain.head
    chain.disk.close()
    began = time.perf_counter()
    again = network.open(crashed)
    recovery_s = time.perf_counter() - began
    if again.head != head:
        raise RuntimeError("the recovered chain is another one")
    again.disk.close()
    return {"recovery_s": round(recovery_s, 2), "recovery_blocks": blocks, "recovery_rows": rows}


def measure_pruning(network: WorkloadNetwork, directory: Path) -> dict[str, Any]:
    """Bytes on disk before and after pruning to the newest tenth of the blocks."""
    from actors.storage.disk import FAMILIES
    from actors.storage.pruning import due, prune

    chain = network.open(directory)
    chain.checkpointer.write(chain.state, sync=True)
    for family in FAMILIES:
        chain.disk.compact(family)
    pages_bytes = 48 * chain.state.accounts.count
    transactions, height = chain.head.transactions, chain.head.height
    before = chain.disk.table_bytes()
    base = due(chain, "full", max(1, height // 10), height)
    began = time.perf_counter()
    pruned = prune(chain, base)
    prune_s = time.perf_counter() - began
    after = chain.disk.table_bytes()
    accounts = chain.state.accounts.count
    chain.disk.close()
    return {
        "disk": {
            "bytes_per_tx_before": round((before - pages_bytes) / transactions, 1),
            "bytes_per_tx_after": round((after - pages_bytes) / transactions, 1),
            "bytes_per_account_before": round(before / accounts, 1),
            "bytes_per_account_after": round(after / accounts, 1),
            "bytes_before": before,
            "bytes_after": after,
            "heights_pruned": pruned.heights,
            "prune_s": round(prune_s, 2),
        }
    }
