"""Statements of random contracts: what expressions.py says holds here too; variables are assigned first."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from random import Random

from actors.contracts.ir import FunctionKind
from actors.contracts.language.kinds import ArrayOf, Kind, Result, StructOf, TupleOf
from actors.contracts.types import ADDRESS, BOOL, U64, Type
from bench.contract_fuzz.expressions import (
    COST_MAX,
    INTEGERS,
    UNSIGNED,
    Declarations,
    Expressions,
    KnownFunction,
    Variable,
)

PRODUCT_MAX = 80
"""Rounds of a function's loops multiplied out; with one event in each round, more than a call may have."""
MESSAGES = ("no", "not so", "äöü €", "x" * 64)


class Statements(Expressions):
    """The statements of one function. effects: whether it writes, emits, sends, or calls what does."""

    def __init__(self, random: Random, declared: Declarations, kind: FunctionKind) -> None:
        pure = kind is FunctionKind.VIEW or (kind is FunctionKind.PRIVATE and random.random() < 0.4)
        super().__init__(random, declared, pure)
        self.names: list[tuple[str, Kind]] = []
        self.counters, self.loops, self.effects = 0, 0, False
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

    def _new(self, kind: Kind) -> str:
        """A name that is free here: another, or one of this kind that was used elsewhere in the function."""
        taken = {each.name for each in self.variables}
        free = [name for name, other in self.names if other == kind and name not in taken]
        if free and self.likely(0.4):
            return self.random.choice(free)
        self.names.append((f"v{len(self.names)}", kind))
        return self.names[-1][0]

    def branch(self, indent: int, nesting: int) -> list[str]:
        """if, elif, else; the first may return."""
        margin = " " * indent
        lines = [f"{margin}if {self.typed(BOOL)}:", *self._inner(indent, nesting)]
        if not self.loops and self.likely(0.15):
            rest = [f"{margin}else:", *self._inner(indent, nesting), *self._return(indent + 4)]
            return [*lines, *rest]
        if not self.loops and self.likely(0.3):
            lines += self._return(indent + 4)
        for _ in range(self.random.choice((0, 0, 1))):
            lines += [f"{margin}elif {self.typed(BOOL)}:", *self._inner(indent, nesting)]
        if self.likely(0.5):
            lines += [f"{margin}else:", *self._inner(indent, nesting)]
        return lines

    def both(self, indent: int, nesting: int) -> list[str]:
        """A variable that each branch assigns."""
        margin, kind = " " * indent, self.scalar()
        name = self._new(kind)
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
        count = self.random.choice((1, 2, 3, 8, 64, 65))
        if self.declared.bounds and self.likely(0.5):
            name, kind, count = self.random.choice(self.declared.bounds)
            return self._loop(indent, nesting, f"range({name})", kind, count)
        arrays = [each for each in self.variables if isinstance(each.kind, ArrayOf)]
        if arrays and self.likely(0.3):
            array = self.random.choice(arrays)
            size = array.kind.count if isinstance(array.kind, ArrayOf) else 0
            return self._loop(indent, nesting, f"range(len({array.name}))", U64, size)
        return self._loop(indent, nesting, f"range({count})", U64, count)

    def elements(self, indent: int, nesting: int) -> list[str]:
        """A loop over an array, which is not written in it."""
        arrays = list(self.arrays())
        for row in self.declared.rows:
            if isinstance(row.value, ArrayOf):
                arrays.append((self.row(row, 1), row.value))
        if not arrays:
            return self.local(indent, nesting)
        text, kind = self.random.choice(arrays)
        before, words = list(self.variables), set(re.findall(r"\w+", text))
        for place, variable in enumerate(before):
            if variable.name in words:
                self.variables[place] = replace(variable, assigned=False, stored=False)
        lines = self._loop(indent, nesting, text, kind.element, kind.count)
        self.variables = before
        return lines

    def _loop(self, indent: int, nesting: int, over: str, kind: Kind, count: int) -> list[str]:
        if self.product * count > PRODUCT_MAX:
            return self.local(indent, nesting)
        self.counters += 1
        name, before = f"i{self.random.randint(1, self.counters)}_{_word(kind)}", list(self.variables)
        if any(each.name == name for each in before):
            name = f"i{self.counters}_{_word(kind)}"
        self.variables.append(Variable(name, kind, assigned=False))
        self.product, self.loops = self.product * count, self.loops + 1
        lines = [f"{' ' * indent}for {name} in {over}:", *self._inner(indent, nesting)]
        self.product, self.loops, self.variables = self.product // count, self.loops - 1, before
        return lines

    def local(self, indent: int, _nesting: int) -> list[str]:
        """A new variable."""
        kind = self.random.choice(INTEGERS) if self.likely(0.4) else self.kind()
        name = self._new(kind)
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

    def exchanged(self, indent: int, nesting: int) -> list[str]:
        """Fields of a struct change places."""
        margin, found = " " * indent, []
        for variable in self.variables:
            if variable.assigned and isinstance(variable.kind, StructOf) and len(variable.kind.fields) > 1:
                found.append((variable.name, variable.kind))
        if not found:
            wanted = [each for each in self.declared.structs if len(each.fields) > 1]
            if not wanted:
                return self.local(indent, nesting)
            kind = self.random.choice(wanted)
            found = [(self._new(kind), kind)]
            lines = [f"{margin}{found[0][0]} = {kind.name}({self.fields(kind, 1)})"]
            self.variables.append(Variable(*found[0]))
        else:
            lines = []
        name, kind = self.random.choice(found)
        words = []
        for field, inner in kind.fields:
            others = [other for other, each in kind.fields if each == inner]
            words.append(f"{field}={name}.{self.random.choice(others)}")
        maker = f"{name}.replace" if self.likely(0.3) else kind.name
        return [*lines, f"{margin}{name} = {maker}({', '.join(words)})"]

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
        margin, text = " " * indent, self.call(callee, 2)
        if not isinstance(callee.result, TupleOf):
            return [margin + text]
        known = {each.name for each in self.variables}
        names: list[str] = []
        for kind in callee.result.items:
            free = [v.name for v in self.variables if v.kind == kind and v.assigned and v.name in known]
            names.append(self.random.choice(free) if free and self.likely(0.6) else self._new(kind))
            self.variables = [each for each in self.variables if each.name != names[-1]]
            self.variables.append(Variable(names[-1], kind))
            known.discard(names[-1])
        return [f"{margin}{', '.join(names)} = {text}"]

    def put(self, indent: int, _nesting: int) -> list[str]:
        """A row is written."""
        if self.likely(0.15) and (text := self._counted(U64)):
            return [f"{' ' * indent}self.numbers.value {self.random.choice('+-')}= {text}"]
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

    def many(self, indent: int, nesting: int) -> list[str]:
        """As many events as a call may have, or one more."""
        if self.product > 1 or self.likely(0.5):
            return self.emitted(indent, nesting)
        self.counters += 1
        self.product, margin = 65, " " * indent
        lines = [f"{margin}for i{self.counters} in range({self.random.choice((64, 64, 65))}):"]
        lines += self.emitted(indent + 4, nesting)
        self.product = 1
        return lines

    def sent(self, indent: int, _nesting: int) -> list[str]:
        """Coins."""
        self.effects = True
        amount = self.given(U64) if self.likely(0.15) else "ctx.balance // 2"
        return [f"{' ' * indent}send({self.typed(ADDRESS)}, {amount})"]

    def call(self, callee: KnownFunction, depth: int) -> str:
        """See Expressions."""
        self.effects |= not callee.pure
        return super().call(callee, depth)

    def _return(self, indent: int) -> list[str]:
        if self.result is None:
            return [" " * indent + self.random.choice(("return", "return None"))]
        kinds = self.result.items if isinstance(self.result, TupleOf) else (self.result,)
        texts = [self.owned(kind) if isinstance(kind, ArrayOf) else self.given(kind) for kind in kinds]
        return [f"{' ' * indent}return {', '.join(texts)}"]


def _word(kind: Kind) -> str:
    return re.sub(r"\W", "", str(kind))


Maker = Callable[[Statements, int, int], list[str]]
NESTED: tuple[Maker, ...] = (
    Statements.branch,
    Statements.branch,
    Statements.both,
    Statements.rounds,
    Statements.elements,
)
PURE: tuple[Maker, ...] = (
    Statements.local,
    Statements.local,
    Statements.reassigned,
    Statements.exchanged,
    Statements.exchanged,
    Statements.element,
    Statements.required,
    Statements.called,
)
EFFECTS: tuple[Maker, ...] = (
    Statements.put,
    Statements.put,
    Statements.put,
    Statements.emitted,
    Statements.many,
    Statements.sent,
)
