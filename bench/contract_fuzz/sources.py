"""Random contracts as authors write them, and contracts that call those before them: seeded, and valid.

One seed gives the same sources on every machine. What they do is nothing sensible, but everything that the
language has is there: see statements.py and expressions.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from random import Random

from actors.contracts.ir import FunctionKind
from actors.contracts.language.kinds import Kind, Parameter, Result, StructOf, TupleOf
from actors.contracts.language.module import EXPORTED
from actors.contracts.types import U64, Type
from bench.contract_fuzz.expressions import (
    COUNTER,
    INTEGERS,
    SCALARS,
    UNSIGNED,
    Declarations,
    Expressions,
    KnownFunction,
    Row,
    Variable,
)
from bench.contract_fuzz.statements import Statements

IMPORTED_MAX = 6


@dataclass(frozen=True)
class ContractSource:
    """A contract: its text, its name, and where it is deployed."""

    text: str
    name: str
    address: bytes


@dataclass
class _Made:
    """What later contracts need of one. interface: lines of its functions, by name."""

    source: ContractSource
    structs: list[str]
    declared: Declarations
    signatures: dict[str, str]
    public: list[KnownFunction]


def random_contracts(random: Random) -> list[ContractSource]:
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
        self.public: list[KnownFunction] = []

    def make(self) -> _Made:
        """The contract."""
        for other in self.before:
            self.structs += [text for text in other.structs if text not in self.structs]
            self.declared.structs += [
                each for each in other.declared.structs if each not in self.declared.structs
            ]
        constants = [self._constant(place) for place in range(self.random.randint(0, 3))]
        for place in range(self.random.randint(1, 2)):
            self._struct(place)
        events = [self._event(place) for place in range(self.random.randint(1, 2))]
        interfaces = [self._interface(other) for other in self.before]
        rows = [self._row(place) for place in range(self.random.randint(2, 5))]
        functions = self._counter(rows)
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
        source = ContractSource("\n".join(parts) + "\n", f"C{self.number}", address)
        return _Made(source, self.structs, self.declared, self.signatures, self.public)

    def _expressions(self) -> Expressions:
        return Expressions(self.random, self.declared, pure=True)

    def _constant(self, place: int) -> str:
        name = f"K{self.number}_{place}"
        if self.random.random() < 0.4:
            kind, rounds = self.random.choice(UNSIGNED), self.random.choice((1, 2, 3, 8))
            self.declared.bounds.append((name, kind, rounds))
            text = f"{kind}({rounds})"
        else:
            kind = self.random.choice(SCALARS)
            text = Expressions(self.random, Declarations(), pure=True).literal(kind)
        self.declared.constants.append((name, kind))
        return f"{name} = {text}"

    def _fields(self, least: int) -> tuple[tuple[str, Kind], ...]:
        """Often of one kind: then they may change places."""
        maker = self._expressions()
        same = maker.scalar() if maker.likely(0.4) else None
        places = range(self.random.randint(least, 3))
        return tuple((f"f{place}", same or maker.kind()) for place in places)

    def _struct(self, place: int) -> None:
        kind = StructOf(f"S{self.number}_{place}", self._fields(self.random.choice((1, 2))))
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

    def _counter(self, rows: list[str]) -> list[str]:
        rows.append("    numbers: Cell[u64]")
        counter = KnownFunction(COUNTER, FunctionKind.PRIVATE, False, (), U64, 4, False)
        self.declared.callees.append(counter)
        self.declared.rows.append(Row("numbers", (), U64))
        change = self.random.choice(("+= 1", "= self.numbers.value + 1"))
        return [
            f"    def {COUNTER}(self) -> u64:",
            f"        self.numbers.value {change}",
            "        return self.numbers.value",
        ]

    def _interface(self, other: _Made) -> str:
        free = IMPORTED_MAX - sum("." in each.name for each in self.declared.callees)
        chosen = self.random.sample(other.public, min(len(other.public), 2, free))
        lines = [f'@interface("{other.source.address.hex()}")', f"class {other.source.name}:"]
        for callee in chosen:
            lines.append(other.signatures[callee.name] + " ...")
            self.declared.callees.append(replace(callee, name=f"{other.source.name}.{callee.name}"))
        return "\n".join(lines if chosen else [*lines, "    pass"])

    def _function(self, name: str, kind: FunctionKind) -> list[str]:
        body = Statements(self.random, self.declared, kind)
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
        callee = KnownFunction(name, kind, coins, parameters, result, body.cost + 2, pure)
        if kind is FunctionKind.PRIVATE:
            self.declared.callees.append(callee)
        elif kind is not FunctionKind.INIT:
            self.signatures[name] = "\n".join([*marks, head])
            self.public.append(callee)
        return [*marks, head, *lines]

    def _parameter(self, body: Statements, place: int) -> Parameter:
        name = f"a{place}"
        if body.likely(0.2):
            kind = U64 if body.likely(0.5) else self.random.choice(UNSIGNED)
            limit = self.random.choice((1, 2, 4, 8))
            body.variables.append(Variable(name, kind, assigned=False, maximum=limit))
            return Parameter(name, kind, limit)
        other = body.kind()
        scalar = isinstance(other, Type)
        body.variables.append(Variable(name, other, assigned=scalar, stored=False))
        return Parameter(name, other)

    def _result(self, body: Statements) -> Result:
        what = self.random.randrange(8)
        if what == 0:
            return None
        if what >= 6 and self.declared.rows:
            return self.random.choice(self.declared.rows).value
        return TupleOf((body.kind(), body.kind())) if what == 1 else body.kind()


def _class(kind: StructOf, base: str) -> str:
    return "\n".join(
        [f"class {kind.name}({base}):", *(f"    {name}: {inner}" for name, inner in kind.fields)]
    )
