"""Random contracts as authors write them, and contracts that call those before them: seeded, and valid.

One seed gives the same sources on every machine. What they do is nothing sensible, but everything that the
language has is there: see expressions.py for expressions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from random import Random

from actors.contracts.ir import FunctionKind
from actors.contracts.language.kinds import ArrayOf, Kind, Parameter, Result, StructOf, TupleOf
from actors.contracts.language.module import EXPORTED
from actors.contracts.types import ADDRESS, BOOL, U64, Type
from bench.contract_fuzz.expressions import (
    COST_MAX,
    INTEGERS,
    SCALARS,
    UNSIGNED,
    Callee,
    Declarations,
    Expressions,
    Row,
    Variable,
)

PRODUCT_MAX = 80
"""Rounds of a function's loops multiplied out; with one event in each round, more than a call may have."""
IMPORTED_MAX = 6
MESSAGES = ("no", "not so", "äöü €", "x" * 64)


@dataclass(frozen=True)
class Source:
    """A contract: its text, its name, and where it is deployed."""

    text: str
    name: str
    address: bytes


@dataclass
class _Made:
    """What later contracts need of one. interface: lines of its functions, by name."""

    source: Source
    structs: list[str]
    declared: Declarations
    signatures: dict[str, str]
    public: list[Callee]


def random_contracts(random: Random) -> list[Source]:
    """One to three contracts in the order of their deployment; each may call those before."""
    made: list[_Made] = []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        made.append(_Contract(random, made).make())
    return [each.source for each in made]


class _Contract:
    """One contract while it is written."""

    def __init__(self, random: Random, before: list[_Made]) -> None:
        self.random, self.before, self.number = random, before, len(before)
        self.declared = Declarations()
        self.structs: list[str] = []
        self.signatures: dict[str, str] = {}
        self.public: list[Callee] = []

    def make(self) -> _Made:
        """The contract."""
        for other in self.before:
            self.structs += [text for text in other.structs if text not in self.structs]
            self.declared.structs += [
                each for each in other.declared.structs if each not in self.declared.structs
            ]
        constants = [self._constant(place) for place in range(self.random.randint(0, 3))]
        for place in range(self.random.randint(0, 2)):
            self._struct(place)
        events = [self._event(place) for place in range(self.random.randint(1, 2))]
        interfaces = [self._interface(other) for other in self.before]
        rows = [self._row(place) for place in range(self.random.randint(2, 5))]
        functions: list[str] = []
        for place in range(self.random.randint(1, 3)):
            functions += self._function(f"_p{self.number}_{place}", FunctionKind.PRIVATE)
        if self.random.random() < 0.4:
            functions += self._function("start", FunctionKind.INIT)
        for place in range(self.random.randint(2, 4)):
            kind = FunctionKind.VIEW if self.random.random() < 0.25 else FunctionKind.ENTRY
            functions += self._function(f"e{self.number}_{place}", kind)
        words = f"from raychain import {', '.join(EXPORTED)}"
        contract = ["@contract", f"class C{self.number}:", *rows, *functions]
        parts = [words, *constants, *self.structs, *events, *interfaces, "\n".join(contract)]
        address = sha256(b"contract %d" % self.number).digest()
        source = Source("\n".join(parts) + "\n", f"C{self.number}", address)
        return _Made(source, self.structs, self.declared, self.signatures, self.public)

    def _expressions(self) -> Expressions:
        return Expressions(self.random, self.declared, pure=True)

    def _constant(self, place: int) -> str:
        kind = self.random.choice(SCALARS)
        text = Expressions(self.random, Declarations(), pure=True).literal(kind)
        name = f"K{self.number}_{place}"
        self.declared.constants.append((name, kind))
        return f"{name} = {text}"

    def _fields(self, least: int) -> tuple[tuple[str, Kind], ...]:
        maker = self._expressions()
        return tuple((f"f{place}", maker.kind()) for place in range(self.random.randint(least, 3)))

    def _struct(self, place: int) -> None:
        kind = StructOf(f"S{self.number}_{place}", self._fields(1))
        self.declared.structs.append(kind)
        self.structs.append(_class(kind, "Struct"))

    def _event(self, place: int) -> str:
        kind = StructOf(f"E{self.number}_{place}", self._fields(1))
        self.declared.events.append(kind)
        return _class(kind, "Event")

    def _row(self, place: int) -> str:
        maker = self._expressions()
        value: Kind = self.random.choice(INTEGERS) if maker.likely(0.5) else maker.kind()
        keys = tuple(maker.scalar() for _ in range(self.random.choice((0, 0, 1, 1, 1, 2, 3))))
        row = Row(f"t{self.number}_{place}", keys, value)
        self.declared.rows.append(row)
        if not keys:
            return f"    {row.name}: Cell[{value}]"
        text = str(keys[0]) if len(keys) == 1 else f"tuple[{', '.join(map(str, keys))}]"
        return f"    {row.name}: Table[{text}, {value}]"

    def _interface(self, other: _Made) -> str:
        free = IMPORTED_MAX - sum("." in each.name for each in self.declared.callees)
        chosen = self.random.sample(other.public, min(len(other.public), 2, free))
        lines = [f'@interface("{other.source.address.hex()}")', f"class {other.source.name}:"]
        for callee in chosen:
            lines.append(other.signatures[callee.name] + " ...")
            self.declared.callees.append(replace(callee, name=f"{other.source.name}.{callee.name}"))
        return "\n".join(lines if chosen else [*lines, "    pass"])

    def _function(self, name: str, kind: FunctionKind) -> list[str]:
        body = _Statements(self.random, self.declared, kind)
        coins = kind in (FunctionKind.ENTRY, FunctionKind.INIT) and body.likely(0.5)
        parameters = tuple(self._parameter(body, place) for place in range(self.random.randint(0, 3)))
        result = None if kind is FunctionKind.INIT else self._result(body)
        lines = body.whole(result)
        arguments = ", ".join(["self", *map(str, parameters)])
        head = f"    def {name}({arguments}) -> {result}:"
        mark = {FunctionKind.PRIVATE: [], FunctionKind.INIT: ["    @init"], FunctionKind.VIEW: ["    @view"]}
        marks = mark.get(kind, ["    @entry"])
        if coins:
            marks = [f"{marks[0]}(accepts_coins=True)"]
        pure = kind is FunctionKind.VIEW or (kind is FunctionKind.PRIVATE and not body.effects)
        callee = Callee(name, kind, coins, parameters, result, body.cost + 2, pure)
        if kind is FunctionKind.PRIVATE:
            self.declared.callees.append(callee)
        elif kind is not FunctionKind.INIT:
            self.signatures[name] = "\n".join([*marks, head])
            self.public.append(callee)
        return [*marks, head, *lines]

    def _parameter(self, body: _Statements, place: int) -> Parameter:
        name = f"a{place}"
        if body.likely(0.2):
            kind, limit = self.random.choice(UNSIGNED), self.random.choice((1, 2, 4, 8))
            body.variables.append(Variable(name, kind, assigned=False, maximum=limit))
            return Parameter(name, kind, limit)
        other = body.kind()
        scalar = isinstance(other, Type)
        body.variables.append(Variable(name, other, assigned=scalar, stored=False))
        return Parameter(name, other)

    def _result(self, body: _Statements) -> Result:
        what = self.random.randrange(6)
        if what == 0:
            return None
        return TupleOf((body.kind(), body.kind())) if what == 1 else body.kind()


def _class(kind: StructOf, base: str) -> str:
    return "\n".join(
        [f"class {kind.name}({base}):", *(f"    {name}: {inner}" for name, inner in kind.fields)]
    )


class _Statements(Expressions):
    """The statements of one function. effects: whether it writes, emits, sends, or calls what does."""

    def __init__(self, random: Random, declared: Declarations, kind: FunctionKind) -> None:
        pure = kind is FunctionKind.VIEW or (kind is FunctionKind.PRIVATE and random.random() < 0.4)
        super().__init__(random, declared, pure)
        self.names, self.loops, self.effects = 0, 0, False
        self.result: Result = None

    def whole(self, result: Result) -> list[str]:
        """The body."""
        self.result = result
        lines = self.block(8, self.random.randint(1, 6), 0)
        return lines if result is None and self.likely(0.8) else [*lines, *self._return(8)]

    def block(self, indent: int, count: int, nesting: int) -> list[str]:
        """So many statements; what they assign first is forgotten after a nested block."""
        lines: list[str] = []
        for _ in range(count):
            if self.cost > COST_MAX:
                break
            nested = nesting < 2 and self.likely(0.25)
            maker = self.random.choice(NESTED if nested else (self.pure and PURE) or (*PURE, *EFFECTS))
            self.cost += 2 * self.product
            lines += maker(self, indent, nesting)
        return lines or [" " * indent + "pass"]

    def _inner(self, indent: int, nesting: int) -> list[str]:
        before = list(self.variables)
        lines = self.block(indent + 4, self.random.randint(1, 3), nesting + 1)
        self.variables = before
        return lines

    def _new(self) -> str:
        self.names += 1
        return f"v{self.names}"

    def branch(self, indent: int, nesting: int) -> list[str]:
        """if, elif, else; the first may return."""
        margin = " " * indent
        lines = [f"{margin}if {self.typed(BOOL)}:", *self._inner(indent, nesting)]
        if not self.loops and self.likely(0.3):
            lines += self._return(indent + 4)
        for _ in range(self.random.choice((0, 0, 1))):
            lines += [f"{margin}elif {self.typed(BOOL)}:", *self._inner(indent, nesting)]
        if self.likely(0.5):
            lines += [f"{margin}else:", *self._inner(indent, nesting)]
        return lines

    def both(self, indent: int, nesting: int) -> list[str]:
        """A variable that each branch assigns."""
        margin, name, kind = " " * indent, self._new(), self.scalar()
        lines = [f"{margin}if {self.typed(BOOL)}:", *self._inner(indent, nesting)]
        lines += [f"{margin}    {name} = {self.typed(kind)}", f"{margin}else:", *self._inner(indent, nesting)]
        lines.append(f"{margin}    {name} = {self.typed(kind)}")
        self.variables.append(Variable(name, kind))
        return lines

    def rounds(self, indent: int, nesting: int) -> list[str]:
        """A loop over range."""
        bounded = [each for each in self.variables if each.maximum is not None]
        if bounded and self.likely(0.6):
            bound = self.random.choice(bounded)
            return self._loop(indent, nesting, f"range({bound.name})", bound.kind, bound.maximum or 0)
        count = self.random.choice((1, 2, 3, 8, 70))
        arrays = [each for each in self.variables if isinstance(each.kind, ArrayOf)]
        if arrays and self.likely(0.3):
            array = self.random.choice(arrays)
            size = array.kind.count if isinstance(array.kind, ArrayOf) else 0
            return self._loop(indent, nesting, f"range(len({array.name}))", U64, size)
        return self._loop(indent, nesting, f"range({count})", U64, count)

    def elements(self, indent: int, nesting: int) -> list[str]:
        """A loop over an array, which is not written in it."""
        arrays = [each for each in self.variables if isinstance(each.kind, ArrayOf)]
        if not arrays:
            return self.local(indent, nesting)
        chosen = self.random.choice(arrays)
        assert isinstance(chosen.kind, ArrayOf)
        before, fixed = list(self.variables), replace(chosen, assigned=False, stored=False)
        self.variables = [fixed if each is chosen else each for each in before]
        lines = self._loop(indent, nesting, chosen.name, chosen.kind.element, chosen.kind.count)
        self.variables = before
        return lines

    def _loop(self, indent: int, nesting: int, over: str, kind: Kind, count: int) -> list[str]:
        if self.product * count > PRODUCT_MAX:
            return self.local(indent, nesting)
        name, before = self._new(), list(self.variables)
        self.variables.append(Variable(name, kind, assigned=False))
        self.product, self.loops = self.product * count, self.loops + 1
        lines = [f"{' ' * indent}for {name} in {over}:", *self._inner(indent, nesting)]
        self.product, self.loops, self.variables = self.product // count, self.loops - 1, before
        return lines

    def local(self, indent: int, _nesting: int) -> list[str]:
        """A new variable."""
        kind, name = self.kind(), self._new()
        if isinstance(kind, Type) and self.likely(0.4):
            kind = self.random.choice(INTEGERS)
        text = self.owned(kind) if isinstance(kind, ArrayOf) else self.typed(kind)
        annotation = f": {kind}" if self.likely(0.2) else ""
        self.variables.append(Variable(name, kind))
        return [f"{' ' * indent}{name}{annotation} = {text}"]

    def reassigned(self, indent: int, nesting: int) -> list[str]:
        """A variable that is there gets another value."""
        found = [each for each in self.variables if each.assigned]
        if not found:
            return self.local(indent, nesting)
        variable, margin = self.random.choice(found), " " * indent
        if isinstance(variable.kind, ArrayOf):
            return [f"{margin}{variable.name} = {self.owned(variable.kind)}"]
        if variable.kind in INTEGERS and self.likely(0.6):
            return [f"{margin}{variable.name} {self._augmented(variable.kind)}"]
        return [f"{margin}{variable.name} = {self.typed(variable.kind)}"]

    def _augmented(self, kind: Kind) -> str:
        assert isinstance(kind, Type)
        signs = ("+", "+", "+", "-", "*", "//", "%")
        sign = self.random.choice(signs if kind not in UNSIGNED else (*signs, "&", "|", "^", "<<", ">>"))
        value = self.random.choice(("1", "2", "3")) if self.likely(0.4) else self.given(kind)
        return f"{sign}= {value}"

    def element(self, indent: int, nesting: int) -> list[str]:
        """An element of an array is written."""
        found = [each for each in self.variables if isinstance(each.kind, ArrayOf) and each.stored]
        if not found:
            return self.local(indent, nesting)
        variable = self.random.choice(found)
        assert isinstance(variable.kind, ArrayOf)
        place = f"{' ' * indent}{variable.name}[{self.index(variable.kind)}]"
        if variable.kind.element in INTEGERS and self.likely(0.5):
            return [f"{place} {self._augmented(variable.kind.element)}"]
        return [f"{place} = {self.given(variable.kind.element)}"]

    def required(self, indent: int, _nesting: int) -> list[str]:
        """A condition."""
        condition = self.typed(BOOL)
        if self.likely(0.7):
            condition = f"{condition} or {self.unknown(BOOL)}"
        return [f'{" " * indent}require({condition}, "{self.random.choice(MESSAGES)}")']

    def called(self, indent: int, nesting: int) -> list[str]:
        """A function is called for what it does, or for its several results."""
        found = self.callable(lambda each: each.result is None or isinstance(each.result, TupleOf))
        if not found:
            return self.local(indent, nesting)
        callee = self.random.choice(found)
        text = f"{' ' * indent}{{}}{self.call(callee, 2)}"
        if not isinstance(callee.result, TupleOf):
            return [text.format("")]
        made = [Variable(self._new(), kind) for kind in callee.result.items]
        self.variables += made
        return [text.format(f"{', '.join(each.name for each in made)} = ")]

    def put(self, indent: int, _nesting: int) -> list[str]:
        """A row is written."""
        row = self.random.choice(self.declared.rows)
        place = f"{' ' * indent}{self.row(row, 2)}"
        self.effects = True
        if row.value in INTEGERS and self.likely(0.6):
            return [f"{place} {self._augmented(row.value)}"]
        return [f"{place} = {self.given(row.value)}"]

    def emitted(self, indent: int, _nesting: int) -> list[str]:
        """An event."""
        event = self.random.choice(self.declared.events)
        self.effects = True
        fields = ", ".join(self.given(kind) for _, kind in event.fields)
        if self.likely(0.5):
            fields = self.fields(event, 2)
        return [f"{' ' * indent}emit({event.name}({fields}))"]

    def sent(self, indent: int, _nesting: int) -> list[str]:
        """Coins."""
        self.effects = True
        amount = self.given(U64) if self.likely(0.15) else "ctx.balance // 2"
        return [f"{' ' * indent}send({self.typed(ADDRESS)}, {amount})"]

    def call(self, callee: Callee, depth: int) -> str:
        """See Expressions."""
        self.effects |= not callee.pure
        return super().call(callee, depth)

    def _return(self, indent: int) -> list[str]:
        if self.result is None:
            return [" " * indent + "return"]
        kinds = self.result.items if isinstance(self.result, TupleOf) else (self.result,)
        texts = [self.owned(kind) if isinstance(kind, ArrayOf) else self.given(kind) for kind in kinds]
        return [f"{' ' * indent}return {', '.join(texts)}"]


Maker = Callable[[_Statements, int, int], list[str]]
NESTED: tuple[Maker, ...] = (
    _Statements.branch,
    _Statements.branch,
    _Statements.both,
    _Statements.rounds,
    _Statements.elements,
)
PURE: tuple[Maker, ...] = (
    _Statements.local,
    _Statements.local,
    _Statements.reassigned,
    _Statements.element,
    _Statements.required,
    _Statements.called,
)
EFFECTS: tuple[Maker, ...] = (
    _Statements.put,
    _Statements.put,
    _Statements.put,
    _Statements.emitted,
    _Statements.sent,
)
