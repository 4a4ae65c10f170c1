"""Sabotage: for each check of the judge a way to make it fail, so that a soak that passes means something.

Some act on the running network behind the judge's back (a journal that is not waited for, a leak, an actor
that is never woken again), others on what the judge is given to read, as a node that lies would give it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import psutil

from actors.ledger.block import SealedHeader
from actors.ledger.rows import Batch
from bench.soak.judge import SoakEvidence

Blocks = Iterator[tuple[SealedHeader, Batch]]
LEAK_MB = 12
KILLS = 3
GATHER_S = 1.0


@dataclass(frozen=True, slots=True)
class Sabotage:
    """A kind of sabotage and the check that must catch it.

    blocks and evidence change what the judge reads; act changes the network, from the steady phase on or
    with the faults. of_contracts: needs a soak that calls them.
    """

    check: str
    what: str
    blocks: Callable[[Blocks], Blocks] | None = None
    evidence: Callable[[SoakEvidence], None] | None = None
    act: Callable[[list[Any], threading.Event], None] | None = None
    with_faults: bool = False
    of_contracts: bool = False


def _drop_block(blocks: Blocks) -> Blocks:
    """All but the last block that holds transactions, and what follows it."""
    held: list[tuple[SealedHeader, Batch]] = []
    for block in blocks:
        if len(block[1]):
            yield from held
            held = []
        held.append(block)


def _at_first_full(change: Callable[[SealedHeader, Batch], tuple[SealedHeader, Batch]]) -> Any:
    """Change the first block that holds two transactions or more."""

    def altered(blocks: Blocks) -> Blocks:
        changed = False
        for sealed, batch in blocks:
            if not changed and len(batch) > 1:
                changed = True
                yield change(sealed, batch)
            else:
                yield sealed, batch

    return altered


def _fork(sealed: SealedHeader, batch: Batch) -> tuple[SealedHeader, Batch]:
    return replace(sealed, header=replace(sealed.header, time_ms=sealed.header.time_ms + 1)), batch


def _leap(sealed: SealedHeader, batch: Batch) -> tuple[SealedHeader, Batch]:
    return replace(sealed, header=replace(sealed.header, time_ms=2**62)), batch


def _forge(sealed: SealedHeader, batch: Batch) -> tuple[SealedHeader, Batch]:
    votes = [(identity, bytes(64)) for identity, _ in sealed.certificate.votes]
    return replace(sealed, certificate=replace(sealed.certificate, votes=tuple(votes))), batch


def _double(sealed: SealedHeader, batch: Batch) -> tuple[SealedHeader, Batch]:
    return sealed, batch.take(np.r_[np.arange(len(batch)), 0])


def _gap(sealed: SealedHeader, batch: Batch) -> tuple[SealedHeader, Batch]:
    return sealed, batch.take(np.arange(1, len(batch)))


def _skew_root(evidence: SoakEvidence) -> None:
    node = evidence.chains[0].node
    root = bytearray(evidence.audits[node].state_root)
    root[-1] ^= 1
    evidence.audits[node] = msgspec.structs.replace(evidence.audits[node], state_root=bytes(root))


def _mint(evidence: SoakEvidence) -> None:
    evidence.chains[0].balances[0] += 1


def _false_row(evidence: SoakEvidence) -> None:
    evidence.must_not = np.append(evidence.must_not, evidence.chains[0].prefixes[:1])


def _expired(evidence: SoakEvidence) -> None:
    evidence.expiring.append((int(evidence.chains[0].prefixes[0]), 1, True))


def _mistell(evidence: SoakEvidence) -> None:
    contracts = evidence.contracts
    if contracts is not None:
        told = [(tx_id, {**heard, "gas": heard["gas"] + 1}) for tx_id, heard in contracts.told[:1]]
        evidence.contracts = replace(contracts, told=told + contracts.told[1:])


def _leak(nodes: list[Any], stop: threading.Event) -> None:
    """A Peer that holds on to LEAK_MB more every second."""
    held = 0
    while not stop.wait(1.0):
        held += LEAK_MB
        with suppress(Exception):
            nodes[0].call("peer", "set_faults", {"ballast_mb": held}, timeout_s=20)


def _kill(kind: str) -> Callable[[list[Any], threading.Event], None]:
    """SIGKILL of all actors of a kind, on all nodes, a few times."""

    def act(nodes: list[Any], stop: threading.Event) -> None:
        for _ in range(KILLS):
            if stop.wait(4.0):
                return
            _signal(_pids(nodes, kind), signal.SIGKILL)

    return act


def _lose_what_waits(nodes: list[Any], stop: threading.Event) -> None:
    """Let transactions gather in the mempools, while Consensus stands still, and kill all shards."""
    for _ in range(KILLS):
        if stop.wait(4.0):
            return
        leaders = _pids(nodes, "consensus")
        _signal(leaders, signal.SIGSTOP)
        stop.wait(GATHER_S)
        _signal(_pids(nodes, "mempool"), signal.SIGKILL)
        _signal(leaders, signal.SIGCONT)


def _stall(stopped_s: float, running_s: float) -> Callable[[list[Any], threading.Event], None]:
    """Every Storage stands still again and again until the soak is over."""

    def act(nodes: list[Any], stop: threading.Event) -> None:
        pids: list[int] = []
        while not stop.is_set():
            # Asking takes time, in which nothing stands still: only when one was killed.
            if len(pids) < len(nodes) or not all(map(psutil.pid_exists, pids)):
                pids = _pids(nodes, "storage")
            for number, pause_s in ((signal.SIGSTOP, stopped_s), (signal.SIGCONT, running_s)):
                _signal(pids, number)
                stop.wait(pause_s)

    return act


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _pids(nodes: list[Any], kind: str) -> list[int]:
    return [
        int(facts["pid"])
        for node in nodes
        for name, facts in node.health().items()
        if facts is not None and name.partition("-")[0] == kind
    ]


SABOTAGE: dict[str, Sabotage] = {
    "skip_fsync": Sabotage(
        "nothing_lost", "rows are reported durable that are not; shards are killed", act=_lose_what_waits
    ),
    "drop_block": Sabotage("nothing_lost", "the last block that holds transactions is gone", _drop_block),
    "no_retry": Sabotage("nothing_unanswered", "what failed is not offered again", act=_kill("gateway")),
    "double": Sabotage("nothing_duplicated", "a block holds a transaction twice", _at_first_full(_double)),
    "expired": Sabotage("nothing_expired", "an expired transaction is in a block", evidence=_expired),
    "false_row": Sabotage("nothing_invalid", "a false signature is in a block", evidence=_false_row),
    "fork": Sabotage("no_forks", "a node holds another block", _at_first_full(_fork)),
    "skew_root": Sabotage("roots_agree", "a state root is off by one bit", evidence=_skew_root),
    "mint": Sabotage("supply_conserved", "an account has one unit too many", evidence=_mint),
    "forge": Sabotage("certificates", "votes are forged", _at_first_full(_forge)),
    "leap": Sabotage("block_times", "a block's time is far ahead", _at_first_full(_leap)),
    "gap": Sabotage("nonces", "a transaction is missing from a block", _at_first_full(_gap)),
    "stale_read": Sabotage("linearizable", "a reader answers with what it first saw"),
    "election": Sabotage("elections", "Consensus is killed, and nobody says so", act=_kill("consensus")),
    "never_heal": Sabotage(
        "recovered", "Storage is stopped at a fault, and not woken", act=_stall(3_600, 1), with_faults=True
    ),
    "slow": Sabotage(
        "latencies_back",
        "from the first fault on Storage stands still",
        act=_stall(6.0, 0.1),
        with_faults=True,
    ),
    "mistell": Sabotage(
        "contracts_agree",
        "a client was told of other gas than a call used",
        evidence=_mistell,
        of_contracts=True,
    ),
    "leak": Sabotage("no_leak", f"a Peer keeps {LEAK_MB} MB more every second", act=_leak),
}
