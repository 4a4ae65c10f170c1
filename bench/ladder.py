"""The same load on one node with one more of its measures switched on a step: what each of them is worth.

    alone       one transaction a request, one block at a time, a flush a submission, no cache, one Validator
    batched     as many transactions a request as `--batch-rows`
    grouped     submissions share a flush of the mempool's journal
    pipelined   the stages of several blocks overlap
    cached      reads come from what the gateway keeps, not from Storage
    parallel    `--validators` Validators

Submissions wait until they are durable, in a closed loop; reads ask for accounts, in another. Each step
starts a network of its own. `ratio` is a step's rate over the first step's.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

READ_S = 2.0
READERS = 16
_ACCOUNTS = 2_400
_ALONE = ("consensus.blocks_inflight_max=1", "mempool.journal_flush_ms=0", "node.validators=1")


@dataclass(frozen=True, slots=True)
class Step:
    """One rung: settings and how the load is offered."""

    name: str
    overrides: tuple[str, ...]
    batch_rows: int
    cached: bool


def steps(batch_rows: int, validators: int) -> list[Step]:
    """The rungs in order, each with the switches of those before it."""
    inflight, flush, one = _ALONE
    grouped, pipelined = "mempool.journal_flush_ms=5", "consensus.blocks_inflight_max=4"
    return [
        Step("alone", (inflight, flush, one), 1, False),
        Step("batched", (inflight, flush, one), batch_rows, False),
        Step("grouped", (inflight, grouped, one), batch_rows, False),
        Step("pipelined", (pipelined, grouped, one), batch_rows, False),
        Step("cached", (pipelined, grouped, one), batch_rows, True),
        Step("parallel", (pipelined, grouped, f"node.validators={validators}"), batch_rows, True),
    ]


def command(
    rows: Annotated[int, typer.Option(min=600, max=1_000_000, help="Transactions of a step.")] = 20_000,
    batch_rows: Annotated[int, typer.Option(min=2, max=5_000, help="Rows of a batched request.")] = 500,
    validators: Annotated[int, typer.Option(min=1, max=64, help="Validators of the last step.")] = 2,
    only: Annotated[str, typer.Option(help="Steps to run, separated by commas; all if empty.")] = "",
    plot: Annotated[str, typer.Option(help="Write an HTML plot to this file.")] = "",
) -> dict[str, object]:
    """Climb the ladder."""
    from actors.cluster.actor import RayCluster
    from actors.console import UserError, console
    from actors.topology import warm_kernels
    from bench.yardstick import libsodium_verifies_per_s
    from config.effective import load

    ladder = steps(batch_rows, validators)
    wanted = only.split(",") if only else [step.name for step in ladder]
    unknown = set(wanted) - {step.name for step in ladder}
    if unknown:
        raise UserError(f"--only {', '.join(sorted(unknown))}: steps are {', '.join(s.name for s in ladder)}")
    table: list[dict[str, Any]] = []
    yardstick = libsodium_verifies_per_s(1.0)
    warm_kernels(_silent)
    cluster = RayCluster(load("bench").settings)
    try:
        for step in ladder:
            if step.name in wanted:
                what = f"{', '.join(step.overrides)}, {step.batch_rows} rows a request"
                console.print(f"step {step.name}: {what}")
                table.append(_climb(step, rows))
                table[-1]["ratio"] = round(table[-1]["tps"] / table[0]["tps"], 2)
    finally:
        cluster.close()
    if plot:
        write_plot(Path(plot), table)
    return {
        "steps": table,
        "signature_yardstick_per_core": round(yardstick, 1),
        "ratio_to_yardstick": round(max(step["tps"] for step in table) / yardstick, 3),
        "plot": plot,
    }


def _climb(step: Step, rows: int) -> dict[str, Any]:
    from actors.directory import open_network
    from actors.topology import started_nodes
    from bench.saturation import LoadRun, LoadShape
    from config.effective import load

    given = [f"network.development_accounts={_ACCOUNTS}", "gateway.client_rate_max=0"]
    settings = load("bench", [*given, *step.overrides]).settings
    count = rows if step.batch_rows > 1 else max(rows // 10, 600)
    with tempfile.TemporaryDirectory(prefix="raychain-ladder-") as folder:
        scratch = Path(folder)
        directory = open_network(scratch / "network", settings.network, 1, _silent)
        # Ray lets a name go a little after its actor; each step's node has its own.
        directory = replace(directory, nodes=[replace(directory.nodes[0], name=f"ladder-{step.name}")])
        with started_nodes(settings, directory, _silent) as (node,):
            shape = LoadShape(1, 1, None, _ACCOUNTS, batch_rows=step.batch_rows, wait="durable")
            run = LoadRun(shape, [node.url], directory.genesis, scratch)
            run.closed(count)  # warm-up
            result = run.closed(count)
            reads = asyncio.run(_read(node.url, directory.genesis, step.cached))
    return {
        "step": step.name,
        "tps": round(result["tps"], 1),
        "p50_ms": round(result["p50_ms"], 2),
        "p99_ms": round(result["p99_ms"], 2),
        "errors": result["failed"] + result["rejected"],
        **reads,
        "batch_rows": step.batch_rows,
        "overrides": list(step.overrides),
        "durability": settings.storage.durability,
    }


def _silent(_text: str) -> None:
    """Progress that nobody needs."""


async def _read(url: str, genesis: Any, cached: bool) -> dict[str, Any]:
    """Account reads a second in a closed loop, from the gateway's copy or confirmed by the network."""
    import numpy as np

    from actors.ledger.signing import development_signer
    from bench.submissions import connect, get

    keys = [development_signer(genesis.network, number).public_key.hex() for number in range(200)]
    query = "" if cached else "?consistency=linearizable"
    requests = [get(f"/v1/accounts/{key}{query}") for key in keys]
    took_ms: list[float] = []
    failed = 0
    until = time.perf_counter() + READ_S

    async def reader(number: int) -> None:
        nonlocal failed
        connection = await connect(url)
        while (began := time.perf_counter()) < until:
            number += READERS
            failed += await connection.ask(requests[number % len(requests)]) != 200
            took_ms.append((time.perf_counter() - began) * 1000)
        connection.close()

    await asyncio.gather(*(reader(number) for number in range(READERS)))
    return {
        "reads_per_s": round(len(took_ms) / READ_S, 1),
        "read_p99_ms": round(float(np.percentile(took_ms, 99)), 2),
        "read_errors": failed,
    }


def write_plot(path: Path, table: list[dict[str, Any]]) -> None:
    """Rates and latencies by step, in a page that loads nothing from elsewhere."""
    from plotly.graph_objects import Bar
    from plotly.subplots import make_subplots

    names = [row["step"] for row in table]
    titles = ("durable transactions/s", "p99 to durable, ms", "account reads/s", "errors")
    figure = make_subplots(rows=2, cols=2, subplot_titles=titles)
    for place, key in enumerate(("tps", "p99_ms", "reads_per_s", "errors")):
        bar = Bar(x=names, y=[row[key] for row in table], name=key)
        figure.add_trace(bar, row=place // 2 + 1, col=place % 2 + 1)
    figure.update_layout(
        title="raychain: what each measure is worth", template="plotly_white", showlegend=False
    )
    figure.write_html(str(path), include_plotlyjs=True)
