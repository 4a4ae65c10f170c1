"""One block by several engines, and what came of it in a form in which it can be compared.

The rules of the ledger say what is right. The others run the block as a job, from the same state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import numpy as np
from numpy.typing import NDArray

from actors.contracts.limits import ENTRY_TAG
from actors.execution.job import KEY_BYTES, Job, JobOutcome, StateSlice
from actors.execution.outputs import outputs_of
from actors.execution.passes import Division, RunAll, run_divided, run_in_order
from actors.execution.planning import TouchPlan, plan_touches
from actors.ledger import rules
from actors.ledger.accounts import Account, Entries, State, account_at, remove_empty
from actors.ledger.contract_payloads import DEPOSITS_KEY
from actors.ledger.contract_rules import RowApplied
from actors.ledger.hashing import sha256_rows
from actors.ledger.rows import Batch
from actors.ledger.verdict import Verdict
from bench.contract_fuzz.block_worlds import PROPOSER, BlockWorld

TABLE_SEED = 0x5EED_0123_4567_89AB_CDEF
RECEIPT_BYTES = 32
Run = Callable[[Job], JobOutcome]


@dataclass(frozen=True)
class BlockCame:
    """What came of a block. receipts: the first RECEIPT_BYTES of each row that passed. state, entries: after
    it."""

    verdicts: list[int]
    applied: list[RowApplied]
    receipts: list[bytes]
    fees: int
    state: State
    entries: Entries

    def differences(self, other: BlockCame) -> dict[str, list[str]]:
        """By names, where and how they differ first."""
        pairs = {name: (mine, vars(other)[name]) for name, mine in vars(self).items()}
        return {name: _first_difference(*pair) for name, pair in pairs.items() if pair[0] != pair[1]}


def _first_difference(one: object, other: object) -> list[str]:
    if isinstance(one, list) and isinstance(other, list):
        longest = range(max(len(one), len(other)))
        place = next(at for at in longest if one[at : at + 1] != other[at : at + 1])
        return [str(place), *(repr(each[place : place + 1]) for each in (one, other))]
    if isinstance(one, dict) and isinstance(other, dict):
        key = next(key for key in {**one, **other} if one.get(key) != other.get(key))
        return [key.hex(), repr(one.get(key)), repr(other.get(key))]
    return [repr(one), repr(other)]


class BlockCase:
    """A block that may be run again and again: nothing is changed."""

    def __init__(self, world: BlockWorld, batch: Batch) -> None:
        self.batch, self.env = batch, world.environment()
        self._state, self._entries = world.state, world.entries
        programs = world.programs(batch)
        touches = {at: world.contracts[at].touches for at, encoded in programs.items() if encoded}
        self.plan: TouchPlan = plan_touches(batch, touches, sha256_rows, TABLE_SEED)
        deposits = np.frombuffer(DEPOSITS_KEY, dtype=np.uint8).reshape(1, KEY_BYTES)
        self.job = Job(
            batch,
            self.env.height,
            self.env.time_ms,
            world.prices,
            world.prices.block_gas_max,
            programs,
            self.read(np.concatenate([self.plan.keys, deposits])),
        )

    def read(self, keys: NDArray[np.uint8]) -> StateSlice:
        """What the state has of keys."""
        entries, accounts = dict[bytes, bytes](), dict[bytes, tuple[int, int]]()
        for row in keys:
            key = row.tobytes()
            if key.startswith(ENTRY_TAG):
                entries[key] = self._entries.get(key, b"")
            else:
                held = account_at(self._state, key, self.env.height)
                accounts[key] = held.nonce, held.balance
        return StateSlice.of(entries, accounts)

    def forgetful(self, random: Random) -> Job:
        """The job, without some of what it is planned to touch."""
        entries, accounts = self.job.known.entries(), self.job.known.accounts()
        for known in (entries, accounts):
            for key in random.sample(sorted(known), len(known) // 2):
                del known[key]  # type: ignore[attr-defined]
        return replace(self.job, known=StateSlice.of(entries, accounts))

    def by_rules(self) -> BlockCame:
        """The definition."""
        state, entries = dict(self._state), dict(self._entries)
        came = rules.apply_batch(state, self.batch, self.env, entries)
        receipts = [each[:RECEIPT_BYTES] for each in came.receipts]
        verdicts = [int(verdict) for verdict in came.verdicts]
        return BlockCame(verdicts, came.applied, receipts, came.fees, state, entries)

    def in_order(self, run: Run, job: Job) -> BlockCame:
        """By an engine, in one pass after the other."""
        return self._came(run_in_order(job, _one_by_one(run), self.read))

    def divided(self, run: Run, parts: int) -> tuple[BlockCame, Division]:
        """By an engine, in islands."""
        outcome, division = run_divided(self.job, self.plan, parts, _one_by_one(run), self.read)
        return self._came(outcome), division

    def _came(self, outcome: JobOutcome) -> BlockCame:
        outcome.check(len(self.batch))
        state, entries, height = dict(self._state), dict(self._entries), self.env.height
        for key, value in outcome.changed.entries().items():
            if entries.pop(key, b"") == value:
                raise ValueError(f"entry {key.hex()} is told as changed, and is not")
            if value:
                entries[key] = value
        for key, (nonce, balance) in outcome.changed.accounts().items():
            if account_at(state, key, height) == Account(nonce, balance):
                raise ValueError(f"account {key.hex()} is told as changed, and is not")
            state[key] = Account(nonce, balance)
        if outcome.fees:
            earned = account_at(state, PROPOSER, height)
            state[PROPOSER] = Account(earned.nonce, earned.balance + outcome.fees)
        remove_empty(state)
        receipts = [row.tobytes() for row in outcome.receipts]
        verdicts = outcome.verdicts.tolist()
        return BlockCame(verdicts, _applied(outcome), receipts, outcome.fees, state, entries)


def _one_by_one(run: Run) -> RunAll:
    return lambda jobs: [run(each) for each in jobs]


def _applied(outcome: JobOutcome) -> list[RowApplied]:
    """The rows that passed, as the rules tell them."""
    outputs = {output.position: output for output in outputs_of(outcome.outputs)}
    rows = list[RowApplied]()
    for place, (status, fee, *_) in enumerate(outcome.receipts.tolist()):
        output = outputs.get(place)
        if output is None:
            rows.append(RowApplied(Verdict.OK, fee, status))
        else:
            told = (output.gas, output.results, output.events, output.message)
            rows.append(RowApplied(Verdict.OK, fee, status, *told))
    return rows
