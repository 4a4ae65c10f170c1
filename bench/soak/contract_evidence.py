"""What nodes and clients say of contracts' calls, held against what the interpreter makes of the chain."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from actors.ledger.hashing import sha256
from actors.storage.interface import VALUES_KEYS_MAX
from bench.soak.chain_walk import WalkedChain
from bench.soak.replay import Replay, Told

CHECK = "contracts_agree"
_FAULTS_SAID = 3


@dataclass(slots=True)
class ContractEvidence:
    """told: receipts of calls by id, as clients were told; outcomes: what they must say. Counts are of the
    chain; failed: by what the failure is called."""

    outcomes: dict[bytes, Told]
    told: list[tuple[bytes, Told]]
    deployed: int
    succeeded: int
    failed: Counter[str]
    gas: int
    events: int
    entries: int


def evidence_of(replay: Replay, told: list[tuple[bytes, Told]]) -> ContractEvidence:
    """Of a chain that was played again to its end."""
    return ContractEvidence(
        replay.outcomes, told, replay.deployed, replay.succeeded, replay.failed, replay.gas, replay.events,
        len(replay.entries),
    )  # fmt: skip


def hold_against(chain: WalkedChain, node: Any, replay: Replay) -> None:
    """Note receipts of calls and entries that a node has otherwise than the replay makes them."""
    for height, digest in replay.receipts.items():
        if sha256(node.call("storage", "receipts", height) or b"") != digest:
            chain.problem(CHECK, f"{chain.node}: receipts of block {height} differ")
    keys = sorted(replay.entries)
    for at in range(0, len(keys), VALUES_KEYS_MAX):
        some = keys[at : at + VALUES_KEYS_MAX]
        found = node.call("storage", "state_values", some)
        differing = sum(a != replay.entries[key] for key, a in zip(some, found.values, strict=True))
        if differing:
            chain.problem(CHECK, f"{chain.node}: {differing} entries differ at height {found.height}")


def faults_of(evidence: ContractEvidence) -> list[str]:
    """What clients were told that is not so, and whether anything was called at all."""
    said = [] if evidence.succeeded else ["no call succeeded"]
    said += [] if evidence.told else ["no client was told of a call"]
    wrong = [fault for tx_id, told in evidence.told if (fault := _fault(tx_id, told, evidence.outcomes))]
    if len(wrong) > _FAULTS_SAID:
        wrong[_FAULTS_SAID:] = [f"and {len(wrong) - _FAULTS_SAID} more"]
    return said + wrong


def _fault(tx_id: bytes, told: Told, outcomes: dict[bytes, Told]) -> str:
    name, outcome = f"call {tx_id.hex()[:16]}", outcomes.get(tx_id)
    if outcome is None:
        return f"{name}: a client was told of it, and no block has it"
    differing = [field for field, value in outcome.items() if told.get(field) != value]
    if not differing:
        return ""
    field = differing[0]
    return f"{name}: {field} told as {told.get(field)!r}, by the interpreter {outcome[field]!r}"
