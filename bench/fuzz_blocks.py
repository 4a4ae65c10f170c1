"""Differential fuzzing of blocks: the ledger's plain rules, and jobs by every engine, whole and in parts.

1. Chains are numbered; number n of a seed is the same on every machine, whatever ran before it.
2. Each block runs by the plain rules on the whole state, which are the definition, and as a job by each
   engine for each number of Validators among which its islands are divided. The verdicts, receipts, results,
   events, gas, fees and the state are compared, and the state's root at the end of each chain.
3. The first difference ends a chain: what follows it proves nothing.
"""

from __future__ import annotations

import copy
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.contracts.encoding import decode_program
from actors.contracts.limits import ENTRY_TAG
from actors.contracts.touches import touches_of
from actors.execution import interpreted
from actors.execution.costs import CostMemory
from actors.execution.job import KEY_BYTES, Job, JobOutcome, StateSlice
from actors.execution.native_engine import NativeEngine
from actors.execution.passes import Division, RunAll, run_divided, run_in_order
from actors.execution.planning import TouchPlan, plan_touches
from actors.ledger import rules
from actors.ledger.accounts import Account, Entries, State, account_at, remove_empty
from actors.ledger.call_touches import Plans
from actors.ledger.contract_payloads import DEPOSITS_KEY
from actors.ledger.hashing import sha256_rows
from actors.ledger.output_columns import outputs_of
from actors.ledger.rows import KIND_CALL, Batch
from bench.contract_fuzz.blocks import PROPOSER, BlockChain

Engine = Callable[[Job], JobOutcome]
BLOCKS_EACH = 100
"""Of a chain."""
VALIDATORS = (1, 2, 4)
SEED = 0x5EED_0123_4567_89AB_CDEF
SHOWN_MAX = 5
DISAGREEMENTS_MAX = 20
"""After these it ends: a broken engine differs in every chain."""
FORGETFUL = 0.25
"""How often an engine does not know what it is planned to touch."""


def engines_of(names: Iterable[str]) -> dict[str, Engine]:
    """interpreter, native. Raises KeyError for another one."""
    makers: dict[str, Callable[[], Engine]] = {
        "interpreter": lambda: interpreted.run,
        "native": lambda: NativeEngine(SEED).run,
    }
    return {name: makers[name]() for name in names}


@dataclass
class BlockCounts:
    """What has been tried so far, and what was found. divided: of the blocks, into several parts."""

    chains: int = 0
    blocks: int = 0
    rows: int = 0
    passed: int = 0
    calls: int = 0
    failed_calls: int = 0
    runs: int = 0
    islands: int = 0
    divided: int = 0
    disagreements: int = 0
    shown: list[dict[str, object]] = field(default_factory=list)

    def disagree(self, **what: object) -> None:
        """Two differ, or one crashed."""
        self.disagreements += 1
        if len(self.shown) < SHOWN_MAX:
            self.shown.append(what)


def fuzz_blocks(
    blocks: int,
    seed: int,
    engines: Mapping[str, Engine],
    progress: Callable[[BlockCounts], None],
    validators: Sequence[int] = VALIDATORS,
    first_chain: int = 0,
) -> dict[str, object]:
    """Compare so many blocks at least, or until DISAGREEMENTS_MAX.

    Answers what BlockCounts has, and what it was asked to do; of each of the first disagreements `chain` and
    `block`, which with the seed repeat it.
    """
    counts, began = BlockCounts(), time.monotonic()
    while counts.blocks < blocks and counts.disagreements < DISAGREEMENTS_MAX:
        _Chain(seed, first_chain + counts.chains, engines, validators, counts).run()
        counts.chains += 1
        progress(counts)
    found = vars(counts) | {"seconds": round(time.monotonic() - began, 1)}
    return {"seed": seed, "engines": list(engines), "validators": list(validators), **found}


class _Chain:
    """One chain, of which each way to run its blocks has a state of its own."""

    def __init__(
        self,
        seed: int,
        number: int,
        engines: Mapping[str, Engine],
        validators: Sequence[int],
        counts: BlockCounts,
    ) -> None:
        self.number, self.engines, self.counts, self.costs = number, engines, counts, CostMemory()
        self.chain = BlockChain(Random(f"blocks:{seed}:{number}"))
        self.plans: Plans = {
            address: touches_of(decode_program(program)) for address, program in self.chain.programs.items()
        }
        first, last = next(iter(engines)), list(engines)[-1]
        self.ways = list(dict.fromkeys([(first, 1), *((last, parts) for parts in validators)]))

    def run(self) -> None:
        """Until its end, or a difference."""
        for number in range(BLOCKS_EACH):
            batch = self.chain.block()
            try:
                wrong = self._block(batch)
            except Exception:  # noqa: BLE001  # whatever it is, it is what we look for
                wrong = {"crash": traceback.format_exc(limit=-6)}
            if wrong:
                self.counts.disagree(chain=self.number, block=number, rows=len(batch), **wrong)
                return
            self.counts.blocks += 1

    def _block(self, batch: Batch) -> dict[str, object]:
        """What differs; nothing, if all is well."""
        chain, env = self.chain, self.chain.environment()
        before = copy.copy(chain.state), copy.copy(chain.entries)
        plan = plan_touches(batch, self.plans, sha256_rows, SEED)
        job, read = _job(chain, batch, plan)
        bare = _forgetful(chain.random, job)
        plain = rules.apply_batch(chain.state, batch, env, chain.entries)
        self._count(batch, plain)
        wanted: dict[str, Any] | None = None
        for name, parts in self.ways:
            engine = self.engines[name]
            run_all = _one_by_one(engine)
            if parts == 1 and bare is not None:
                outcome, division = run_in_order(bare, run_all, read), Division(1, 1, len(batch))
            else:
                outcome, division = run_divided(job, plan, self.costs.of(job, plan), parts, run_all, read)
            self.counts.runs += 1
            self.counts.islands = max(self.counts.islands, division.islands)
            self.counts.divided += division.parts > 1
            outcome.check(len(batch))
            self.costs.learn(job, plan, outcome)
            if wanted is None:
                wanted = _told(outcome)
                if wrong := self._against_plain(outcome, plain, before):
                    return {"way": f"{name}, {parts} parts, beside the plain rules", **wrong}
            elif (told := _told(outcome)) != wanted:
                names = [each for each in told if told[each] != wanted[each]]
                shown = {each: (str(wanted[each])[:800], str(told[each])[:800]) for each in names}
                return {"way": f"{name}, {parts} parts", "what": names, "shown": shown}
        chain.height += 1
        return {}

    def _count(self, batch: Batch, plain: rules.Outcome) -> None:
        counts = self.counts
        counts.rows += len(batch)
        counts.passed += len(plain.applied)
        counts.calls += int((batch.rows["kind"] == KIND_CALL).sum())
        counts.failed_calls += sum(applied.status != 0 for applied in plain.applied)

    def _against_plain(
        self, outcome: JobOutcome, plain: rules.Outcome, before: tuple[State, Entries]
    ) -> dict[str, object]:
        """What differs from the plain rules, whose state is the chain's."""
        state, entries = before
        _change(state, entries, outcome)
        _pay(state, outcome.fees, self.chain.height + 1)
        outputs = {output.position: output for output in outputs_of(outcome.outputs)}
        same = {
            "verdicts": outcome.verdicts.tolist() == plain.verdicts,
            "receipts": [row.tobytes() for row in outcome.receipts] == [each[:32] for each in plain.receipts],
            "outputs": all(plain.applied[place].output(place) == output for place, output in outputs.items()),
            "fees": outcome.fees == plain.fees,
            "gas": outcome.gas_used == sum(applied.gas for applied in plain.applied),
            "accounts": state == self.chain.state,
            "entries": entries == self.chain.entries,
        }
        return {"what": wrong} if (wrong := [name for name, is_same in same.items() if not is_same]) else {}


def state_reader(state: State, entries: Entries, height: int) -> Callable[[NDArray[np.uint8]], StateSlice]:
    """Tells what a plain state has of (m, 32) keys, in the block at a height."""

    def read(keys: NDArray[np.uint8]) -> StateSlice:
        values, accounts = dict[bytes, bytes](), dict[bytes, tuple[int, int]]()
        for row in keys:
            key = row.tobytes()
            if key.startswith(ENTRY_TAG):
                values[key] = entries.get(key, b"")
            else:
                held = account_at(state, key, height)
                accounts[key] = held.nonce, held.balance
        return StateSlice.of(values, accounts)

    return read


def _job(
    chain: BlockChain, batch: Batch, plan: TouchPlan
) -> tuple[Job, Callable[[NDArray[np.uint8]], StateSlice]]:
    """The block as a job that knows what is planned, and what tells the rest of the state before it."""
    env, state, entries = chain.environment(), dict(chain.state), dict(chain.entries)

    read = state_reader(state, entries, env.height)
    called = {key.tobytes() for key in batch.rows["recipient"][batch.rows["kind"] == KIND_CALL]}
    programs, wanted = dict[bytes, bytes](), list(called)
    while wanted:
        address = wanted.pop()
        if address not in programs:
            programs[address] = chain.programs.get(address, b"")
            if programs[address]:
                wanted += [each.address for each in decode_program(programs[address]).imports]
    deposits = np.frombuffer(DEPOSITS_KEY, dtype=np.uint8).reshape(1, KEY_BYTES)
    known = read(np.concatenate([plan.keys, deposits]))
    gas = env.prices.block_gas_max
    return Job(batch, env.height, env.time_ms, env.prices, gas, programs, known), read


def _forgetful(random: Random, job: Job) -> Job | None:
    """Sometimes the same job, that knows only half of what it is planned to touch, and has to ask."""
    if random.random() >= FORGETFUL:
        return None
    entries, accounts = job.known.entries(), job.known.accounts()
    entries = {key: entries[key] for key in random.sample(sorted(entries), len(entries) // 2)}
    accounts = {key: accounts[key] for key in random.sample(sorted(accounts), len(accounts) // 2)}
    return replace(job, known=StateSlice.of(entries, accounts))


def _one_by_one(run: Engine) -> RunAll:
    return lambda jobs: [run(each) for each in jobs]


def _change(state: State, entries: Entries, outcome: JobOutcome) -> None:
    for key, value in outcome.changed.entries().items():
        if value:
            entries[key] = value
        else:
            entries.pop(key, None)
    for key, held in outcome.changed.accounts().items():
        state[key] = Account(*held)


def _pay(state: State, fees: int, height: int) -> None:
    """The proposer, as the last thing in a block."""
    earned = account_at(state, PROPOSER, height)
    if fees:
        state[PROPOSER] = Account(earned.nonce, earned.balance + fees)
    remove_empty(state)


def _told(outcome: JobOutcome) -> dict[str, Any]:
    """All that it says, in a form that compares."""
    return {
        "verdicts": outcome.verdicts.tolist(),
        "receipts": outcome.receipts.tolist(),
        "outputs": outputs_of(outcome.outputs),
        "texts": outcome.outputs.texts,
        "entries": outcome.changed.entries(),
        "accounts": outcome.changed.accounts(),
        "gas": outcome.gas_used,
        "fees": outcome.fees,
    }
