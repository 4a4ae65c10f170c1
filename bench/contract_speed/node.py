"""Blocks of signed calls, validated by a running node: signatures, jobs, all roots, disk."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from actors.console import console
from actors.kernels.interface import Kernels
from actors.ledger.block import Block
from actors.ledger.prices import PRICE_MAX
from actors.ledger.rows import Batch
from actors.ledger.signing import sign_rows
from actors.settings import NetworkSettings
from bench.chains import BenchChain
from bench.contract_speed.deployed import CallMaker, Draw
from bench.contract_speed.engines import MeasuredEngines, measured_engines
from bench.contract_speed.workloads import Workload
from bench.validation import BenchNode, bench_node

SENDERS_MAX = 50_000
"""So many that transfers of a block seldom meet."""
COMPILED_S_MAX = 60.0
_FEW_ROWS = 100


class CallChain(BenchChain):
    """A network of one node, and blocks of calls. `opening` comes before the first `call_block` of a
    workload. Only accounts that send hold tokens."""

    def __init__(
        self,
        engines: MeasuredEngines,
        path: Path,
        network: NetworkSettings,
        accounts: int,
        senders: int,
        kernels: Kernels,
    ) -> None:
        super().__init__(path, network, accounts, senders, kernels)
        genesis = self.directory.genesis
        self._engines, self._draws = engines, dict[str, tuple[Draw, int]]()
        self._state.engine = engines.engine(1, 1, kernels)
        sending = self._keys[:senders]
        rows_max = genesis.block_transactions_max
        self._maker = CallMaker(sending, rows_max, genesis.prices, genesis.chain_tag, kernels.hash_rows)
        words = np.ascontiguousarray(sending[:, :8]).view(np.uint64)[:, 0]
        self._by_key = np.argsort(words)
        self._sorted = words[self._by_key]

    def opening(self, workload: Workload) -> list[Block]:
        """The blocks that a workload begins with."""
        calls, draw = workload.opening(self._maker, self._rng)
        self._draws[workload.name] = draw, workload.fewer
        made = list[Block]()
        for batch in calls:
            made.append(self._signed(batch))
            if len(made) == 2:
                self._engines.wait()
        return made

    def call_block(self, workload: str, rows: int) -> Block:
        """The next block."""
        draw, fewer = self._draws[workload]
        return self._signed(draw(max(rows // fewer, 1)))

    def _signed(self, batch: Batch) -> Block:
        words = np.ascontiguousarray(batch.rows["sender"][:, :8]).view(np.uint64)[:, 0]
        sign_rows(batch.rows, self._signers, self._by_key[np.searchsorted(self._sorted, words)])
        return self._sealed(batch)


def measure_node(
    workloads: list[Workload], counts: list[int], accounts: int, rows: int, blocks: int
) -> list[dict[str, Any]]:
    """One run for each workload and number of Validators, pipelined."""
    overrides = [f"network.block_gas_max={PRICE_MAX}"]
    chains = list[CallChain]()

    def found(engines: MeasuredEngines, *place: Any) -> CallChain:
        chains.append(CallChain(engines, *place))
        return chains[-1]

    senders = min(accounts, SENDERS_MAX)
    with (
        measured_engines([1], console.print) as engines,
        bench_node(rows, accounts, senders, "auto", partial(found, engines), overrides) as bench,
    ):
        bench.make = chains[0].call_block
        runs = list[dict[str, Any]]()
        for workload in workloads:
            bench.validate(chains[0].opening(workload), serial=True)
            _await_code(bench, chains[0], workload)
            runs += [_run(bench, workload, count, blocks) for count in counts]
        return runs


def _run(bench: BenchNode, workload: Workload, validators: int, blocks: int) -> dict[str, Any]:
    bench.scale(validators)
    run = bench.run(workload.name, blocks, serial=False)
    return {
        "workload": workload.name,
        "validators": validators,
        "calls_per_s": run["tps"],
        "stages_us_per_call": run["stages_us_per_tx"],
        "cpu_us_per_call": run["cpu_us_per_tx"],
        "conflicts": run["conflicts"],
    }


def _await_code(bench: BenchNode, chain: CallChain, workload: Workload) -> None:
    """Have blocks validated until compiled code runs them. Raises RuntimeError after COMPILED_S_MAX."""
    until, before = time.monotonic() + COMPILED_S_MAX, _jobs_compiled(bench)
    while _jobs_compiled(bench) == before:
        if time.monotonic() > until:
            raise RuntimeError(f"calls of {workload.name} are still interpreted after {COMPILED_S_MAX:.0f} s")
        bench.validate([chain.call_block(workload.name, _FEW_ROWS * workload.fewer)], serial=True)


def _jobs_compiled(bench: BenchNode) -> int:
    facts = bench.node.health()["storage"] or {}
    return int(facts["contracts"]["jobs"].get("compiled", 0))
