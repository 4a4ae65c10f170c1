"""Differential fuzzing of contracts: compiled and interpreted, beside the same source as ordinary Python, or
beside native code.

1. Programs are numbered. Number n of a seed is the same on every machine, whatever ran before it.
2. After each call everything that a call can do is compared: failure and message, result, events, entries
   and coins; beside native code gas, too. The first difference ends a program: what follows it proves
   nothing.
3. Beside ordinary Python, mutants of each compiled program are decoded, verified and run: see
   contract_fuzz/promises.py. Beside native code, some contracts are such mutants.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from actors.contracts import ir
from actors.contracts.encoding import decode_program, encode_program
from actors.contracts.errors import ProgramError
from actors.contracts.language import LanguageError, compile_source
from actors.contracts.native.program import NativeProgram
from actors.contracts.verified import Verified, VerifiedFunction
from actors.contracts.verifier import verify
from bench.contract_fuzz.arguments import PEOPLE, encode, random_slot
from bench.contract_fuzz.columns import ColumnRun
from bench.contract_fuzz.mutants import mutate_bytes, mutate_program
from bench.contract_fuzz.pair import Observed, Pair, PlannedCall
from bench.contract_fuzz.promises import call_all, ready_or_refused
from bench.contract_fuzz.sources import ContractSource, random_contracts
from bench.contract_fuzz.twins import ColumnCall, Difference

SHOWN_MAX = 5
"""Differences, and crashes, that are kept in the report; a broken operator differs in every other program."""
CALLS_EACH = 10
DEPLOYMENTS_EACH = 4
MUTANTS_EACH = 4
MUTANT_TRIES = 20
COINS_EACH = 1_000
HEIGHTS = (1, 7, 200, 255, 256, 2**63)
PYTHON, INTERPRETER, NATIVE = "python", "interpreter", "native"
ENGINES = (PYTHON, INTERPRETER, NATIVE)
DEFAULT_ENGINES = (PYTHON, INTERPRETER)


@dataclass
class Counts:
    """What has been tried so far, and what was found."""

    programs: int = 0
    refused: int = 0
    calls: int = 0
    failed_calls: int = 0
    disagreements: int = 0
    mutants: int = 0
    mutants_accepted: int = 0
    crashes: int = 0
    columns: int = 0
    native_programs: int = 0
    refused_by_native: int = 0
    verify_ms_max: float = 0.0
    shown: list[dict[str, object]] = field(default_factory=list)
    crashed: list[dict[str, object]] = field(default_factory=list)

    def disagree(self, number: int, what: str, **rest: object) -> None:
        """The two differ."""
        self.disagreements += 1
        self.show(number, what, **rest)

    def show(self, number: int, what: str, **rest: object) -> None:
        """Keep it for the report, if it is among the first."""
        if len(self.shown) < SHOWN_MAX:
            self.shown.append({"program": number, "what": what, **rest})

    def crash(self, number: int, **rest: object) -> None:
        """Something was raised that is no answer; called while it is handled."""
        self.crashes += 1
        if len(self.crashed) < SHOWN_MAX:
            self.crashed.append({"program": number, "error": traceback.format_exc(limit=-6), **rest})


def fuzz_contracts(
    minutes: float,
    seed: int,
    progress: Callable[[Counts], None],
    programs_max: int | None = None,
    clock: Callable[[], float] = time.monotonic,
    engines: Sequence[str] = DEFAULT_ENGINES,
) -> dict[str, object]:
    """Compare for some minutes by the clock given (seconds), or for `programs_max` programs; one at least.
    engines: of ENGINES, the interpreter and one more at least.

    Answers `engines`, `seed`, `programs` (each of one to three contracts), `refused` (of these, by the
    compiler: they are valid, so a compiler refuses too much if there are any), `calls` and of these
    `failed_calls`, `disagreements`, `mutants` and of these `mutants_accepted`, `crashes`, `columns` of calls
    by native code, `native_programs` that were compiled for them and `refused_by_native` that could not be,
    `verify_ms_max` (of a core), and, for the first of each, `shown` and `crashed`: what to repeat.
    """
    counts, end = Counts(), clock() + 60 * minutes
    while True:
        fuzz_program(seed, counts.programs, counts, engines)
        counts.programs += 1
        progress(counts)
        if counts.programs == programs_max or clock() >= end:
            break
    found = {name: value for name, value in vars(counts).items() if name not in ("shown", "crashed")}
    found["verify_ms_max"] = round(counts.verify_ms_max, 2)
    return {"seed": seed, "engines": list(engines), **found, "shown": counts.shown, "crashed": counts.crashed}


def fuzz_program(seed: int, number: int, counts: Counts, engines: Sequence[str] = DEFAULT_ENGINES) -> None:
    """One program: deploy its contracts, call them, and try mutants of them."""
    random = Random(f"{seed}:{number}")
    sources = random_contracts(random)
    texts = [source.text for source in sources]
    try:
        ready = [(source, _ready(source, counts)) for source in sources]
    except LanguageError as refused:
        counts.refused += 1
        counts.show(number, f"the compiler refuses it: {refused}", sources=texts)
        return
    except ProgramError as refused:
        counts.disagree(number, f"the verifier refuses what the compiler made: {refused}", sources=texts)
        return
    if PYTHON in engines:
        _Run(random, number, counts, texts).everything(ready)
        for _, program in ready:
            _mutants(random, number, program.program, counts)
    if NATIVE in engines:
        _native(Random(f"{seed}:{number}:columns"), number, counts, ready)


def _ready(source: ContractSource, counts: Counts) -> Verified:
    """Compiled, encoded, decoded and verified. Raises LanguageError, ProgramError."""
    program = decode_program(encode_program(compile_source(source.text, f"{source.name}.py").program))
    began = time.process_time()
    ready = verify(program)
    counts.verify_ms_max = max(counts.verify_ms_max, 1_000 * (time.process_time() - began))
    return ready


class _Run:
    """The calls of one program."""

    def __init__(self, random: Random, number: int, counts: Counts, texts: list[str]) -> None:
        self.random, self.number, self.counts, self.texts = random, number, counts, texts
        self.pair = Pair(dict.fromkeys(PEOPLE, COINS_EACH))
        self.made: list[PlannedCall] = []
        self.deployed: list[tuple[ContractSource, Verified]] = []

    def everything(self, ready: list[tuple[ContractSource, Verified]]) -> None:
        """Until all is done, or the two differ, or one crashes."""
        for source, program in ready:
            if not self._deploy(source, program):
                return
            self.deployed.append((source, program))
            for _ in range(CALLS_EACH):
                if not self._call():
                    return

    def _deploy(self, source: ContractSource, program: Verified) -> bool:
        """Whether it is there."""
        for _ in range(DEPLOYMENTS_EACH):
            call = self._random_call(source, program.init.function if program.init else None, "")
            seen = self._compared(call, lambda made: self.pair.deploy(source, program, made))
            if seen is None or not seen.failure:
                return seen is not None
        return False

    def _call(self) -> bool:
        """Whether to go on."""
        source, program = self.random.choice(self.deployed)
        kinds = (ir.FunctionKind.ENTRY, ir.FunctionKind.ENTRY, ir.FunctionKind.VIEW)
        kind = self.random.choice(kinds)
        public = [each.function for each in program.functions if each.function.kind is kind]
        if not public:
            return True
        function = self.random.choice(public)
        return self._compared(self._random_call(source, function, function.name), self.pair.call) is not None

    def _random_call(self, source: ContractSource, function: ir.Function | None, name: str) -> PlannedCall:
        sender = self.random.choice(PEOPLE)
        height = self.random.choice(HEIGHTS)
        coins = 0
        if self.random.random() < (0.6 if function is not None and function.accepts_coins else 0.03):
            coins = min(self.pair.chain.balance(sender), self.random.choice((1, 2, 10, COINS_EACH)))
        arguments = b"" if function is None else self._arguments(function)
        return PlannedCall(source.address, name, arguments, sender, coins, height)

    def _arguments(self, function: ir.Function) -> bytes:
        data = b""
        for param in function.params:
            slot = random_slot(self.random, param.shape)
            if param.max is not None and self.random.random() < 0.95:
                slot = self.random.randint(0, param.max)
            elif param.shape.type.is_integer and not param.shape.count and self.random.random() < 0.5:
                slot = self.random.randint(0, 20)
            data += encode(param.shape, slot)
        return data

    def _compared(
        self, call: PlannedCall, run: Callable[[PlannedCall], tuple[Observed, Observed]]
    ) -> Observed | None:
        """What came of it, or None if the two differ or one crashed."""
        self.made.append(call)
        self.counts.calls += 1
        try:
            interpreted, python = run(call)
        except Exception:  # noqa: BLE001  # whatever it is, it is what we look for
            self.counts.crash(self.number, sources=self.texts, calls=[each.told() for each in self.made])
            return None
        self.counts.failed_calls += interpreted.failure != 0
        if interpreted == python:
            return interpreted
        one, other = interpreted.told(), python.told()
        self.counts.disagree(
            self.number,
            ", ".join(name for name in one if one[name] != other[name]),
            interpreter={name: value for name, value in one.items() if value != other[name]},
            python={name: value for name, value in other.items() if value != one[name]},
            calls=[each.told() for each in self.made],
            sources=self.texts,
        )
        return None


def _mutants(random: Random, number: int, program: ir.Program, counts: Counts) -> None:
    """Some that are nearly this program."""
    for _ in range(MUTANTS_EACH):
        data = mutate_program(random, program)
        if random.random() < 0.3:
            data = mutate_bytes(random, encode_program(program))
        counts.mutants += 1
        try:
            began = time.process_time()
            ready = ready_or_refused(data)
            counts.verify_ms_max = max(counts.verify_ms_max, 1_000 * (time.process_time() - began))
            if ready is not None:
                counts.mutants_accepted += 1
                call_all(random, ready)
        except Exception:  # noqa: BLE001  # whatever it is, it is what we look for
            counts.crash(number, mutant=data.hex())


def _native(
    random: Random, number: int, counts: Counts, ready: list[tuple[ContractSource, Verified]]
) -> None:
    """Columns of calls of these contracts, of which one may be a mutant."""
    contracts, texts = [(source.address, program) for source, program in ready], [s.text for s, _ in ready]
    if random.random() < 0.5:
        place = random.randrange(len(contracts))
        address, program = contracts[place]
        contracts[place] = address, _accepted_mutant(random, program, counts)

    def compiled(program: Verified) -> NativeProgram:
        counts.native_programs += 1
        try:
            return NativeProgram(program)
        except RuntimeError:
            counts.refused_by_native += 1
            raise

    def differs(called: VerifiedFunction, calls: list[ColumnCall], found: Difference) -> None:
        shown = calls if found.row is None else calls[: found.row + 1]
        counts.disagree(
            number,
            f"{called.function.name}: {', '.join(found.interpreter)}",
            row=found.row,
            interpreter=found.interpreter,
            native=found.native,
            calls=[each.told() for each in shown],
            sources=texts,
            programs=[encode_program(program.program).hex() for _, program in contracts],
        )

    run = ColumnRun(random, compiled)
    try:
        run.everything(contracts, differs)
    except Exception:  # noqa: BLE001  # whatever it is, it is what we look for
        counts.crash(number, sources=texts)
    counts.columns += run.columns
    counts.calls += run.calls
    counts.failed_calls += run.failed_calls


def _accepted_mutant(random: Random, program: Verified, counts: Counts) -> Verified:
    """One that the verifier takes, or the program itself."""
    for _ in range(MUTANT_TRIES):
        counts.mutants += 1
        ready = ready_or_refused(mutate_program(random, program.program))
        if ready is not None:
            counts.mutants_accepted += 1
            return ready
    return program
