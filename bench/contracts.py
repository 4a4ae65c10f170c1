"""Calls of contracts as a chain runs them: jobs over the columns of its state, by compiled code in cells.

Blocks of `rows` calls are executed on a state in memory of `accounts` accounts, each of which has an entry
of the token, by each number of Validators in turn, so that all meet the same machine;
contract_speed/workloads.py says what is drawn. Keys of `runs`, one for each workload and number of
Validators: `calls_per_s` executed, without signatures and roots, and `calls_with_roots_per_s` with the new
roots of state and receipts (medians of blocks); `islands` of the last block, `parts` it ran in, rows of the
`largest_island`; `stages_us_per_call`, medians: `run` is what the writer of the state waits for cells,
`pack` apart, and `rest` what is no stage of its own. `ratio_to_serial`: over the same calls in one pass on
one core, which `serial` has; `ratio_to_interpreter` likewise; `ratio_to_transfers`: over transfers without
a contract, which `transfers` has; `ratio_to_pyrevm`: over an ERC-20 transfer or a swap by an EVM in Rust,
called from Python (`pyrevm`; null where that is not installed, and `why`).
With `--signed`, a running node validates blocks of signed calls besides, as `bench validation` has it do
with transfers: `node` has `calls_per_s` of whole blocks with signatures, roots and disk, and the node's
stages.
`--gas` measures operations instead (contract_speed/gas.py); `--engine interpreter` and `--engine native`
have keys of their own (contracts_interpreted.py, contracts_native.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from actors.kernels.interface import Kernels
    from bench.contract_speed.engines import MeasuredEngines
    from bench.contract_speed.runs import SpeedState
    from bench.contract_speed.workloads import Workload

ENGINES = ("chain", "interpreter", "native")
PYREVM_CALLS, PYREVM_ACCOUNTS_MAX = 20_000, 100_000


def command(
    engine: Annotated[str, typer.Option(help="What runs them: chain, interpreter, or native.")] = "chain",
    validators: Annotated[str, typer.Option(help="Numbers of Validators, as in 1,2.")] = "1,2",
    workloads: Annotated[str, typer.Option(help="Of token, exchange, heavy, hot, chained.")] = "",
    accounts: Annotated[
        int, typer.Option(min=1_000, max=4_000_000, help="Accounts in the state.")
    ] = 1_000_000,
    rows: Annotated[int, typer.Option(min=10, max=100_000, help="Calls in a block.")] = 10_000,
    blocks: Annotated[int, typer.Option(min=1, max=1_000, help="Measured blocks of each run.")] = 10,
    signed: Annotated[bool, typer.Option("--signed", help="Also in a node, with signatures.")] = False,
    gas: Annotated[bool, typer.Option("--gas", help="What operations take, over their gas.")] = False,
    seconds: Annotated[float, typer.Option(min=0.01, help="An example, or a probe of --gas.")] = 1.0,
) -> dict[str, object]:
    """Run the benchmark."""
    from actors.console import UserError

    if engine not in ENGINES:
        raise UserError(f"no engine is called {engine}: there is {', '.join(ENGINES)}")
    if engine == "interpreter":
        from bench.contracts_interpreted import measure_interpreter

        return measure_interpreter(seconds)
    if engine == "native":
        from bench.contracts_native import measure_native

        return measure_native(seconds)
    if gas:
        from bench.contract_speed.gas import measure_gas

        return {"engine": "native", **measure_gas(seconds)}
    counts, chosen = numbers_of(validators), _workloads(workloads)
    result = _on_a_state(chosen, counts, accounts, rows, blocks)
    if signed:
        from bench.contract_speed.node import measure_node

        result["node"] = measure_node(chosen, counts, accounts, rows, blocks)
    return result


def numbers_of(text: str) -> list[int]:
    """Numbers of Validators. Raises UserError."""
    from actors.console import UserError

    counts = [int(part) for part in text.split(",") if part.isdecimal()]
    if len(counts) != len(text.split(",")) or not all(counts):
        raise UserError(f"--validators {text}: expected numbers, as in 1,2")
    return counts


def _workloads(text: str) -> list[Workload]:
    from actors.console import UserError
    from bench.contract_speed.workloads import WORKLOADS

    known = {workload.name: workload for workload in WORKLOADS}
    names = text.split(",") if text else list(known)
    if not set(names) <= set(known):
        raise UserError(f"--workloads {text}: expected some of {','.join(known)}")
    return [known[name] for name in names]


def _on_a_state(
    workloads: list[Workload], counts: list[int], accounts: int, rows: int, blocks: int
) -> dict[str, Any]:
    from actors.console import console
    from actors.kernels.selection import select
    from actors.shell import kernel_cache_dir
    from bench.contract_speed.engines import measured_engines
    from bench.contract_speed.evm_calls import measure_pyrevm
    from bench.contract_speed.runs import SpeedState
    from bench.contract_speed.stages import watched

    kernels = select("auto", kernel_cache_dir())
    with measured_engines(counts, console.print) as engines, watched() as watch:
        console.print(f"building a state of {accounts:,} accounts")
        state = SpeedState(accounts, kernels, engines, watch)
        measured = state.measure(lambda: state.transfers(rows), blocks, {"transfers": None})["transfers"]
        console.print("the same by an EVM")
        pyrevm = measure_pyrevm(min(accounts, PYREVM_ACCOUNTS_MAX), PYREVM_CALLS)
        transfers = {
            "per_s": round(measured.calls_per_s()),
            "with_roots_per_s": round(measured.calls_per_s(roots=True)),
            "stages_us": _rounded(measured.per_call_us()),
        }
        runs, serial = list[dict[str, Any]](), dict[str, Any]()
        for workload in workloads:
            of_workload, in_one_pass = _measured(workload, state, engines, kernels, counts, rows, blocks)
            runs += of_workload
            serial[workload.name] = in_one_pass
    yardsticks = {"token": pyrevm["erc20_transfers_per_s"], "hot": pyrevm["erc20_transfers_per_s"]}
    yardsticks["exchange"] = pyrevm["swaps_per_s"]
    for run in runs:
        evm = yardsticks.get(run["workload"])
        run["ratio_to_pyrevm"] = round(run["calls_per_s"] / evm, 2) if evm else None
        run["ratio_to_transfers"] = round(run["calls_per_s"] / transfers["per_s"], 3)
    return {
        "engine": "chain",
        "accounts": accounts,
        "entries": state.entries,
        "rows": rows,
        "blocks": blocks,
        "kernels": kernels.name,
        "runs": runs,
        "serial": serial,
        "transfers": transfers,
        "pyrevm": pyrevm,
    }


def _measured(
    workload: Workload,
    state: SpeedState,
    engines: MeasuredEngines,
    kernels: Kernels,
    counts: list[int],
    rows: int,
    blocks: int,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Runs of one workload by each number of Validators, and what they are held against."""
    from actors.console import console
    from bench.contract_speed.runs import INTERPRETED_ROWS_MAX

    console.print(f"{workload.name}: deploying, then {blocks} blocks by each number of Validators")
    draw, size = state.open(workload), max(rows // workload.fewer, 1)
    by_name = {str(count): engines.engine(count, count, kernels) for count in counts}
    found = state.measure(lambda: draw(size), blocks, {"serial": engines.engine(1, 1, kernels), **by_name})
    few = min(size, INTERPRETED_ROWS_MAX)
    interpreter = {"interpreter": engines.interpreter(kernels)}
    interpreted = state.measure(lambda: draw(few), 1, interpreter)["interpreter"].calls_per_s()
    serial = found.pop("serial").calls_per_s()
    runs = [
        {
            "workload": workload.name,
            "validators": int(name),
            "rows": size,
            "calls_per_s": round(run.calls_per_s()),
            "calls_with_roots_per_s": round(run.calls_per_s(roots=True)),
            "ratio_to_serial": round(run.calls_per_s() / serial, 3),
            "ratio_to_interpreter": round(run.calls_per_s() / interpreted, 1),
            "islands": run.division.islands,
            "parts": run.division.parts,
            "largest_island": run.division.largest,
            "stages_us_per_call": _rounded(run.per_call_us()),
        }
        for name, run in found.items()
    ]
    return runs, {"calls_per_s": round(serial), "interpreter_per_s": round(interpreted)}


def _rounded(stages: dict[str, float]) -> dict[str, float]:
    return {name: round(us, 3) for name, us in stages.items()}
