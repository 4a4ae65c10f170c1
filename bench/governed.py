"""Interest on all accounts in one transaction: a governed function, stage by stage, at one member.

The function is signed by two of three governors and pays each account a part of its balance. `make_s`: its
bytes out of its source. `try_s` is what a leader waits for before it proposes: the state copied out in order
of keys (`columns_s`), the function in a new cell, its effects checked and encoded. `propose_s`: the block of
the function and its effects executed, of which `state_root_s` is the tree. `vote_s`: what a member does that
was not asked to try it, the function and then the block. `replay_s`: the block with its effects as they are,
as a member takes it that comes later. `persist_s`: the block, its delta and its undo log on the disk.
`reopen_s`: the state from that disk. `interest_per_s`: accounts paid a second, by trial, block and disk
together; `ratio_to_transfers`: against what blocks of 10,000 transfers pay on the same state in the same run.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from actors.ledger.governed_payloads import Statement
    from actors.ledger.hashing import Hasher
    from actors.ledger.rows import Batch
    from actors.ledger.signing import Signer
    from actors.storage.chain import Chain
    from bench.storage_workload import Proposer, WorkloadNetwork

SOURCE = """
import numpy as np


def run(columns, arguments):
    part = np.uint64(int(arguments))
    interest = (columns.balances // part).astype(np.int64)
    interest[columns.treasury] = 0
    return interest
"""
PART = 1_000
TREASURY_BALANCE = 1 << 60
TRANSFER_ROWS, TRANSFER_BLOCKS = 10_000, 3
T = TypeVar("T")


def command(
    accounts: Annotated[int, typer.Option(min=10, max=5_000_000, help="Accounts in the state.")] = 1_000_000,
    kernels: Annotated[str, typer.Option(help="auto, portable or simd.")] = "auto",
    directory: Annotated[
        Path | None, typer.Option(help="For the database; default: a temporary one.")
    ] = None,
) -> dict[str, object]:
    """Run the benchmark."""
    import resource

    from actors.console import console
    from actors.kernels.selection import select

    chosen = select(kernels)  # type: ignore[arg-type]
    console.print(f"founding a network of {accounts:,} accounts")
    network = found_governed(accounts, chosen.hash_rows)
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        figures = measure(network, Path(folder), console.print)
    peak_rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"accounts": accounts, "kernels": chosen.name, **figures, "peak_rss_mb": round(peak_rss_mb, 1)}


def governors() -> list[Signer]:
    """Whose keys the genesis names."""
    from actors.ledger.signing import Signer

    return [Signer(bytes([number]) * 32) for number in (11, 12, 13)]


def found_governed(accounts: int, hash_rows: Hasher) -> WorkloadNetwork:
    """A network with governors, whose accounts have random keys and balances; the first is the treasury."""
    import msgspec
    import numpy as np

    from actors.ledger.genesis import Allocation
    from actors.storage.accounts import funded
    from actors.storage.state import build_tree
    from bench.storage_workload import WorkloadNetwork, found

    plain, rng = found(accounts, hash_rows), np.random.default_rng(2)
    balances = rng.integers(1 << 20, 1 << 31, accounts, dtype=np.uint64)
    balances[0] = TREASURY_BALANCE
    allocation = Allocation(plain.allocation.keys, balances)
    genesis = msgspec.structs.replace(
        plain.genesis,
        supply=allocation.supply(),
        state_root=build_tree(funded(allocation.keys, balances), hash_rows).root.hex(),
        block_payload_bytes_max=64 << 20,
        governors=[signer.public_key.hex() for signer in governors()],
        governors_needed=2,
    )
    return WorkloadNetwork(genesis, allocation, hash_rows)


def measure(network: WorkloadNetwork, folder: Path, told: Callable[[str], None]) -> dict[str, Any]:
    """All figures; `passed` is False unless each account was paid and the supply is what it was."""
    import numpy as np

    from actors.execution.functions import FunctionRunner, function_of
    from actors.storage.functions import Functions
    from actors.storage.governed_transition import ranked_accounts
    from bench.storage_workload import Proposer

    chain, open_s = _timed(lambda: network.open(folder / "db"))
    runner = FunctionRunner()
    chain.functions = Functions(runner, network.genesis.block_payload_bytes_max, told)
    proposer = Proposer(chain, network.allocation.keys[1:], np.random.default_rng(3))
    told("executing transfers")
    transfers_per_s = _transfers_per_s(proposer)
    function, make_s = _timed(lambda: function_of(SOURCE))
    row = _row(network, function)
    told("running the function")
    _, columns_s = _timed(lambda: ranked_accounts(chain.state.accounts, network.allocation.keys[0].tobytes()))
    figures = _stages(chain, proposer, row)
    conserved = chain.state.committed_supply() == network.genesis.supply
    paid = _paid(chain, network.allocation.keys[0].tobytes())
    runner.close()
    chain.disk.close()
    again, reopen_s = _timed(lambda: network.open(folder / "db"))
    same = again.state.tree.root == chain.state.tree.root
    again.disk.close()
    spent_s = figures["try_s"] + figures["propose_s"] + figures["persist_s"]
    per_s = (len(network.allocation.keys) - 1) / spent_s
    return {
        "passed": bool(paid and conserved and same),
        "open_s": open_s,
        "make_s": make_s,
        "columns_s": columns_s,
        **figures,
        "reopen_s": reopen_s,
        "interest_per_s": round(per_s),
        "transfers_per_s": round(transfers_per_s),
        "ratio_to_transfers": round(per_s / transfers_per_s, 2),
    }


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    began = time.perf_counter()
    found = work()
    return found, round(time.perf_counter() - began, 3)


def _transfers_per_s(proposer: Proposer) -> float:
    """Accounts that blocks of transfers pay, executed and on the disk, a second; the median block."""
    rates = []
    for _ in range(TRANSFER_BLOCKS + 1):  # the first compiles
        batch = proposer.batch(TRANSFER_ROWS)
        began = time.perf_counter()
        proposer.persist(proposer.header(proposer.execute(batch)))
        seconds = time.perf_counter() - began
        rates.append(TRANSFER_ROWS / seconds)
    return sorted(rates[1:])[TRANSFER_BLOCKS // 2]


def statement(network: WorkloadNetwork, function: bytes) -> Statement:
    """What the governors sign: the treasury itself submits it."""
    import sys
    from importlib.metadata import version

    from actors.ledger.governed_payloads import Statement, lock_of
    from actors.ledger.rows import NEVER_EXPIRES_HEIGHT

    treasury, minor = network.allocation.keys[0].tobytes(), sys.version_info.minor
    return Statement(
        network.genesis.chain_tag, treasury, 0, treasury, NEVER_EXPIRES_HEIGHT, minor, lock_of(version),
        function, str(PART).encode(),
    )  # fmt: skip


def _row(network: WorkloadNetwork, function: bytes) -> Batch:
    """The function's row; its sender has no key, and nobody asks for its signature here."""
    from actors.ledger.governed_payloads import GovernedCall
    from actors.ledger.governed_signing import approve
    from actors.ledger.rows import KIND_GOVERNED
    from actors.ledger.signing import Transfer
    from bench.contract_workload import unsigned

    said = statement(network, function)
    approvals = tuple(approve(said, signer, network.genesis.governed_by) for signer in governors()[:2])
    payload = GovernedCall(said.python_minor, said.lock, function, said.arguments, approvals).encode()
    told = Transfer(said.treasury, 0, said.nonce, 1, said.expiry_height, payload, KIND_GOVERNED)
    return unsigned([told], said.treasury, said.chain_tag)


def _stages(chain: Chain, proposer: Proposer, row: Batch) -> dict[str, Any]:
    from actors.ledger.governed_signing import sign_effects
    from actors.ledger.rows import concatenate, encode_batch
    from actors.storage.interface import Execute, TryFunction
    from bench.storage_workload import SIGNER

    height, tag = chain.head.height + 1, chain.genesis.chain_tag
    request = TryFunction(height, chain.head.hash, 1000 * height, encode_batch(row))
    tried, try_s = _timed(lambda: chain.try_function(request))
    if tried.verdict or tried.effects is None:
        raise RuntimeError(f"the function was refused: {tried.reason}")
    block = concatenate([row, sign_effects(SIGNER, tag, row, tried.effects.tobytes())])

    def execute(strict: bool, proven: bool) -> Any:
        asked = Execute(height, strict, SIGNER.public_key, time_ms=1000 * height, proven=proven)
        return chain.execute(proposer.epoch, asked, block)

    _, propose_s = _timed(lambda: execute(False, False))
    chain.rollback(proposer.epoch, height - 1)
    if chain.functions is not None:
        chain.functions.forget()
    _, vote_s = _timed(lambda: execute(True, False))
    chain.rollback(proposer.epoch, height - 1)
    executed, replay_s = _timed(lambda: execute(True, True))
    header = proposer.header(executed.block)
    (written, _), persist_s = _timed(lambda: proposer.persist(header))
    return {
        "try_s": try_s,
        "propose_s": propose_s,
        "vote_s": vote_s,
        "replay_s": replay_s,
        "transition_s": round(executed.stages_us["transition"] / 1e6, 3),
        "state_root_s": round(executed.stages_us["state_root"] / 1e6, 3),
        "persist_s": persist_s,
        "effects_bytes": len(tried.effects),
        "bytes_written": written.bytes_written,
    }


def _paid(chain: Chain, treasury: bytes) -> bool:
    """Whether every account but the treasury, and who earned the fee, has interest on what it held before."""
    import numpy as np

    from bench.storage_workload import SIGNER

    accounts, (undo,) = chain.state.accounts, chain.state.history.undos_after(chain.head.height - 1)
    before, after = undo.values[:, 1], accounts.balances[undo.slots]
    apart = [accounts.find(treasury), accounts.find(SIGNER.public_key)]
    others = ~np.isin(undo.slots, apart)
    due = before + before // np.uint64(PART)
    return int(others.sum()) + 2 >= accounts.count and bool((after[others] == due[others]).all())
