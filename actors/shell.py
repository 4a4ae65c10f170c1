"""What every actor shell has in common: its name in logs, its priority, its health. Knows no Ray."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import psutil

from actors import cache_dir
from actors.machine.runtime import keep_private
from actors.machine.stopping import end_at_sigterm

if TYPE_CHECKING:
    from loguru import Logger

    from actors.settings import LogSettings

_LINE = "{time:YYYY-MM-DD HH:mm:ss.SSS} {level:<7} {extra[node]} {extra[actor]} {message}"


@dataclass(frozen=True, slots=True)
class ActorContext:
    """Who this actor is: node and actor name, its folder for logs, its CPU priority."""

    node: str
    actor: str
    data_dir: str
    log: LogSettings
    niceness: int = 0


def node_prefix(network: bytes, node: str) -> str:
    """What the names of a node's actors begin with: several networks may share a Ray cluster.

    network: the hash of its genesis.
    """
    return f"{network.hex()[:8]}/{node}"


def configure_logs(context: ActorContext, to_stderr: bool = False) -> Logger:
    """A loguru logger bound to node and actor: a rotated file an actor, or standard error."""
    from loguru import logger

    logger.remove()
    logger.configure(extra={"node": context.node, "actor": context.actor})  # of all that cores say, too
    settings = context.log
    if to_stderr:
        logger.add(sys.stderr, level=settings.level, format=_LINE, serialize=settings.json_lines)
    else:
        folder = Path(context.data_dir) / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        logger.add(
            folder / f"{context.actor}.log",
            level=settings.level,
            format=_LINE,
            serialize=settings.json_lines,
            rotation=settings.rotation_mb << 20,
            retention=settings.retention_files,
            diagnose=False,
        )
    return logger


class Shell:
    """Base of the actor shells: `log`, and what `health` says of the process."""

    # Of the process. `gc.get_freeze_count` would say so too, but walks all that is frozen each time.
    start_is_over: ClassVar[bool] = False

    def __init__(self, context: ActorContext) -> None:
        keep_private()
        end_at_sigterm()
        self.context = context
        self.log = configure_logs(context)
        self._started = time.monotonic()
        self._process = psutil.Process()
        self._gc_started = 0.0
        self._gc_pause_max_s = 0.0
        if context.niceness:
            os.nice(context.niceness)
        gc.callbacks.append(self._on_gc)
        self.log.info("process {} is up", os.getpid())

    def _on_gc(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._gc_started = time.perf_counter()
        elif Shell.start_is_over:  # what start-up collects delays nobody
            self._gc_pause_max_s = max(self._gc_pause_max_s, time.perf_counter() - self._gc_started)

    def process_health(self) -> dict[str, object]:
        """Name, process id, age, memory, CPU time and the longest garbage collection so far."""
        cpu = self._process.cpu_times()
        return {
            "actor": self.context.actor,
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._started, 1),
            "rss_mb": round(self._process.memory_info().rss / 2**20, 1),
            "cpu_s": round(cpu.user + cpu.system, 2),
            "gc_pause_max_ms": round(self._gc_pause_max_s * 1000, 2),
        }


def freeze_long_lived() -> None:
    """Move what start-up left behind out of the garbage collector's sight, so that pauses stay short."""
    gc.collect()
    gc.freeze()
    Shell.start_is_over = True
    gc.set_threshold(20_000, 50, 100)


def kernel_cache_dir() -> Path:
    """Where compiled kernels are kept between starts."""
    return cache_dir() / "kernels"


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def retain_large_buffers(mmap_threshold_bytes: int = 32 << 20, trim_threshold_bytes: int = 256 << 20) -> None:
    """Have glibc keep freed megabytes for the next message instead of giving them back page by page.

    For processes that move large messages all the time: page faults cost them more than the copying does.
    Does nothing where the C library has no mallopt.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, mmap_threshold_bytes)
        mallopt(_M_TRIM_THRESHOLD, trim_threshold_bytes)
