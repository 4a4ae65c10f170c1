"""The command `attack`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from actors.cli.config import Overrides, Profile
from actors.cli.options import Json
from actors.console import Standing, Summary, UserError, console, emit
from actors.figures import counted, figure
from bench.attack.registry import Attack, attacks
from bench.results import emit_result
from config.effective import load


def command_attack(
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="An attack by name, or a family of them; may be repeated."),
    ] = None,
    list_only: Annotated[bool, typer.Option("--list", help="Say what each attack tries, and stop.")] = False,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="How long an attack goes on.")] = 6.0,
    profile: Profile = "local",
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Attack a network of three as strangers, clients, members and other users would.

    An honest client pays meanwhile. Exits with 1 unless the network held against every attack: the attacker
    did not get what he wanted, honest transfers were committed in time, memory stayed in its bounds, and
    the chain is one.
    """
    from bench.attack.run import run_attacks

    known = attacks()
    if list_only:
        listed = {name: _what(each) for name, each in known.items()}
        sentence = f"{len(listed)} attacks; each is tried on a network of three that has to hold."
        following = ["node.py attack --only NAME"]
        summary = Summary(
            sentence, titles=("attack", "what it tries"), rows=list(listed.items()), following=following
        )
        emit(listed, as_json, summary=summary)
        return
    families = {each.kind for each in known.values()}
    strangers = [name for name in only or [] if name not in families | set(known)]
    if strangers:
        raise UserError(f"--only {strangers[0]}: no such attack; there are {', '.join(sorted(known))}")
    wanted = set(only or known)
    settings = load(profile, ["gateway.port=0", *(overrides or [])]).settings
    chosen = [each for name, each in known.items() if wanted & {name, each.kind}]
    began = time.monotonic()
    rows = run_attacks(settings, chosen, seconds, lambda text: console.print(text, markup=False))
    held = sum(row["held"] for row in rows)
    result = {"attacks": rows, "held": held, "of": len(rows), "passed": held == len(rows)}
    if as_json:
        emit_result(result | {"seconds": round(time.monotonic() - began, 1)}, as_json)
    else:
        _show(rows, held)
    if not result["passed"]:
        raise typer.Exit(1)


def _what(each: Attack) -> str:
    return (each.run.__doc__ or "").strip().splitlines()[0]


def _show(rows: list[dict[str, object]], held: int) -> None:
    table = [
        (
            str(row["attack"]),
            "yes" if row["held"] else "NO",
            figure("p99_ms", row["honest_p99_ms_before"]),
            figure("p99_ms", row["honest_p99_ms_during"]),
            figure("memory_mb_max", row["memory_mb_max"]),
            str(row["detail"]),
        )
        for row in rows
    ]
    sentence = f"The network held against {held} of {counted(len(rows), 'attack')}."
    titles = ("attack", "held", "p99 before", "during", "memory", "what happened")
    standing: Standing = "good" if held == len(rows) else "bad"
    emit({}, False, summary=Summary(sentence, standing, titles=titles, rows=table))
