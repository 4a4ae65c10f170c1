"""Limits of a container are read from both generations of cgroups, at every level, and respected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.machine.limits import (
    TooLittleMemoryError,
    memory_need_mb,
    object_store_mb,
    read_limits,
    require_memory,
)


def machine(root: Path, cgroup: str, **files: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text("MemTotal:       8388608 kB\nMemFree: 1 kB\n")
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", ".").replace("_of_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def test_without_cgroups_the_machine_is_the_limit(tmp_path: Path) -> None:
    limits = read_limits(machine(tmp_path, ""))
    assert limits.memory_mb == 8192
    assert limits.cpus == len(os.sched_getaffinity(0))


def test_the_second_generation_binds_at_every_level(tmp_path: Path) -> None:
    files = {"pod_of_memory__max": "1073741824", "pod_of_box_of_memory__max": "max", "pids__max": "512"}
    files |= {"pod_of_box_of_cpu__max": "50000 100000", "pod_of_cpu__max": "max 100000"}
    limits = read_limits(machine(tmp_path, "0::/pod/box\n", **files))
    assert (limits.memory_mb, limits.cpus, limits.processes) == (1024, 0.5, 512)
    assert limits.whole_cpus == 1


def test_the_first_generation_binds_as_well(tmp_path: Path) -> None:
    root = machine(tmp_path, "4:memory:/a\n3:cpu,cpuacct:/\n2:pids:/a\n")
    for name, text in {
        "memory/a/memory.limit_in_bytes": "2147483648",
        "memory/memory.limit_in_bytes": "9223372036854771712",
        "cpu/cpu.cfs_quota_us": "25000",
        "cpu/cpu.cfs_period_us": "100000",
        "pids/a/pids.max": "300",
    }.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    limits = read_limits(root)
    assert (limits.memory_mb, limits.cpus, limits.processes) == (2048, 0.25, 300)


def test_too_little_memory_is_refused_with_the_need_and_the_way_out(tmp_path: Path) -> None:
    limits = read_limits(machine(tmp_path, "0::/\n", memory__max=str(1 << 30)))
    with pytest.raises(TooLittleMemoryError, match=rf"need {memory_need_mb(3)} MB.*has 1024 MB.*--nodes"):
        require_memory(3, limits)
    assert object_store_mb(512, limits) == 128


def test_a_large_machine_gets_what_is_asked_for(tmp_path: Path) -> None:
    limits = read_limits(machine(tmp_path, ""))
    require_memory(3, limits)
    assert object_store_mb(512, limits) == 512
