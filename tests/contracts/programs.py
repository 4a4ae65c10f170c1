"""Random programs that the verifier accepts, arguments for them, and mutants of them that it need not accept.

All is drawn from the `random.Random` that is handed in, so one seed gives one program, on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import msgspec

from actors.contracts import ir, limits
from actors.contracts.types import (
    ADDRESS,
    BOOL,
    HASH,
    I64,
    U8,
    U16,
    U32,
    U64,
    U128,
    UNSIGNED,
    bytes_type,
    encode_value,
)
from bench.contract_fuzz.arguments import random_value

TYPES = (BOOL, U8, U16, U32, U64, U128, I64, ADDRESS, HASH, bytes_type(1), bytes_type(32), bytes_type(64))
NUMBERS = (U8, U16, U32, U64, U128, I64)
ROUNDS_PRODUCT_MAX = 64
STEPS_OF_CALL_MAX = 4000


def random_shape(random: Random) -> ir.Shape:
    """A scalar, or a short array."""
    return ir.Shape(random.choice(TYPES), random.choice((0, 0, 0, 1, 2, 5)))


def import_of(address: bytes, program: ir.Program, function: ir.Function) -> ir.Import:
    """How another program imports a function of this one."""
    return ir.Import(
        address=address,
        contract=program.name,
        function=function.name,
        kind=function.kind,
        params=tuple(param.shape for param in function.params),
        results=tuple(named.shape for _, named in function.results),
    )


def random_program(random: Random, imports: tuple[ir.Import, ...] = (), operations: int = 40) -> ir.Program:
    """A program with tables, cells, events, loops, arrays and calls; `operations` in each function, or so."""
    tables = tuple(_random_table(random, number) for number in range(random.randint(1, 4)))
    events = tuple(
        ir.Event(f"Event{number}", _random_named(random, "field", random.randint(0, 4)))
        for number in range(random.randint(1, 2))
    )
    program = ir.Program(ir.IR_VERSION, "Random", tables, events, imports, ("", "no", "ж" * 32), ())
    steps: list[int] = []
    for number in range(random.randint(1, 5)):
        maker = FunctionMaker(random, program, steps)
        function = maker.make(number, random.randint(1, operations))
        program = msgspec.structs.replace(program, functions=(*program.functions, function))
        steps.append(maker.steps)
    return program


def _random_named(random: Random, prefix: str, count: int) -> tuple[ir.Named, ...]:
    """Of 512 bytes at most, as one of them has 320."""
    named = tuple(ir.Named(f"{prefix}.n{number}", random_shape(random)) for number in range(count))
    return named if sum(each.shape.width_bytes for each in named) <= limits.VALUE_BYTES_MAX else named[:1]


def _random_table(random: Random, number: int) -> ir.Table:
    if random.random() < 0.4:  # one that can be increased
        columns: tuple[ir.Named, ...] = (ir.Named("value", ir.Shape(random.choice(NUMBERS))),)
    else:
        columns = _random_named(random, "column", random.randint(1, 4))
    keys = tuple(random.choice(TYPES[:-1]) for _ in range(random.randint(0, 3)))
    return ir.Table(f"table{number}", keys, columns)


class FunctionMaker:
    """Writes one function of a program, after those before it. steps: those of each, at worst or more."""

    def __init__(self, random: Random, program: ir.Program, steps: Sequence[int]) -> None:
        self.random, self.program, self.steps_before = random, program, steps
        self.registers: list[ir.Shape] = []
        self.looping: list[int] = []
        self.steps = 0
        self.pure = False

    def make(self, number: int, operations: int) -> ir.Function:
        """The function."""
        kinds = [ir.FunctionKind.ENTRY] * 4 + [ir.FunctionKind.VIEW, ir.FunctionKind.PRIVATE]
        if not any(each.kind is ir.FunctionKind.INIT for each in self.program.functions):
            kinds.append(ir.FunctionKind.INIT)
        kind = self.random.choice(kinds)
        self.pure = kind is ir.FunctionKind.VIEW
        params = tuple(self._param(place) for place in range(self.random.randint(0, 4)))
        body = self._list(operations, 1, 0)
        results = tuple(
            (place := self.random.randrange(len(self.registers)), ir.Named(f"r{n}", self.registers[place]))
            for n in range(self.random.randint(0, 3) if self.registers else 0)
        )
        coins = kind in (ir.FunctionKind.ENTRY, ir.FunctionKind.INIT) and self.random.random() < 0.5
        return ir.Function(f"f{number}", kind, coins, params, tuple(self.registers), results, body)

    def _param(self, place: int) -> ir.Param:
        shape = random_shape(self.random)
        self.registers.append(shape)
        declared = not shape.count and shape.type.code in UNSIGNED and self.random.random() < 0.5
        return ir.Param(f"p{place}", shape, self.random.randint(0, 8) if declared else None)

    def _list(self, operations: int, product: int, nesting: int) -> tuple[ir.AnyOp, ...]:
        made: list[ir.AnyOp] = []
        while len(made) < operations:
            if nesting < 3 and self.random.random() < 0.15:
                made.extend(self._nested(operations // 3, product, nesting))
            else:
                maker = self.random.choice(_MAKERS)
                made.extend(maker(self, product))
            self.steps += 2 * product
        return tuple(made)

    def _nested(self, operations: int, product: int, nesting: int) -> Sequence[ir.AnyOp]:
        if self.random.random() < 0.4:
            then = self._list(operations, product, nesting + 1)
            otherwise = self._list(self.random.randint(0, operations), product, nesting + 1)
            return [ir.If(self.read(ir.Shape(BOOL)), then, otherwise)]
        rounds = self.random.choice((0, 1, 2, 3, 8))
        if product * rounds > ROUNDS_PRODUCT_MAX:
            return []
        shape = ir.Shape(self.random.choice((U8, U16, U32, U64, U128)))
        index, count = self.write(shape), self.new(shape)
        counted = rounds + 1 if self.random.random() < 0.02 else self.random.randint(0, rounds)
        before: list[ir.AnyOp] = []
        if self.random.random() < 0.95:
            before.append(ir.Const(count, encode_value(shape.type, counted)))
        else:
            count = self.read(shape)
        if index == count:
            return []
        self.looping += [index, count]
        body = self._list(operations, product * max(1, rounds), nesting + 1)
        self.looping = self.looping[:-2]
        return [*before, ir.Loop(index, count, rounds, body)]

    def new(self, shape: ir.Shape) -> int:
        """A register of its own, while there is room for one."""
        full = len(self.registers) >= limits.REGISTERS_MAX - 8
        frame = sum(each.width_bytes for each in self.registers)
        if full or frame + shape.width_bytes > limits.FRAME_BYTES_MAX:
            return self.write(shape)
        self.registers.append(shape)
        return len(self.registers) - 1

    def read(self, shape: ir.Shape) -> int:
        """A register of this shape."""
        found = [place for place, each in enumerate(self.registers) if each == shape]
        return self.random.choice(found) if found and self.random.random() < 0.9 else self.new(shape)

    def write(self, shape: ir.Shape) -> int:
        """A register of this shape that no loop around counts with."""
        found = [
            place for place, each in enumerate(self.registers) if each == shape and place not in self.looping
        ]
        if found and self.random.random() < 0.7:
            return self.random.choice(found)
        self.registers.append(shape)
        return len(self.registers) - 1

    def any_of(self, wanted: Callable[[ir.Shape], bool]) -> ir.Shape:
        """A shape that a register has, or a new one."""
        found = [each for each in self.registers if wanted(each)]
        while True:
            shape = self.random.choice(found) if found else random_shape(self.random)
            if wanted(shape):
                return shape

    def const(self, _: int) -> Sequence[ir.AnyOp]:
        shape = random_shape(self.random)
        return [ir.Const(self.write(shape), encode_value(shape.type, random_value(self.random, shape.type)))]

    def move(self, _: int) -> Sequence[ir.AnyOp]:
        shape = self.any_of(lambda each: True)
        return [ir.Move(self.write(shape), self.read(shape))]

    def binary(self, _: int) -> Sequence[ir.AnyOp]:
        shape = self.any_of(lambda each: each.type.is_integer and not each.count)
        what = self.random.choice(tuple(ir.Arithmetic))
        if shape.type == I64 and ir.Arithmetic.AND <= what <= ir.Arithmetic.SHR:
            what = self.random.choice((ir.Arithmetic.SUB, ir.Arithmetic.FLOOR_DIV, ir.Arithmetic.MOD))
        if what not in (ir.Arithmetic.FLOOR_DIV, ir.Arithmetic.MOD) or self.random.random() < 0.1:
            return [ir.Binary(what, self.write(shape), self.read(shape), self.read(shape))]
        divisor, value = self.write(shape), encode_value(shape.type, self.random.choice((1, 2, 3, 10, 127)))
        return [ir.Const(divisor, value), ir.Binary(what, self.write(shape), self.read(shape), divisor)]

    def compare(self, _: int) -> Sequence[ir.AnyOp]:
        shape = self.any_of(lambda each: not each.count)
        what = self.random.choice(tuple(ir.Comparison)[: 2 if shape.type == BOOL else 4])
        return [ir.Compare(what, self.write(ir.Shape(BOOL)), self.read(shape), self.read(shape))]

    def negate(self, _: int) -> Sequence[ir.AnyOp]:
        return [ir.Not(self.write(ir.Shape(BOOL)), self.read(ir.Shape(BOOL)))]

    def cast(self, _: int) -> Sequence[ir.AnyOp]:
        groups = (NUMBERS, (ADDRESS, HASH, bytes_type(32)))
        group = self.random.choice(groups)
        new, old = (ir.Shape(self.random.choice(group)) for _ in range(2))
        return [ir.Cast(self.write(new), self.read(old))]

    def element(self, _: int) -> Sequence[ir.AnyOp]:
        shape = self.any_of(lambda each: each.count > 0)
        single = ir.Shape(shape.type)
        index = self.write(ir.Shape(U16))
        place = self.random.randrange(shape.count + (self.random.random() < 0.05))
        before = ir.Const(index, encode_value(U16, place))
        if self.random.random() < 0.2:
            index = self.read(ir.Shape(self.random.choice((U8, U64))))
        if self.random.random() < 0.5:
            return [before, ir.Load(self.write(single), self.read(shape), index)]
        return [before, ir.Store(self.write(shape), index, self.read(single))]

    def hash(self, _: int) -> Sequence[ir.AnyOp]:
        srcs = [self.read(random_shape(self.random)) for _ in range(self.random.randint(0, 4))]
        return [ir.Hash(self.write(ir.Shape(HASH)), tuple(srcs))]

    def context(self, _: int) -> Sequence[ir.AnyOp]:
        what = self.random.choice(tuple(ir.Fact))
        person = what in (ir.Fact.SENDER, ir.Fact.CONTRACT, ir.Fact.ORIGIN)
        return [ir.Context(what, self.write(ir.Shape(ADDRESS if person else U64)))]

    def row(self, _: int) -> Sequence[ir.AnyOp]:
        number = self.random.randrange(len(self.program.tables))
        table = self.program.tables[number]
        keys = tuple(self.read(ir.Shape(kind)) for kind in table.keys)
        shapes = [column.shape for column in table.columns]
        what = 0.0 if self.pure else self.random.random()
        if what < 0.4:
            return [ir.Get(number, keys, tuple(self.write(shape) for shape in shapes))]
        if len(shapes) == 1 and shapes[0].type.is_integer and not shapes[0].count and what < 0.7:
            return [ir.Increase(number, keys, self.read(shapes[0]))]
        return [ir.Put(number, keys, tuple(self.read(shape) for shape in shapes))]

    def outside(self, _: int) -> Sequence[ir.AnyOp]:
        if self.pure or self.random.random() < 0.3:
            return [ir.Balance(self.write(ir.Shape(U64)))]
        if self.random.random() < 0.3:
            return [ir.Send(self.read(ir.Shape(ADDRESS)), self.read(ir.Shape(U64)))]
        number = self.random.randrange(len(self.program.events))
        fields = self.program.events[number].fields
        return [ir.Emit(number, tuple(self.read(field.shape) for field in fields))]

    def require(self, _: int) -> Sequence[ir.AnyOp]:
        if self.random.random() < 0.7:
            return []
        condition = self.read(ir.Shape(BOOL))
        return [ir.Require(condition, self.random.randrange(len(self.program.messages)))]

    def call(self, product: int) -> Sequence[ir.AnyOp]:
        callees = [
            number
            for number, each in enumerate(self.program.functions)
            if (each.kind is ir.FunctionKind.VIEW if self.pure else each.kind is not ir.FunctionKind.INIT)
            and self.steps_before[number] * product < STEPS_OF_CALL_MAX
        ]
        if not callees:
            return []
        number = self.random.choice(callees)
        self.steps += self.steps_before[number] * product
        function = self.program.functions[number]
        args = tuple(self.read(param.shape) for param in function.params)
        return [ir.Call(number, args, tuple(self.write(named.shape) for _, named in function.results))]

    def call_contract(self, _: int) -> Sequence[ir.AnyOp]:
        imports = self.program.imports
        view = ir.FunctionKind.VIEW
        targets = [n for n, each in enumerate(imports) if not self.pure or each.kind is view]
        if not targets:
            return []
        number = self.random.choice(targets)
        args = tuple(self.read(shape) for shape in imports[number].params)
        amount = None
        if imports[number].kind is not view and self.random.random() < 0.3:
            amount = self.read(ir.Shape(U64))
        dsts = tuple(self.write(shape) for shape in imports[number].results)
        return [ir.CallContract(number, args, dsts, amount)]


_MAKERS: tuple[Callable[[FunctionMaker, int], Sequence[ir.AnyOp]], ...] = (
    FunctionMaker.const,
    FunctionMaker.const,
    FunctionMaker.move,
    FunctionMaker.binary,
    FunctionMaker.binary,
    FunctionMaker.compare,
    FunctionMaker.negate,
    FunctionMaker.cast,
    FunctionMaker.element,
    FunctionMaker.hash,
    FunctionMaker.context,
    FunctionMaker.row,
    FunctionMaker.row,
    FunctionMaker.outside,
    FunctionMaker.require,
    FunctionMaker.call,
    FunctionMaker.call_contract,
)
