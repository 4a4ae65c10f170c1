"""Whether a program may be deployed. What passes ends, stays within its bounds, and can fail only in the ways
that failures.py names.

1. Declarations first (declarations.py), then functions in their order: a function calls only those before it.
2. One walk of each body checks every operation (type_rules.py), cuts its lists into basic blocks and adds up
   what they do at worst. A round of a loop counts as a step, so that empty bodies are bounded, too.
3. The time is linear in the program's bytes. Lists within each other are counted before they are entered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from actors.contracts import limits
from actors.contracts.declarations import check_declarations
from actors.contracts.entries import RowLayout
from actors.contracts.errors import ProgramError, at_most
from actors.contracts.gas import WEIGH, WEIGHTS, Sizes, Weights
from actors.contracts.ir import (
    STRUCTURED,
    Balance,
    Call,
    CallContract,
    Emit,
    FunctionKind,
    Get,
    If,
    Increase,
    Loop,
    Op,
    Program,
    Put,
    Send,
)
from actors.contracts.slots import Codec, SlotLayout, codec
from actors.contracts.type_rules import CHECK, DeclaredShapes, Scope
from actors.contracts.types import INTEGERS, Type, TypeCode
from actors.contracts.verified import (
    Abilities,
    BasicBlock,
    Choice,
    Code,
    Part,
    Rounds,
    Verified,
    VerifiedFunction,
    Worst,
)

_ABILITIES: dict[type[Op], Abilities] = {
    Get: Abilities(reads=True),
    Balance: Abilities(reads=True),
    Put: Abilities(writes=True),
    Increase: Abilities(writes=True),
    Emit: Abilities(emits=True),
    Send: Abilities(sends=True),
}
_NOTHING = Worst()
_RANGES = {code: Type(code).range if code in INTEGERS else (0, 0) for code in TypeCode}


def verify(program: Program, weights: Weights = WEIGHTS) -> Verified:
    """The program, ready to run. Raises ProgramError for the first rule that it breaks."""
    check_declarations(program)
    tables = tuple(RowLayout(number, table) for number, table in enumerate(program.tables))
    shapes = DeclaredShapes(program)
    chunks = [table.chunk_count for table in tables]
    functions: list[VerifiedFunction] = []
    operations = 0
    for number, function in enumerate(program.functions):
        registers = tuple(map(codec, function.registers))
        sizes = Sizes(weights, [each.width_bytes for each in registers], chunks)
        walk = _Walk(Scope(program, number, shapes), functions, sizes, operations)
        try:
            functions.append(walk.verify(registers))
        except ProgramError as error:
            raise error.at(f"function {function.name!r}{walk.place}") from None
        operations = walk.operations
    return Verified(program, weights, tables, tuple(functions))


class _Walk:
    """Through the body of a function, after those before it. operations: seen of the program so far."""

    def __init__(
        self, scope: Scope, before: Sequence[VerifiedFunction], sizes: Sizes, operations: int
    ) -> None:
        self._scope, self._before, self._sizes = scope, before, sizes
        self._function = scope.program.functions[scope.number]
        self._kinds: set[type[Op]] = set()
        self._callees: set[int] = set()
        self._imports: set[int] = set()
        self._operation = 0
        self._calls_with_coins = False
        self.operations = operations

    @property
    def place(self) -> str:
        """Of the operation that is looked at, in the order in which they are written, from 1."""
        return f", operation {self._operation}" if self._operation else ""

    def verify(self, registers: tuple[Codec, ...]) -> VerifiedFunction:
        """The function, ready to run."""
        code, worst = self._list(self._function.body, 0)
        self._operation = 0
        abilities = self._abilities()
        if self._function.kind is FunctionKind.VIEW and not abilities.changes_nothing:
            raise ProgramError("a view that writes, emits, sends, or calls what does")
        depth = 1 + max((self._before[callee].depth for callee in self._callees), default=0)
        at_most("calls of functions within each other", depth, limits.CALL_DEPTH_MAX)
        return VerifiedFunction(
            number=self._scope.number,
            function=self._function,
            code=code,
            registers=registers,
            params=SlotLayout(param.shape for param in self._function.params),
            results=SlotLayout(named.shape for _, named in self._function.results),
            ranges=tuple(_RANGES[shape.type.code] for shape in self._function.registers),
            zeros=tuple(each.zero for each in registers),
            maxima=tuple(
                (register, param.max)
                for register, param in enumerate(self._function.params)
                if param.max is not None
            ),
            worst=worst,
            abilities=abilities,
            depth=depth,
        )

    def _abilities(self) -> Abilities:
        found = Abilities(
            sends=self._calls_with_coins,
            imports=frozenset(self._imports),
            calls_entries=any(
                self._scope.program.imports[number].kind is FunctionKind.ENTRY for number in self._imports
            ),
        )
        for kind in self._kinds & _ABILITIES.keys():
            found |= _ABILITIES[kind]
        for callee in self._callees:
            found |= self._before[callee].abilities
        return found

    def _list(self, operations: Sequence[Op], nesting: int) -> tuple[Code, Worst]:
        """What runs for a list, and what it does at worst. nesting: of lists that hold it."""
        at_most("lists of operations within each other", nesting, limits.NESTING_MAX)
        if not operations:
            return (), _NOTHING
        self.operations += len(operations)
        at_most("operations of the program", self.operations, limits.OPERATIONS_MAX)
        parts: list[Part] = []
        block: list[Op] = []
        gas, worst = 0, _NOTHING
        for operation in operations:
            self._operation += 1
            kind = type(operation)
            self._kinds.add(kind)
            CHECK[kind](self._scope, operation)
            weight = WEIGH[kind](self._sizes, operation)
            if kind not in STRUCTURED:
                block.append(operation)
                gas += weight
                continue
            if block:
                parts.append(BasicBlock(gas, tuple(block)))
                worst += Worst(gas, len(block))
                block, gas = [], 0
            part, at_worst = _STRUCTURED[kind](self, operation, weight, nesting)
            parts.append(part)
            worst += at_worst
        if block:
            parts.append(BasicBlock(gas, tuple(block)))
            worst += Worst(gas, len(block))
        at_most("steps at worst", worst.steps, limits.STEPS_MAX)
        return tuple(parts), worst

    def if_(self, operation: If, weight: int, nesting: int) -> tuple[Part, Worst]:
        """A choice costs its dearer list."""
        then, worst_then = self._list(operation.then, nesting + 1)
        otherwise, worst_otherwise = self._list(operation.otherwise, nesting + 1)
        worst = Worst(weight, 1) + (worst_then | worst_otherwise)
        return Choice(weight, operation.condition, then, otherwise), worst

    def loop(self, operation: Loop, weight: int, nesting: int) -> tuple[Part, Worst]:
        """All rounds of it."""
        self._scope.enter(operation)
        body, worst = self._list(operation.body, nesting + 1)
        self._scope.leave(operation)
        charge = self._sizes.weights.round
        worst = Worst(weight, 1) + (Worst(charge, 1) + worst) * operation.max
        return Rounds(weight, charge, operation.index, operation.count, operation.max, body), worst

    def call(self, operation: Call, weight: int, _: int) -> tuple[Part, Worst]:
        """A function of this contract, at its worst."""
        self._callees.add(operation.function)
        return BasicBlock(weight, (operation,)), Worst(weight, 1) + self._before[operation.function].worst

    def call_contract(self, operation: CallContract, weight: int, _: int) -> tuple[Part, Worst]:
        """Another contract, whose cost stands apart."""
        self._imports.add(operation.target)
        self._calls_with_coins |= operation.amount is not None
        return BasicBlock(weight, (operation,)), Worst(weight, 1, 1)


_STRUCTURED: dict[type[Op], Callable[[_Walk, Any, int, int], tuple[Part, Worst]]] = {
    If: _Walk.if_,
    Loop: _Walk.loop,
    Call: _Walk.call,
    CallContract: _Walk.call_contract,
}
