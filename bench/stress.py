"""Commands that hunt for bugs rather than measure: `simulate`, `fuzz` and `torture`, seeded."""

from __future__ import annotations

import os
import time
from typing import Annotated

import typer
from rich.progress import Progress

from actors.cli.options import Json
from actors.console import UserError, console, explained
from bench.results import emit_result

simulate_app = typer.Typer(no_args_is_help=True, help="Seeded simulations of the protocols, without Ray.")
fuzz_app = typer.Typer(no_args_is_help=True, help="Differential fuzzing against independent implementations.")
torture_app = typer.Typer(no_args_is_help=True, help="Real processes and disks under faults.")


@simulate_app.command("raft")
@explained()
def simulate_raft(
    seeds: Annotated[int, typer.Option(min=1, help="Schedules to run.")] = 1_000,
    start_seed: Annotated[int, typer.Option(min=0, help="The first of them.")] = 0,
    processes: Annotated[int, typer.Option(min=0, help="How many share the work; 0: one a core.")] = 0,
    as_json: Json = False,
) -> None:
    """Run Raft under drops, partitions, crashes, torn writes and skewed clocks, and hunt planted bugs.

    Exits with 1 if an invariant was violated or a planted bug was not found. A schedule takes about 20 ms of
    a core, and all cores share them; the result is the same for any number of processes.
    """
    from bench.simulation.raft.run import simulate

    with Progress(console=console) as bar:
        task = bar.add_task("schedules", total=seeds)
        began_s = time.monotonic()
        result = simulate(
            seeds,
            start_seed,
            lambda done, _total: bar.update(task, completed=done),
            processes or len(os.sched_getaffinity(0)),
        )
    emit_result({**result, "seconds": round(time.monotonic() - began_s, 1)}, as_json)
    missed = [bug for bug, seed in result["planted_bugs_seeds"].items() if seed is None]
    if result["violations"] or missed:
        raise typer.Exit(1)


@simulate_app.command("peers")
@explained()
def simulate_peers(
    nodes: Annotated[int, typer.Option(min=64, max=20_000, help="Nodes of the network.")] = 1_000,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same run.")] = 1,
    as_json: Json = False,
) -> None:
    """Run discovery and gossip under churn, loss, hostile nodes and an eclipse.

    Exits with 1 if lookups, growth, an announcement or an honest table broke its promise.
    """
    from bench.simulation.peer.run import simulate

    with console.status("simulating") as status:
        result = simulate(nodes, seed, status.update)
    emit_result(result, as_json)
    if result["failed"]:
        raise typer.Exit(1)


@fuzz_app.command("signatures")
@explained()
def fuzz_ed25519(
    minutes: Annotated[float, typer.Option(min=0.01, help="How long, by the clock.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same cases.")] = 0,
    as_json: Json = False,
) -> None:
    """Compare the SIMD Ed25519 kernel with libsodium on random, corrupted and adversarial signatures.

    Exits with 1 at any disagreement; the rows are in the result.
    """
    from bench.fuzz import fuzz_signatures

    with Progress(console=console) as bar:
        task = bar.add_task("cases", total=None)

        def progress(cases: int, disagreements: int) -> None:
            bar.update(task, completed=cases, description=f"{cases:,} cases, {disagreements} disagreements")

        try:
            result = fuzz_signatures(minutes, seed, progress)
        except RuntimeError as error:
            raise UserError(f"nothing to compare here: {error}") from None
    emit_result(result, as_json)
    if result["disagreements"]:
        raise typer.Exit(1)


@fuzz_app.command("contracts")
@explained()
def fuzz_of_contracts(
    minutes: Annotated[float, typer.Option(min=0.01, help="How long, by the clock.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same programs.")] = 0,
    engines: Annotated[str, typer.Option(help="What is compared: of python, interpreter and native.")] = (
        "python,interpreter"
    ),
    planted: Annotated[
        str, typer.Option(help="Hunt a bug that is planted in native code instead, by its name, or all.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Compare random contracts, compiled and interpreted, with the same sources run as ordinary Python, or
    with native code.

    Exits with 1 at any disagreement or crash; the seed, the program's number, the sources and the calls that
    show it are in the result. A program, which is one to three contracts with some calls and some mutants of
    each, takes about 50 ms beside ordinary Python and 700 ms beside native code, which is compiled for it.
    """
    from bench.fuzz_contracts import ENGINES, INTERPRETER, Counts, fuzz_contracts

    chosen = tuple(each for each in ENGINES if each in engines.split(","))
    if INTERPRETER not in chosen or len(chosen) < 2 or len(chosen) != len(engines.split(",")):
        raise UserError(f"--engines {engines}: interpreter, and python or native or both")
    if planted:
        _hunt_planted(planted, seed, as_json)
        return
    with Progress(console=console) as bar:
        task = bar.add_task("programs", total=None)

        def progress(counts: Counts) -> None:
            words = f"{counts.programs:,} programs, {counts.calls:,} calls"
            bar.update(
                task, completed=counts.programs, description=f"{words}, {counts.disagreements} disagreements"
            )

        result = fuzz_contracts(minutes, seed, progress, engines=chosen)
    emit_result(result, as_json)
    if result["disagreements"] or result["crashes"]:
        raise typer.Exit(1)


@fuzz_app.command("blocks")
@explained()
def fuzz_of_blocks(
    blocks: Annotated[int, typer.Option(min=1, help="Blocks to run.")] = 1_000,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same blocks.")] = 0,
    engines: Annotated[str, typer.Option(help="What runs them: of interpreter and native.")] = (
        "interpreter,native"
    ),
    first_chain: Annotated[int, typer.Option(min=0, help="Begin with the chain of this number.")] = 0,
    as_json: Json = False,
) -> None:
    """Compare random blocks of transfers and calls by the plain rules with jobs by the engines, in parts too.

    Exits with 1 at any disagreement; its seed, chain and block are in the result.
    """
    from bench.fuzz_blocks import BlockCounts, engines_of, fuzz_blocks

    try:
        chosen = engines_of(engines.split(","))
    except KeyError as unknown:
        raise UserError(f"--engines {engines}: {unknown} is neither interpreter nor native") from None
    with Progress(console=console) as bar:
        task = bar.add_task("blocks", total=blocks)

        def progress(counts: BlockCounts) -> None:
            words = f"{counts.blocks:,} blocks, {counts.disagreements} disagreements"
            bar.update(task, completed=counts.blocks, description=words)

        result = fuzz_blocks(blocks, seed, chosen, progress, first_chain=first_chain)
    emit_result(result, as_json)
    if result["disagreements"]:
        raise typer.Exit(1)


def _hunt_planted(planted: str, seed: int, as_json: bool) -> None:
    """See fuzz_planted. Exits with 1 if a bug is missed."""
    from bench.contract_fuzz.planted import PLANTED
    from bench.fuzz_planted import fuzz_planted

    with console.status("hunting") as status:
        try:
            result = fuzz_planted(
                tuple(PLANTED) if planted == "all" else (planted,),
                seed,
                lambda bug, programs: status.update(f"{bug}: {programs} programs"),
            )
        except ValueError as error:
            raise UserError(str(error)) from None
    emit_result(result, as_json)
    if result["missed"]:
        raise typer.Exit(1)


@torture_app.command("storage")
@explained()
def torture_storage(
    rounds: Annotated[int, typer.Option(min=1, help="Deaths to survive.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="0 draws one.")] = 0,
    as_json: Json = False,
) -> None:
    """Kill storage in the middle of its work, cut its power, flip its bits, and count what is lost.

    Exits with 1 if an acknowledged block is not there, a root does not recompute, or a flipped bit that
    matters is not noticed.
    """
    import random
    import tempfile
    from pathlib import Path

    from bench.torture import torture

    chosen = seed or random.randrange(1, 2**31)
    with tempfile.TemporaryDirectory(prefix="raychain-torture-") as scratch:
        bar = Progress(console=console, auto_refresh=False)  # a thread of its own would not survive the forks
        task = bar.add_task("rounds", total=rounds)

        def progress(done: int, acknowledged: int) -> None:
            bar.update(task, completed=done, description=f"{acknowledged:,} blocks acknowledged")
            bar.refresh()

        with bar:
            result = torture(rounds, chosen, Path(scratch), progress)
    emit_result(result, as_json)
    if not result["passed"]:
        raise typer.Exit(1)


@torture_app.command("validators")
@explained()
def torture_of_validators(
    seconds: Annotated[int, typer.Option(min=2, max=3600, help="Length of the phase with kills.")] = 60,
    quiet_seconds: Annotated[int, typer.Option(min=2, max=3600, help="Length of the phase without.")] = 15,
    every_ms: Annotated[int, typer.Option(min=50, help="Time between two kills.")] = 1_000,
    rate: Annotated[int, typer.Option(min=20, max=20_000, help="Transfers a second.")] = 4_000,
    validators: Annotated[int, typer.Option(min=1, max=16, help="Validators of the node.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Decides who is killed.")] = 0,
    as_json: Json = False,
) -> None:
    """Kill a Validator again and again under load: no block may be lost, wrong, or late by more than a chunk.

    Exits with 1 if one is.
    """
    from bench.torture_validators import torture_validators

    result = torture_validators(seconds, quiet_seconds, every_ms, rate, validators, seed)
    emit_result(result, as_json)
    if not result["passed"]:
        raise typer.Exit(1)


APPS = {"simulate": simulate_app, "fuzz": fuzz_app, "torture": torture_app}
