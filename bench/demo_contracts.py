"""What the demo tells of calls besides: yardsticks of the same run, islands of its blocks, and what became of
the tokens.

`ratio_to_serial` is over what one core executes of the same calls in one pass, with the new roots of state
and receipts: without HTTP, mempool, signatures, agreement and disk. `ratio_to_pyrevm` is over transfers of an
ERC-20 by an EVM in Rust, called from Python. `islands`: of a block, the median of ISLAND_BLOCKS_MAX.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np

from actors.contracts.touches import touches_of
from actors.execution.islands import islands_of
from actors.execution.planning import plan_touches
from actors.kernels.selection import select
from actors.ledger.accounts import RECEIPT_WORDS
from actors.ledger.hashing import sha256_rows
from actors.ledger.rows import KIND_CALL, Batch, empty_batch
from actors.sdk.client import Client
from actors.shell import kernel_cache_dir
from bench.contract_speed.engines import SEED, measured_engines
from bench.contract_speed.evm_calls import erc20_transfers_per_s, pyrevm_missing
from bench.contract_speed.runs import SpeedState
from bench.contract_speed.stages import watched
from bench.contract_speed.workloads import WORKLOADS
from bench.demo_pools import TokenPool

ISLAND_BLOCKS_MAX = 5
_SERIAL_ROWS, _SERIAL_BLOCKS, _EVM_CALLS = 5_000, 5, 20_000


@dataclass(frozen=True, slots=True)
class CallYardsticks:
    """Calls a second: in one pass on one core, and by pyrevm, None where it is not installed."""

    serial_per_s: float
    pyrevm_per_s: float | None


def measure_yardsticks(accounts: int) -> CallYardsticks:
    """Among so many accounts that all have tokens."""
    kernels = select("auto", kernel_cache_dir())
    with measured_engines([1], lambda _: None) as engines, watched() as watch:
        state = SpeedState(accounts, kernels, engines, watch)
        draw = state.open(next(workload for workload in WORKLOADS if workload.name == "token"))
        one_pass = {"serial": engines.engine(1, 1, kernels)}
        measured = state.measure(lambda: draw(_SERIAL_ROWS), _SERIAL_BLOCKS, one_pass)["serial"]
    pyrevm = None if pyrevm_missing() else erc20_transfers_per_s(accounts, _EVM_CALLS)
    return CallYardsticks(measured.calls_per_s(roots=True), pyrevm)


def call_rows(
    pool: TokenPool, yardsticks: CallYardsticks, nodes: list[Any], heights: range, calls_per_s: float
) -> dict[str, Any]:
    """Figures and checks of a load of calls in the blocks of these heights."""
    with Client(nodes[0].url) as client:
        blocks = {height: block.batch for height in heights if (block := client.raw_block(height))}
    failed = sum(_failed(nodes[0], height, batch) for height, batch in blocks.items())
    largest = sorted(blocks.values(), key=len)[-ISLAND_BLOCKS_MAX:] or [empty_batch()]
    pyrevm = yardsticks.pyrevm_per_s
    return {
        "calls_per_s": round(calls_per_s, 1),
        "ratio_to_pyrevm": round(calls_per_s / pyrevm, 3) if pyrevm else None,
        "ratio_to_serial": round(calls_per_s / yardsticks.serial_per_s, 3),
        "serial_per_s": round(yardsticks.serial_per_s),
        "pyrevm_per_s": round(pyrevm) if pyrevm else None,
        "islands": round(statistics.median(islands_of_block(pool, batch) for batch in largest)),
        "failed_calls": failed,
        "tokens": pool.supply,
        "tokens_held": [pool.held(node) for node in nodes],
    }


def _failed(node: Any, height: int, batch: Batch) -> int:
    """Calls of a block whose receipts do not say that they succeeded."""
    found = node.call("storage", "receipts", height) or b""
    receipts = np.frombuffer(found, "<u8", RECEIPT_WORDS * len(batch)).reshape(len(batch), RECEIPT_WORDS)
    return int(np.count_nonzero(receipts[:, 0]))


def islands_of_block(pool: TokenPool, batch: Batch) -> int:
    """Of the transfers and calls among a block's rows, if all entries that they touch exist."""
    calls = batch.take(batch.rows["kind"] == KIND_CALL)
    plans = {pool.token.address: touches_of(pool.token.program.verified.program)}
    plan = plan_touches(calls, plans, sha256_rows, SEED)
    return len(np.unique(islands_of(plan, np.ones(len(plan.keys), dtype=np.bool_))))
