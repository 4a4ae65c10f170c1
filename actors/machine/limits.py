"""What this process may use of its machine: memory, processors, processes, as its cgroups and the system say.

Both generations of cgroups are read, at every level from the process's own group to the root, since each of
them binds (cgroups(7)). `root` stands for "/" in tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NODE_MB, CLUSTER_MB = 720, 800
"""Memory that each node needs, and that a cluster needs once, under the load of `demo`; at rest 3/4 of it.
The sum of what all processes hold (PSS) was 1.6 GB for one node and 2.8 GB for three, with the generators of
load; control groups of 1.1 GB and 2.6 GB were too small for that."""
OBJECT_STORE_MB_MIN = 80  # of which Ray starts with none below
OBJECT_STORE_SHARE = 8  # an eighth of the memory at most
_UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """memory_bytes: of all processes together. cpus: processors, or parts of one. processes: and threads.
    available_bytes: of the memory, what is not taken now, or could be taken back."""

    memory_bytes: int
    cpus: float
    processes: int
    available_bytes: int

    @property
    def memory_mb(self) -> int:
        """Memory in MiB."""
        return self.memory_bytes >> 20

    @property
    def whole_cpus(self) -> int:
        """Processors to spread work over; one at least."""
        return max(1, int(self.cpus))


def memory_need_mb(nodes: int) -> int:
    """What a network of so many nodes in one cluster needs, with a small state."""
    return CLUSTER_MB + NODE_MB * nodes


class TooLittleMemoryError(RuntimeError):
    """A network would be killed for want of memory; the message says how much it needs."""


def require_memory(nodes: int, limits: MachineLimits) -> None:
    """Raise TooLittleMemoryError where a network of so many nodes would not live."""
    need = memory_need_mb(nodes)
    if limits.memory_mb < need:
        raise TooLittleMemoryError(
            f"{nodes} node(s) need {need} MB of memory, this machine or container has {limits.memory_mb} MB: "
            "give it more, take fewer --nodes, or go on all the same with --set node.check_memory=false"
        )


def object_store_mb(wanted_mb: int, limits: MachineLimits) -> int:
    """The object store that a machine bears, `wanted_mb` at most."""
    return max(OBJECT_STORE_MB_MIN, min(wanted_mb, limits.memory_mb // OBJECT_STORE_SHARE))


def read_limits(root: Path = Path("/")) -> MachineLimits:
    """The tightest limit of each kind; what cannot be read does not limit."""
    return MachineLimits(
        memory_bytes=min(
            _memory(root, "MemTotal"), *_values(root, "memory", ("memory.max", "memory.limit_in_bytes"))
        ),
        available_bytes=min(_memory(root, "MemAvailable"), *_unused(root)),
        cpus=min(len(os.sched_getaffinity(0)), *_quotas(root)),
        processes=min(_UNLIMITED, *_values(root, "pids", ("pids.max",))),
    )


def _memory(root: Path, name: str) -> int:
    """A line of proc(5)'s meminfo, in bytes."""
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    return _UNLIMITED


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """The cgroup folders that bind this process for one controller, of either generation."""
    base = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            below = Path(*parts[:depth])
            yield (base / controller / below) if controllers else (base / below)


def _values(root: Path, controller: str, names: tuple[str, ...]) -> list[int]:
    texts = (_text(folder / name).strip() for folder in _folders(root, controller) for name in names)
    return [int(text) for text in texts if text.isdigit()] + [_UNLIMITED]


def _unused(root: Path) -> list[int]:
    """What each memory cgroup leaves: its limit less its usage, of which files not in use are given back."""
    left = [_UNLIMITED]
    for folder in _folders(root, "memory"):
        limit = _text(folder / "memory.max").strip() or _text(folder / "memory.limit_in_bytes").strip()
        used = _text(folder / "memory.current").strip() or _text(folder / "memory.usage_in_bytes").strip()
        if limit.isdigit() and used.isdigit():
            names = (line.partition(" ") for line in _text(folder / "memory.stat").splitlines())
            idle = {name: int(value) for name, _, value in names if value.isdigit()}
            files = idle.get("total_inactive_file", idle.get("inactive_file", 0))
            left.append(max(0, int(limit) - int(used) + files))
    return left


def _quotas(root: Path) -> list[float]:
    found = [float(_UNLIMITED)]
    for folder in _folders(root, "cpu"):
        quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
        if not period:
            quota = _text(folder / "cpu.cfs_quota_us").strip()
            period = _text(folder / "cpu.cfs_period_us").strip()
        if quota.isdigit() and period.isdigit() and int(period):
            found.append(int(quota) / int(period))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
