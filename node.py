"""Wires the topology of a node and is its command line.

who                  calls                          bound
Gateway              MempoolShard.admit             gateway.inflight_rows_max rows, then 503
MempoolShard         Validator.verify               what gateways have in flight
Consensus            MempoolShard.draw / resolve    one block's worth a shard
Consensus            Validator, Storage             consensus.blocks_inflight_max blocks
Consensus            Gateway, MempoolShard          64 deltas a follower, then it reads up in Storage
Gateway, Mempool     Storage reads                  one call a batch or request
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.console import UserError, console, emit, explained
from actors.directory import DirectoryError, NetworkDirectory, NodeFolder, join_network, open_network
from actors.ledger.rows import FormatError
from actors.settings import Settings
from actors.shell import ActorContext, first_line
from config.effective import ConfigurationError, every_value, load

if TYPE_CHECKING:
    import psutil

Progress = Callable[[str], None]
STOP_TIMEOUT_S = 20
RAY_STARTS_MAX = 3
_RAY_ENVIRONMENT = {
    "RAY_worker_niceness": "0",  # each actor sets its own priority
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


class RayCluster:
    """A local Ray cluster of this process, or a connection to one that runs elsewhere."""

    def __init__(self, settings: Settings) -> None:
        os.environ.update({name: os.environ.get(name, value) for name, value in _RAY_ENVIRONMENT.items()})
        import ray

        cluster = settings.cluster
        self.local = not cluster.address
        options: dict[str, Any] = {"address": cluster.address or "local"}
        if self.local:
            options |= {"include_dashboard": False, "object_store_memory": cluster.object_store_mb << 20}
        self._ray = ray
        self._mute_native_stderr()
        for attempt in range(1, RAY_STARTS_MAX + 1):
            try:
                ray.init(
                    **options,
                    namespace=f"{cluster.namespace}-{os.getpid()}",
                    log_to_driver=False,
                    logging_level="ERROR",
                )
                break
            except Exception as error:  # bare is what Ray raises when a busy machine is late
                ray.shutdown()
                if attempt == RAY_STARTS_MAX:
                    self._restore_native_stderr()
                    raise UserError(f"Ray did not start in {attempt} attempts: {error}") from error

    def _mute_native_stderr(self) -> None:
        """Ray's native code warns on descriptor 2 of every handle given to a constructor (that restarts with
        handles work is what the tests of kills show). Python's own standard error stays where it was."""
        self._python_stderr, self._muted_stderr = sys.stderr, os.fdopen(os.dup(2), "w", buffering=1)
        sys.stderr = self._muted_stderr
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)

    def _restore_native_stderr(self) -> None:
        os.dup2(self._muted_stderr.fileno(), 2)
        if sys.stderr is self._muted_stderr:
            sys.stderr = self._python_stderr
        self._muted_stderr.close()

    def processes(self, actor: str = "") -> list[psutil.Process]:
        """Processes of this local cluster that the operating system sees, or those of one kind of actor."""
        import psutil

        found = []
        for child in psutil.Process().children(recursive=True):
            try:
                title = child.cmdline()[:1]
            except psutil.Error:
                continue
            if not actor or (title and title[0].startswith(f"ray::{actor}")):
                found.append(child)
        return found

    def close(self) -> None:
        """Leave or stop the cluster; no process of it stays behind."""
        import psutil

        children = self.processes() if self.local else []
        self._ray.shutdown()
        _, alive = psutil.wait_procs(children, timeout=STOP_TIMEOUT_S / 2)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=STOP_TIMEOUT_S / 2)
        self._restore_native_stderr()


@dataclass(frozen=True, slots=True)
class Join:
    """An observer called `name`, of the network whose genesis is in folder `genesis`."""

    name: str
    genesis: Path


@dataclass(slots=True)
class Node:
    """The actors of one node, and what `start` learned of them."""

    settings: Settings
    folder: NodeFolder
    directory: NetworkDirectory
    actors: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def named(self, kind: str) -> list[Any]:
        """Handles of all actors of one kind, in order."""
        return [handle for name, handle in self.actors.items() if name.partition("-")[0] == kind]

    @property
    def url(self) -> str:
        """Address of the first gateway."""
        return str(self.facts["gateway-0"]["url"])

    def call(self, actor: str, method: str, *args: Any, timeout_s: float = 60) -> Any:
        """Call one actor and wait for the answer."""
        import ray

        return ray.get(getattr(self.actors[actor], method).remote(*args), timeout=timeout_s)

    def health(self) -> dict[str, dict[str, Any] | None]:
        """Health of every actor; None for one that does not answer."""
        import ray
        from ray.exceptions import GetTimeoutError, RayError

        calls = {name: handle.health.remote() for name, handle in self.actors.items()}
        ray.wait(list(calls.values()), num_returns=len(calls), timeout=2)
        answers: dict[str, dict[str, Any] | None] = {}
        for name, call in calls.items():
            try:
                answers[name] = ray.get(call, timeout=0)
            except (RayError, GetTimeoutError):
                answers[name] = None
        return answers

    def stop(self) -> None:
        """Stop in the order of the flow: no new submissions, last blocks committed, disk closed."""
        import ray
        from ray.exceptions import GetTimeoutError, RayError

        for kind in ("gateway", "consensus", "mempool", "peer", "validator", "storage"):
            calls = [handle.stop.remote() for handle in self.named(kind)]
            try:
                ray.get(calls, timeout=STOP_TIMEOUT_S)
            except (RayError, GetTimeoutError) as error:
                console.print(f"{kind} did not stop cleanly: {first_line(error)}", markup=False)
            for handle in self.named(kind):
                ray.kill(handle)


def start_node(
    settings: Settings, directory: NetworkDirectory, folder: NodeFolder, progress: Progress, serve: bool
) -> Node:
    """Create all actors of a node at once and wait until each has started.

    Without `serve` there are no mempool, peer and gateway: Storage, Validators and Consensus alone.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from actors.consensus import actor as consensus
    from actors.gateway import actor as gateway
    from actors.mempool import actor as mempool
    from actors.peer.node import actor as peer
    from actors.storage import actor as storage
    from actors.validator import actor as validator

    node = Node(settings, folder, directory)
    genesis, actors, count = directory.genesis, node.actors, settings.node
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)

    def create(name: str, room: Any, kind: type, section: Any, *args: Any) -> Any:
        context = ActorContext(folder.name, name, str(folder.path.resolve()), settings.log, section.niceness)
        options = {**room.OPTIONS, "num_cpus": section.scheduler_cpus}
        if settings.cluster.spread_validators:  # what owns files or listens stays where they are
            options["scheduling_strategy"] = "SPREAD" if kind is validator.Validator else here
        actors[name] = (
            ray.remote(**options)(kind).options(name=f"{folder.name}/{name}").remote(context, section, *args)
        )
        return actors[name]

    allocation, key_path = str(directory.allocation_path.resolve()), str(folder.key_path.resolve())
    chosen = settings.validator.kernels
    store = create("storage", storage, storage.Storage, settings.storage, genesis, allocation, chosen)
    workers = [
        create(f"validator-{n}", validator, validator.Validator, settings.validator)
        for n in range(count.validators)
    ]
    pool = validator.ValidatorPool(workers, settings.validator)
    shards: list[Any] = []
    proposes = folder.identity in genesis.member_keys
    for n in range(count.mempool_shards if serve and proposes else 0):
        place = (n, count.mempool_shards, genesis, store, pool)
        shards.append(create(f"mempool-{n}", mempool, mempool.MempoolShard, settings.mempool, *place))
    gateways = [f"gateway-{n}" for n in range(count.gateways if serve else 0)]
    followers = [f"{folder.name}/{name}" for name in (*gateways, "peer")]
    told = (genesis, key_path, store, pool, shards, followers if serve else [])
    leader = create("consensus", consensus, consensus.Consensus, settings.consensus, *told)
    if serve:
        wire = (genesis, key_path, store, leader, chosen)
        create("peer", peer, peer.NodePeer, settings.peer, *wire)
    for n, name in enumerate(gateways):
        faces = (genesis, n, shards, store, leader, actors["peer"], chosen)
        create(name, gateway, gateway.Gateway, settings.gateway, *faces)
    _await_start(node, progress)
    return node


def _await_start(node: Node, progress: Progress) -> None:
    """Wait until every actor has answered `start`. Raises UserError naming those that have not."""
    import ray
    from ray.exceptions import RayError

    actors, limit_s = node.actors, node.settings.node.start_timeout_s
    waiting = {handle.start.remote(): name for name, handle in actors.items()}
    deadline = time.monotonic() + limit_s
    while waiting:
        done, _ = ray.wait(list(waiting), timeout=max(0.0, deadline - time.monotonic()))
        if not done:
            raise UserError(f"not up after node.start_timeout_s={limit_s}: {', '.join(waiting.values())}")
        name = waiting.pop(done[0])
        try:
            node.facts[name] = ray.get(done[0]) or {}
        except RayError as error:
            cause = getattr(error, "cause", None) or error
            raise UserError(f"{name} did not start: {cause}; see {node.folder.path / 'logs'}") from None
        progress(f"{len(actors) - len(waiting)}/{len(actors)} actors up ({name})")


def warm_kernels(progress: Progress) -> None:
    """Compile once, before many actors would each compile the same."""
    from actors.mempool import pool
    from actors.shell import kernel_cache_dir
    from actors.storage import journal, transition, tree
    from actors.validator.kernels import select

    progress("compiling kernels (first start only)")
    select("auto", kernel_cache_dir())
    for core in (pool, journal, transition, tree):
        core.warm()


@contextmanager
def running_node(
    settings: Settings, data_dir: Path | None, nodes: int, serve: bool = True, join: Join | None = None
) -> Iterator[tuple[RayCluster, Node]]:
    """A started node in its cluster; stopped cleanly on the way out, also by Ctrl-C.

    With `join` it is an observer of an existing network.
    """
    if nodes != 1:
        raise UserError(f"--nodes {nodes}: this version runs networks of one node")
    with tempfile.TemporaryDirectory(prefix="raychain-") as scratch, console.status("starting") as status:
        started = time.monotonic()

        def progress(text: str) -> None:
            status.update(text)
            if not console.is_terminal:
                console.print(f"{time.monotonic() - started:5.1f} s  {text}", markup=False)

        path = data_dir or Path(scratch)
        if join is None:
            directory = open_network(path, settings.network, nodes, progress)
        else:
            directory = join_network(path, join.genesis, join.name)
        warm_kernels(progress)
        progress(
            "starting Ray" if not settings.cluster.address else f"joining Ray at {settings.cluster.address}"
        )
        cluster = RayCluster(settings)
        node: Node | None = None
        try:
            node = start_node(settings, directory, directory.nodes[0], progress, serve)
            status.stop()
            yield cluster, node
        finally:
            status.stop()
            with _undisturbed():
                if node is not None:
                    console.print("stopping")
                    node.stop()
                cluster.close()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let the clean-up finish even if Ctrl-C is pressed again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# The command line

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="raychain: a permissioned blockchain node whose parts are Ray actors.",
    epilog="Start with `node.py demo`, then `node.py up` and, in another shell, `node.py keys new`.",
)
config_app = typer.Typer(no_args_is_help=True, help="Profiles and the effective configuration.")
bench_app = typer.Typer(no_args_is_help=True, help="Benchmarks; each prints ratios measured in one run.")
app.add_typer(config_app, name="config")
app.add_typer(bench_app, name="bench")

Profile = Annotated[str, typer.Option("--profile", help="Profile under config/, or a .toml file.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="section.key=value; may be repeated.")]
Nodes = Annotated[int, typer.Option("--nodes", min=1, help="Nodes of the network.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where the network lives on disk.")]
Json = Annotated[bool, typer.Option("--json", help="Last line of stdout is one JSON object.")]
_MISTAKES = (ConfigurationError, DirectoryError, FormatError)


@app.command()
@explained(*_MISTAKES)
def up(
    profile: Profile = "local",
    overrides: Overrides = None,
    nodes: Nodes = 1,
    data_dir: DataDir = None,
    address: Annotated[str, typer.Option("--address", help="Join this Ray cluster.")] = "",
    name: Annotated[str, typer.Option("--node", help="Name of an observer.")] = "observer",
    seed: Annotated[str, typer.Option("--join", help="host:port of a peer: observe its network.")] = "",
    genesis: Annotated[Path | None, typer.Option("--genesis", help="That network's data directory.")] = None,
    as_json: Json = False,
) -> None:
    """Start a node and show its status until Ctrl-C.

    With --join it is an observer: it follows the network of that peer, validates every block itself, and
    proposes none.
    """
    from actors.banner import print_banner, watch

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
    with running_node(settings, path, nodes, join=join) as (_, node):
        print_banner(console, node, settings.network)
        last = watch(console, node, stop)
    emit(last, as_json)


@app.command()
@explained(*_MISTAKES)
def demo(
    profile: Profile = "local",
    overrides: Overrides = None,
    nodes: Nodes = 1,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Start a node, load it through its HTTP API, check what it committed, and stop it."""
    from bench.demo import run_demo

    effective = load(profile, ["gateway.port=0", *(overrides or [])])
    result = run_demo(effective.settings, data_dir, nodes, running_node, console)
    emit(result, as_json, title="demo")
    if not result["passed"]:
        raise typer.Exit(1)


@config_app.command("show")
@explained(*_MISTAKES)
def config_show(profile: Profile = "local", overrides: Overrides = None, as_json: Json = False) -> None:
    """Print every value of the effective configuration and where it comes from."""
    rows = every_value(load(profile, overrides))
    if as_json:
        emit({name: {"value": value, "source": source} for name, value, source in rows}, True)
        return
    emit({name: f"{value!r:<24} {source}" for name, value, source in rows}, False)


def main() -> None:
    """Entry point of `node.py` and `raychain`."""
    from actors import offline
    from actors.gateway import commands
    from bench import hunts, registry
    from bench.soak import commands as soak_commands

    app.add_typer(commands.app)
    app.add_typer(offline.app)
    app.add_typer(soak_commands.app)
    app.add_typer(hunts.simulate_app, name="simulate")
    app.add_typer(hunts.fuzz_app, name="fuzz")
    registry.register(bench_app)
    app()


if __name__ == "__main__":
    # One module object only: actors and benchmarks import this file under its own name.
    from node import main as _main

    _main()
