"""`node.py load`: ramp, find the rate that a network saturates at, hold a rate below it, and measure there.

Every stage has development accounts of its own, so that no stage depends on what became of another's rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.console import UserError
from actors.ledger.genesis import Genesis
from actors.ledger.signing import development_signer
from actors.sdk.client import Client
from bench.generators import ceiling_tps, joined, run_plans
from bench.load import LoadPlan
from bench.schedule import Segment, constant, due_times_s, rows_due
from bench.workload import PoolPlan, Shape
from bench.yardstick import libsodium_verifies_per_s

STAGES = 6
CALIBRATION_ROWS = 16_000
RAMP_SHARES = (0.1, 1.4)
HOLD_SHARE = 0.9
STEP_DOWN = 0.8
SUSTAINED_SHARE = 0.95
WINDOWS_IN_RAMP = 5
_CONCURRENCY = 12
_START_S = 2.0
_YARDSTICK_S = 1.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LoadShape:
    """What to offer and how. rate_tps: None searches. accounts: development accounts that may be used.

    replay: (n,) seconds at which the batches are due, as `read_record` answers them; they take the place of
    ramp and hold.
    """

    ramp_s: int
    hold_s: int
    rate_tps: float | None
    accounts: int
    first_account: int = 0
    batch_rows: int = 500
    processes: int = 2
    seed: int = 0
    shape: Shape = "uniform"
    payload_bytes: tuple[int, ...] = (0,)
    invalid_share: float = 0.0
    duplicate_share: float = 0.0
    wait: str = "committed"
    replay: NDArray[np.float64] | None = None


class LoadRun:
    """Stages of load against a network that runs."""

    def __init__(self, shape: LoadShape, urls: Sequence[str], genesis: Genesis, scratch: Path) -> None:
        self._shape, self._urls, self._genesis, self._scratch = shape, list(urls), genesis, scratch
        self._lane_accounts = shape.accounts // (STAGES * shape.processes)
        self._stage = 0
        if self._lane_accounts < 3:
            raise UserError(f"{shape.accounts} accounts are too few: {STAGES} stages need 3 a process")

    def require_unused(self) -> None:
        """Raises UserError when the first and the last account have sent something already."""
        shape = self._shape
        with Client(self._urls[0]) as client:
            for number in (shape.first_account, shape.first_account + shape.accounts - 1):
                key = development_signer(self._genesis.network, number).public_key
                if client.account(key)["nonce"]:
                    raise UserError(
                        f"development account {number} has been used; choose others with --first-account"
                    )

    def closed(self, rows: int) -> dict[str, Any]:
        """Offer rows as fast as they are answered."""
        plans = self._plans(rows, "closed", [])
        return joined(run_plans(self._scratch, plans))

    def open(self, segments: list[Segment]) -> dict[str, Any]:
        """Offer rows at the rates of the segments, split evenly among the processes.

        Adds `answers`: (n, 2) of second since the beginning and rows, one a batch; and `dues_s`: (n,) the
        seconds at which batches were due.
        """
        count = self._shape.processes
        lanes = [Segment(s.seconds, s.from_tps / count, s.to_tps / count) for s in segments]
        dues = np.sort(np.tile(due_times_s(lanes, self._shape.batch_rows), count))
        return self._aimed(self._plans(rows_due(lanes) * count, "open", lanes), dues)

    def again(self, dues_s: NDArray[np.float64]) -> dict[str, Any]:
        """As `open`, each batch at the second at which it is due, dealt out to the processes in turn."""
        shape = self._shape
        plans = self._plans(len(dues_s) * shape.batch_rows, "open", [])
        dealt = []
        for lane, plan in enumerate(plans):
            path = self._scratch / f"dues-{lane}.npy"
            np.save(path, dues_s[lane :: shape.processes])
            dealt.append(msgspec.structs.replace(plan, replay=str(path)))
        return self._aimed(dealt, dues_s)

    def _aimed(self, plans: list[LoadPlan], dues_s: NDArray[np.float64]) -> dict[str, Any]:
        begin_s = time.monotonic() + _START_S
        aimed = [msgspec.structs.replace(plan, begin_s=begin_s) for plan in plans]
        result = joined(run_plans(self._scratch, aimed))
        batches = np.concatenate([np.load(f"{plan.history}.batches.npy") for plan in aimed])
        answered = batches[batches["answered_s"] > 0]
        return {
            **result,
            "answers": np.column_stack((answered["answered_s"] - begin_s, answered["rows"])),
            "dues_s": dues_s,
        }

    def ceiling(self, rows: int) -> float:
        """What the generators reach against a server that accepts everything at once."""
        self._stage = 0
        return ceiling_tps(self._scratch, self._plans(rows, "closed", []))

    def _plans(self, rows: int, mode: Any, segments: list[Segment]) -> list[LoadPlan]:
        """Sign a pool for each process; plans that offer them."""
        shape, stage = self._shape, self._stage
        if stage == STAGES:
            raise RuntimeError("no accounts are left for another stage")
        self._stage += 1
        lane_rows = max(rows // shape.processes, shape.batch_rows)
        pools, plans = [], []
        chain = self._genesis.network, self._genesis.chain_tag
        for lane in range(shape.processes):
            first = shape.first_account + (stage * shape.processes + lane) * self._lane_accounts
            path = str(self._scratch / f"pool-{stage}-{lane}.npy")
            seed = shape.seed * 1_000 + stage * 16 + lane
            place = self._lane_accounts, lane_rows, first
            pools.append(
                PoolPlan(
                    path, *chain, *place, shape.shape, seed,
                    shape.payload_bytes, shape.invalid_share, shape.duplicate_share,
                )
            )  # fmt: skip
            urls = self._urls[lane % len(self._urls) :] + self._urls[: lane % len(self._urls)]
            plans.append(
                LoadPlan(
                    urls[0], path, 0, lane_rows, shape.batch_rows, mode, concurrency=_CONCURRENCY,
                    wait=shape.wait, more_urls=urls[1:], segments=segments,
                    history=str(self._scratch / f"history-{stage}-{lane}"),
                )
            )  # fmt: skip
        run_plans(self._scratch, pools, "sign")
        return plans


def saturation_tps(answers: NDArray[np.float64], window_s: float) -> float:
    """The highest rate at which rows were answered for over any window of that length.

    answers: (n, 2) of seconds and rows.
    """
    if not len(answers) or window_s <= 0:
        return 0.0
    ordered = answers[np.argsort(answers[:, 0])]
    rows = np.r_[0.0, np.cumsum(ordered[:, 1])]
    first = np.searchsorted(ordered[:, 0], ordered[:, 0] - window_s, side="right")
    return float((rows[1:] - rows[first]).max() / window_s)


def read_record(path: Path) -> NDArray[np.float64]:
    """The due times that a run recorded. Raises UserError when the file holds something else."""
    try:
        dues = np.load(path)
    except (OSError, ValueError) as error:
        raise UserError(f"--replay {path}: {error}; give a file that `load --record` wrote") from None
    ascending = dues.dtype == np.float64 and dues.ndim == 1 and len(dues) and (np.diff(dues) >= 0).all()
    if not ascending or not np.isfinite(dues).all() or dues[0] < 0:
        raise UserError(f"--replay {path}: expected ascending seconds, as `load --record` writes them")
    return np.asarray(dues, dtype=np.float64)


def measure_load(
    run: LoadRun, shape: LoadShape, progress: Progress, record: Path | None = None
) -> dict[str, Any]:
    """Ramp and hold, or replay; with no given rate find it first. `passed` says whether it was sustained.

    record: where to write the due times of what was measured.
    """
    yardstick = libsodium_verifies_per_s(_YARDSTICK_S)
    if shape.replay is None:
        measured = _held(run, shape, progress)
    else:
        measured = _replayed(run, shape, shape.replay, progress)
    stages, hold, tried, saturation = measured
    if record is not None:
        np.save(record.with_suffix(".npy"), hold["dues_s"])
    progress("measuring the generator against a server that accepts everything")
    ceiling = run.ceiling(CALIBRATION_ROWS)
    return _report(shape, stages, hold, tried, saturation, ceiling, yardstick)


Measured = tuple[list[dict[str, Any]], dict[str, Any], list[dict[str, Any]], float | None]
"""All stages, the one that is reported, the rates that were tried, and the saturation if it was searched."""


def _replayed(run: LoadRun, shape: LoadShape, dues: NDArray[np.float64], progress: Progress) -> Measured:
    rate = len(dues) * shape.batch_rows / max(float(dues[-1]), 1e-9)
    progress(f"replaying {len(dues):,} batches over {dues[-1]:,.1f} s")
    hold = run.again(dues)
    return [hold], hold, [_tried(rate, hold)], None


def _tried(rate: float, hold: dict[str, Any]) -> dict[str, Any]:
    sustained = hold["tps"] >= SUSTAINED_SHARE * rate and not hold["failed"]
    return {"rate_tps": round(rate, 1), "tps": round(hold["tps"], 1), "sustained": sustained}


def _held(run: LoadRun, shape: LoadShape, progress: Progress) -> Measured:
    calibration = saturation = None
    rate = shape.rate_tps
    if rate is None:
        progress("calibrating in a closed loop")
        calibration = run.closed(CALIBRATION_ROWS)
        low, high = (calibration["tps"] * share for share in RAMP_SHARES)
        progress(f"ramp from {low:,.0f} to {high:,.0f} transactions/s")
        ramp = run.open([Segment(shape.ramp_s, low, high)])
        saturation = saturation_tps(ramp["answers"], shape.ramp_s / WINDOWS_IN_RAMP)
        rate, holds = saturation * HOLD_SHARE, STAGES - 2
    else:
        progress(f"ramp to {rate:,.0f} transactions/s")
        ramp = run.open([Segment(shape.ramp_s, 0.0, rate)])
        holds = 1
    tried = []
    for _ in range(holds):
        progress(f"holding {rate:,.0f} transactions/s for {shape.hold_s} s")
        hold = run.open([constant(shape.hold_s, rate)])
        tried.append(_tried(rate, hold))
        if tried[-1]["sustained"]:
            break
        rate *= STEP_DOWN
    return [stage for stage in (calibration, ramp, hold) if stage is not None], hold, tried, saturation


def _report(
    shape: LoadShape,
    stages: list[dict[str, Any]],
    hold: dict[str, Any],
    tried: list[dict[str, Any]],
    saturation: float | None,
    ceiling: float,
    yardstick: float,
) -> dict[str, Any]:
    failed = sum(stage["failed"] + stage["rejected"] for stage in stages)
    return {
        "saturation_tps": None if saturation is None else round(saturation, 1),
        "offered_tps": tried[-1]["rate_tps"],
        "tps": round(hold["tps"], 1),
        **{name: round(hold[name], 2) for name in ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms")},
        "errors": failed,
        "errors_by_kind": {
            kind: sum(stage["errors"].get(kind, 0) for stage in stages)
            for kind in sorted({kind for stage in stages for kind in stage["errors"]})
        },
        "false_signatures": sum(stage["false_signatures"] for stage in stages),
        "false_signatures_refused": sum(stage["false_signatures_refused"] for stage in stages),
        "repetitions": sum(stage["repetitions"] for stage in stages),
        "generator_ceiling_tps": round(ceiling, 1),
        "signature_yardstick_per_core": round(yardstick, 1),
        "ratio_to_ceiling": round(hold["tps"] / ceiling, 3),
        "ratio_to_yardstick": round(hold["tps"] / yardstick, 3),
        "holds": tried,
        "shape": shape.shape,
        "batch_rows": shape.batch_rows,
        "processes": shape.processes,
        "seed": shape.seed,
        "wait": shape.wait,
        "passed": bool(tried[-1]["sustained"]) and not failed and ceiling > hold["tps"],
    }
