"""Random columns of calls of random programs: by the interpreter and by native code, and compared.

Compiling is what takes time, so a compiled program is called often: arguments at the edges of their types,
rows that were touched before and others, limits of gas about what a call takes, coins, and arguments that no
function takes, one among the others.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from actors.contracts import ir
from actors.contracts.interpreter import Result, run_init
from actors.contracts.native.program import NativeProgram
from actors.contracts.running import CallContext
from actors.contracts.verified import Verified, VerifiedFunction
from actors.contracts.world import MemoryWorld
from bench.contract_fuzz.arguments import PEOPLE, encode, random_slot
from bench.contract_fuzz.twins import ColumnCall, Difference, Twins, interpreted

GAS = 1 << 40
COLUMNS_EACH = 6
"""Of each public function."""
CALLS_EACH = 12
COINS_EACH = 1_000
DEPLOYMENTS_EACH = 4
HEIGHTS = (1, 7, 200, 255, 256, 2**63)
PUBLIC = (ir.FunctionKind.ENTRY, ir.FunctionKind.VIEW)
Contracts = list[tuple[bytes, Verified]]
Differs = Callable[[VerifiedFunction, list[ColumnCall], Difference], None]


class ColumnRun:
    """Contracts of one program, each at its address. compile_program: raises RuntimeError."""

    def __init__(self, random: Random, compile_program: Callable[[Verified], NativeProgram]) -> None:
        self.random, self._compile = random, compile_program
        self.world = MemoryWorld()
        self.world.balances = dict.fromkeys(PEOPLE, COINS_EACH)
        self._native = dict[bytes, NativeProgram]()
        self.calls = self.failed_calls = self.columns = 0

    def everything(self, contracts: Contracts, differs: Differs) -> None:
        """Deploy all and call all, until the two differ."""
        for address, program in contracts:
            self._deploy(address, program)
        twins = Twins(self.world, self._find)
        public = [
            (address, program, each)
            for address, program in contracts
            for each in program.functions
            if each.function.kind in PUBLIC and address in self.world.programs
        ]
        for _ in range(COLUMNS_EACH):
            self.random.shuffle(public)
            for address, program, called in public:
                calls, expected = self._column(twins, address, program, called)
                self.columns += 1
                self.calls += len(calls)
                self.failed_calls += sum(each.failure is not None for each in expected)
                found = twins.compare(called, calls, expected)
                if found is not None:
                    differs(called, calls, found)
                    return
            if self.random.random() < 0.5:
                twins.begin()

    def _find(self, address: bytes) -> NativeProgram | None:
        program = self.world.programs.get(address)
        if program is None:
            return None
        if address not in self._native:
            self._native[address] = self._compile(program)
        return self._native[address]

    def _deploy(self, address: bytes, program: Verified) -> None:
        """By the interpreter, which alone runs `init`. What imports one that is not there may be there."""
        for _ in range(DEPLOYMENTS_EACH):
            params = program.init.function.params if program.init else ()
            context = self._context(address, self.random.choice(HEIGHTS), 0)
            result = run_init(program, self._arguments(params), context, self.world, GAS)
            if result.failure is None:
                self.world.programs[address] = program
                return

    def _column(
        self, twins: Twins, address: bytes, program: Verified, called: VerifiedFunction
    ) -> tuple[list[ColumnCall], list[Result]]:
        """Calls, and what came of each by the interpreter."""
        height, function = self.random.choice(HEIGHTS), called.function
        calls, expected, drawn = list[ColumnCall](), list[Result](), list[bytes]()
        for _ in range(CALLS_EACH):
            drawn.append(self._near(drawn, function.params))
            amount = 0
            if self.random.random() < (0.6 if function.accepts_coins else 0.03):
                amount = self.random.choice((1, 2, 10, COINS_EACH, COINS_EACH + 1))
            made = ColumnCall(drawn[-1], self._context(address, height, amount), GAS)
            if self.random.random() < 0.25:
                made = self._limited(made, twins.probe(program, function.name, made))
            calls.append(made)
            expected.append(interpreted(twins.world, program, function.name, made))
        return calls, expected

    def _limited(self, made: ColumnCall, probed: Result) -> ColumnCall:
        """With about as much gas as it takes, or less."""
        used = probed.gas_used
        limit = self.random.choice((used, used - 1, used + 1, self.random.randint(0, used), used // 2))
        return ColumnCall(made.arguments, made.context, max(0, limit))

    def _context(self, address: bytes, height: int, amount: int) -> CallContext:
        return CallContext(
            sender=self.random.choice(PEOPLE),
            contract=address,
            origin=self.random.choice(PEOPLE),
            amount=amount,
            height=height,
            time_ms=height // 3,
        )

    def _near(self, drawn: list[bytes], params: tuple[ir.Param, ...]) -> bytes:
        """Arguments; often those of an earlier call, or with some of them. Seldom such as nobody takes."""
        data = self._arguments(params)
        if drawn and self.random.random() < 0.5:
            before, at = self.random.choice(drawn), 0
            mixed = b""
            for param in params:
                source = self.random.choice((before, before, data))
                mixed += source[at : at + param.shape.width_bytes]
                at += param.shape.width_bytes
            data = mixed
        if data and self.random.random() < 0.05:
            changed = bytearray(data)
            changed[self.random.randrange(len(data))] = self.random.choice(
                (2, 255, self.random.randrange(256))
            )
            data = bytes(changed)
        return data

    def _arguments(self, params: tuple[ir.Param, ...]) -> bytes:
        data = b""
        for param in params:
            slot = random_slot(self.random, param.shape)
            if param.max is not None:
                slot = self.random.choice((0, param.max, param.max + 1, self.random.randint(0, param.max)))
                slot = min(slot, param.shape.type.range[1])
            elif param.shape.type.is_integer and not param.shape.count and self.random.random() < 0.5:
                slot = self.random.randint(0, 20)
            data += encode(param.shape, slot)
        return data
