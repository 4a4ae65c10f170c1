"""`for i in range(n)` and `for x in array`: their bound is known before any call."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from actors.contracts.ir import Load, Loop, Shape
from actors.contracts.language.body import Body
from actors.contracts.language.faults import AlreadyToldError, FaultError
from actors.contracts.language.kinds import ArrayOf
from actors.contracts.language.values import Bare, KnownValue
from actors.contracts.limits import LOOP_ITERATIONS_MAX
from actors.contracts.types import U64, UNSIGNED, Type

Block = Callable[[Body, Sequence[ast.stmt]], None]
BOUNDS = "range over a number, a constant of the module, or a parameter UpTo[u64, N]"


def loop(body: Body, node: ast.For, block: Block) -> None:
    """A whole loop. block: compiles its body."""
    before, fixed = set(body.assigned), dict(body.fixed)
    body.loops += 1
    try:
        _loop(body, node, block)
    except (FaultError, AlreadyToldError) as refused:
        if isinstance(refused, FaultError):
            body.module.faults.add(refused)
        if isinstance(node.target, ast.Name) and node.target.id not in body.locals:
            body.faulty.add(node.target.id)
        with body.builder.nested(node):
            block(body, node.body)
    finally:
        body.loops -= 1
        body.assigned, body.fixed = before, fixed


def _loop(body: Body, node: ast.For, block: Block) -> None:
    if node.orelse:
        raise FaultError(node.orelse[0], "else of a loop", "write it below the loop")
    if not isinstance(node.target, ast.Name):
        raise FaultError(node.target, "several variables of a loop", "write one")
    name = node.target.id
    if name in body.assigned:
        raise FaultError(node.target, f"{name} is a variable already", "use another name for the loop's")
    iterated = node.iter
    if isinstance(iterated, ast.Call) and isinstance(iterated.func, ast.Name) and iterated.func.id == "range":
        _over_range(body, node, name, iterated, block)
    else:
        _over_array(body, node, name, block)


def _over_range(body: Body, node: ast.For, name: str, call: ast.Call, block: Block) -> None:
    body.module.need("range", call)
    if len(call.args) != 1 or call.keywords:
        raise FaultError(
            call, "range with a start or a step", "write range(n), and compute from i in the loop"
        )
    kind, count, maximum = _bound(body, call.args[0])
    if not 1 <= maximum <= LOOP_ITERATIONS_MAX:
        advice = f"a loop has 1 to {LOOP_ITERATIONS_MAX} rounds"
        raise FaultError(call.args[0], "the bound of this loop", advice)
    register = body.builder.register(count, call)
    local = body.target(name, kind, node.target)
    _enter(body, name)
    with body.builder.nested(node) as inner:
        block(body, node.body)
    body.builder.emit(Loop(local.registers[0], register, maximum, ()), node, inner)


def _enter(body: Body, name: str) -> None:
    body.assigned.add(name)
    body.fixed[name] = "the loop alone changes its variable: use another one"


def _bound(body: Body, node: ast.expr) -> tuple[Type, int | KnownValue, int]:
    """Type, count and greatest count."""
    if isinstance(node, ast.Name) and (local := body.local(node.id, node)) is not None:
        parameter = local.parameter
        if parameter is None or parameter.max is None or not isinstance(local.kind, Type):
            raise FaultError(node, f"{node.id} has no bound that is known", BOUNDS)
        return local.kind, local.registers[0], parameter.max
    if isinstance(node, ast.Name) and node.id in body.module.constants:
        value = body.module.constants[node.id]
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        if not 1 <= node.value <= LOOP_ITERATIONS_MAX:
            advice = f"a loop has 1 to {LOOP_ITERATIONS_MAX} rounds"
            raise FaultError(node, "the bound of this loop", advice)
        value = KnownValue(U64, node.value)
    elif isinstance(node, ast.Name):
        raise body.module.unknown(node.id, node)
    elif _is_length(node):
        length = body.evaluate(body, node)
        assert isinstance(length, Bare)
        value = KnownValue(U64, length.number)
    else:
        raise FaultError(node, "a bound that is computed", BOUNDS)
    if value.type.code not in UNSIGNED:
        raise FaultError(node, f"a bound of type {value.type}", "use an unsigned integer, such as u64")
    return value.type, value, int(value.value)


def _is_length(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len"


def _over_array(body: Body, node: ast.For, name: str, block: Block) -> None:
    operand = body.value(node.iter)
    if not isinstance(operand.kind, ArrayOf):
        raise FaultError(node.iter, f"a loop over {operand.kind}", "loop over range(n) or an Array")
    array = body.registers(operand, node)[0]
    count = body.builder.register(KnownValue(U64, operand.kind.count), node)
    index = body.temporary(Shape(U64), node)
    local = body.target(name, operand.kind.element, node.target)
    _enter(body, name)
    owner = node.iter
    while isinstance(owner, ast.Attribute):
        owner = owner.value
    if isinstance(owner, ast.Name):
        body.fixed[owner.id] = "the loop goes over it: write to a copy"
    with body.builder.nested(node) as inner:
        body.builder.emit(Load(local.registers[0], array, index), node)
        block(body, node.body)
    body.builder.emit(Loop(index, count, operand.kind.count, ()), node, inner)
