"""Statements to operations.

Return. The IR has none: a function's results are registers, and its list runs to the end. So what follows an
`if` that returns goes into the branch that does not. Where a branch returns on some of its paths only, a
register tells whether it did, and what follows stands in an `If` on that.

Assignment. A variable may be read where every path to here has assigned it. A loop may run no round: what
its body assigns first is not assigned after it.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from actors.contracts.ir import Const, If, Shape
from actors.contracts.language.assignments import annotated, assign, augmented, refuse_alias
from actors.contracts.language.body import Body
from actors.contracts.language.emission import Placed
from actors.contracts.language.faults import AlreadyToldError, FaultError
from actors.contracts.language.kinds import TupleOf
from actors.contracts.language.loops import loop
from actors.contracts.language.statement_calls import expression_statement
from actors.contracts.language.values import KnownValue, Operand, Value, fit
from actors.contracts.types import BOOL

OUTSIDE = {
    "Assert": ("assert", 'write require(condition, "message")'),
    "AsyncFor": ("async", "write for i in range(n)"),
    "AsyncFunctionDef": ("a function in a function", "write a private method of the contract"),
    "AsyncWith": ("async", "remove it"),
    "Break": ("break", "let the rest of the rounds do nothing, with an if"),
    "ClassDef": ("a class in a function", "write it above the contract"),
    "Continue": ("continue", "put the rest of the round into an if"),
    "Delete": ("del", "assign a zero: what is zero takes no room"),
    "FunctionDef": ("a function in a function", "write a private method of the contract"),
    "Global": ("global", "keep it in a Cell of the contract"),
    "Import": ("an import in a function", "write from raychain import ... at the top"),
    "ImportFrom": ("an import in a function", "write from raychain import ... at the top"),
    "Match": ("match", "write if and elif"),
    "Nonlocal": ("nonlocal", "keep it in a Cell of the contract"),
    "Raise": ("raise", 'write require(condition, "message")'),
    "Try": ("try", "check before, with an if: what fails ends the whole call"),
    "TryStar": ("try", "check before, with an if: what fails ends the whole call"),
    "While": ("while", "write for i in range(n), with a bound"),
    "With": ("with", "remove it"),
}


def function_body(body: Body, statements: Sequence[ast.stmt], node: ast.FunctionDef) -> None:
    """The whole function. Raises TooLargeError; what else is wrong is kept among the faults."""
    block(body, statements)
    if body.signature.result is not None and not body.ended:
        advice = f"return a value of type {body.signature.result} on every path"
        body.module.faults.add(FaultError(node, f"{node.name} may end without a return", advice))


def block(body: Body, statements: Sequence[ast.stmt]) -> None:
    """Statements one after the other."""
    for number, node in enumerate(statements):
        if body.ended:
            body.module.faults.add(FaultError(node, "a statement that is never reached", "remove it"))
            return
        if isinstance(node, ast.If):
            rest = statements[number + 1 :] if _may_return(node) else ()
            _if(body, node, rest)
            if rest:
                return
        else:
            with body.module.faults.recording(), body.builder.statement():
                _statement(body, node)


def _statement(body: Body, node: ast.stmt) -> None:
    if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        _assignment(body, node)
    elif isinstance(node, ast.Expr):
        expression_statement(body, node)
    elif isinstance(node, ast.For):
        loop(body, node, block)
    elif isinstance(node, ast.Return):
        _return(body, node)
    elif not isinstance(node, ast.Pass):
        raise FaultError(node, *OUTSIDE.get(type(node).__name__, ("this statement", "remove it")))


def _assignment(body: Body, node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> None:
    try:
        if isinstance(node, ast.Assign):
            assign(body, node)
        elif isinstance(node, ast.AnnAssign):
            annotated(body, node)
        else:
            augmented(body, node)
    except (FaultError, AlreadyToldError):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            for name in ast.walk(target):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    if name.id not in body.locals:
                        body.faulty.add(name.id)
                    body.assigned.add(name.id)
        raise


def _may_return(node: ast.AST) -> bool:
    return any(isinstance(inner, ast.Return) for inner in ast.walk(node))


def _returns(statements: Sequence[ast.stmt]) -> bool:
    """True if every path through these ends in a return."""
    return any(
        isinstance(node, ast.Return)
        or (isinstance(node, ast.If) and _returns(node.body) and _returns(node.orelse))
        for node in statements
    )


def _if(body: Body, node: ast.If, rest: Sequence[ast.stmt]) -> None:
    """An `if`, and what follows it where it may return."""
    with body.builder.statement():
        condition = 0
        with body.module.faults.recording():
            condition = body.condition(node.test)
        then, otherwise = _returns(node.body), _returns(node.orelse)
        if then and otherwise and rest:
            body.module.faults.add(FaultError(rest[0], "a statement that is never reached", "remove it"))
        elif then and not otherwise:
            _branches(body, node, condition, node.body, [*node.orelse, *rest])
            return
        elif otherwise and not then:
            _branches(body, node, condition, [*node.body, *rest], node.orelse)
            return
        elif rest:
            _flagged(body, node, condition, rest)
            return
        _branches(body, node, condition, node.body, node.orelse)


def _flagged(body: Body, node: ast.If, condition: int, rest: Sequence[ast.stmt]) -> None:
    if body.flag is None:
        body.flag = body.builder.fresh(Shape(BOOL), node)
    body.flagged += 1
    _branches(body, node, condition, node.body, node.orelse)
    body.flagged -= 1
    with body.builder.nested(node) as inner:
        block(body, rest)
    _emit_if(body, node, body.flag, (), inner)


def _branches(
    body: Body, node: ast.If, condition: int, then: Sequence[ast.stmt], otherwise: Sequence[ast.stmt]
) -> None:
    before = set(body.assigned)
    with body.builder.nested(node) as first:
        block(body, then)
    after_then, ended_then = body.assigned, body.ended
    body.assigned, body.ended = before, False
    with body.builder.nested(node) as second:
        block(body, otherwise)
    if body.ended:
        body.assigned = after_then
    elif not ended_then:
        body.assigned &= after_then
    body.ended = body.ended and ended_then
    _emit_if(body, node, condition, first, second)


def _emit_if(
    body: Body, node: ast.If, condition: int, then: Sequence[Placed], otherwise: Sequence[Placed]
) -> None:
    if then or otherwise:
        body.builder.emit(If(condition, ()), node, then, otherwise)


def _return(body: Body, node: ast.Return) -> None:
    body.ended = True
    if body.loops:
        body.ended = False
        raise FaultError(
            node, "return inside a loop", "keep the result in a variable and return it after the loop"
        )
    result = body.signature.result
    if result is None:
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            raise FaultError(
                node.value, "a result of a function that is -> None", "declare its type behind ->"
            )
    elif node.value is None:
        raise FaultError(node, "a return without a value", f"return a value of type {result}")
    elif isinstance(result, TupleOf) and isinstance(node.value, ast.Tuple):
        _return_several(body, node.value, result)
    else:
        operand = fit(body.evaluate(body, node.value), result, node.value)
        _refuse_parameter(body, operand, node.value)
        body.builder.assign(body.results, operand.parts, node)
    if body.flagged and body.flag is not None:
        body.builder.emit(Const(body.flag, b"\x01"), node)


def _return_several(body: Body, node: ast.Tuple, result: TupleOf) -> None:
    if len(node.elts) != len(result.items):
        raise FaultError(node, f"{len(node.elts)} results", f"return {len(result.items)}: {result}")
    values: list[Value] = [body.evaluate(body, one) for one in node.elts]
    parts: list[int | KnownValue] = []
    for value, kind, place in zip(values, result.items, node.elts, strict=True):
        operand = fit(value, kind, place)
        _refuse_parameter(body, operand, place)
        parts.extend(operand.parts)
    body.builder.assign(body.results, parts, node)


def _refuse_parameter(body: Body, operand: Operand, node: ast.expr) -> None:
    """A variable's array may be returned, for the variable ends; any other must be a copy."""
    found = body.locals.get(node.id) if isinstance(node, ast.Name) else None
    if found is None or found.parameter is not None:
        refuse_alias(operand, node)
