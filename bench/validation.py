"""Validate blocks of signed transfers with V validator workers: signatures, state transition, both roots.

Each V gets a fresh node on the same genesis and the same blocks. `ratio_to_yardstick` is transactions a
second over V x what PyNaCl verifies in a plain loop on one core, measured right before in the same run.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from actors.directory import NetworkDirectory
    from actors.ledger.rows import Batch
    from actors.settings import Settings

_YARDSTICK_S = 1.0
_WARM_UP_BLOCKS = 2


def command(
    validators: Annotated[str, typer.Option(help="Numbers of validator workers, as in 1,2.")] = "1,2",
    blocks: Annotated[int, typer.Option(min=1, max=1000, help="Measured blocks for each.")] = 8,
    rows: Annotated[int, typer.Option(min=1, max=100_000, help="Transfers in a block.")] = 10_000,
    accounts: Annotated[int, typer.Option(min=2, max=200_000, help="Accounts that send.")] = 10_000,
    kernels: Annotated[str, typer.Option(help="auto, portable or simd.")] = "auto",
    serial: Annotated[bool, typer.Option(help="One block at a time, no overlap.")] = False,
) -> dict[str, object]:
    """Run the benchmark."""
    from actors.console import UserError, console
    from actors.directory import open_network
    from config.effective import load

    try:
        numbers = [int(part) for part in validators.split(",")]
    except ValueError:
        raise UserError(f"--validators {validators}: expected numbers, as in 1,2") from None
    overrides = [
        f"network.development_accounts={accounts}",
        f"network.block_transactions_max={rows}",
        f"validator.kernels={kernels}",
        *(["consensus.blocks_inflight_max=1"] if serial else []),
    ]
    results = []
    with tempfile.TemporaryDirectory(prefix="raychain-bench-") as scratch:
        settings = load("bench", overrides).settings
        directory = open_network(Path(scratch) / "network", settings.network, 1, lambda _: None)
        console.print(f"signing {blocks + _WARM_UP_BLOCKS} blocks of {rows:,} transfers")
        chain = build_chain(directory, blocks + _WARM_UP_BLOCKS, rows)
        for number in numbers:
            chosen = load("bench", [*overrides, f"node.validators={number}"]).settings
            results.append(_measure(chosen, directory, chain, Path(scratch) / f"v{number}", number))
    return {
        "rows": rows,
        "accounts": accounts,
        "blocks": blocks,
        "durability": settings.storage.durability,
        "pipelined": not serial,
        "runs": results,
    }


def build_chain(directory: NetworkDirectory, blocks: int, rows: int) -> list[tuple[bytes, bytes, Batch]]:
    """Valid blocks on top of the genesis, by the plain serial rules: (header, signature, body) each."""
    import numpy as np

    from actors.directory import read_allocation, read_signer
    from actors.ledger import merkle, rules
    from actors.ledger.block import Header, sign_proposal
    from actors.ledger.rows import Batch
    from bench.load import SignPlan, build_transfers

    genesis, signer = directory.genesis, read_signer(directory.nodes[0].key_path)
    allocation = read_allocation(directory.allocation_path)
    state = {
        key.tobytes(): rules.Account(0, int(balance))
        for key, balance in zip(allocation.keys, allocation.balances, strict=True)
    }
    plan = SignPlan("", genesis.network, genesis.chain_tag, genesis.accounts, 0, blocks * rows)
    signed, parent, chain = build_transfers(plan), genesis.hash(), []
    for height in range(1, blocks + 1):
        batch = Batch(signed[(height - 1) * rows : height * rows], np.empty(0, dtype=np.uint8))
        outcome = rules.apply_batch(state, batch, genesis.chain_tag, height, signer.public_key)
        if any(outcome.verdicts):
            raise RuntimeError(f"block {height} of the benchmark is not valid: {outcome.verdicts}")
        header = Header(
            height=height,
            term=1,
            time_ms=genesis.created_ms + height,
            transaction_count=rows,
            payload_bytes=0,
            parent_hash=parent,
            transaction_root=merkle.root(batch.ids()),
            state_root=rules.state_root(state),
            receipts_root=rules.receipts_root(outcome.receipts),
            proposer=signer.public_key,
        )
        parent = header.hash()
        chain.append((header.encode(), sign_proposal(signer, parent), batch))
    return chain


def _measure(
    settings: Settings,
    directory: NetworkDirectory,
    chain: list[tuple[bytes, bytes, Batch]],
    folder: Path,
    validators: int,
) -> dict[str, Any]:
    """Validate the whole chain on a fresh node with `validators` workers."""
    import shutil

    import ray

    from actors.console import console
    from bench.yardstick import libsodium_verifies_per_s
    from node import running_node

    shutil.copytree(directory.path, folder)
    yardstick = libsodium_verifies_per_s(_YARDSTICK_S)
    with running_node(settings, folder, 1, serve=False) as (_, node):
        blocks = [
            (header, signature, b"", ray.put(batch.rows), ray.put(batch.payloads))
            for header, signature, batch in chain
        ]
        _expect_valid(node.call("consensus", "validate_blocks", blocks[:_WARM_UP_BLOCKS]))
        node.call("consensus", "reset_times")
        console.print(f"validating with {validators} workers")
        began = time.perf_counter()
        answers = node.call("consensus", "validate_blocks", blocks[_WARM_UP_BLOCKS:], timeout_s=600)
        elapsed_s = time.perf_counter() - began
        _expect_valid(answers)
        status = node.call("consensus", "status")
        kernels = node.facts["validator-0"]["kernels"]
    transactions = sum(len(batch) for _, _, batch in chain[_WARM_UP_BLOCKS:])
    tps = transactions / elapsed_s
    return {
        "validators": validators,
        "tps": round(tps, 1),
        "us_per_tx": round(1e6 / tps, 3),
        "ratio_to_yardstick": round(tps / (validators * yardstick), 3),
        "libsodium_per_core": round(yardstick, 1),
        "kernels": kernels,
        "stages_us_per_tx": status["stages_us_per_tx"],
        "height": status["height"],
        "state_root": status["state_root"],
    }


def _expect_valid(answers: list[dict[str, Any]]) -> None:
    refused = [answer for answer in answers if "refused" in answer]
    if refused:
        raise RuntimeError(f"a valid block was refused: {refused[0]}")
