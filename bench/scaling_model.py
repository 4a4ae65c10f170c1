"""Transactions a second beyond this machine, computed from stage costs that are measured on it.

One node with one Validator validates blocks one at a time; what each stage takes per transaction is its cost.
The pipeline overlaps stages, so its rate is that of the slowest resource:

    validators   V workers share the signatures
    state        one thread executes: state transition, receipts root, state root; beside it ids are hashed
    disk         one thread persists and commits
    coordination one process drives the pipeline: what a block takes beyond its stages
    cores        the first host's cores carry all of these and that host's share of the Validators' work
    calls        one process hands out chunks, `--calls-per-s` of them
    network      rows for Validators on other hosts leave over the first host's link, `--link-gbit`

Workers are spread evenly over the hosts. `table` has a row for each V and number of hosts.

The check: the same model for this machine, with V = 1 and 2, against pipelined runs of as many blocks: a run
takes the slowest resource's time a block, and the remaining stages once, while the pipeline fills. Others may
use this machine, so before each run its cores are counted by how much more PyNaCl verifies in one process a
core than in one (`cores`). `ratio`, measured over predicted, takes each rate over its own run's yardstick.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

VALIDATORS = (1, 2, 4, 8, 16, 32, 64)
HOSTS = (1, 2, 4, 8, 16)
ROW_BITS = 208 * 8
COORDINATION_US_MIN = 0.01  # below what can be told from nothing
SENDERS = 5_000


@dataclass(frozen=True, slots=True)
class Costs:
    """Microseconds per transaction of one worker of each kind. chunk_rows: transactions in one call."""

    validator_us: float
    state_us: float
    disk_us: float
    coordination_us: float
    chunk_rows: float


@dataclass(frozen=True, slots=True)
class Site:
    """Where the node runs."""

    validators: int
    hosts: int
    cores_per_host: float
    calls_per_s: float
    link_gbit: float


def capacities(costs: Costs, site: Site) -> dict[str, float]:
    """Transactions a second that each resource could carry, were it the only one."""
    hosts = min(site.hosts, site.validators)
    busy = min(site.validators, hosts * max(site.cores_per_host, 1.0))
    local_us = costs.validator_us / hosts + costs.state_us + costs.disk_us + costs.coordination_us
    limits = {
        "validators": busy * 1e6 / costs.validator_us,
        "state": 1e6 / costs.state_us,
        "disk": 1e6 / costs.disk_us,
        "coordination": 1e6 / costs.coordination_us,
        "cores": site.cores_per_host * 1e6 / local_us,
        "calls": site.calls_per_s * costs.chunk_rows,
    }
    if hosts > 1:
        limits["network"] = site.link_gbit * 1e9 / (ROW_BITS * (1 - 1 / hosts))
    return limits


def predict(costs: Costs, site: Site) -> tuple[float, str]:
    """(transactions a second, the resource that limits them)."""
    limits = capacities(costs, site)
    slowest = min(limits, key=lambda name: limits[name])
    return limits[slowest], slowest


def predict_run(costs: Costs, site: Site, blocks: int) -> tuple[float, str]:
    """As `predict`, over a run of that many blocks which begins and ends with an empty pipeline."""
    tps, limit = predict(costs, site)
    block_us = max(costs.validator_us / site.validators, costs.state_us)
    block_us += costs.disk_us + costs.coordination_us
    run_us = (blocks - 1) * 1e6 / tps + max(block_us, 1e6 / tps)
    return blocks * 1e6 / run_us, limit


def command(
    blocks: Annotated[int, typer.Option(min=1, max=1000, help="Measured blocks a run.")] = 16,
    rows: Annotated[int, typer.Option(min=100, max=100_000, help="Transfers in a block.")] = 10_000,
    accounts: Annotated[int, typer.Option(min=2, max=10_000_000, help="Accounts in the state.")] = 1_000_000,
    cores_per_host: Annotated[int, typer.Option(min=1, max=1024, help="Cores of the modelled hosts.")] = 16,
    link_gbit: Annotated[float, typer.Option(min=0.1, help="Link of a modelled host.")] = 10.0,
    calls_per_s: Annotated[float, typer.Option(min=1, help="Calls that one process can make.")] = 2500.0,
    check: Annotated[bool, typer.Option(help="Compare V = 1 and 2 with a measurement.")] = True,
    plot: Annotated[str, typer.Option(help="Write an HTML plot to this file.")] = "",
) -> dict[str, object]:
    """Measure, predict and check."""
    figure = _plotter() if plot else None
    runs = _measured_runs(blocks, rows, accounts, check)
    costs, serial = _costs(runs[0], rows), runs[0]
    table = []
    for hosts in HOSTS:
        for validators in VALIDATORS:
            tps, limit = predict(costs, Site(validators, hosts, cores_per_host, calls_per_s, link_gbit))
            table.append({"hosts": hosts, "validators": validators, "tps": round(tps), "limit": limit})
    if figure is not None:
        write_plot(figure, Path(plot), table)
    return {
        "costs_us_per_tx": {
            "validator": costs.validator_us, "state": costs.state_us, "disk": costs.disk_us,
            "coordination": costs.coordination_us,
        },
        "serial_us_per_tx": serial["us_per_tx"],
        "libsodium_per_core": serial["libsodium_per_core"],
        "kernels": serial["kernels"],
        "cores_per_host": cores_per_host,
        "link_gbit": link_gbit,
        "calls_per_s": calls_per_s,
        "check": [
            _checked(costs, serial, run, Site(run["validators"], 1, run["cores"], calls_per_s, 1.0), blocks)
            for run in runs[1:]
        ],
        "table": table,
        "plot": plot,
    }  # fmt: skip


def _costs(serial: dict[str, Any], rows: int) -> Costs:
    """Costs of a run that had one Validator and one block at a time."""
    from actors.settings import ValidatorSettings
    from actors.validator.chunking import ChunkSizer

    stages, chunks = serial["stages_us_per_tx"], ValidatorSettings()
    sizer = ChunkSizer(chunks.chunk_target_ms * 1000, chunks.chunk_rows_max, stages["signatures"])
    chunk_rows = sizer.split(rows, 1)[0][1]
    measured = stages["signatures"], stages["execute"], stages["persist"]
    stages_us = max(measured[:2]) + measured[2]
    coordination_us = max(serial["us_per_tx"] - stages_us, COORDINATION_US_MIN)
    return Costs(*measured, round(coordination_us, 3), chunk_rows)


def _checked(
    costs: Costs, serial: dict[str, Any], run: dict[str, Any], site: Site, blocks: int
) -> dict[str, Any]:
    """Prediction for this machine beside what a pipelined run measured on it."""
    predicted, limit = predict_run(costs, site, blocks)
    slower = serial["libsodium_per_core"] / run["libsodium_per_core"]
    return {
        "validators": site.validators,
        "predicted_tps": round(predicted),
        "limit": limit,
        "cores": run["cores"],
        "measured_tps": round(run["tps"]),
        "libsodium_per_core": run["libsodium_per_core"],
        "ratio": round(run["tps"] / predicted * slower, 3),
    }


def _cores_free() -> float:
    """Verifications of one process a core at once, over those of one process alone."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from bench.yardstick import libsodium_verifies_per_s

    count = os.cpu_count() or 1
    with ProcessPoolExecutor(count, get_context("spawn")) as pool:
        alone = pool.submit(libsodium_verifies_per_s, 1.0).result()
        together = sum(pool.map(libsodium_verifies_per_s, [1.0] * count))
    return round(min(together / alone, float(count)), 2)


def _measured_runs(blocks: int, rows: int, accounts: int, check: bool) -> list[dict[str, Any]]:
    """One serial run with one Validator, and if asked for pipelined ones with one and two."""
    from bench.validation import bench_node
    from bench.yardstick import libsodium_verifies_per_s

    runs = []
    with bench_node(rows, accounts, min(accounts, SENDERS), "auto") as bench:
        for validators, serial in ((1, True), (1, False), (2, False))[: 3 if check else 1]:
            bench.scale(validators)
            facts = {"validators": validators, "cores": _cores_free(), "kernels": bench.kernels}
            facts["libsodium_per_core"] = round(libsodium_verifies_per_s(1.0), 1)
            runs.append({**facts, **bench.run("uniform", blocks, serial)})
    return runs


def _plotter() -> Any:
    """The plotting library; asked for before anything is measured."""
    from actors.console import UserError

    try:
        return importlib.import_module("plotly.graph_objects")
    except ImportError:
        raise UserError("--plot needs plotly: install it with `uv pip install plotly`") from None


def write_plot(figures: Any, path: Path, table: list[dict[str, Any]]) -> None:
    """One line for each number of hosts, in a page that loads nothing from elsewhere."""
    figure = figures.Figure()
    for hosts in sorted({row["hosts"] for row in table}):
        rows = [row for row in table if row["hosts"] == hosts]
        figure.add_trace(
            figures.Scatter(
                x=[row["validators"] for row in rows],
                y=[row["tps"] for row in rows],
                text=[f"limited by {row['limit']}" for row in rows],
                name=f"{hosts} host{'s' if hosts > 1 else ''}",
                mode="lines+markers",
            )
        )
    figure.update_layout(title="raychain: predicted transactions a second", template="plotly_white")
    figure.update_xaxes(title="Validators", type="log", tickvals=list(VALIDATORS))
    figure.update_yaxes(title="transactions a second", rangemode="tozero")
    figure.write_html(str(path), include_plotlyjs=True)
