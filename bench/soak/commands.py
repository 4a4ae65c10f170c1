"""The commands `load`, `soak` and `report`."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from actors.cli.config import Overrides, Profile
from actors.cli.options import Json
from actors.console import UserError, console, explained
from actors.directory import DirectoryError
from actors.sdk.answers import ApiError
from actors.sdk.client import Client
from bench.results import emit_result
from config.effective import ConfigurationError
from config.effective import load as load_settings

app = typer.Typer(no_args_is_help=True)
report_app = typer.Typer(no_args_is_help=True, help="Reports of soaks.")
app.add_typer(report_app, name="report")

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
    record: Annotated[
        Path | None, typer.Option(help="Write when each batch of the measured part was due (.npy).")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(help="Offer at the times of such a record, instead of ramp and hold.")
    ] = None,
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
    from actors.topology import running_network
    from bench.saturation import LoadShape, read_record

    settings = load_settings(profile, ["gateway.port=0", *(overrides or [])]).settings
    wanted = LoadShape(
        ramp, hold, rate_of(rate), accounts, first_account, batch_rows, processes, seed, shape_of(shape),
        sizes_of(payload), invalid, duplicates, _one_of(wait, ("accepted", "durable", "committed"), "--wait"),
        None if replay is None else read_record(replay),
    )  # fmt: skip
    if endpoint:
        result = _measure(wanted, endpoint, record)
    else:
        if first_account + accounts > settings.network.development_accounts:
            raise UserError(
                f"--first-account {first_account} and --accounts {accounts} go beyond "
                f"network.development_accounts={settings.network.development_accounts}"
            )
        with running_network(settings, None, nodes) as (_, running):
            result = _measure(wanted, [node.url for node in running], record)
    result = {**result, "nodes": nodes, "durability": settings.storage.durability}
    emit_result(result, as_json, title="load")
    if not result["passed"]:
        raise typer.Exit(1)


@app.command()
@explained(*_MISTAKES)
def soak(
    minutes: Annotated[float, typer.Option(min=0.2, max=10_080, help="Length of the load.")] = 3.0,
    nodes: Nodes = 1,
    faults: Annotated[str, typer.Option(help="all, none, or kinds separated by commas.")] = "all",
    rate: Rate = "auto",
    raylets: Annotated[int, typer.Option(min=1, max=16, help="Raylets on this machine, as hosts.")] = 1,
    apart: Annotated[
        bool, typer.Option("--apart", help="Each node in a Ray cluster of its own on this machine.")
    ] = False,
    address: Annotated[str, typer.Option("--address", help="Join this Ray cluster.")] = "",
    contracts: Annotated[
        bool, typer.Option("--contracts", help="Deploy the example contracts, and call them, too.")
    ] = False,
    sabotage: Annotated[
        str, typer.Option(help="Prove that checks can fail: kinds, separated by commas.")
    ] = "",
    prove: Annotated[
        bool, typer.Option("--prove", help="After the verdict, tamper with the evidence in every way.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML report here, and JSON beside it.")
    ] = None,
    seed: Seed = 0,
    profile: Profile = "soak",
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Run a network under load and faults, then prove that nothing was lost, doubled or forked.

    Exits with 1 unless every check of the judge holds. With --sabotage each kind makes the check fail that
    the result names beside it; an unknown kind lists those known.
    """
    from actors.topology import running_network
    from bench.soak.faults import applicable
    from bench.soak.isolated_node import running_outposts
    from bench.soak.outcome import summary
    from bench.soak.raylets import Raylets
    from bench.soak.report import write_report
    from bench.soak.run import Soak, SoakOptions
    from bench.soak.sabotage import SABOTAGE

    undermined = tuple(_one_of(name, tuple(SABOTAGE), "--sabotage") for name in sabotage.split(",") if name)
    if not contracts and (alone := [name for name in undermined if SABOTAGE[name].of_contracts]):
        raise UserError(f"--sabotage {alone[0]} is of calls: add --contracts")
    if apart + bool(address) + (raylets > 1) > 1:
        raise UserError("--apart, --address and --raylets are three ways to place a network: choose one")
    joined = ["gateway.port=0", *([f"cluster.address={address}"] if address else []), *(overrides or [])]
    with ExitStack() as stack:
        machines = stack.enter_context(Raylets(raylets)) if raylets > 1 else None
        if machines is not None:
            joined += [f"cluster.address={machines.address}", "cluster.spread_validators=true"]
        settings = load_settings(profile, joined).settings
        local = machines is not None or not settings.cluster.address
        possible = applicable(nodes, local, raylets, nodes if apart else 0)
        options = SoakOptions(
            minutes, seed, kinds_of(faults, possible), rate_of(rate), undermined, prove, local, contracts
        )
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="raychain-soak-")))
        if apart:
            outposts, far = stack.enter_context(running_outposts(settings, scratch / "network", nodes, _say))
            soak_of_all = Soak(options, far, scratch, _say, None, outposts)
        else:
            _, running = stack.enter_context(running_network(settings, scratch / "network", nodes))
            soak_of_all = Soak(options, running, scratch, _say, machines)
        soaked = soak_of_all.run()
        placed = {"raylets": raylets, "ray_clusters": nodes if apart else 1}
        result = {**summary(soaked), "durability": settings.storage.durability, **placed}
        if report is not None:
            result["report"] = str(write_report(report, soaked, result, settings))
    emit_result(result, as_json, title="soak")
    unproven = [name for name, proof in result.get("proofs", {}).items() if not proof["caught"]]
    if result["verdict"] != "pass" or unproven:
        raise typer.Exit(1)


@report_app.command("compare")
@explained(*_MISTAKES)
def report_compare(
    before: Annotated[Path, typer.Argument(help="JSON beside the earlier report.")],
    after: Annotated[Path, typer.Argument(help="JSON beside the later one.")],
    as_json: Json = False,
) -> None:
    """Say what changed beyond noise; exits with 1 on a regression above 10 % or a check that held before."""
    from bench.soak.compare import compare

    result = compare(_read_report(before), _read_report(after))
    emit_result(result, as_json, title="compare")
    if not result["passed"]:
        raise typer.Exit(1)


def _read_report(path: Path) -> dict[str, Any]:
    """Data of a report. Raises UserError when it is none."""
    try:
        data = msgspec.json.decode(path.with_suffix(".json").read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path}: {error}; give the .json that `soak --report` wrote") from None
    if not isinstance(data, dict) or not {"result", "phases", "seconds"} <= set(data):
        raise UserError(f"{path}: no report of a soak")
    return data


def kinds_of(text: str, possible: list[str]) -> tuple[str, ...]:
    """Kinds of faults. Raises UserError for one that this network cannot suffer."""
    if text in ("all", "none"):
        return tuple(possible) if text == "all" else ()
    return tuple(_one_of(name, tuple(possible), "--faults") for name in text.split(","))


def _say(text: str) -> None:
    console.print(text, markup=False)


def _measure(wanted: Any, urls: list[str], record: Path | None) -> dict[str, Any]:
    from bench.saturation import LoadRun, measure_load

    with tempfile.TemporaryDirectory(prefix="raychain-load-") as scratch:
        with Client(urls[0]) as client:
            genesis = client.genesis()
        run = LoadRun(wanted, urls, genesis, Path(scratch))
        run.require_unused()
        return measure_load(run, wanted, _say, record)


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
