"""Validate blocks of signed transfers with V validator workers: signatures, state transition, all roots.

One node validates the same kinds of blocks with each V and each workload (see bench/chains.py), first
serially (a block is handed in when the one before is committed), then pipelined. Keys of `runs`: `tps` and
`stages_us_per_tx` pipelined, `speedup_over_serial`, `serial_stages_us_per_tx`, and of these
`not_signatures_us_per_tx`: executing (decoding, transition, ids, all roots) and persisting. That is time by
the clock, while the Validators check signatures on the other cores and Storage prepares what it will write
(see actors/storage/preparing.py). `cpu_us_per_tx` is what the processes of each kind of actor spend of
processors, whatever for, and `not_signatures_cpu_us_per_tx` the sum of these, serially, less what Validators
spend on a signature while nothing else runs (`signatures_cpu_us`). `persist_us_per_tx`, which Storage counts:
encoding what is not prepared, the synced write; the rest of `persist` is asking and answering. `conflicts` a
block: rows that can run beside others (`parallel`), rows that cannot (`serial`), and the longest chain of
dependent rows (`waves`).
`signatures_per_s`: signatures of whole blocks checked by V workers while nothing else runs;
`signatures_speedup`: that over the first V's. `ratio_to_yardstick` is transactions a second over V x what
PyNaCl verifies in a plain loop on one core, measured in the same run.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actors.kernels.interface import Kernels
    from actors.ledger.block import Block
    from actors.settings import NetworkSettings
    from actors.topology import Node
    from bench.chains import BenchChain, Workload

_YARDSTICK_S = 1.0
_WARM_UP_BLOCKS = 4
_SIGNED_BLOCKS, _SIGNED_TURNS, _SIGNATURE_ROUNDS = 6, 4, 3
_NOT_SIGNATURES = ("execute", "persist")


def command(
    validators: Annotated[str, typer.Option(help="Numbers of validator workers, as in 1,2.")] = "1,2",
    blocks: Annotated[int, typer.Option(min=1, max=1000, help="Measured blocks of each run.")] = 20,
    rows: Annotated[int, typer.Option(min=1, max=100_000, help="Transfers in a block.")] = 10_000,
    accounts: Annotated[int, typer.Option(min=2, max=10_000_000, help="Accounts in the state.")] = 1_000_000,
    senders: Annotated[int, typer.Option(min=2, max=100_000, help="Accounts among them that send.")] = 5_000,
    workloads: Annotated[str, typer.Option(help="Of uniform, zipf, hot.")] = "uniform,zipf,hot",
    kernels: Annotated[str, typer.Option(help="auto, portable or simd.")] = "auto",
    serial: Annotated[bool, typer.Option(help="Serially only: one block at a time, no overlap.")] = False,
) -> dict[str, object]:
    """Run the benchmark."""
    from bench.yardstick import libsodium_verifies_per_s

    numbers, kinds = _numbers(validators), _workloads(workloads)
    yardstick = libsodium_verifies_per_s(_YARDSTICK_S)
    with bench_node(rows, accounts, min(senders, accounts), kernels) as bench:
        runs = [
            _compared(bench, number, kind, blocks, yardstick, serial) for number in numbers for kind in kinds
        ]
        signatures, signatures_cpu_us = _signatures(bench, numbers)
        durability, chosen = bench.node.settings.storage.durability, bench.kernels
    first = str(numbers[0])
    for run in runs:
        spent_us = sum(run["serial_cpu_us_per_tx"].values()) - signatures_cpu_us
        run["not_signatures_cpu_us_per_tx"] = round(spent_us, 3)
    return {
        "rows": rows,
        "accounts": accounts,
        "senders": senders,
        "blocks": blocks,
        "durability": durability,
        "kernels": chosen,
        "libsodium_per_core": round(yardstick, 1),
        "signatures_per_s": {number: round(rate) for number, rate in signatures.items()},
        "signatures_cpu_us": round(signatures_cpu_us, 3),
        "signatures_speedup": {
            number: round(rate / signatures[first], 3) for number, rate in signatures.items()
        },
        "runs": runs,
    }


def _numbers(text: str) -> list[int]:
    from actors.console import UserError

    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--validators {text}: expected numbers, as in 1,2") from None


def _workloads(text: str) -> list[Workload]:
    from actors.console import UserError
    from bench.chains import WORKLOADS

    found = [known for part in text.split(",") for known in WORKLOADS if known == part]
    if len(found) != len(text.split(",")):
        raise UserError(f"--workloads {text}: expected some of {','.join(WORKLOADS)}")
    return found


def _compared(
    bench: BenchNode, validators: int, workload: Workload, blocks: int, yardstick: float, serial: bool
) -> dict[str, Any]:
    """One workload with V workers, serially and, unless that is all, pipelined."""
    bench.scale(validators)
    one_by_one = bench.run(workload, blocks, serial=True)
    stages = one_by_one["stages_us_per_tx"]
    result = {
        "workload": workload,
        "validators": validators,
        "serial_tps": one_by_one["tps"],
        "serial_stages_us_per_tx": stages,
        "serial_cpu_us_per_tx": one_by_one["cpu_us_per_tx"],
        "not_signatures_us_per_tx": round(sum(stages[name] for name in _NOT_SIGNATURES), 3),
        "conflicts": one_by_one["conflicts"],
    }
    run = one_by_one if serial else bench.run(workload, blocks, serial=False)
    speedup = {} if serial else {"speedup_over_serial": round(run["tps"] / one_by_one["tps"], 3)}
    return {
        **result,
        **run,
        **speedup,
        "ratio_to_yardstick": round(run["tps"] / (validators * yardstick), 3),
    }


def _signatures(bench: BenchNode, numbers: list[int]) -> tuple[dict[str, float], float]:
    """Signatures of whole blocks checked a second by V workers while nothing else runs, and the Validators'
    microseconds of CPU for one; medians of rounds that take turns, since other users of the machine slow all
    of them."""
    from statistics import median

    rates: dict[str, list[float]] = {str(number): [] for number in numbers}
    spent_us = []
    for _ in range(_SIGNATURE_ROUNDS):
        for number in numbers:
            bench.scale(number)
            rate, cpu_us = bench.signatures()
            rates[str(number)].append(rate)
            spent_us.append(cpu_us)
    return {number: median(of_number) for number, of_number in rates.items()}, median(spent_us)


class BenchNode:
    """A running node, and blocks that it is made to validate. make: answers the next one of a workload, of
    so many signed rows."""

    def __init__(self, node: Node, make: Callable[[Any, int], Block], rows: int) -> None:
        self.node, self.make, self._rows = node, make, rows
        self._signed: list[NDArray[Any]] = []

    @property
    def kernels(self) -> str:
        """Which ones the Validators use."""
        return str(self.node.facts["validator-0"]["kernels"])

    def scale(self, validators: int) -> None:
        """Have that many Validators."""
        self.node.call("consensus", "scale_validators", validators, timeout_s=120)

    def run(self, workload: str, blocks: int, serial: bool) -> dict[str, Any]:
        """Make blocks, have them validated, and say how fast; a few go before as a warm-up."""
        from actors.console import console
        from actors.storage.chain import PERSIST_STAGES
        from bench.demo import cpu_s_by_kind

        console.print(f"signing {blocks + _WARM_UP_BLOCKS} blocks of {self._rows:,} rows, {workload}")
        made = [self.make(workload, self._rows) for _ in range(blocks + _WARM_UP_BLOCKS)]
        self._signed = [block.batch.rows for block in made[-_SIGNED_BLOCKS:]]
        self.validate(made[:_WARM_UP_BLOCKS], serial)
        self.node.call("consensus", "reset_times")
        before, idle = self.node.call("storage", "stats"), cpu_s_by_kind(self.node)
        began = time.perf_counter()
        self.validate(made[_WARM_UP_BLOCKS:], serial)
        elapsed_s = time.perf_counter() - began
        status, spent = self.node.call("consensus", "status"), _added(idle, cpu_s_by_kind(self.node))
        after = self.node.call("storage", "stats")
        conflicts, written = (_added(before[kind], after[kind]) for kind in ("conflicts", "stages_us"))
        rows = sum(len(block.batch) for block in made[_WARM_UP_BLOCKS:])
        tps = rows / elapsed_s
        return {
            "tps": round(tps, 1),
            "us_per_tx": round(1e6 / tps, 3),
            "stages_us_per_tx": status["stages_us_per_tx"],
            "persist_us_per_tx": {name: round(written[name] / rows, 3) for name in PERSIST_STAGES},
            "cpu_us_per_tx": {kind: round(1e6 * seconds / rows, 3) for kind, seconds in spent.items()},
            "conflicts": {name: round(count / blocks, 1) for name, count in conflicts.items()},
        }

    def signatures(self) -> tuple[float, float]:
        """Checks a second of the signatures of the blocks that were validated last, some blocks at a time,
        and the Validators' microseconds of CPU for one."""
        import asyncio

        import ray

        from actors.validator.actor import ValidatorPool
        from bench.demo import cpu_s_by_kind

        self.node.find_validators()
        settings = self.node.settings.validator
        rows = [ray.put(part) for part in self._signed]
        count = _SIGNED_TURNS * len(rows) * self._rows

        async def verify() -> tuple[float, float]:
            pool = ValidatorPool(self.node.named("validator"), settings)
            await asyncio.gather(*(pool.verify(part, self._rows) for part in rows))
            idle = await asyncio.to_thread(cpu_s_by_kind, self.node)
            began = time.perf_counter()
            valid = await asyncio.gather(*(pool.verify(part, self._rows) for part in rows * _SIGNED_TURNS))
            elapsed_s = time.perf_counter() - began
            if not all(part.all() for part in valid):
                raise RuntimeError("a valid signature was refused")
            spent = await asyncio.to_thread(cpu_s_by_kind, self.node)
            return count / elapsed_s, 1e6 * (spent["validator"] - idle["validator"]) / count

        return asyncio.run(verify())

    def validate(self, made: list[Block], serial: bool) -> None:
        """Have the node validate and commit blocks. Raises RuntimeError if it refuses one."""
        import ray

        from actors.ledger.block import BlockRefused, OfferedBlock

        columns = [(ray.put(block.batch.rows), ray.put(block.batch.payloads)) for block in made]
        given = [
            OfferedBlock(block.header, block.signature, b"", *of_block)
            for block, of_block in zip(made, columns, strict=True)
        ]
        for part in [[block] for block in given] if serial else [given]:
            answers = self.node.call("consensus", "validate_blocks", part, timeout_s=600)
            refused = [answer for answer in answers if isinstance(answer, BlockRefused)]
            if refused:
                raise RuntimeError(f"a valid block was refused: {refused[0]}")


def _added(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {name: after[name] - before.get(name, 0) for name in after}


def _transfers(
    path: Path, network: NetworkSettings, accounts: int, senders: int, kernels: Kernels
) -> BenchChain:
    from bench.chains import BenchChain

    return BenchChain(path, network, accounts, senders, kernels)


@contextmanager
def bench_node(
    rows: int,
    accounts: int,
    senders: int,
    kernels: str,
    found: Callable[[Path, NetworkSettings, int, int, Kernels], BenchChain] = _transfers,
    overrides: Sequence[str] = (),
) -> Iterator[BenchNode]:
    """A node without mempool and gateway on a network of its own, for as long as the context lasts. found:
    makes the network and what its blocks come from. overrides: of settings."""

    from actors.console import console
    from actors.kernels.selection import select
    from actors.shell import kernel_cache_dir
    from actors.topology import running_node
    from config.effective import load

    own = [f"network.block_transactions_max={rows}", f"validator.kernels={kernels}", "node.validators=1"]
    settings = load("bench", [*own, *overrides]).settings
    with tempfile.TemporaryDirectory(prefix="raychain-bench-") as scratch:
        console.print(f"making {accounts:,} accounts")
        path = Path(scratch) / "network"
        chosen = select(settings.validator.kernels, kernel_cache_dir())
        chain = found(path, settings.network, accounts, senders, chosen)
        with running_node(settings, path, 1, serve=False) as (_, node):
            yield BenchNode(node, chain.block, rows)
