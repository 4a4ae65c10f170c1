"""The command that starts a network and shows it until it is told to stop."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from actors.cli.banner import print_banner, watch
from actors.cli.config import DataDir, Nodes, Overrides, Profile
from actors.cli.options import Json
from actors.console import Summary, UserError, console, emit
from actors.directory import members_in
from actors.figures import counted
from actors.machine.processes import end_all
from actors.machine.runtime import close_sessions
from actors.machine.stopping import StopListener
from actors.peer.config import parse_address
from actors.peer.errors import ConfigError
from actors.sdk.trust import remember_own
from config.effective import load


def up(
    profile: Profile = "local",
    overrides: Overrides = None,
    nodes: Nodes = None,
    data_dir: DataDir = None,
    address: Annotated[str, typer.Option("--address", help="Join this Ray cluster.")] = "",
    name: Annotated[str, typer.Option("--node", help="Name of an observer.")] = "observer",
    seed: Annotated[str, typer.Option("--join", help="host:port of a peer: observe its network.")] = "",
    genesis: Annotated[Path | None, typer.Option("--genesis", help="That network's data directory.")] = None,
    as_json: Json = False,
) -> None:
    """Start a network in this machine's Ray cluster and show its status until Ctrl-C.

    A new network has three members that agree by Raft, each with its own disk, keys and gateway; --nodes 1
    makes it one. With --join it is an observer: it follows the network of that peer, validates every block
    itself, and proposes none.
    """
    from actors.cluster.actor import lost
    from actors.topology import Join, running_network

    overrides = list(overrides or [])
    if address:
        overrides.append(f"cluster.address={address}")
    if bool(seed) != (genesis is not None):
        raise UserError("an observer needs both --join HOST:PORT and --genesis DIRECTORY")
    if seed:
        overrides.append(f'peer.seeds=["{seed}"]')
    join = Join(name, genesis) if genesis is not None else None
    settings = load(profile, overrides).settings
    if settings.node.key_file and join is None:
        raise UserError("node.key_file is the key of one node, which joins: give --join and --genesis, too")
    for each in settings.peer.seeds:
        try:
            parse_address(each)
        except ConfigError as error:
            raise UserError(f"--join {each}: {error}; give HOST:PORT, as in 127.0.0.1:7001") from None
    path = data_dir or Path(settings.node.data_dir)
    leave = functools.partial(_leave, as_json)
    with StopListener(leave, settings.node.stop_timeout_s, lost) as stop:
        try:
            network = running_network(settings, path, nodes or members_in(path), join=join)
            with network as (_, running):
                print_banner(console, running, settings.network)
                addresses = {node.url: node.directory.path for node in running}
                remember_own(addresses, running[0].directory.genesis)
                last, reason = watch(console, running, stop.requested, lost)
                if reason and stop.requested.is_set():
                    _leave(as_json, 0, f"{reason}: told to stop as well; the next start recovers")
                if reason:
                    _leave(as_json, 1, f"{reason}: this node cannot go on; start it again")
                if begun := running[0].facts.get("begun"):
                    last = {**last, "begun_with_snapshot": begun}
        except KeyboardInterrupt:
            last = {"stopped": "while it started"}
    emit(last, as_json, summary=lambda: _stopped(last, path))


def _stopped(last: dict[str, Any], path: Path) -> Summary:
    """What is so after Ctrl-C."""
    if "height" not in last:
        return Summary("Stopped while it started; nothing of it runs any more.")
    return Summary(
        f"Stopped in order at height {last['height']:,}; nothing of it runs any more.",
        "good",
        facts=[
            ("committed", counted(last["transactions"], "transaction")),
            ("state root", str(last["state_root"])),
        ],
        following=[f"node.py up --data-dir {path}  continues the chain"],
    )


def _leave(as_json: bool, code: int, sentence: str) -> NoReturn:
    """End this process and all below it now."""
    console.show_cursor()
    console.print(sentence, markup=False)
    end_all(0)
    close_sessions()
    if code == 0:
        emit({"stopped": sentence}, as_json)
    os._exit(code)
