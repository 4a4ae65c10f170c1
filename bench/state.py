"""The account state on one core, or as many as `--threads`: updates, proofs, verifications, memory, disk.

`updates_per_s`: accounts touched by blocks of transfers between uniformly drawn accounts, over the time from
their new values to the new state root (median block). `updates_with_transition_per_s` counts the execution of
the transfers as well. `proofs_per_s` and `verifications_per_s`: ICS-23 proofs made, and checked by the plain
verifier. `bytes_per_account`: memory of accounts and tree. `saved_against_full_tree`: what the state takes on
disk, for 10^4, 10^5 and the given number of accounts, against a complete binary Merkle tree over the same
leaves of which every node is kept. `ratio_to_hashlib`: updates over 65-byte messages that hashlib hashes in a
plain loop in the same run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.ledger.environment import Environment

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from actors.ledger.hashing import Hasher
    from actors.ledger.rows import Batch
    from actors.storage.state import State

_SIZES_ON_DISK = (10_000, 100_000)
_WARM_UP_BLOCKS = 2
_YARDSTICK_HASHES = 100_000


def command(
    accounts: Annotated[int, typer.Option(min=2, max=20_000_000, help="Accounts in the state.")] = 1_000_000,
    blocks: Annotated[int, typer.Option(min=1, max=10_000, help="Measured blocks.")] = 20,
    rows: Annotated[int, typer.Option(min=1, max=100_000, help="Transfers in a block.")] = 10_000,
    proofs: Annotated[int, typer.Option(min=1, max=1_000_000, help="Proofs to make and to verify.")] = 2_000,
    kernels: Annotated[str, typer.Option(help="auto, portable or simd.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, max=64, help="Threads that hash the tree.")] = 1,
) -> dict[str, object]:
    """Run the benchmark."""
    import resource

    from actors.console import console
    from actors.kernels.selection import select
    from actors.storage.sharing import sharing

    chosen = select(kernels)  # type: ignore[arg-type]
    console.print(f"building a state of {accounts:,} accounts")
    state, keys, build_s = build_state(accounts, chosen.hash_rows)
    state.tree.each = sharing(threads)
    yardstick = _hashlib_per_s()
    console.print(f"executing {blocks + _WARM_UP_BLOCKS} blocks of {rows:,} transfers")
    figures = measure_updates(state, keys, blocks, rows)
    figures |= measure_proofs(state, keys, proofs)
    updates_per_s = figures["updates_per_s"]
    bytes_per_account = _bytes_of(state) / state.accounts.count
    peak_rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    del state
    saved = {}
    for size in sorted({*_SIZES_ON_DISK, accounts}):
        console.print(f"writing {size:,} accounts to disk, both ways")
        saved[str(size)] = measure_disk(size, chosen.hash_rows)
    return {
        "accounts": accounts,
        "rows": rows,
        "blocks": blocks,
        "threads": threads,
        "kernels": chosen.name,
        **figures,
        "ratio_to_hashlib": round(updates_per_s / yardstick, 3),
        "hashlib_65_bytes_per_s": round(yardstick),
        "build_s": round(build_s, 2),
        "bytes_per_account": round(bytes_per_account, 1),
        "saved_against_full_tree": {size: sizes["saved"] for size, sizes in saved.items()},
        "disk_bytes": saved,
        "peak_rss_mb": round(peak_rss_mb, 1),
    }


def build_state(accounts: int, hash_rows: Hasher) -> tuple[State, NDArray[np.uint8], float]:
    """(state, (n, 32) keys of accounts that hold plenty, seconds to build it)."""
    from actors.storage.accounts import Accounts, of_accounts
    from actors.storage.state import State

    keys, nonces, balances = _columns(accounts)
    began = time.perf_counter()
    columns = Accounts(accounts, seed=1)
    columns.put(of_accounts(keys, nonces, balances))
    state = State(columns, 0, hash_rows)
    return state, keys, time.perf_counter() - began


def _columns(accounts: int) -> tuple[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.uint64]]:
    import numpy as np

    keys = np.random.default_rng(1).integers(0, 256, (accounts, 32), dtype=np.uint8)
    return keys, np.zeros(accounts, dtype=np.uint64), np.full(accounts, 1 << 30, dtype=np.uint64)


def make_block(
    keys: NDArray[np.uint8], nonces: NDArray[np.uint64], rows: int, rng: np.random.Generator
) -> Batch:
    """Valid unsigned transfers between uniformly drawn accounts; raises `nonces` in place."""
    import numpy as np

    from actors.ledger.rows import KIND_TRANSFER, NEVER_EXPIRES_HEIGHT, ROW_DTYPE, ROW_VERSION, Batch

    table = np.zeros(rows, dtype=ROW_DTYPE)
    senders, recipients = rng.integers(0, len(keys), rows), rng.integers(0, len(keys), rows)
    order = np.argsort(senders, kind="stable")
    first = np.searchsorted(senders[order], senders[order])
    earlier = np.empty(rows, dtype=np.uint64)
    earlier[order] = np.arange(rows) - first
    table["version"], table["kind"] = ROW_VERSION, KIND_TRANSFER
    table["expiry_height"], table["amount"], table["fee"] = NEVER_EXPIRES_HEIGHT, 1, 1
    table["nonce"] = nonces[senders] + earlier
    table["sender"], table["recipient"] = keys[senders], keys[recipients]
    np.add.at(nonces, senders, np.uint64(1))
    return Batch(table, np.empty(0, dtype=np.uint8))


def measure_updates(state: State, keys: NDArray[np.uint8], blocks: int, rows: int) -> dict[str, Any]:
    """Execute and commit blocks; medians over blocks."""
    import statistics

    import numpy as np

    rng, nonces = np.random.default_rng(2), np.zeros(len(keys), dtype=np.uint64)
    proposer, touched, stages = keys[0].tobytes(), [], []
    for number in range(_WARM_UP_BLOCKS + blocks):
        batch = make_block(keys, nonces, rows, rng)
        env = Environment(0, state.height + 1, proposer)
        execution = state.execute(batch, env, True, time.perf_counter_ns)
        if execution.block is None:
            raise RuntimeError(f"block {number} of the benchmark is not valid")
        if number >= _WARM_UP_BLOCKS:
            touched.append(len(execution.block.touched.keys))
            stages.append(execution.stages_us)
        state.commit()
    root_us = [stage["state_root"] for stage in stages]
    both_us = [stage["state_root"] + stage["transition"] for stage in stages]
    names = ("transition", "receipts_root", "state_root")
    return {
        "updates_per_s": round(
            statistics.median(n / us * 1e6 for n, us in zip(touched, root_us, strict=True))
        ),
        "updates_with_transition_per_s": round(
            statistics.median(n / us * 1e6 for n, us in zip(touched, both_us, strict=True))
        ),
        "updates_per_block": round(statistics.mean(touched)),
        "stages_us_per_tx": {
            name: round(statistics.median(stage[name] for stage in stages) / rows, 3) for name in names
        },
    }


def measure_proofs(state: State, keys: NDArray[np.uint8], count: int) -> dict[str, Any]:
    """Make and verify ICS-23 proofs at the committed height and at an older one, half of them of absence."""
    import numpy as np

    from actors.ledger import ics23
    from actors.storage.proofs import prove

    rng = np.random.default_rng(3)
    present = keys[rng.integers(0, len(keys), count - count // 2)]
    absent = rng.integers(0, 256, (count // 2, 32), dtype=np.uint8)
    wanted = [row.tobytes() for row in np.concatenate((present, absent))]

    def encoded(key: bytes, height: int) -> bytes:
        proof = prove(state, key, height).ics23
        return b"" if proof is None else ics23.encode(proof)

    began = time.perf_counter()
    made = [encoded(key, state.height) for key in wanted]
    proving_s = time.perf_counter() - began
    oldest = max(state.history.oldest, state.height - 16)
    encoded(wanted[0], oldest)
    began = time.perf_counter()
    for key in wanted[:: max(1, count // 200)]:
        encoded(key, oldest)
    older_s = (time.perf_counter() - began) / len(wanted[:: max(1, count // 200)])
    root = state.tree.root
    values = {key: prove(state, key).value or b"" for key in wanted[: len(present)]}
    began = time.perf_counter()
    held = [
        ics23.verify_presence(root, key, values[key], proof)
        if key in values
        else ics23.verify_absence(root, key, proof)
        for key, proof in zip(wanted, made, strict=True)
    ]
    verifying_s = time.perf_counter() - began
    if not all(held):
        raise RuntimeError("a proof of the benchmark does not verify")
    return {
        "proofs_per_s": round(count / proving_s),
        "proofs_16_blocks_back_per_s": round(1 / older_s),
        "verifications_per_s": round(count / verifying_s),
        "proof_bytes": round(sum(map(len, made)) / count),
    }


def measure_disk(accounts: int, hash_rows: Hasher) -> dict[str, Any]:
    """Bytes of the state on disk, of a complete Merkle tree over the same leaves, and the share saved."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(prefix="raychain-bench-") as scratch:
        state_bytes = _write_state(Path(scratch) / "state", accounts, hash_rows)
        full_bytes = _write_full_tree(Path(scratch) / "full", accounts, hash_rows)
    return {"state": state_bytes, "full_tree": full_bytes, "saved": round(1 - state_bytes / full_bytes, 3)}


def _write_state(folder: Path, accounts: int, hash_rows: Hasher) -> int:
    """What a new network writes: pages of accounts, from which the tree is computed again."""
    from actors.ledger.genesis import GENESIS_VERSION, Allocation, Genesis, Member
    from actors.storage.accounts import funded
    from actors.storage.disk import Disk
    from actors.storage.recovery import create
    from actors.storage.state import build_tree

    keys, _, balances = _columns(accounts)
    root = build_tree(funded(keys, balances), hash_rows).root
    members, supply = [Member("bench", "00" * 32)], accounts << 30
    genesis = Genesis(
        GENESIS_VERSION, "bench", 0, members, accounts, supply, root.hex(), 10_000, 1 << 20, 1, 1
    )
    disk = Disk(folder)
    create(disk, genesis, Allocation(keys, balances), hash_rows)
    disk.close()
    return _table_bytes(folder / "rocksdb")


def _write_full_tree(folder: Path, accounts: int, hash_rows: Hasher) -> int:
    """Every node under its level and number: 32-byte hashes, and key and value beside those of leaves."""
    import numpy as np
    from rocksdict import Options, Rdict, WriteBatch

    from actors.ledger.delta import account_values
    from actors.ledger.smt import LEAF_PREFIX, NODE_PREFIX

    keys, nonces, balances = _columns(accounts)
    values = account_values(nonces, balances)
    level = hash_rows(np.concatenate((hash_rows(keys), hash_rows(values)), axis=1), LEAF_PREFIX)
    database = Rdict(str(folder), Options(raw_mode=True))
    table = np.concatenate((level, keys, values), axis=1)
    for depth in range(64):
        batch = WriteBatch(raw_mode=True)
        for number, row in enumerate(table):
            batch.put(depth.to_bytes(1, "big") + number.to_bytes(7, "big"), row.tobytes())
        database.write(batch)
        if len(level) == 1:
            break
        if len(level) % 2:
            level = np.concatenate((level, np.zeros((1, 32), dtype=np.uint8)))
        table = level = hash_rows(level.reshape(-1, 64), NODE_PREFIX)
    database.close()
    return _table_bytes(folder)


def _table_bytes(folder: Path) -> int:
    """Size of tables, blobs and the log of what is not yet in a table."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix in (".sst", ".blob", ".log"))


def _bytes_of(state: State) -> int:
    accounts, index = state.accounts, state.accounts.index
    columns = (accounts.nonces, accounts.balances, accounts.waves, index.keys, index.table)
    return sum(column.nbytes for column in columns) + state.tree.bytes_used


def _hashlib_per_s() -> float:
    import hashlib

    messages = [number.to_bytes(65, "little") for number in range(1000)]
    began = time.perf_counter()
    for _ in range(_YARDSTICK_HASHES // len(messages)):
        for message in messages:
            hashlib.sha256(message).digest()
    return _YARDSTICK_HASHES / (time.perf_counter() - began)
