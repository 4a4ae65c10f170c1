"""Differential fuzzing of blocks: by the rules of the ledger, and as jobs by every engine that runs those.

1. Chains are numbered. Number n of a seed is the same on every machine, whatever ran before it.
2. A chain is a state with random contracts and examples, and BLOCKS_EACH random blocks of transfers and calls
   on it. After each block everything is compared: verdicts, receipts, gas, results, events, messages, fees,
   and the whole state, of which the root is a function.
3. The first difference ends a chain: what follows it proves nothing.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random

from actors.execution import interpreted
from actors.execution.native_engine import NativeEngine
from actors.ledger.rows import KIND_CALL, encode_batch
from bench.contract_fuzz.block_rows import BlockRows
from bench.contract_fuzz.block_twins import TABLE_SEED, BlockCame, BlockCase, Run
from bench.contract_fuzz.block_worlds import BlockWorld

RULES, INTERPRETER, NATIVE = "rules", "interpreter", "native"
BLOCK_ENGINES = (RULES, INTERPRETER, NATIVE)
BLOCKS_EACH = 60
PARTS = (2, 4)
SHOWN_MAX = 5
FORGETFUL = 0.3
"""How often an engine has to ask for what it is planned to touch."""


@dataclass
class BlockCounts:
    """What has been tried so far, and what was found."""

    chains: int = 0
    blocks: int = 0
    rows: int = 0
    refused_rows: int = 0
    calls: int = 0
    failed_calls: int = 0
    divided_blocks: int = 0
    disagreements: int = 0
    crashes: int = 0
    shown: list[dict[str, object]] = field(default_factory=list)


@cache
def native() -> NativeEngine:
    """Of this process: it keeps the code of the examples."""
    return NativeEngine(TABLE_SEED)


def runs_of(engines: Sequence[str]) -> dict[str, Run]:
    """What runs jobs, by the names of engines. Raises ValueError for others than BLOCK_ENGINES."""
    if unknown := set(engines) - set(BLOCK_ENGINES):
        raise ValueError(f"no such engine: {', '.join(sorted(unknown))}")
    runs: dict[str, Run] = {}
    if INTERPRETER in engines:
        runs[INTERPRETER] = interpreted.run
    if NATIVE in engines:
        runs[NATIVE] = native().run
    return runs


def fuzz_blocks(
    minutes: float,
    seed: int,
    progress: Callable[[BlockCounts], None],
    engines: Sequence[str] = BLOCK_ENGINES,
    chains_max: int | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, object]:
    """Compare for some minutes by the clock given (seconds), or for `chains_max` chains; one at least.
    engines: of BLOCK_ENGINES; the rules, which are the definition, always run.

    Each engine but the rules runs a block in one pass, and its islands in PARTS. Answers `seed`, `engines`,
    `parts`, `chains`, `blocks`, `rows` and of these `refused_rows`, `calls` that passed and of these
    `failed_calls`, `divided_blocks` that ran in more than one part, `disagreements`, `crashes`, and, for the
    first of both, `shown`: what to repeat.
    """
    runs, counts, end = runs_of(engines), BlockCounts(), clock() + 60 * minutes
    while True:
        fuzz_chain(seed, counts.chains, counts, runs)
        counts.chains += 1
        progress(counts)
        if counts.chains == chains_max or clock() >= end:
            break
    return {"seed": seed, "engines": [RULES, *runs], "parts": [1, *PARTS], **vars(counts)}


def fuzz_chain(seed: int, number: int, counts: BlockCounts, runs: dict[str, Run]) -> None:
    """One chain, until its blocks are done, or two engines differ, or one crashes."""
    random = Random(f"{seed}:{number}:blocks")
    world = BlockWorld(random)
    rows = BlockRows(random, world)
    for block in range(BLOCKS_EACH):
        case = BlockCase(world, rows.batch())
        expected, found = case.by_rules(), dict[str, object]()
        try:
            found = _differences(case, expected, runs, random, counts)
        except Exception:  # noqa: BLE001  # whatever it is, it is what we look for
            counts.crashes += 1
            found = {"error": traceback.format_exc(limit=-6)}
        counts.blocks += 1
        _count(counts, case, expected)
        if found:
            counts.disagreements += "error" not in found
            if len(counts.shown) < SHOWN_MAX:
                batch = encode_batch(case.batch).hex()
                counts.shown.append({"chain": number, "block": block, **found, "batch": batch})
            return
        world.go_on(expected.state, expected.entries)


def _differences(
    case: BlockCase, expected: BlockCame, runs: dict[str, Run], random: Random, counts: BlockCounts
) -> dict[str, object]:
    """What differs from the rules, of the first engine of which something does."""
    job = case.forgetful(random) if random.random() < FORGETFUL else case.job
    divided = 0
    for name, run in runs.items():
        if differs := expected.differences(case.in_order(run, job)):
            return {"engine": name, "parts": 1, "differs": differs}
        for parts in PARTS:
            came, division = case.divided(run, parts)
            divided = max(divided, division.parts)
            if differs := expected.differences(came):
                return {"engine": name, "parts": parts, "differs": differs}
    counts.divided_blocks += divided > 1
    return {}


def _count(counts: BlockCounts, case: BlockCase, expected: BlockCame) -> None:
    counts.rows += len(expected.verdicts)
    counts.refused_rows += sum(verdict != 0 for verdict in expected.verdicts)
    kinds = case.batch.rows["kind"].tolist()
    passed = [kind for kind, verdict in zip(kinds, expected.verdicts, strict=True) if not verdict]
    counts.calls += passed.count(KIND_CALL)
    counts.failed_calls += sum(applied.status != 0 for applied in expected.applied)
