"""Expressions of random contracts, of any kind that is asked for, in the text of the language.

1. Every text compiles, and means the same in ordinary Python.
2. `unknown` has a value that no compiler knows: of two known numbers, one that never fits would be refused.
3. `given` may be a literal that takes its type from where it stands; `typed` has one of its own.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from actors.contracts.ir import FunctionKind
from actors.contracts.language.kinds import ArrayOf, Kind, Parameter, Result, StructOf
from actors.contracts.types import ADDRESS, BOOL, HASH, I64, U8, U16, U32, U64, U128, Type, bytes_type

UNSIGNED = (U8, U16, U32, U64, U128)
INTEGERS = (*UNSIGNED, I64)
BYTES_32 = bytes_type(32)
WIDE = (ADDRESS, HASH, BYTES_32)
SCALARS = (*INTEGERS, U64, U64, BOOL, BOOL, ADDRESS, ADDRESS, HASH, BYTES_32, bytes_type(1), bytes_type(4))
CONTEXT: dict[Type, tuple[str, ...]] = {
    ADDRESS: ("ctx.sender", "ctx.origin", "ctx.contract"),
    U64: ("ctx.amount", "ctx.height", "ctx.time_ms", "ctx.balance"),
}
FLAGS = ("(ctx.amount == 0)", "(ctx.height % 2 == 1)", "(ctx.sender < ctx.origin)", "(ctx.balance > 5)")
FOLDED: dict[str, Callable[[int, int], int]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "//": operator.floordiv, "%": operator.mod,
    "&": operator.and_, "|": operator.or_, "^": operator.xor, "<<": operator.lshift, ">>": operator.rshift,
}  # fmt: skip
COUNTER = "_next"
"""A private function of every contract: it gives 1, 2 and so on."""
COST_MAX = 4_000
"""Operations of one call, roughly, loops and calls multiplied out."""


@dataclass(frozen=True)
class Variable:
    """A variable that is assigned here. maximum: of an UpTo parameter."""

    name: str
    kind: Kind
    assigned: bool = True
    stored: bool = True
    maximum: int | None = None


@dataclass(frozen=True)
class Row:
    """A table, or, without keys, a cell."""

    name: str
    keys: tuple[Type, ...]
    value: Kind


@dataclass(frozen=True)
class KnownFunction:
    """A function that may be called. cost: operations, roughly. pure: whether a view may call it."""

    name: str
    kind: FunctionKind
    accepts_coins: bool
    parameters: tuple[Parameter, ...]
    result: Result
    cost: int
    pure: bool


@dataclass
class Declarations:
    """What the functions of one contract may use. bounds: constants for loops, with their values."""

    constants: list[tuple[str, Type]] = field(default_factory=list)
    bounds: list[tuple[str, Type, int]] = field(default_factory=list)
    structs: list[StructOf] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    events: list[StructOf] = field(default_factory=list)
    callees: list[KnownFunction] = field(default_factory=list)


class Expressions:
    """Of one function. product: how often this place runs, at most; cost: operations so far."""

    def __init__(self, random: Random, declared: Declarations, pure: bool) -> None:
        self.random, self.declared, self.pure = random, declared, pure
        self.variables: list[Variable] = []
        self.product, self.cost = 1, 0

    def likely(self, chance: float) -> bool:
        """True that often."""
        return self.random.random() < chance

    def scalar(self) -> Type:
        """Any scalar type."""
        return self.random.choice(SCALARS)

    def kind(self) -> Kind:
        """Any kind of value."""
        if self.declared.structs and self.likely(0.15):
            return self.random.choice(self.declared.structs)
        if self.likely(0.12):
            return ArrayOf(self.scalar(), self.random.choice((1, 2, 3, 5)))
        return self.scalar()

    def bare(self, kind: Type) -> str:
        """An integer's digits."""
        low, high = kind.range
        number = self.random.choice((0, 1, 1, 2, 3, 7, 10, 100, high, high - 1, low, high // 2))
        return f"({number})" if number < 0 else str(number)

    def literal(self, kind: Type) -> str:
        """A known value with its type, or a constant of the module."""
        constants = [name for name, other in self.declared.constants if other == kind]
        if constants and self.likely(0.4):
            return self.random.choice(constants)
        if kind == BOOL:
            return self.random.choice(("True", "False"))
        if kind.is_integer:
            return f"{kind}({self.bare(kind).strip('()')})"
        width = kind.width_bytes
        data = self.random.choice((bytes(width), b"\xff" * width, b"a" * width, self.random.randbytes(width)))
        return f"{kind}({data!r})" if self.likely(0.3) else f'{kind}("{data.hex()}")'

    def folded(self, kind: Type) -> str:
        """Two known numbers, of which the compiler makes one."""
        low, high = kind.range
        signs = ("+", "-", "*", "//", "%") if low else tuple(FOLDED)
        sign = self.random.choice(signs)
        a, b = (self.random.choice((low, high, high - 1, 1, 2, 3, 7, 200, high // 2)) for _ in range(2))
        b = b if b or sign not in ("//", "%") else 3
        value = 0 if sign in ("<<", ">>") and b > 200 else FOLDED[sign](a, b)
        if not low <= value <= high or (sign == "<<" and b > 200):
            return self.literal(kind)
        first = f"{kind}({a})" if self.likely(0.7) else f"{kind}(u128({a}))" if a >= 0 else f"{kind}({a})"
        return f"({first} {sign} {f'({b})' if b < 0 else b})"

    def given(self, kind: Kind, depth: int = 2) -> str:
        """A value where the kind is known from the place: a bare number will do."""
        if isinstance(kind, Type) and kind.is_integer:
            if self.likely(0.25):
                return self.bare(kind)
            if self.likely(0.15) and (text := self._counted(kind)):
                return text
        return self.typed(kind, depth)

    def typed(self, kind: Kind, depth: int = 2) -> str:
        """A value that has its kind wherever it stands. An array may be somebody else's."""
        if isinstance(kind, Type) and self.likely(0.12):
            return self.folded(kind) if kind.is_integer and self.likely(0.4) else self.literal(kind)
        return self.unknown(kind, depth)

    def unknown(self, kind: Kind, depth: int = 2) -> str:
        """A value that only a call tells."""
        self.cost += 2 * self.product
        if isinstance(kind, ArrayOf):
            return self._array(kind, depth)
        if isinstance(kind, StructOf):
            return self._struct(kind, depth)
        if depth <= 0 or self.likely(0.25):
            return self._leaf(kind)
        if self.likely(0.25):
            ways = [self._read, self._called, self._element_of_row]
            self.random.shuffle(ways)
            return next((text for way in ways if (text := way(kind, depth))), "") or self._leaf(kind)
        if self.likely(0.1):
            condition = self.unknown(BOOL, depth - 1)
            return f"({self.typed(kind, depth - 1)} if {condition} else {self.typed(kind, depth - 1)})"
        if kind == BOOL:
            return self._truth(depth - 1)
        return self._number(kind, depth - 1) if kind.is_integer else self._bytes(kind, depth - 1)

    def _leaf(self, kind: Type) -> str:
        """A variable, a part of one, a fact, or the next number, which shows the order of what is done."""
        if kind.is_integer and self.likely(0.2) and (text := self._counted(kind)):
            return text
        found = list(CONTEXT.get(kind, ()))
        for variable in self.variables:
            name, of = variable.name, variable.kind
            if of == kind:
                found += [name] * 3
            elif isinstance(of, StructOf):
                found += [f"{name}.{each}" for each, inner in of.fields if inner == kind]
        if found and self.likely(0.7):
            return self.random.choice(found)
        found += [f"{name}[{self.index(of)}]" for name, of in self.arrays() if of.element == kind]
        return self.random.choice(found) if found and self.likely(0.95) else self._fallback(kind)

    def _counted(self, kind: Type) -> str:
        """The next number; empty where nothing may be written."""
        counters = self.callable(lambda each: each.name == COUNTER)
        return f"{kind}({self.call(counters[0], 0)})" if counters else ""

    def arrays(self) -> list[tuple[str, ArrayOf]]:
        """Arrays at hand: variables, and fields of variables."""
        found: list[tuple[str, ArrayOf]] = []
        for variable in self.variables:
            if isinstance(variable.kind, ArrayOf):
                found.append((variable.name, variable.kind))
            elif isinstance(variable.kind, StructOf):
                for name, inner in variable.kind.fields:
                    if isinstance(inner, ArrayOf):
                        found.append((f"{variable.name}.{name}", inner))
        return found

    def _fallback(self, kind: Type) -> str:
        if kind.is_integer:
            return f"{kind}(ctx.height)"
        if kind == BOOL:
            return self.random.choice(FLAGS)
        if kind.width_bytes == 32:
            return "sha256(ctx.sender)" if kind == HASH else f"{kind}(sha256(ctx.origin))"
        return self.literal(kind)

    def index(self, kind: ArrayOf) -> str:
        """Of an element, mostly one that there is."""
        if self.likely(0.6):
            return str(self.random.randrange(kind.count))
        leaf = self._leaf(self.random.choice(UNSIGNED))
        return f"{leaf} % {kind.count}" if self.likely(0.8) else leaf

    def _number(self, kind: Type, depth: int) -> str:
        """Of an integer type, from others."""
        left = self.unknown(kind, depth)
        what = self.random.randrange(10)
        if what == 0:
            return f"{self.random.choice(('min', 'max'))}({left}, {self.typed(kind, depth)})"
        if what == 1:
            other = self.unknown(self.random.choice(INTEGERS), depth)
            return f"{kind}({other} % 100)" if self.likely(0.6) else f"{kind}({other})"
        if what == 2 and kind == I64:
            return f"(-{left})"
        if what <= 4:
            sign, right = self.random.choice(("//", "%")), self.random.choice(("1", "2", "3", "7", "10"))
            if kind == I64 and self.likely(0.4):
                right = f"(-{right})"
        elif what <= 6 and kind != I64:
            sign, right = self.random.choice((("&", ""), ("|", ""), ("^", ""), ("<<", "1"), (">>", "3")))
        else:
            sign, right = self.random.choice("++-*"), self.random.choice(("", "1", "2"))
        right = right if right and self.likely(0.8) else self.given(kind, depth)
        return f"({right} {sign} {left})" if self.likely(0.15) else f"({left} {sign} {right})"

    def _truth(self, depth: int) -> str:
        """A bool from other values."""
        what = self.random.randrange(8)
        if what <= 1:
            words = f" {self.random.choice(('and', 'or'))} "
            return f"({words.join(self.typed(BOOL, depth) for _ in range(self.random.choice((2, 2, 3))))})"
        if what == 2:
            return f"(not {self.unknown(BOOL, depth)})"
        kind = self.scalar()
        signs = ("==", "!=") if kind == BOOL else ("==", "!=", "<", "<=", ">", ">=")
        sides = [self.given(kind, depth), self.random.choice(signs), self.unknown(kind, depth)]
        if self.likely(0.5):
            sides.reverse()
        if what == 3:
            middle = self.unknown(kind, depth)
            sides = [sides[0], sides[1], middle, self.random.choice(signs), sides[2]]
        return f"({' '.join(sides)})"

    def _bytes(self, kind: Type, depth: int) -> str:
        """Of a type of bytes, from others."""
        if kind == HASH and self.likely(0.5):
            count = self.random.choice((1, 1, 2, 3))
            return f"sha256({', '.join(self.typed(self.kind(), depth) for _ in range(count))})"
        if kind.width_bytes == 32:
            return f"{kind}({self.unknown(self.random.choice(WIDE), depth)})"
        return self._leaf(kind)

    def _array(self, kind: ArrayOf, depth: int) -> str:
        found = [text for text, of in self.arrays() if of == kind]
        if found and self.likely(0.7):
            return self.random.choice(found)
        made = (self._read(kind, depth) or self._called(kind, depth)) if depth > 0 else ""
        return made or f"{kind}()"

    def owned(self, kind: ArrayOf, depth: int = 2) -> str:
        """An array that nobody else has."""
        text = self.unknown(kind, depth)
        return text if text == f"{kind}()" else f"{text}.copy()"

    def _struct(self, kind: StructOf, depth: int) -> str:
        found = [each.name for each in self.variables if each.kind == kind]
        what = self.random.randrange(6)
        if found and (what <= 1 or depth <= 0):
            return self.random.choice(found)
        if what == 2 and depth > 0 and (text := self._read(kind, depth) or self._called(kind, depth)):
            return text
        if found and what == 3:
            changed = self.random.sample(kind.fields, self.random.randint(1, len(kind.fields)))
            words = ", ".join(f"{name}={self.given(inner, depth - 1)}" for name, inner in changed)
            return f"{self.random.choice(found)}.replace({words})"
        if found and what == 4:
            condition = self.unknown(BOOL, depth - 1)
            return f"({self.random.choice(found)} if {condition} else {self._struct(kind, depth - 1)})"
        return f"{kind.name}({self.fields(kind, depth - 1)})"

    def fields(self, kind: StructOf, depth: int) -> str:
        """All fields by name, in any order."""
        order = self.random.sample(kind.fields, len(kind.fields))
        return ", ".join(f"{name}={self.given(inner, depth)}" for name, inner in order)

    def row(self, row: Row, depth: int) -> str:
        """The place of a row, for reading and writing."""
        if not row.keys:
            return f"self.{row.name}.value"
        keys = [self.given(key, 0 if self.likely(0.7) else depth - 1) for key in row.keys]
        return f"self.{row.name}[{', '.join(keys)}]"

    def _read(self, kind: Kind, depth: int) -> str:
        """From the state; empty if nothing of this kind is there."""
        found: list[tuple[Row, str]] = [(row, "") for row in self.declared.rows if row.value == kind]
        for row in self.declared.rows:
            if isinstance(row.value, StructOf):
                found += [(row, f".{name}") for name, inner in row.value.fields if inner == kind]
        if not found:
            return ""
        row, suffix = self.random.choice(found)
        return self.row(row, depth) + suffix

    def _element_of_row(self, kind: Type, depth: int) -> str:
        """An element of an array that is read for it; empty if the state has none of this type."""
        found = [row for row in self.declared.rows if isinstance(row.value, ArrayOf)]
        found = [row for row in found if isinstance(row.value, ArrayOf) and row.value.element == kind]
        if not found:
            return ""
        row = self.random.choice(found)
        assert isinstance(row.value, ArrayOf)
        return f"{self.row(row, depth)}[{self.index(row.value)}]"

    def _called(self, kind: Kind, depth: int) -> str:
        """The result of a function; empty if none has this kind."""
        found = self.callable(lambda each: each.result == kind)
        return self.call(self.random.choice(found), depth) if found else ""

    def callable(self, wanted: Callable[[KnownFunction], bool]) -> Sequence[KnownFunction]:
        """Functions that may be called here."""
        left = COST_MAX - self.cost
        return [
            each
            for each in self.declared.callees
            if each.cost * self.product < left and (each.pure or not self.pure) and wanted(each)
        ]

    def call(self, callee: KnownFunction, depth: int) -> str:
        """A call with arguments: by place, or by name in any order."""
        self.cost += callee.cost * self.product
        private = callee.kind is FunctionKind.PRIVATE
        arguments = [self._argument(each, depth - 1, private) for each in callee.parameters]
        named = self.likely(0.3)
        if named:
            pairs = zip(callee.parameters, arguments, strict=True)
            arguments = [f"{parameter.name}={text}" for parameter, text in pairs]
            self.random.shuffle(arguments)
        if callee.accepts_coins and self.likely(0.6):
            coins = self.given(U64, 0) if self.likely(0.2) else "ctx.balance % 3"
            place = self.random.randint(0, len(arguments)) if named else len(arguments)
            arguments.insert(place, f"coins={coins}")
        return f"{'self.' if private else ''}{callee.name}({', '.join(arguments)})"

    def _argument(self, parameter: Parameter, depth: int, private: bool) -> str:
        if parameter.max is None or not isinstance(parameter.kind, Type):
            return self.given(parameter.kind, depth)
        limit, kind = parameter.max, parameter.kind
        bounded = [
            each.name
            for each in self.variables
            if each.kind == kind and each.maximum is not None and each.maximum <= limit
        ]
        if bounded and self.likely(0.7):
            return self.random.choice(bounded)
        return self._leaf(kind) if not private and self.likely(0.3) else str(self.random.randint(0, limit))
