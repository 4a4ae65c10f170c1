"""Load generators as processes: carry out plans, join what several measured, find their ceiling."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.load import LATENCY_US_MAX, LoadPlan, Plan

_ROOT = Path(__file__).parent.parent
_POLL_S = 0.02
_COUNTS = (
    "sent",
    "accepted",
    "rejected",
    "failed",
    "false_signatures",
    "false_signatures_refused",
    "repetitions",
    "repetitions_refused",
)


class Running:
    """Plans under way, each in a process of its own."""

    def __init__(self, scratch: Path, plans: Iterable[Plan], name: str = "plan") -> None:
        self._processes = []
        for number, plan in enumerate(plans):
            path = scratch / f"{name}-{number}.json"
            path.write_bytes(msgspec.json.encode(plan))
            command = [sys.executable, "-m", "bench.load", str(path)]
            process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self._processes.append(process)

    def results(self) -> list[dict[str, Any]]:
        """Wait for all. Raises RuntimeError as soon as one has failed."""
        while any(process.poll() is None for process in self._processes):
            if any(process.poll() for process in self._processes):
                self.kill()
            time.sleep(_POLL_S)
        results = []
        for process in sorted(self._processes, key=lambda process: process.returncode <= 0):
            out, err = process.communicate()
            if process.returncode:
                raise RuntimeError(f"the load generator failed: {err.decode(errors='replace')[-2000:]}")
            results.append((self._processes.index(process), msgspec.json.decode(out.splitlines()[-1])))
        return [result for _, result in sorted(results, key=lambda numbered: numbered[0])]

    def kill(self) -> None:
        """End what still runs."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def run_plans(scratch: Path, plans: Iterable[Plan], name: str = "plan") -> list[dict[str, Any]]:
    """Carry out plans at the same time, each in a process of its own. Raises RuntimeError if one fails."""
    running = Running(scratch, plans, name)
    try:
        return running.results()
    finally:
        running.kill()


def joined(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One result of several generators that ran at the same time: counts summed, histograms merged."""
    from hdrh.histogram import HdrHistogram

    latency_us = HdrHistogram(1, LATENCY_US_MAX, 3)
    errors: dict[str, int] = {}
    for result in results:
        latency_us.decode_and_add(result["histogram"].encode())
        for what, count in result["errors"].items():
            errors[what] = errors.get(what, 0) + count
    elapsed_s = max(result["elapsed_s"] for result in results)
    sums = {name: sum(result[name] for result in results) for name in _COUNTS}
    percentiles = {"p50_ms": 50, "p90_ms": 90, "p99_ms": 99, "p999_ms": 99.9}
    return {
        **sums,
        "errors": errors,
        "elapsed_s": elapsed_s,
        "tps": sums["accepted"] / elapsed_s,
        **{name: latency_us.get_value_at_percentile(p) / 1000 for name, p in percentiles.items()},
        "max_ms": latency_us.get_max_value() / 1000,
    }


def ceiling_tps(scratch: Path, plans: Sequence[LoadPlan]) -> float:
    """Transactions a second that these plans reach against a server that accepts everything at once."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "bench.null_server", str(port)], cwd=_ROOT)
    try:
        _wait_for_port(port)
        url = f"http://127.0.0.1:{port}"
        aimed = [msgspec.structs.replace(plan, url=url, more_urls=[], history="") for plan in plans]
        return float(joined(run_plans(scratch, aimed, "ceiling"))["tps"])
    finally:
        server.terminate()
        server.wait(timeout=10)


def _wait_for_port(port: int, deadline_s: float = 30.0) -> None:
    until = time.monotonic() + deadline_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
