"""A thread that samples, once a second, what the operating system and the nodes say of themselves."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from bench.soak.judge import Sample

INTERVAL_S = 1.0
STATUS_EVERY = 2
DISK_EVERY = 5
CALL_TIMEOUT_S = 3.0


class Watch:
    """Samples until told to stop. A node that does not answer leaves a gap.

    samples: of each actor's process. terms: (time, node, term). stages: (time, node, us per transaction by
    stage). heads: (time, node, height). disk: (time, node, bytes). pids: by node and actor, last known.
    """

    def __init__(self, nodes: list[Any]) -> None:
        self._nodes = nodes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._processes: dict[int, psutil.Process] = {}
        self.samples: list[Sample] = []
        self.terms: list[tuple[float, str, int]] = []
        self.stages: list[tuple[float, str, dict[str, float]]] = []
        self.heads: list[tuple[float, str, int]] = []
        self.disk: list[tuple[float, str, int]] = []
        self.pids: dict[tuple[str, str], int] = {}
        self.gaps = 0

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        turn = 0
        while not self._stop.wait(INTERVAL_S):
            for node in self._nodes:
                if turn % STATUS_EVERY == 0:
                    self._ask(node)
                if turn % DISK_EVERY == 0:
                    self.disk.append((time.monotonic(), node.folder.name, bytes_under(node.folder.path)))
            for (name, actor), pid in list(self.pids.items()):
                self._sample(f"{name}/{actor}", pid)
            turn += 1

    def _ask(self, node: Any) -> None:
        name = node.folder.name
        for actor, facts in node.health().items():
            if facts is None:
                self.gaps += 1
                continue
            self.pids[name, actor] = int(facts["pid"])
        try:
            status = node.call("consensus", "status", timeout_s=CALL_TIMEOUT_S)
        except Exception:  # noqa: BLE001 -- whatever a call to a killed actor raises: a gap in the record
            self.gaps += 1
            return
        now = time.monotonic()
        self.terms.append((now, name, int(status["term"])))
        self.heads.append((now, name, int(status.get("height", 0))))
        self.stages.append((now, name, dict(status["stages_us_per_tx"])))

    def _sample(self, actor: str, pid: int) -> None:
        try:
            process = self._processes.setdefault(pid, psutil.Process(pid))
            with process.oneshot():
                cpu = process.cpu_times()
                rss_mb = process.memory_info().rss / 2**20
                spent = cpu.user + cpu.system
                sample = Sample(time.monotonic(), actor, pid, rss_mb, process.num_fds(), spent)
        except psutil.Error:
            self._processes.pop(pid, None)
            return
        self.samples.append(sample)


def bytes_under(folder: Path) -> int:
    """Size of all files in a folder, those left out that vanish meanwhile."""
    total = 0
    for base, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.stat(os.path.join(base, file)).st_size
            except OSError:
                continue
    return total
