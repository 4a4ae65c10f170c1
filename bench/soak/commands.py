"""The commands `load`, `soak` and `report`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from actors.console import UserError, console, emit, explained
from actors.directory import DirectoryError
from actors.gateway.client import ApiError, Client
from config.effective import ConfigurationError
from config.effective import load as load_settings

app = typer.Typer(no_args_is_help=True)

Profile = Annotated[str, typer.Option("--profile", help="Profile under config/, or a .toml file.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="section.key=value; may be repeated.")]
Json = Annotated[bool, typer.Option("--json", help="Last line of stdout is one JSON object.")]
Nodes = Annotated[int, typer.Option("--nodes", min=1, help="Nodes of the network.")]
Rate = Annotated[str, typer.Option("--rate", help="Transactions a second, or auto.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Same seed, same load and faults.")]
_MISTAKES = (ConfigurationError, DirectoryError, ApiError)


@app.command("load")
@explained(*_MISTAKES)
def load_command(
    ramp: Annotated[int, typer.Option(min=1, max=86_400, help="Seconds of rising load.")] = 10,
    hold: Annotated[int, typer.Option(min=1, max=86_400, help="Seconds at the rate that is measured.")] = 20,
    rate: Rate = "auto",
    shape: Annotated[str, typer.Option(help="uniform, zipf, hot or chains.")] = "uniform",
    payload: Annotated[
        str, typer.Option(help="Payload bytes, as 0,100,4000: each row takes one at random.")
    ] = "0",
    invalid: Annotated[float, typer.Option(min=0, max=0.9, help="Share of false signatures.")] = 0.0,
    duplicates: Annotated[float, typer.Option(min=0, max=0.9, help="Share of repeated rows.")] = 0.0,
    wait: Annotated[str, typer.Option(help="accepted, durable or committed.")] = "committed",
    batch_rows: Annotated[int, typer.Option(min=1, max=5_000, help="Rows in a request.")] = 500,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Generator processes.")] = 2,
    endpoint: Annotated[
        list[str] | None, typer.Option(help="Gateway of a network that runs; may be repeated.")
    ] = None,
    first_account: Annotated[int, typer.Option(min=0, help="First development account to use.")] = 0,
    accounts: Annotated[int, typer.Option(min=36, help="Development accounts to use.")] = 9_600,
    seed: Seed = 0,
    nodes: Nodes = 1,
    profile: Profile = "local",
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Offer load in an open loop, find where the network saturates, and measure latencies below that.

    Starts a network for it, or takes the one at --endpoint. Latencies count from the intended send time.
    Exits with 1 if the rate was not sustained or anything that was valid was refused or lost.
    """
    from bench.saturation import LoadShape
    from bench.soak.network import running_nodes

    settings = load_settings(profile, ["gateway.port=0", *(overrides or [])]).settings
    wanted = LoadShape(
        ramp, hold, rate_of(rate), accounts, first_account, batch_rows, processes, seed, shape_of(shape),
        sizes_of(payload), invalid, duplicates, _one_of(wait, ("accepted", "durable", "committed"), "--wait"),
    )  # fmt: skip
    if endpoint:
        result = _measure(wanted, endpoint)
    else:
        if first_account + accounts > settings.network.development_accounts:
            raise UserError(
                f"--first-account {first_account} and --accounts {accounts} go beyond "
                f"network.development_accounts={settings.network.development_accounts}"
            )
        with running_nodes(settings, None, nodes) as (_, running):
            result = _measure(wanted, [node.url for node in running])
    result = {**result, "nodes": nodes, "durability": settings.storage.durability}
    emit(result, as_json, title="load")
    if not result["passed"]:
        raise typer.Exit(1)


def _measure(wanted: Any, urls: list[str]) -> dict[str, Any]:
    from bench.saturation import LoadRun, measure_load

    with tempfile.TemporaryDirectory(prefix="raychain-load-") as scratch:
        with Client(urls[0]) as client:
            genesis = client.genesis()
        run = LoadRun(wanted, urls, genesis, Path(scratch))
        run.require_unused()
        return measure_load(run, wanted, lambda text: console.print(text, markup=False))


def rate_of(text: str) -> float | None:
    """None for auto. Raises UserError for anything but a positive number."""
    if text == "auto":
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise UserError(f"--rate {text}: a number of transactions a second above 0, or auto")
    return value


def shape_of(text: str) -> Any:
    """A workload's shape. Raises UserError naming those that exist."""
    from bench.workload import SHAPES

    return _one_of(text, SHAPES, "--shape")


def sizes_of(text: str) -> tuple[int, ...]:
    """Payload sizes. Raises UserError for one that no row may have."""
    from actors.ledger.rows import PAYLOAD_BYTES_MAX

    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = (-1,)
    if not all(0 <= size <= PAYLOAD_BYTES_MAX for size in sizes):
        raise UserError(f"--payload {text}: sizes from 0 to {PAYLOAD_BYTES_MAX} bytes, separated by commas")
    return sizes


def _one_of(text: str, known: tuple[str, ...], option: str) -> str:
    if text not in known:
        raise UserError(f"{option} {text}: one of {', '.join(known)}")
    return text
