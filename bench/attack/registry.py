"""What an attack is: a function that gets a `AttackTarget` of plain data and says whether the network held.

An attack runs in a process of its own, with no handle to any actor: it has what its role has in life,
addresses, documents and files. An honest client works beside it in another process; `bench/attack/run.py`
judges both.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

import bench.attack


@dataclass(frozen=True, slots=True)
class AttackTarget:
    """A running network of three. `folders` are the nodes' directories, in the order of `urls` and `wires`.

    A stranger uses only urls, wires and genesis; a member, whose key an attack reads from its folder, lies.
    development: numbers of funded development keys that no honest client uses. seconds: how long to go on.
    """

    urls: tuple[str, ...]
    wires: tuple[tuple[str, int], ...]
    folders: tuple[Path, ...]
    genesis_path: Path
    pids: tuple[int, ...]
    development: tuple[int, ...]
    seconds: float

    def encode(self) -> bytes:
        """JSON, for the process that attacks."""
        return msgspec.json.encode(self, enc_hook=str)


def decode_target(data: bytes) -> AttackTarget:
    """The target as it was encoded."""
    return msgspec.json.decode(data, type=AttackTarget, dec_hook=lambda kind, value: kind(value))


@dataclass(frozen=True, slots=True)
class AttackOutcome:
    """`held` is false if the attacker got what he wanted; `detail` says in a line what was tried and met."""

    held: bool
    detail: str


def judged(detail: str, problem: str) -> AttackOutcome:
    """Held unless there is a problem, which is told behind the detail."""
    return AttackOutcome(not problem, "; ".join(filter(None, (detail, problem))))


Run = Callable[[AttackTarget], AttackOutcome]


@dataclass(frozen=True, slots=True)
class Attack:
    """`kind` is a word for the family; `harms_member` is true if the attack takes a member's key or place for
    good, so that the network is started anew after it."""

    name: str
    kind: str
    run: Run
    harms_member: bool


_attacks: dict[str, Attack] = {}


def attack(name: str, kind: str, harms_member: bool = False) -> Callable[[Run], Run]:
    """Register a function as an attack. Its docstring is what `attack --list` prints."""

    def register(run: Run) -> Run:
        if name in _attacks:
            raise ValueError(f"attack {name} is registered twice")
        _attacks[name] = Attack(name, kind, run, harms_member)
        return run

    return register


def attacks() -> dict[str, Attack]:
    """All attacks by name; imports every module of this package first."""
    for module in pkgutil.iter_modules(bench.attack.__path__):
        importlib.import_module(f"bench.attack.{module.name}")
    return dict(_attacks)
