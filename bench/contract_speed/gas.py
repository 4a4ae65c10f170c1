"""What operations take in compiled code, over the gas that they weigh.

Each probe (probes.py) is compiled twice, with few and with many of its units in a round, and both run as
jobs that know as much of the state: what the difference takes and weighs is the units' alone. Keys: of
each of `probes` the `ns` and the `gas` of a unit, and `gas_per_ns`; `weights`: gas per nanosecond of the
slowest probe of each weight of the genesis, since a weight has to pay for that; `slowest_over_fastest`:
the greatest of these over the least, by how much somebody pays less for the same time who chooses what he
has others run. `proposed`: gas of each slowest probe under which all would have what the median has.
`slowest_over_fastest_of_probes`: of all probes, where what takes less than a nanosecond cannot weigh less
than 1.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from actors.contracts.encoding import encode_program
from actors.contracts.gas import WEIGHTS, Weights
from actors.contracts.verifier import verify
from actors.execution.job import Job, StateSlice
from actors.execution.native_engine import NativeEngine
from actors.execution.outcomes import later_wins
from actors.ledger.contract_payloads import DEPOSITS_KEY, encode_call
from actors.ledger.prices import Prices
from actors.ledger.rows import KIND_CALL, ROW_DTYPE, ROW_VERSION, Batch
from bench.contract_speed.probes import OTHER, PROBES, Probe, other_program

FEW, MANY = 1, 5
ROWS, SEED = 64, 0x5EED
FEE, GAS_PER_UNIT, GAS_MAX = 1 << 10, 1 << 24, 1 << 50
PROBE = b"probe".ljust(32, b"\0")
COINS = 1 << 50
NS_MIN = 0.05
"""Less is nothing that can be measured."""


@dataclass(frozen=True)
class Taken:
    """Of one unit of a probe."""

    ns: float
    gas: float

    @property
    def gas_per_ns(self) -> float:
        """What a nanosecond costs."""
        return self.gas / max(self.ns, NS_MIN)

    def told(self) -> dict[str, float]:
        """As a row of the result."""
        return {"ns": round(self.ns, 2), "gas": round(self.gas, 1), "gas_per_ns": round(self.gas_per_ns, 3)}


class _Calls:
    """Calls of a probe with so many units, one an account, as a job."""

    def __init__(self, probe: Probe, units: int, weights: Weights) -> None:
        program = probe.program(units)
        self._params = verify(program, weights).functions[len(probe.private)].params
        columns = [self._payload(probe, row) for row in range(ROWS)]
        rows = np.zeros(ROWS, dtype=ROW_DTYPE)
        rows["version"], rows["kind"], rows["fee"] = ROW_VERSION, KIND_CALL, FEE
        rows["sender"][:, 0] = 1 + np.arange(ROWS)
        rows["recipient"] = np.frombuffer(PROBE, dtype=np.uint8)
        rows["payload_bytes"] = len(columns[0])
        callers = {row["sender"].tobytes(): (0, COINS) for row in rows}
        self.job = Job(
            Batch(rows, np.frombuffer(b"".join(columns), dtype=np.uint8)),
            1,
            1,
            Prices(0, 1, GAS_PER_UNIT, 0, GAS_MAX, weights),
            GAS_MAX,
            {PROBE: encode_program(program), OTHER: encode_program(other_program())},
            StateSlice.of({}, {**callers, **dict.fromkeys((PROBE, OTHER, DEPOSITS_KEY), (0, COINS))}),
        )

    def _payload(self, probe: Probe, row: int) -> bytes:
        first, *others = (value for _, value in probe.registers)
        if isinstance(first, int):
            first += row * probe.per_row
        return encode_call(len(probe.private), self._params.encode([first, *others]))

    def know_all(self, engine: NativeEngine) -> StateSlice:
        """Have all rows known that the calls touch, as absent; what is known then."""
        while len(missing := engine.run(self.job).missing):
            absent = StateSlice.of({key.tobytes(): b"" for key in missing}, {})
            self.job = replace(self.job, known=later_wins([self.job.known, absent]))
        return self.job.known

    def know(self, known: StateSlice) -> None:
        """Know as much as others do, so that both find as large a table."""
        self.job = replace(self.job, known=known)

    def run(self, engine: NativeEngine) -> tuple[float, float]:
        """Nanoseconds and gas of a call. Raises RuntimeError if one fails."""
        began = time.perf_counter_ns()
        outcome = engine.run(self.job)
        taken_ns = time.perf_counter_ns() - began
        if len(outcome.receipts) != ROWS or outcome.receipts[:, 0].any():
            raise RuntimeError(f"a call fails: {outcome.verdicts}, {outcome.receipts[:, 0]}")
        return taken_ns / ROWS, float(outcome.outputs.gas[0])


def measure_probe(probe: Probe, seconds: float, weights: Weights = WEIGHTS) -> Taken:
    """Of one unit. The best of what is tried within so many seconds counts, since whatever else the machine
    does only adds."""
    engine = NativeEngine(SEED)
    few, many = (_Calls(probe, units, weights) for units in (FEW, MANY))
    few.know(many.know_all(engine))
    gas = many.run(engine)[1] - few.run(engine)[1]
    least_ns, until = [float("inf")] * 2, time.perf_counter() + seconds
    while True:
        least_ns = [min(ns, calls.run(engine)[0]) for ns, calls in zip(least_ns, (few, many), strict=True)]
        if time.perf_counter() > until:
            break
    units = (MANY - FEW) * probe.rounds
    return Taken(max(least_ns[1] - least_ns[0], 0.0) / units, gas / units)


def measure_gas(seconds: float, probes: tuple[Probe, ...] = PROBES) -> dict[str, Any]:
    """All probes, each within so many seconds."""
    from actors.shell import retain_large_buffers

    retain_large_buffers()  # fresh pages would cost more than what is measured
    taken = {probe: measure_probe(probe, seconds) for probe in probes}
    slowest = dict[str, Taken]()
    for probe, each in taken.items():
        known = slowest.get(probe.weight, each)
        slowest[probe.weight] = min(known, each, key=lambda one: one.gas_per_ns)
    rates = {weight: each.gas_per_ns for weight, each in slowest.items()}
    median, all_rates = statistics.median(rates.values()), [each.gas_per_ns for each in taken.values()]
    return {
        "probes": {probe.name: each.told() for probe, each in taken.items()},
        "weights": {weight: round(rate, 3) for weight, rate in rates.items()},
        "proposed": {weight: max(round(median * each.ns), 1) for weight, each in slowest.items()},
        "slowest_over_fastest": round(max(rates.values()) / min(rates.values()), 2),
        "slowest_over_fastest_of_probes": round(max(all_rates) / min(all_rates), 2),
    }
