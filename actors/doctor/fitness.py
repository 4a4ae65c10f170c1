"""What a node needs of its machine. Imports no Ray."""

from __future__ import annotations

import os
import pwd
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from actors import cache_dir
from actors.directory import DirectoryError, members_in
from actors.doctor.check import Check
from actors.machine.limits import MachineLimits, memory_need_mb, object_store_mb, read_limits
from actors.machine.ports import gateways, obstacle
from actors.machine.runtime import RuntimeFolderError, left_behind, runtime_dir

FILES_MIN = 4_096
DISK_BYTES_MIN = 1 << 30
SYNC_MS_MAX = 20.0
SYNCS = 20
CLOCK_YEAR_MIN = 2026
BUSY_PROCESSES_A_CPU = 2.0
THREADS_CLUSTER, THREADS_NODE = 250, 250
_NAMED_MAX = 5


def fitness(
    data_dir: Path, port: int, nodes: int, object_store_wanted_mb: int, root: Path = Path("/")
) -> Iterator[Check]:
    """Everything that a network of `nodes` needs of its machine. `root` stands for "/" in tests."""
    yield _python()
    yield _ray()
    yield _files()
    limits = read_limits(root)
    yield _shared_memory(object_store_mb(object_store_wanted_mb, limits))
    yield _memory(limits, nodes)
    yield _free_memory(limits, nodes)
    yield _processors(limits)
    yield _features()
    yield _load(limits)
    yield _processes(limits, nodes)
    yield _home()
    yield _cache()
    yield _runtime()
    yield _left_behind()
    yield from (_port(port + number) for number in range(nodes))
    yield _running()
    yield _environment()
    yield _disk_space(data_dir)
    yield _disk_speed(data_dir)
    yield _clock()


def _memory(limits: MachineLimits, nodes: int) -> Check:
    need = memory_need_mb(nodes)
    advice = f"{nodes} node(s) need {need} MB: raise the container's limit, or take fewer --nodes"
    return Check("Memory", limits.memory_mb >= need, f"{limits.memory_mb} MB", advice)


def _free_memory(limits: MachineLimits, nodes: int) -> Check:
    need, free = memory_need_mb(nodes), limits.available_bytes >> 20
    advice = f"{nodes} node(s) take up to {need} MB; something here may be killed: end what is not needed"
    return Check("Free memory", free >= need, f"{free} MB", advice, required=False)


def _load(limits: MachineLimits) -> Check:
    """How many processes want a processor, on average of the last minute."""
    wanting, bearable = _load_average(), BUSY_PROCESSES_A_CPU * limits.cpus
    advice = "a start takes longer, and goes on as long as there is progress; members may change their leader"
    found = f"{wanting:.1f} processes for {limits.cpus:g} processor(s)"
    return Check("Load", wanting <= bearable, found, advice, required=False)


def _load_average() -> float:
    """Of the last minute, as the file says, which a container may have of its own: the C library may ask the
    kernel instead."""
    try:
        return float(Path("/proc/loadavg").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return os.getloadavg()[0]


def _processors(limits: MachineLimits) -> Check:
    advice = "a node works with less than one processor, but slowly: raise the container's cpu limit"
    return Check("Processors", limits.cpus >= 1, f"{limits.cpus:g}", advice, required=False)


def _processes(limits: MachineLimits, nodes: int) -> Check:
    need = THREADS_CLUSTER + THREADS_NODE * nodes
    found = "unlimited" if limits.processes >= 1 << 30 else str(limits.processes)
    return Check("Processes", limits.processes >= need, found, f"raise the container's pids limit to {need}")


def _home() -> Check:
    home = os.environ.get("HOME", "")
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = "no entry in the password file"
    found = f"user {os.getuid()} ({name}), HOME {home or 'not set'}"
    return Check("User", True, found, "")


def _cache() -> Check:
    path = cache_dir()
    if not _writable(path):
        return Check("Cache", False, f"{path} is not writable", "set XDG_CACHE_HOME to a folder that is")
    return Check("Cache", True, str(path), "")


def _writable(path: Path) -> bool:
    return os.access(existing(path), os.W_OK | os.X_OK)


def _runtime() -> Check:
    try:
        path = runtime_dir()
    except RuntimeFolderError as error:
        return Check(
            "Runtime folder", False, str(error), "set TMPDIR, or cluster.runtime_dir, to a short path"
        )
    return Check("Runtime folder", True, str(path), "")


def _left_behind() -> Check:
    """What killed processes could not remove."""
    left = left_behind()
    size = sum(file.lstat().st_size for path in left for file in path.rglob("*") if not file.is_dir())
    found = f"{len(left)} folder(s), {size >> 20} MB: {', '.join(map(str, left[:_NAMED_MAX]))}"
    advice = "the next start removes them: node.py up, or demo"
    return Check("Left behind", not left, found if left else "nothing", advice, required=False)


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return Check("Python", sys.version_info >= (3, 11), found, "use Python 3.11 or newer")


def _ray() -> Check:
    try:
        found = version("ray")
    except PackageNotFoundError:
        return Check("Ray", False, "not installed", "install the project's dependencies: uv sync")
    return Check("Ray", found.startswith("2."), found, "the node is tested with Ray 2.60")


def _files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Check(
        "Open files", soft >= FILES_MIN, f"{soft} (at most {hard})", f"ulimit -n {max(FILES_MIN, 65_536)}"
    )


def _shared_memory(store_mb: int) -> Check:
    """Where Ray keeps its object store, unless it does not fit: then among the temporary files."""
    folder = Path("/dev/shm")
    free_mb = shutil.disk_usage(folder).free >> 20 if folder.exists() else 0
    advice = (
        f"the object store, {store_mb} MB, will lie in a temporary file, and be slower: give containers "
        "--shm-size=1g, or lower cluster.object_store_mb"
    )
    return Check("/dev/shm", free_mb >= store_mb, f"{free_mb} MB free", advice, required=False)


def _port(port: int) -> Check:
    name = f"Port {port}"
    if not (found := obstacle("127.0.0.1", port)):
        return Check(name, True, "free", "")
    if running := dict(gateways()).get(port):
        found = f"a node serves there (process {running})"
        advice = "stop that network before you start another there, or choose --set gateway.port=0"
        return Check(name, False, found, advice, required=False)
    return Check(name, False, found, "stop that, or choose another port: --set gateway.port=0")


def _running() -> Check:
    """Gateways that serve on this machine now."""
    found = gateways()
    ports = ", ".join(str(port) for port, _ in found[:_NAMED_MAX])
    return Check("Running nodes", True, f"{len(found)}, at {ports}" if found else "none", "")


def _environment() -> Check:
    """Whether Ray's own variable names a cluster, which `up` does not join by itself."""
    address = os.environ.get("RAY_ADDRESS", "")
    advice = "`up` starts a cluster of its own all the same: unset it, or join that one with --address"
    return Check("RAY_ADDRESS", not address, address or "not set", advice, required=False)


def _features() -> Check:
    """Which compiled code this processor can run; see actors/kernels/selection.py."""
    from actors.kernels import compiled, mulx

    cpu = compiled.host()
    if not (missing := cpu.missing()):
        return Check("CPU features", True, f"{cpu.cpu}: AVX-512, eight signatures at once", "")
    verifies = "libsodium verifies" if cpu.missing(mulx.FEATURES) else "one signature at a time (BMI2)"
    found = f"{cpu.cpu}: {verifies}, lacks {', '.join(missing)}"
    advice = "it works, with fewer signatures a second: Ice Lake, Zen 4 and later have what is lacking"
    return Check("CPU features", False, found, advice, required=False)


def data_folder(path: Path) -> Check:
    """Whether a network can live there, as `up` would say."""
    try:
        members_in(path)
    except DirectoryError as error:
        return Check("Data folder", False, "cannot be used", str(error))
    there = existing(path)
    if not _writable(path):
        advice = "choose a --data-dir that this user may write to, on a file system that takes files"
        return Check("Data folder", False, f"{there} takes no files of this user", advice)
    return Check(
        "Data folder", True, f"{path.absolute()}{'' if path.exists() else ', which is to be made'}", ""
    )


def existing(folder: Path) -> Path:
    """The folder, or the nearest above it that there is and may be looked into."""
    folder = folder.absolute()
    while not os.path.isdir(folder):
        folder = folder.parent
    return folder


def _disk_space(data_dir: Path) -> Check:
    free = shutil.disk_usage(existing(data_dir)).free
    return Check(
        "Disk space", free >= DISK_BYTES_MIN, f"{free >> 20} MB free", "free some, or move --data-dir"
    )


def _disk_speed(data_dir: Path) -> Check:
    """Median of SYNCS small synced appends: what a commit in mode `sync` waits for."""
    times_ms = []
    try:
        with tempfile.TemporaryFile(dir=existing(data_dir)) as file:
            for _ in range(SYNCS):
                began = time.perf_counter()
                file.write(bytes(4096))
                file.flush()
                os.fsync(file.fileno())
                times_ms.append((time.perf_counter() - began) * 1000)
    except OSError as error:
        found = f"not measured: {error.strerror or error}"
        advice = "free some space, or choose a --data-dir that this user may write to"
        return Check("Disk speed", False, found, advice)
    median_ms = sorted(times_ms)[SYNCS // 2]
    advice = "use a local SSD, or accept storage.durability=interval"
    return Check("Disk speed", median_ms <= SYNC_MS_MAX, f"{median_ms:.2f} ms a sync", advice)


def _clock() -> Check:
    now = time.gmtime()
    found = time.strftime("%Y-%m-%d %H:%M:%S UTC", now)
    return Check("Clock", now.tm_year >= CLOCK_YEAR_MIN, found, "set the clock and run an NTP service")
