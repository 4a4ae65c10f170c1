"""What an expression is while it is compiled: registers and known values, or a bare number without a type."""

from __future__ import annotations

from dataclasses import dataclass

from actors.contracts.language.faults import FaultError, SourcePlace
from actors.contracts.language.kinds import ArrayOf, Kind, TupleOf
from actors.contracts.types import BOOL, Type
from actors.contracts.types import Value as Scalar

DIGITS_MAX = 40
"""Of a number that a fault quotes."""


@dataclass(frozen=True, slots=True)
class KnownValue:
    """A scalar that is known before any call."""

    type: Type
    value: Scalar


@dataclass(frozen=True, slots=True)
class Operand:
    """A value: a register (its number) or a known value for each of its scalars and arrays.

    shared: whether it lives on under another name: a variable, a field, the state.
    """

    kind: Kind | TupleOf
    parts: tuple[int | KnownValue, ...]
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Bare:
    """A number as it stands in the source: it takes the type of what it meets."""

    number: int

    def __str__(self) -> str:
        """The number, if a person would read it."""
        return str(self.number) if abs(self.number) < 10**DIGITS_MAX else "a number of very many digits"


Value = Operand | Bare | None
"""None: a call that has no result."""


def known(kind: Type, value: Scalar) -> Operand:
    """A known scalar as an operand."""
    return Operand(kind, (KnownValue(kind, value),))


def constant(value: Value) -> KnownValue | None:
    """The known scalar that an operand is, if it is one."""
    if isinstance(value, Operand) and len(value.parts) == 1 and isinstance(value.parts[0], KnownValue):
        return value.parts[0]
    return None


def fit(value: Value, kind: Kind | TupleOf, place: SourcePlace) -> Operand:
    """The value as one of `kind`: a bare number takes it, anything else must have it."""
    if value is None:
        raise FaultError(place, "a call without a result stands for a value", f"use a value of type {kind}")
    if isinstance(value, Operand):
        if value.kind != kind:
            raise FaultError(place, f"{value.kind} where {kind} is needed", _conversion(value.kind, kind))
        return value
    if not (isinstance(kind, Type) and kind.is_integer):
        advice = "write True or False" if kind == BOOL else f"write a value of type {kind}"
        raise FaultError(place, f"a number where {kind} is needed", advice)
    low, high = kind.range
    if not low <= value.number <= high:
        raise FaultError(place, f"{value} does not fit {kind}", f"write a number from {low} to {high}")
    return known(kind, value.number)


def typed(value: Value, place: SourcePlace) -> Operand:
    """The value, which must have a type of its own and be one value."""
    if isinstance(value, Bare):
        raise FaultError(place, "a number without a type", f"write u64({value}), or another integer type")
    if value is None:
        raise FaultError(place, "a call without a result stands for a value", "write it as a statement")
    if isinstance(value.kind, TupleOf):
        raise FaultError(place, "several results stand for one value", "write a, b = ... first")
    return value


def _conversion(has: Kind | TupleOf, needs: Kind | TupleOf) -> str:
    if isinstance(has, Type) and isinstance(needs, Type):
        if has.is_integer and needs.is_integer:
            return f"write {needs}(...)"
        if has.is_bytes and needs.is_bytes and has.width_bytes == needs.width_bytes:
            return f"write {needs}(...)"
        if needs == BOOL:
            return "write a comparison, such as x != 0"
    if isinstance(needs, ArrayOf):
        return f"make one with {needs}()"
    return f"use a value of type {needs}"
