"""Faults: a table of kinds, each with how to inject and how to heal it.

A fault acts from outside on processes (signals, limits of the operating system), on the wire by `Peer`'s own
seam, or through the HTTP API. Victims come from the seed. A kind that this network cannot suffer (a partition
of one node) is left out.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from actors.ledger.membership import ChangeRefused, MemberRole, MemberStanding
from bench.soak.flood import flood_with_bad_input
from bench.soak.isolated_node import IsolatedNode
from bench.soak.judge import RECOVERY_S_MAX
from bench.soak.raylets import Raylets

HOLD_S = 2.0
HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS
_DUTY_STOPPED_S, _DUTY_RUNNING_S = 0.08, 0.02
_SURVIVES_A_WIPE = ("node.key", "journal", "logs")
Heal = Callable[[], None]


@dataclass(slots=True)
class FaultTarget:
    """What faults act on. `local`: processes are on this machine. `raylets`: those that may be removed.
    `outposts`: Ray clusters of one node each."""

    nodes: list[Any]
    chance: random.Random
    seed: int
    log: Callable[[str], None]
    local: bool = True
    raylets: Raylets | None = None
    outposts: Sequence[IsolatedNode] = ()

    def node(self) -> Any:
        """A victim."""
        return self.chance.choice(self.nodes)

    def pid(self, node: Any, actor: str) -> int:
        """Process of an actor. Raises LookupError while it has none."""
        facts = node.health().get(actor)
        if facts is None:
            raise LookupError(f"{node.folder.name}/{actor} does not answer")
        return int(facts["pid"])

    def kill(self, node: Any, actor: str) -> None:
        """SIGKILL, or where the process is on another machine the same through Ray."""
        if self.local:
            with suppress(ProcessLookupError):
                os.kill(self.pid(node, actor), signal.SIGKILL)
        else:
            import ray

            ray.kill(node.actors[actor], no_restart=False)

    def actors(self, node: Any, kind: str) -> list[str]:
        """Names of a node's actors of one kind."""
        return [name for name in node.actors if name.partition("-")[0] == kind]

    def answering(self, node: Any) -> bool:
        """Whether every actor of a node answers."""
        return all(facts is not None for facts in node.health().values())

    def heads(self) -> list[int]:
        """Height of each node, -1 for one that does not answer."""
        heights = []
        for node in self.nodes:
            try:
                heights.append(node.call("storage", "head", timeout_s=5).height)
            except Exception:  # noqa: BLE001 -- whatever a call to a killed actor raises
                heights.append(-1)
        return heights

    def pending(self) -> int:
        """Transactions in the fullest node's mempool; -1 while an actor does not answer."""
        depths = []
        for node in self.nodes:
            health = node.health()
            if any(facts is None for facts in health.values()):
                return -1
            shards = [facts for name, facts in health.items() if name.startswith("mempool-")]
            depths.append(sum(int(facts["depth"]) for facts in shards if facts))
        return max(depths)


@dataclass(slots=True)
class Injected:
    """A fault that is in force: what it hit, how to end it, how long it should last, and how many blocks it
    took from its victim."""

    target: str
    heal: Heal = field(default=lambda: None)
    hold_s: float = 0.0
    blocks_lost: int = 0


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A kind of fault: what it is, and where it can be injected."""

    what: str
    inject: Callable[[FaultTarget], Injected]
    nodes_min: int = 1
    local_only: bool = False
    raylets_min: int = 1
    outposts_min: int = 0


def _kill(kind: str) -> Callable[[FaultTarget], Injected]:
    def inject(target: FaultTarget) -> Injected:
        node = target.node()
        victim = target.chance.choice(target.actors(node, kind))
        target.kill(node, victim)
        return Injected(f"{node.folder.name}/{victim}")

    return inject


def _kill_node(target: FaultTarget) -> Injected:
    node = target.node()
    pids = [int(facts["pid"]) for facts in node.health().values() if facts is not None]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return Injected(f"{node.folder.name}: {len(pids)} processes")


def _terminate(target: FaultTarget) -> Injected:
    """A node's processes are asked to end, as a supervisor asks; each closes what it holds and comes back."""
    node = target.node()
    pids = [int(facts["pid"]) for facts in node.health().values() if facts is not None]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    return Injected(f"{node.folder.name}: {len(pids)} processes")


def _wipe_disk(target: FaultTarget) -> Injected:
    """A member loses its chain, its log, all that it signed and whom it knew; key, logs and journal are
    elsewhere, and so is what its configuration would say: where clients find its gateway. It has
    healed when the others have given it its vote again, and it knows."""
    node = target.node()
    folder = Path(node.folder.path)
    lost = folder.with_name(f"{folder.name}.lost-{time.monotonic_ns()}")
    lost.mkdir()
    pids = [int(facts["pid"]) for facts in node.health().values() if facts is not None]
    height = max(target.heads())
    for path in list(folder.iterdir()):
        if path.name not in _SURVIVES_A_WIPE and path.suffix != ".port":
            path.rename(lost / path.name)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(lost)

    def heal() -> None:
        name = str(node.folder.name)
        known = next(((each.role, each.disk) for each in _members(target) if each.name == name), (None, None))
        standing = node.call("consensus", "status", timeout_s=20)["standing"]
        if standing or known != ("voter", "named"):
            raise LookupError(f"{name} is {known[0]}, its disk {known[1]}: {standing}")

    return Injected(str(node.folder.name), heal, blocks_lost=height)


def _members(target: FaultTarget) -> list[MemberStanding]:
    """As whoever leads sees them. Raises LookupError while nobody does."""
    for node in filter(_leads, target.nodes):
        members: list[MemberStanding] = node.call("consensus", "members", timeout_s=20)
        return members
    raise LookupError("nobody leads")


def _rolling_restart(target: FaultTarget) -> Injected:
    """Each node in turn, or each actor of the only one, the next when the one before answers again."""
    turns = [(node, list(node.actors)) for node in target.nodes]
    if len(turns) == 1:
        turns = [(turns[0][0], [actor]) for actor in turns[0][1]]
    for node, actors in turns:
        pids = [int(facts["pid"]) for name, facts in node.health().items() if name in actors and facts]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + RECOVERY_S_MAX
        while not target.answering(node) and time.monotonic() < until:
            time.sleep(0.1)
    return Injected(f"{len(turns)} restarts")


def _pause(target: FaultTarget) -> Injected:
    node = target.node()
    victim = target.chance.choice([name for name in node.actors if name != "peer"])
    pid = target.pid(node, victim)
    os.kill(pid, signal.SIGSTOP)

    def heal() -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    return Injected(f"{node.folder.name}/{victim}", heal, HOLD_S)


def _slow_disk(target: FaultTarget) -> Injected:
    """Storage stands still four fifths of the time, in slices, as behind a disk that stalls."""
    node = target.node()
    pid, done = target.pid(node, "storage"), threading.Event()

    def stall() -> None:
        with suppress(ProcessLookupError):
            while not done.is_set():
                os.kill(pid, signal.SIGSTOP)
                done.wait(_DUTY_STOPPED_S)
                os.kill(pid, signal.SIGCONT)
                time.sleep(_DUTY_RUNNING_S)

    thread = threading.Thread(target=stall, name="slow-disk", daemon=True)
    thread.start()

    def heal() -> None:
        done.set()
        thread.join()

    return Injected(f"{node.folder.name}/storage", heal, HOLD_S)


def _disk_full(target: FaultTarget) -> Injected:
    """The operating system refuses Storage every write that makes a file longer than a byte."""
    node = target.node()
    pid = target.pid(node, "storage")
    process = psutil.Process(pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (1, before[1]))

    def heal() -> None:
        with suppress(psutil.Error):
            process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, before[1]))
            # What an operator does after making room: a database that met a failed write must be reopened.
            os.kill(pid, signal.SIGKILL)

    return Injected(f"{node.folder.name}/storage", heal, HOLD_S)


def _flood(target: FaultTarget) -> Injected:
    node = target.node()
    address = str(node.facts["peer"]["address"])
    sent = flood_with_bad_input(node.url, address, target.seed, HOLD_S)
    return Injected(f"{node.folder.name}: {sent} bad requests")


def _wire(**rule: float) -> Callable[[FaultTarget], Injected]:
    """The same rule for what every node receives."""

    def inject(target: FaultTarget) -> Injected:
        for number, node in enumerate(target.nodes):
            _set_faults(node, {"seed": target.seed + number, "rules": {"": rule}})
        return Injected("every link", lambda: _clear(target), HOLD_S)

    return inject


def _partition(both_ways: bool) -> Callable[[FaultTarget], Injected]:
    """One node hears nobody; with `both_ways` nobody hears it either."""

    def inject(target: FaultTarget) -> Injected:
        victim = target.node()
        _set_faults(victim, {"rules": {"": {"loss": 1}}})
        if both_ways:
            identity = victim.folder.identity.hex()
            for node in target.nodes:
                if node is not victim:
                    _set_faults(node, {"rules": {identity: {"loss": 1}}})
        return Injected(str(victim.folder.name), lambda: _clear(target), 2 * HOLD_S)

    return inject


def _clock_skew(target: FaultTarget) -> Injected:
    """A node's wall clock goes wrong by an hour or by ten years, either way; its timers jump five seconds."""
    node, off_ms = target.node(), target.chance.choice((-10 * YEAR_MS, -HOUR_MS, HOUR_MS, 10 * YEAR_MS))
    node.call("consensus", "skew_clocks", off_ms, 5_000, timeout_s=20)

    def heal() -> None:
        node.call("consensus", "skew_clocks", 0, timeout_s=20)

    return Injected(f"{node.folder.name}: {off_ms / HOUR_MS:+,.0f} h", heal, HOLD_S)


def _membership_change(target: FaultTarget) -> Injected:
    """A follower is removed; healing takes it in again, as a learner first."""
    followers = [node for node in target.nodes if not _leads(node)]
    if len(followers) != len(target.nodes) - 1:
        raise LookupError("there is no leader to ask")
    victim = target.chance.choice(followers).folder.name
    _change_member(target, "remove", victim)

    def heal() -> None:
        _change_member(target, "add", victim)
        _change_member(target, "promote", victim)

    return Injected(str(victim), heal, HOLD_S)


def _scale(target: FaultTarget) -> Injected:
    """A Validator more, which healing takes away again."""
    node = target.node()
    before = len(target.actors(node, "validator"))
    node.call("consensus", "scale_validators", before + 1, timeout_s=RECOVERY_S_MAX)

    def heal() -> None:
        node.call("consensus", "scale_validators", before, timeout_s=RECOVERY_S_MAX)

    return Injected(f"{node.folder.name}: {before} to {before + 1} and back", heal, HOLD_S)


def _leads(node: Any) -> bool:
    try:
        return str(node.call("consensus", "status", timeout_s=10)["role"]) == "leader"
    except Exception:  # noqa: BLE001 -- whatever a call to a killed actor raises
        return False


_ROLE_AFTER: dict[str, MemberRole] = {"remove": "out", "add": "learner", "promote": "voter"}


def _change_member(target: FaultTarget, action: str, name: str) -> None:
    """Ask whoever leads, again while it is refused, until the member is what it should become.

    Raises LookupError at the bound.
    """
    until, said = time.monotonic() + RECOVERY_S_MAX, "nobody leads"
    while time.monotonic() < until:
        for node in filter(_leads, target.nodes):
            try:
                answer = node.call("consensus", "change_member", action, name, timeout_s=30)
                said = answer.refused if isinstance(answer, ChangeRefused) else "it is not in force"
                roles = {each.name: each.role for each in node.call("consensus", "members", timeout_s=20)}
            except Exception as error:  # noqa: BLE001 -- whatever a call to a killed actor raises
                said = str(error).strip().splitlines()[-1]
                continue
            if roles.get(name) == _ROLE_AFTER[action]:
                return
        time.sleep(0.2)
    raise LookupError(f"{action} {name}: {said}")


def _remove_raylet(target: FaultTarget) -> Injected:
    if target.raylets is None or not target.raylets.removable:
        raise LookupError("there is no raylet beside the first")
    return Injected(f"raylet {target.raylets.remove()}", target.raylets.add, HOLD_S)


def _lose_cluster(target: FaultTarget) -> Injected:
    """A whole Ray cluster dies, head and all, and is started again on what its node has on disk."""
    outpost = target.chance.choice(target.outposts)
    return Injected(f"{outpost.name}: {outpost.kill()} processes", outpost.start, HOLD_S)


def _set_faults(node: Any, document: dict[str, Any]) -> None:
    node.call("peer", "set_faults", document, timeout_s=20)


def _clear(target: FaultTarget) -> None:
    for node in target.nodes:
        _set_faults(node, {})


KINDS: dict[str, FaultKind] = {
    "kill_storage": FaultKind("SIGKILL of a Storage", _kill("storage")),
    "kill_consensus": FaultKind("SIGKILL of a Consensus", _kill("consensus")),
    "kill_mempool": FaultKind("SIGKILL of a mempool shard", _kill("mempool")),
    "kill_validator": FaultKind("SIGKILL of a Validator", _kill("validator")),
    "kill_gateway": FaultKind("SIGKILL of a gateway", _kill("gateway")),
    "kill_peer": FaultKind("SIGKILL of a Peer", _kill("peer")),
    "kill_node": FaultKind("SIGKILL of all processes of a node", _kill_node, local_only=True),
    "terminate_node": FaultKind("SIGTERM of all processes of a node", _terminate, local_only=True),
    "wipe_disk": FaultKind("a member loses its chain and log", _wipe_disk, 3, local_only=True),
    "rolling_restart": FaultKind("every node or actor restarted in turn", _rolling_restart, local_only=True),
    "pause": FaultKind("SIGSTOP of an actor, then SIGCONT", _pause, local_only=True),
    "slow_disk": FaultKind("Storage stands still four fifths of the time", _slow_disk, local_only=True),
    "disk_full": FaultKind("writes of Storage fail", _disk_full, local_only=True),
    "flood": FaultKind("malformed, forged and hostile input", _flood),
    "clock_skew": FaultKind("a node's clocks go wrong", _clock_skew),
    "scale": FaultKind("a Validator is added, and removed again", _scale),
    "membership_change": FaultKind("a follower leaves and comes back", _membership_change, 3),
    "wire_delay": FaultKind("messages come 100 to 200 ms late", _wire(delay_ms=100, jitter_ms=100), 2),
    "wire_loss": FaultKind("a tenth of the messages is lost", _wire(loss=0.1), 2),
    "wire_duplication": FaultKind("a third of the messages comes twice", _wire(duplication=0.33), 2),
    "wire_reordering": FaultKind("messages overtake each other within 50 ms", _wire(jitter_ms=50), 2),
    "one_way_partition": FaultKind("a node hears nobody", _partition(both_ways=False), 2),
    "partition": FaultKind("a node is cut off both ways", _partition(both_ways=True), 2),
    "remove_raylet": FaultKind("a raylet is killed with its Validators", _remove_raylet, 1, True, 2),
    "lose_cluster": FaultKind("a node's whole Ray cluster is killed", _lose_cluster, 2, True, 1, 2),
}


def applicable(nodes: int, local: bool, raylets: int = 1, outposts: int = 0) -> list[str]:
    """Kinds that a network of so many nodes, on so many raylets of this or other machines or with so many
    Ray clusters of their own, can suffer."""
    return [
        name
        for name, kind in KINDS.items()
        if nodes >= kind.nodes_min
        and raylets >= kind.raylets_min
        and outposts >= kind.outposts_min
        and (local or not kind.local_only)
    ]
