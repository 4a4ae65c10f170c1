"""Arguments in parentheses, matched to the names of fields and parameters."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from actors.contracts.language.body import Body
from actors.contracts.language.faults import FaultError, SourcePlace
from actors.contracts.language.kinds import StructOf
from actors.contracts.language.values import KnownValue, Operand
from actors.contracts.limits import OPERANDS_MAX


def check_operands(count: int, place: SourcePlace) -> None:
    """Raises FaultError for more than one operation takes."""
    if count > OPERANDS_MAX:
        raise FaultError(place, f"{count} scalars and arrays at once", f"use at most {OPERANDS_MAX}")


def bind(node: ast.Call, names: Sequence[str], what: str) -> list[tuple[int, ast.expr]]:
    """Arguments in the order they are written, each with the number of its parameter; all are given."""
    bound: list[tuple[int, ast.expr]] = []
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            raise FaultError(argument, "arguments with *", "write each argument")
        if len(bound) >= len(names):
            advice = f"write {what}({', '.join(names)})"
            raise FaultError(argument, f"more arguments than {what} has", advice)
        bound.append((len(bound), argument))
    for word in node.keywords:
        if word.arg is None:
            raise FaultError(word, "arguments with **", "write each argument")
        if word.arg not in names:
            raise FaultError(
                word, f"{what} has no {word.arg[:48]}", f"it has {', '.join(names) or 'nothing'}"
            )
        number = names.index(word.arg)
        if any(number == other for other, _ in bound):
            raise FaultError(word, f"{word.arg} is given twice", "remove one")
        bound.append((number, word.value))
    given = {number for number, _ in bound}
    missing = [name for number, name in enumerate(names) if number not in given]
    if missing:
        raise FaultError(node, f"{what} without {', '.join(missing)}", "give every field and every argument")
    return bound


def fields_of(body: Body, node: ast.Call, kind: StructOf) -> tuple[int | KnownValue, ...]:
    """The parts of a struct or an event whose fields are the arguments of a call."""
    values: dict[int, Operand] = {}
    for number, argument in bind(node, [name for name, _ in kind.fields], kind.name):
        values[number] = body.value_of(argument, kind.fields[number][1])
    return tuple(part for number in range(len(kind.fields)) for part in values[number].parts)
