"""Blocks of a workload on a state in memory, by several engines in turn: all meet the same machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from actors.execution.passes import Division
from actors.kernels.interface import Kernels
from actors.ledger.environment import Environment
from actors.ledger.prices import Prices
from actors.ledger.rows import Batch
from actors.storage.accounts import Accounts, funded
from actors.storage.contract_jobs import JobEngine
from actors.storage.state import Execution, State
from bench.contract_speed.deployed import CallMaker, Draw
from bench.contract_speed.engines import SEED, MeasuredEngines
from bench.contract_speed.stages import Stopwatch
from bench.contract_speed.workloads import Workload
from bench.state import make_block

PRICES = Prices(1, 1, block_gas_max=1 << 40)
BALANCE = 1 << 40
WARM_UP_BLOCKS = 2
OPENING_ROWS, INTERPRETED_ROWS_MAX = 10_000, 500
ROOTS = ("receipts_root", "state_root")
Stages = dict[str, float]


@dataclass(slots=True)
class Measured:
    """Of blocks that one engine has run. stages_us: of each block."""

    rows: int
    stages_us: list[Stages] = field(default_factory=list)
    division: Division = field(default_factory=lambda: Division(0, 0, 0))

    def per_call_us(self) -> Stages:
        """Median of each stage, of a call."""
        names = {name: None for stages in self.stages_us for name in stages}
        of_blocks = {name: [stages.get(name, 0.0) for stages in self.stages_us] for name in names}
        return {name: statistics.median(each) / self.rows for name, each in of_blocks.items()}

    def calls_per_s(self, roots: bool = False) -> float:
        """Executed a second, or executed with the new state's root and that of the receipts."""
        taken_us = [
            sum(us for name, us in stages.items() if roots or name not in ROOTS) for stages in self.stages_us
        ]
        return self.rows / statistics.median(taken_us) * 1e6


class SpeedState:
    """Accounts of which all hold coins, and contracts that are deployed by blocks as any others."""

    def __init__(self, accounts: int, kernels: Kernels, engines: MeasuredEngines, watch: Stopwatch) -> None:
        keys = np.random.default_rng(1).integers(0, 256, (accounts, 32), dtype=np.uint8)
        columns = Accounts(2 * accounts, SEED)
        columns.put(funded(keys, np.full(accounts, BALANCE, dtype=np.uint64)))
        self.state = State(columns, 0, kernels.hash_rows)
        self.chance = np.random.default_rng(2)
        self.maker = CallMaker(keys, OPENING_ROWS, PRICES, 0, kernels.hash_rows)
        self._kernels, self._engines, self._watch = kernels, engines, watch

    def open(self, workload: Workload) -> Draw:
        """Have its blocks before the first, and what compiles its contracts; how its blocks are drawn."""
        opening, draw = workload.opening(self.maker, self.chance)
        for number, batch in enumerate(opening):
            self.execute(batch, self._engines.engine(1, 1, self._kernels))
            if number == 1:
                self._engines.wait()
        return draw

    def execute(self, batch: Batch, engine: JobEngine | None) -> Execution:
        """A block of calls, all of which do what they are for. Raises RuntimeError if one does not."""
        env = Environment(0, self.state.height + 1, self.maker.keys[0].tobytes(), PRICES, time_ms=1)
        self.state.engine = engine and replace(engine, run_all=self._watch.timed("run", engine.run_all))
        executed = self.state.execute(batch, env, True, time.perf_counter_ns)
        if executed.block is None or executed.block.receipts.rows.view(np.uint64)[:, 0].any():
            raise RuntimeError(f"block {env.height} of the benchmark is not valid, or a call fails")
        self.state.commit()
        return executed

    @property
    def entries(self) -> int:
        """Of contracts, in the state."""
        accounts = self.state.accounts
        return int(np.count_nonzero(accounts.balances[accounts.entry_slots(np.arange(accounts.count))]))

    def measure(
        self, make: Callable[[], Batch], blocks: int, engines: Mapping[str, JobEngine | None]
    ) -> dict[str, Measured]:
        """Blocks by each engine in turn; those of the warm-up are not counted."""
        found = dict[str, Measured]()
        for number in range(WARM_UP_BLOCKS + blocks):
            for name, engine in engines.items():
                batch = make()
                self._watch.take()
                stages = {**self.execute(batch, engine).stages_us}
                spent = self._watch.take()
                self._engines.wait()
                if number < WARM_UP_BLOCKS:
                    continue
                rest = stages.pop("transition") - sum(spent.values())
                of_name = found.setdefault(name, Measured(len(batch)))
                of_name.stages_us.append({**spent, "rest": rest, **stages})
                of_name.division = self._watch.division
        return found

    def transfers(self, rows: int) -> Batch:
        """Transfers of coins, without contracts."""
        return make_block(self.maker.keys, self.maker.nonces, rows, self.chance)
