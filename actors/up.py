"""The command that starts a network and shows it until it is told to stop."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from actors.banner import print_banner, watch
from actors.console import UserError, console, emit
from actors.directory import members_in
from actors.gateway.trust import remember_own
from config.effective import load
from config.options import DataDir, Json, Nodes, Overrides, Profile


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
    from node import Join, running_network

    overrides = list(overrides or [])
    if address:
        overrides.append(f"cluster.address={address}")
    if bool(seed) != (genesis is not None):
        raise UserError("an observer needs both --join HOST:PORT and --genesis DIRECTORY")
    if seed:
        overrides.append(f'peer.seeds=["{seed}"]')
    join = Join(name, genesis) if genesis is not None else None
    settings = load(profile, overrides).settings
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    path = data_dir or Path(settings.node.data_dir)
    with running_network(settings, path, nodes or members_in(path), join=join) as (_, running):
        print_banner(console, running, settings.network)
        remember_own({node.url: node.directory.path for node in running}, running[0].directory.genesis)
        last = watch(console, running, stop)
        if begun := running[0].facts.get("begun"):
            last = {**last, "begun_with_snapshot": begun}
    emit(last, as_json)
