"""Wires the topology of a node, and starts and stops whole nodes and networks.

who                  calls                               by      bound
Gateway              MempoolShard.admit                  near    gateway.inflight_rows_max rows, then 503
MempoolShard         Validator.verify                    Ray     what gateways have in flight
Consensus            MempoolShard.draw_at_hand           near    AT_HAND_ROWS_MAX rows a shard
Consensus            MempoolShard.draw / resolve         Ray     one block's worth a shard
Consensus            Validator, Storage.execute          Ray     consensus.blocks_inflight_max blocks
Consensus            Storage: small blocks, durability   socket  the same; 8 MiB, then the call fails
Consensus, Peer      what members say, both ways         socket  8 MiB, then messages are dropped
Peer                 Consensus: blocks, proofs           Ray     consensus.blocks_inflight_max; 256 calls
Peer                 MempoolShard.outbox                 Ray     one call a shard
Peer                 MempoolShard.admit                  near    2 calls a peer, 8 MiB of offers
Consensus            Gateway, MempoolShard: deltas       near    64 a follower, then it reads up in Storage
Gateway, Mempool     Storage reads                       Ray     one call a batch or request
Storage              Validator: parts of heavy blocks    Ray     one a Validator; 15 s, then it is run here

Ray passes large columns by reference between processes and machines. A socket (actors/local_socket.py) wakes
one thread at each end, for what is small and often; its two ends are on one machine, as all actors of a node
but its Validators are. A near call (actors/near) goes over a socket while there is one and its columns are at
most NEAR_BYTES_MAX, and through Ray else: its caller holds one face.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from actors.cluster.actor import RayCluster, lost, require_runtime_dir
from actors.console import UserError, console
from actors.directory import NetworkDirectory, NodeFolder, join_network, open_network
from actors.free_places import require_free
from actors.machine import stopping
from actors.machine.limits import read_limits, require_memory
from actors.machine.processes import cpu_seconds
from actors.machine.progress_deadline import ProgressDeadline
from actors.machine.runtime import scratch_dir
from actors.machine.stopping import undisturbed
from actors.settings import Settings
from actors.shell import ActorContext, first_line, node_prefix

Progress = Callable[[str], None]
STOP_TIMEOUT_S = 20
STOP_EARLY_TIMEOUT_S = 5  # of a node that never was up
START_LOOK_S = 1.0


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
    def prefix(self) -> str:
        """What the names of its actors begin with."""
        return node_prefix(self.directory.genesis.hash(), self.folder.name)

    @property
    def url(self) -> str:
        """Address of the first gateway."""
        return str(self.facts["gateway-0"]["url"])

    def call(self, actor: str, method: str, *args: Any, timeout_s: float = 60) -> Any:
        """Call one actor and wait for the answer."""
        import ray

        return ray.get(getattr(self.actors[actor], method).remote(*args), timeout=timeout_s)

    def status(self) -> dict[str, Any] | None:
        """What Consensus says of the node; None while it does not answer."""
        from ray.exceptions import GetTimeoutError, RayError

        try:
            told: dict[str, Any] = self.call("consensus", "status", timeout_s=2)
        except (RayError, GetTimeoutError):
            return None
        return told

    def find_validators(self) -> None:
        """Bring `actors` up to date: Validators come and go while the node runs."""
        from actors.validator.actor import with_validators

        self.actors = with_validators(self.actors, self.prefix)

    def health(self) -> dict[str, dict[str, Any] | None]:
        """Health of every actor; None for one that does not answer."""
        import ray
        from ray.exceptions import GetTimeoutError, RayError

        self.find_validators()
        calls = {name: handle.health.remote() for name, handle in self.actors.items()}
        ray.wait(list(calls.values()), num_returns=len(calls), timeout=2)
        answers: dict[str, dict[str, Any] | None] = {}
        for name, call in calls.items():
            try:
                answers[name] = ray.get(call, timeout=0)
            except (RayError, GetTimeoutError):
                answers[name] = None
        return answers

    def pids(self) -> dict[str, int]:
        """Process of every actor that answers."""
        return {name: int(answer["pid"]) for name, answer in self.health().items() if answer}

    def kill(self) -> dict[str, int]:
        """SIGKILL every process of this node at once, as a power cut would; Ray starts its actors again."""
        pids = self.pids()
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        return pids


def stop_nodes(nodes: list[Node], limit_s: float = STOP_TIMEOUT_S) -> None:
    """Stop in the order of the flow: no new submissions, last blocks committed, disks closed.

    Within `limit_s`; what has not stopped by then is killed, which disks bear.
    """
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    deadline = time.monotonic() + limit_s
    for node in nodes if not lost() else ():
        with suppress(RayError, GetTimeoutError):
            node.find_validators()
    for kind in ("gateway", "consensus", "mempool", "peer", "validator", "storage"):
        if lost():  # there is nobody left to close, nor to ask Ray to kill
            return
        handles = [handle for node in nodes for handle in node.named(kind)]
        calls = [handle.stop.remote() for handle in handles]
        ray.wait(calls, num_returns=len(calls), timeout=max(0.5, deadline - time.monotonic()))
        for call, handle in zip(calls, handles, strict=True):
            try:
                ray.get(call, timeout=0)
            except (RayError, GetTimeoutError) as error:
                console.print(f"{kind} did not stop cleanly: {first_line(error)}", markup=False)
            ray.kill(handle)


def create_node(settings: Settings, directory: NetworkDirectory, folder: NodeFolder, serve: bool) -> Node:
    """Create all actors of a node at once; they start by themselves.

    Without `serve` there are no mempool, peer and gateway: Storage, Validators and Consensus alone.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from actors.consensus import actor as consensus
    from actors.gateway import actor as gateway
    from actors.mempool import actor as mempool
    from actors.peer import actor as peer
    from actors.storage import actor as storage
    from actors.validator import actor as validator

    node = Node(settings, folder, directory)
    genesis, actors, count = directory.genesis, node.actors, settings.node
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    spread = {"scheduling_strategy": "SPREAD"} if settings.cluster.spread_validators else {}

    def create(name: str, room: Any, kind: type, section: Any, *args: Any) -> Any:
        context = ActorContext(folder.name, name, str(folder.path.resolve()), settings.log, section.niceness)
        options = {**room.OPTIONS, "num_cpus": section.scheduler_cpus}
        if kind is not validator.Validator:  # what owns files or listens stays where they are
            options |= {"scheduling_strategy": here}
        else:
            options |= spread
        actors[name] = (
            ray.remote(**options)(kind).options(name=f"{node.prefix}/{name}").remote(context, section, *args)
        )
        return actors[name]

    allocation, key_path = str(directory.allocation_path.resolve()), str(folder.key_path.resolve())
    chosen = settings.validator.kernels
    store = create("storage", storage, storage.Storage, settings.storage, genesis, allocation, chosen)
    workers = [
        create(f"validator-{n}", validator, validator.Validator, settings.validator)
        for n in range(count.validator_count(len(directory.nodes), read_limits().whole_cpus))
    ]
    alike = {**validator.OPTIONS, "num_cpus": settings.validator.scheduler_cpus, **spread}
    several = len(genesis.members) > 1
    pool = validator.ValidatorPool(workers, settings.validator, node.prefix, alike, again=several)
    shards: list[Any] = []
    proposes = folder.identity in genesis.member_keys
    for n in range(count.mempool_shards if serve and proposes else 0):
        place = (n, count.mempool_shards, genesis, store, pool)
        shards.append(create(f"mempool-{n}", mempool, mempool.MempoolShard, settings.mempool, *place))
    gateways = [f"gateway-{n}" for n in range(count.gateways if serve else 0)]
    followers = [f"{node.prefix}/{name}" for name in (*gateways, "peer")]
    told = (genesis, key_path, store, pool, shards, followers if serve else [])
    leader = create("consensus", consensus, consensus.Consensus, settings.consensus, *told)
    if serve:
        wire = (genesis, key_path, store, leader, shards, chosen)
        create("peer", peer, peer.NodePeer, settings.peer, *wire)
    for n, name in enumerate(gateways):
        faces = (genesis, n, shards, store, leader, actors["peer"], chosen)
        create(name, gateway, gateway.Gateway, settings.gateway, *faces)
    return node


def _await_start(nodes: list[Node], progress: Progress) -> None:
    """Wait until every actor has answered `start`. Raises UserError naming those that have not, once nothing
    has moved for node.start_timeout_s, and KeyboardInterrupt when told to stop."""
    import ray
    from ray.exceptions import RayError

    limit_s = nodes[0].settings.node.start_timeout_s
    waiting = {handle.start.remote(): (node, name) for node in nodes for name, handle in node.actors.items()}
    count, patience = len(waiting), ProgressDeadline(limit_s, time.monotonic())
    while waiting:
        done, _ = ray.wait(list(waiting), timeout=START_LOOK_S)
        stopping.check()
        if not done:
            patience.used(cpu_seconds(), time.monotonic())
            if patience.is_over(time.monotonic()):
                missing = ", ".join(f"{node.folder.name}/{name}" for node, name in waiting.values())
                raise UserError(f"no progress for node.start_timeout_s={limit_s}, waiting for {missing}")
            continue
        node, name = waiting.pop(done[0])
        try:
            node.facts[name] = ray.get(done[0]) or {}
        except RayError as error:
            cause = getattr(error, "cause", None) or error
            text = f"{name} did not start: {first_line(cause)}; see {node.folder.path / 'logs'}"
            raise UserError(text) from None
        patience.came_up(time.monotonic())
        others = sorted({name for _, name in waiting.values()})
        missing = f"; waiting for {', '.join(others)}" if others else ""
        progress(f"{count - len(waiting)}/{count} actors up ({node.folder.name}/{name}){missing}")


def warm_kernels(progress: Progress) -> None:
    """Compile once, before many actors would each compile the same."""
    from actors.kernels.selection import select
    from actors.mempool import warming
    from actors.shell import kernel_cache_dir
    from actors.storage import transition, tree

    progress("compiling kernels (first start only)")
    select("auto", kernel_cache_dir())
    for core in (warming, transition, tree):
        core.warm()


@contextmanager
def running_network(
    settings: Settings, data_dir: Path | None, nodes: int, serve: bool = True, join: Join | None = None
) -> Iterator[tuple[RayCluster, list[Node]]]:
    """All nodes of a network, started in one cluster; stopped cleanly on the way out, also by Ctrl-C.

    With `join` there is one node, an observer of an existing network.
    """
    from actors.bootstrap import begin
    from actors.gateway.edge import exposed_without_keys

    if serve and settings.node.gateways and (refusal := exposed_without_keys(settings.gateway)):
        raise UserError(refusal)
    with ExitStack() as stack, console.status("starting") as status:
        started = time.monotonic()

        def progress(text: str) -> None:
            status.update(text)
            if not console.is_terminal:
                console.print(f"{time.monotonic() - started:5.1f} s  {text}", markup=False)

        path = data_dir or stack.enter_context(scratch_dir())
        if join is None:
            directory = open_network(path, settings.network, nodes, progress)
        else:
            directory = join_network(path, join.genesis, join.name, settings.node.key_file)
        if not settings.cluster.address:
            require_runtime_dir(settings.cluster.runtime_dir)
        if settings.node.check_memory and not settings.cluster.address:
            require_memory(len(directory.nodes), read_limits())
        require_free(settings, directory, serve)
        warm_kernels(progress)
        begun = begin(settings, directory, progress) if join else None
        progress(
            "starting Ray" if not settings.cluster.address else f"joining Ray at {settings.cluster.address}"
        )
        cluster = RayCluster(settings)
        stopping.serving()
        try:
            with started_nodes(settings, directory, progress, serve) as running:
                status.stop()
                if begun is not None:
                    running[0].facts["begun"] = asdict(begun)
                yield cluster, running
        finally:
            status.stop()
            with undisturbed():
                cluster.close()


@contextmanager
def started_nodes(
    settings: Settings, directory: NetworkDirectory, progress: Progress, serve: bool = True
) -> Iterator[list[Node]]:
    """All nodes of a network in the Ray cluster that this process is connected to."""
    running: list[Node] = []
    limit_s: float = STOP_EARLY_TIMEOUT_S
    try:
        for number, folder in enumerate(directory.nodes):
            running.append(create_node(settings.of_node(number), directory, folder, serve))
        _await_start(running, progress)
        if serve:
            introduce(running)
        limit_s = settings.node.stop_timeout_s / 2
        yield running
    finally:
        with undisturbed():
            console.print("stopping")
            stop_nodes(running, limit_s)


@contextmanager
def running_node(
    settings: Settings, data_dir: Path | None, nodes: int = 1, serve: bool = True
) -> Iterator[tuple[RayCluster, Node]]:
    """As `running_network`, for a network of one node."""
    if nodes != 1:
        raise UserError(f"--nodes {nodes}: this command runs networks of one node")
    with running_network(settings, data_dir, 1, serve) as (cluster, running):
        yield cluster, running[0]


def introduce(nodes: Sequence[Any]) -> None:
    """Tell every Peer where the others can be dialled; they remember it. Nodes may be in different Ray
    clusters, and on different machines."""
    addresses = [str(wire["advertised"] or wire["address"]) for wire in (n.facts["peer"] for n in nodes)]
    for place, node in enumerate(nodes):
        if others := addresses[:place] + addresses[place + 1 :]:
            node.call("peer", "add_seeds", others, timeout_s=STOP_TIMEOUT_S)
