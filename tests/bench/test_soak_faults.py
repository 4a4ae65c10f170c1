"""Which faults a network can suffer, what the driver notes of each, and the manifest for a cluster."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from actors.directory import NodeFolder
from actors.ledger.membership import ChangeRefused, DiskState, MemberChanged, MemberRole, MemberStanding
from bench.soak import driver as driving
from bench.soak import faults
from bench.soak.commands import app
from bench.soak.driver import Driver
from bench.soak.faults import KINDS, FaultKind, FaultTarget, Injected, applicable
from bench.soak.isolated_node import FarNode

ROOT = Path(__file__).parent.parent.parent


class Folder:
    name = "node-1"


class Node:
    """A node that always answers."""

    actors: ClassVar[dict[str, Any]] = {"storage": None}

    def __init__(self) -> None:
        self.folder: Any = Folder()

    def health(self) -> dict[str, Any]:
        return {"storage": {"pid": 1}}

    def call(self, actor: str, method: str, *arguments: Any, **named: Any) -> Any:
        return {"height": 3}


class Probe:
    """Commits unless told otherwise."""

    def __init__(self, commits: bool = True) -> None:
        self.commits = commits

    def pay(self, _until_s: float) -> bool:
        return self.commits


class Clock:
    """Time passes by being looked at, or slept away."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        self.now_s += 0.01
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The driver's clock."""
    clock = Clock()
    monkeypatch.setattr(driving, "time", clock)
    return clock


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three kinds that note what was done to them; the third cannot be injected."""
    done: list[str] = []

    def absent(_target: FaultTarget) -> Injected:
        raise LookupError("nothing to hit")

    def noted(name: str, _target: FaultTarget) -> Injected:
        return Injected(name, lambda: done.append(f"heal {name}"))

    for name in ("one", "two"):
        kind = FaultKind(name, partial(noted, name))
        monkeypatch.setitem(KINDS, name, kind)
    monkeypatch.setitem(KINDS, "three", FaultKind("three", absent))
    return done


def driver(probe: Probe, seed: int = 1) -> Driver:
    target = FaultTarget([Node()], random.Random(seed), seed, lambda _text: None)
    return Driver(target, ["one", "two", "three"], probe, recovery_s_max=60)  # type: ignore[arg-type]


def test_the_driver_injects_heals_and_notes_recovery(kinds: list[str], clock: Clock) -> None:
    one = driver(Probe())
    one.run(clock.now_s + 10, clock.now_s + 10)
    assert {fault.kind for fault in one.faults} == {"one", "two"}
    assert kinds == [f"heal {fault.kind}" for fault in one.faults]
    assert all(f.injected_s <= f.healed_s <= (f.recovered_s or 0) for f in one.faults)
    assert one.not_injected == {"three": "nothing to hit"}


def test_every_kind_has_its_turn_though_the_time_is_over(kinds: list[str], clock: Clock) -> None:
    one = driver(Probe())
    one.run(clock.now_s, clock.now_s + 100)
    assert sorted(fault.kind for fault in one.faults) == ["one", "two"]
    late = driver(Probe())
    late.run(clock.now_s, clock.now_s)
    assert late.not_injected == dict.fromkeys(("one", "two", "three"), "no time was left")


def test_a_network_that_does_not_commit_has_not_recovered(kinds: list[str], clock: Clock) -> None:
    one = driver(Probe(commits=False))
    one.run(clock.now_s + 10, clock.now_s + 10)
    assert one.faults
    assert kinds
    assert all(fault.recovered_s is None and fault.detail for fault in one.faults)


def test_the_order_comes_from_the_seed() -> None:
    names = list(KINDS)
    assert random.Random(7).sample(names, len(names)) == random.Random(7).sample(names, len(names))
    assert random.Random(7).sample(names, len(names)) != random.Random(8).sample(names, len(names))


def test_kinds_fit_the_network() -> None:
    alone, three, remote = applicable(1, True), applicable(3, True), applicable(3, False)
    assert not {"partition", "wire_loss", "remove_raylet"} & set(alone)
    assert {"partition", "one_way_partition", "wire_reordering", "kill_node"} <= set(three)
    assert {"kill_storage", "partition"} <= set(remote)
    assert not {"pause", "disk_full", "kill_node"} & set(remote)
    assert "remove_raylet" in applicable(1, True, raylets=2)
    assert "lose_cluster" not in three
    assert "lose_cluster" in applicable(3, True, outposts=3)


class Post:
    """An outpost that dies, and comes back."""

    name, alive = "node-2", True

    def kill(self) -> int:
        self.alive = False
        return 9

    def start(self) -> None:
        self.alive = True

    def ask(self, method: str, *_: Any) -> Any:
        if not self.alive:
            raise EOFError
        return (
            {"gateway-0": {"url": "http://127.0.0.1:1"}} if method == "facts" else {"gateway-0": {"pid": 1}}
        )


def test_a_lost_cluster_is_started_again() -> None:
    post = Post()
    injected = KINDS["lose_cluster"].inject(
        FaultTarget([Node()], random.Random(1), 1, lambda _text: None, outposts=[post])  # type: ignore[list-item]
    )
    assert (injected.target, post.alive) == ("node-2: 9 processes", False)
    injected.heal()
    assert post.alive


def test_a_far_node_that_is_gone_answers_as_one_whose_actors_do_not() -> None:
    post = Post()
    node = FarNode(post, Folder(), None)  # type: ignore[arg-type]
    assert (node.url, node.health()) == ("http://127.0.0.1:1", {"gateway-0": {"pid": 1}})
    post.kill()
    assert node.health() == {"gateway-0": None}
    with pytest.raises(EOFError):
        node.call("storage", "head")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["soak", "--faults", "earthquake"], "earthquake"),
        (["soak", "--sabotage", "arson"], "skip_fsync"),
        (["soak", "--rate", "-3"], "--rate"),
        (["soak", "--apart", "--raylets", "2"], "choose one"),
        (["load", "--shape", "round"], "zipf"),
        (["load", "--payload", "9999999"], "4096"),
        (["load", "--wait", "never"], "durable"),
        (["report", "compare", "/nowhere", "/nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_named_before_anything_starts(arguments: list[str], named: str) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert named in done.output


def standing(role: MemberRole, disk: DiskState = "named") -> MemberStanding:
    return MemberStanding(1, "node-1", "", "", role, leader=False, disk=disk)


class Leader(Node):
    """Refuses a change of members some times before it makes it."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.refusals, self.asked = refusals, 0
        self.role: MemberRole = "voter"

    def call(self, actor: str, method: str, *arguments: Any, **named: Any) -> Any:
        if method == "status":
            return {"role": "leader"}
        if method == "members":
            return [standing(self.role)]
        self.asked += 1
        if self.asked <= self.refusals:
            return ChangeRefused("another change is under way")
        self.role = faults._ROLE_AFTER[arguments[0]]
        return MemberChanged(arguments[0], "node-1", 1, "")


class Wiped(Leader):
    """A node in a folder, with one real process: a voter until they notice, then a learner for a while."""

    def __init__(self, path: Path, pid: int) -> None:
        super().__init__(refusals=0)
        self.pid, self.folder, self.looked = pid, NodeFolder("node-1", path, bytes(32)), 0

    def health(self) -> dict[str, Any]:
        return {"storage": {"pid": self.pid}}

    def call(self, actor: str, method: str, *arguments: Any, **named: Any) -> Any:
        if method == "status":
            return {"role": "leader", "standing": "its disk is new" if self.looked < 3 else ""}
        if method == "members":
            self.looked += 1
            return [standing("learner", "awaited") if self.looked == 2 else standing("voter")]
        return super().call(actor, method, *arguments, **named)


@pytest.mark.parametrize(
    ("fault", "number"), [("wipe_disk", signal.SIGKILL), ("terminate_node", signal.SIGTERM)]
)
def test_a_whole_node_ends_and_a_wiped_one_has_nothing_but_its_key_and_journal(
    tmp_path: Path, fault: str, number: int
) -> None:
    folder = tmp_path / "node-1"
    for name in ("db", "journal", "logs"):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_text("something")
    for name in ("node.key", "acknowledged"):
        (folder / name).write_text("something")
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    node = Wiped(folder, victim.pid)
    injected = KINDS[fault].inject(FaultTarget([node], random.Random(1), 1, lambda _text: None))
    assert victim.wait(timeout=60) == -number
    left = {path.name for path in folder.iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == {"node-1"}
    if fault == "terminate_node":
        assert left == {"db", "journal", "logs", "node.key", "acknowledged"}
        return
    assert left == {"journal", "logs", "node.key"}
    for role, disk in (("voter", "named"), ("learner", "awaited")):
        with pytest.raises(LookupError, match=f"node-1 is {role}, its disk {disk}: its disk is new"):
            injected.heal()
    injected.heal()


def test_a_refused_change_of_members_is_asked_for_again(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "time", clock)
    steps: tuple[tuple[str, MemberRole, MemberRole], ...] = (
        ("remove", "voter", "out"),
        ("add", "out", "learner"),
        ("promote", "learner", "voter"),
    )
    for action, before, role in steps:
        leader = Leader(refusals=2)
        leader.role = before
        target = FaultTarget([leader], random.Random(1), 1, lambda _text: None)
        faults._change_member(target, action, "node-1")
        assert (leader.role, leader.asked) == (role, 3)
    never = FaultTarget([Leader(refusals=10**9)], random.Random(1), 1, lambda _text: None)
    with pytest.raises(LookupError, match="another change is under way"):
        faults._change_member(never, "remove", "node-1")
