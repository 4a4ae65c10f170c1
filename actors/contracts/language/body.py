"""A function while it is compiled: its variables, what is assigned so far, and what it does to the world."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field

from actors.contracts.ir import FunctionKind, Shape
from actors.contracts.language.emission import OperationBuilder
from actors.contracts.language.faults import AlreadyToldError, FaultError, SourcePlace
from actors.contracts.language.kinds import Kind, Parameter, Signature, TupleOf, shapes
from actors.contracts.language.module import BUILT_IN, EXPORTED, Module, TableOf, check_name
from actors.contracts.language.values import Operand, Value, fit, typed
from actors.contracts.types import BOOL


@dataclass(frozen=True, slots=True)
class Local:
    """A variable. parameter: if it is one."""

    kind: Kind
    registers: tuple[int, ...]
    parameter: Parameter | None = None


@dataclass(slots=True)
class FunctionEffects:
    """What a function and those it calls do to the world: in words, with the line of the first."""

    told: dict[str, int] = field(default_factory=dict)
    tables_written: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Callee:
    """What callers in the contract need of a function that is compiled."""

    number: int
    effects: FunctionEffects


@dataclass(slots=True)
class Body:
    """State of the function that is being compiled. ended: whether this path has returned."""

    module: Module
    signature: Signature
    builder: OperationBuilder
    others: dict[str, Callee]  # private functions that are compiled
    messages: dict[str, int]
    evaluate: Callable[[Body, ast.expr], Value]
    locals: dict[str, Local] = field(default_factory=dict)
    assigned: set[str] = field(default_factory=set)
    faulty: set[str] = field(default_factory=set)  # names whose assignment was refused
    fixed: dict[str, str] = field(default_factory=dict)  # what may not be written now, and why
    effects: FunctionEffects = field(default_factory=FunctionEffects)
    results: tuple[int, ...] = ()
    loops: int = 0
    flagged: int = 0  # depth of statements after which it must be known whether the function has returned
    flag: int | None = None  # the register that tells
    ended: bool = False

    def value(self, node: ast.expr) -> Operand:
        """An expression that has one value with a type."""
        return typed(self.evaluate(self, node), node)

    def value_of(self, node: ast.expr, kind: Kind) -> Operand:
        """An expression of this kind; a bare number takes it."""
        return fit(self.evaluate(self, node), kind, node)

    def condition(self, node: ast.expr) -> int:
        """The register of a bool."""
        return self.registers(self.value_of(node, BOOL), node)[0]

    def registers(self, operand: Operand, place: SourcePlace) -> tuple[int, ...]:
        """Those of all its scalars and arrays."""
        return tuple(self.builder.register(part, place) for part in operand.parts)

    def temporaries(self, kind: Kind | TupleOf, place: SourcePlace) -> tuple[int, ...]:
        """A temporary for each scalar and array of a kind."""
        return tuple(self.builder.temporary(shape, place) for shape in shapes(kind))

    def temporary(self, shape: Shape, place: SourcePlace) -> int:
        """A temporary of one shape."""
        return self.builder.temporary(shape, place)

    def local(self, name: str, place: SourcePlace) -> Local | None:
        """A variable that may be read, or None if no variable has this name."""
        if name in self.faulty:
            raise AlreadyToldError
        found = self.locals.get(name)
        if found is not None and name not in self.assigned:
            advice = "assign it before, on every path and outside the loop"
            raise FaultError(place, f"{name} may be unassigned here", advice)
        return found

    def target(self, name: str, kind: Kind, place: SourcePlace) -> Local:
        """The variable to assign a value of this kind to; a new name becomes one."""
        if name in self.fixed:
            raise FaultError(place, f"{name} is assigned to", self.fixed[name])
        found = self.locals.get(name)
        if found is None:
            check_name(name, place)
            if name in EXPORTED or name in BUILT_IN or name in self.module.declared:
                raise FaultError(place, f"a variable with the name {name}", "use another: this one is taken")
            registers = tuple(self.builder.permanent(shape, place) for shape in shapes(kind))
            found = self.locals[name] = Local(kind, registers)
        if found.kind != kind:
            advice = "use another variable: the first assignment fixes the type"
            raise FaultError(place, f"{name} is {found.kind}, and is assigned {kind}", advice)
        return found

    def table(self, node: ast.expr) -> TableOf | None:
        """The table of `self.name`."""
        if not (isinstance(node, ast.Attribute) and is_self(node.value)):
            return None
        contract = self.module.contract
        if contract is None:
            raise AlreadyToldError
        if node.attr in contract.tables:
            return contract.tables[node.attr]
        if node.attr in contract.bodies:
            raise FaultError(node, f"self.{node.attr} without a call", f"write self.{node.attr}(...)")
        if node.attr in self.module.faulty_state:
            raise AlreadyToldError
        advice = "declare it in the class, as a Table or a Cell"
        raise FaultError(node, f"the contract has no {node.attr[:48]}", advice)

    def does(self, what: str, place: SourcePlace, table: TableOf | None = None) -> None:
        """Note an effect. Raises FaultError in a view."""
        if self.signature.kind is FunctionKind.VIEW:
            raise FaultError(place, f"a view that {what}", "make the function an @entry")
        self.effects.told.setdefault(what, place.lineno)
        if table is not None:
            self.effects.tables_written.add(table.number)


def is_self(node: ast.expr) -> bool:
    """True for `self`."""
    return isinstance(node, ast.Name) and node.id == "self"
