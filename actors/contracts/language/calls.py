"""Calls that have a value: conversions, structs, arrays, min, max, len, sha256, and functions."""

from __future__ import annotations

import ast

from actors.contracts.ir import Arithmetic, Cast, Const, Hash, Move, Shape
from actors.contracts.language.annotations import read_kind
from actors.contracts.language.binding import check_operands, fields_of
from actors.contracts.language.body import Body, is_self
from actors.contracts.language.faults import FaultError
from actors.contracts.language.function_calls import call_imported, call_private
from actors.contracts.language.kinds import ArrayOf, StructOf, field_parts
from actors.contracts.language.literals import read_bytes
from actors.contracts.language.module import SCALARS
from actors.contracts.language.operators import combine
from actors.contracts.language.values import Bare, Operand, Value, constant, fit, known, typed
from actors.contracts.limits import NAME_CHARS_MAX
from actors.contracts.types import HASH, Type, encode_value, fits

STATEMENTS = ("emit", "require", "send")
INSTEAD_OF_CALL = {
    "abs": "write -x if x < 0 else x",
    "bool": "write a comparison, such as x != 0",
    "bytes": "write Bytes[N](...)",
    "divmod": "write // and %",
    "enumerate": "write for i in range(n)",
    "int": "write u64(...)",
    "isinstance": "remove it: every value has one type",
    "list": "write Array[T, N]()",
    "pow": "write the product, or a loop",
    "print": "remove it; emit(...) tells those who follow the contract",
    "range": "write it in for i in range(n)",
    "sorted": "keep the order in a table",
    "str": "write Bytes[N]",
    "sum": "add in a loop",
    "tuple": "write the values, parted by commas, behind return",
    "zip": "write for i in range(n)",
}


def call(body: Body, node: ast.Call) -> Value:
    """Any call but require, emit and send."""
    function = node.func
    if isinstance(function, ast.Name):
        return _named(body, node, function.id)
    if isinstance(function, ast.Subscript):
        return _of_type(body, node)
    if isinstance(function, ast.Attribute):
        return _attribute(body, node, function)
    raise FaultError(node, "a call of a value", "call a function by its name")


def _named(body: Body, node: ast.Call, name: str) -> Value:
    module = body.module
    module.need(name, node)
    if name in SCALARS and name != "bool":
        return _convert(body, node, SCALARS[name])
    if name in ("min", "max"):
        return _extreme(body, node, name)
    if name == "len":
        return _length(body, node)
    if name == "sha256":
        return _hash(body, node)
    if name in module.structs:
        kind = module.structs[name]
        return _construct(body, node, kind)
    if name in STATEMENTS:
        raise FaultError(node, f"{name} has no value", "write it as a statement of its own")
    if name in module.events:
        raise FaultError(node, f"the event {name} stands for a value", f"write emit({name}(...))")
    if name in INSTEAD_OF_CALL:
        raise FaultError(node, f"the call {name}()", INSTEAD_OF_CALL[name])
    if name in module.declared:
        raise module.unknown(name, node) if name not in module.constants else _not_callable(node)
    contract = module.contract
    if contract is not None and name in contract.bodies:
        raise FaultError(node, f"{name} without self", f"write self.{name}(...)")
    raise FaultError(
        node, f"unknown function {name[:NAME_CHARS_MAX]}", "write a private method of the contract"
    )


def _not_callable(node: ast.Call) -> FaultError:
    return FaultError(node, "a call of a value", "call a function by its name")


def _only_argument(node: ast.Call, what: str) -> ast.expr:
    if len(node.args) != 1 or node.keywords or isinstance(node.args[0], ast.Starred):
        raise FaultError(node, f"the arguments of {what}", f"write {what}(x), with one argument")
    return node.args[0]


def _convert(body: Body, node: ast.Call, kind: Type) -> Operand:
    """`u64(x)`, `Address(x)`, `Bytes[4](x)`."""
    argument = _only_argument(node, str(kind))
    if kind.is_bytes and (data := read_bytes(argument, kind)) is not None:
        return known(kind, data)
    value = body.evaluate(body, argument)
    if isinstance(value, Bare):
        return fit(value, kind, argument)
    operand = typed(value, argument)
    has = operand.kind
    both_bytes = (
        isinstance(has, Type) and has.is_bytes and kind.is_bytes and has.width_bytes == kind.width_bytes
    )
    if not both_bytes and not (isinstance(has, Type) and has.is_integer and kind.is_integer):
        raise FaultError(node, f"{kind} of {has}", _convertible(kind))
    if has == kind:
        return operand
    if (value_known := constant(operand)) is not None:
        if not fits(kind, value_known.value):
            raise FaultError(node, f"the value never fits {kind}", "use a wider type, or another number")
        return known(kind, value_known.value)
    dst = body.temporary(Shape(kind), node)
    body.builder.emit(Cast(dst, body.registers(operand, node)[0]), node)
    return Operand(kind, (dst,))


def _convertible(kind: Type) -> str:
    if kind.is_bytes:
        return f"convert from {kind.width_bytes} bytes, or write {2 * kind.width_bytes} hex digits in quotes"
    return f"convert from an integer; for a bool write {kind}(1) if x else {kind}(0)"


def _extreme(body: Body, node: ast.Call, name: str) -> Operand:
    if len(node.args) != 2 or node.keywords:
        raise FaultError(node, f"the arguments of {name}", f"write {name}(a, b), with two values")
    left, right = body.value(node.args[0]), body.value(node.args[1])
    return combine(body, Arithmetic.MIN if name == "min" else Arithmetic.MAX, left, right, node)


def _length(body: Body, node: ast.Call) -> Bare:
    argument = _only_argument(node, "len")
    kind = body.value(argument).kind
    if not isinstance(kind, ArrayOf):
        raise FaultError(node, f"len of {kind}", "len tells the number of an Array's elements")
    return Bare(kind.count)


def _hash(body: Body, node: ast.Call) -> Operand:
    if not node.args or node.keywords:
        raise FaultError(node, "the arguments of sha256", "write sha256(a, b, ...)")
    parts: list[int] = []
    operands = [body.value(argument) for argument in node.args]
    for operand in operands:
        parts.extend(body.registers(operand, node))
    check_operands(len(parts), node)
    dst = body.temporary(Shape(HASH), node)
    body.builder.emit(Hash(dst, tuple(parts)), node)
    return Operand(HASH, (dst,))


def _construct(body: Body, node: ast.Call, kind: StructOf) -> Operand:
    if node.args:
        advice = f"write {kind.name}({kind.fields[0][0]}=..., ...)"
        raise FaultError(node.args[0], "a field without its name", advice)
    return Operand(kind, fields_of(body, node, kind))


def _of_type(body: Body, node: ast.Call) -> Value:
    """`Bytes[4](x)` and `Array[u64, 8]()`."""
    kind = read_kind(body.module, node.func)
    if isinstance(kind, Type):
        return _convert(body, node, kind)
    assert isinstance(kind, ArrayOf)
    if node.args or node.keywords:
        raise FaultError(
            node, "elements of a new array", f"write {kind}(), which holds zeros, and assign them"
        )
    dst = body.temporary(Shape(kind.element, kind.count), node)
    body.builder.emit(Const(dst, encode_value(kind.element, kind.element.zero)), node)
    return Operand(kind, (dst,))


def _attribute(body: Body, node: ast.Call, function: ast.Attribute) -> Value:
    owner = function.value
    if is_self(owner):
        return call_private(body, node, function)
    if isinstance(owner, ast.Name) and owner.id in body.module.interfaces:
        return call_imported(body, node, function, body.module.interfaces[owner.id])
    if isinstance(owner, ast.Name) and owner.id == "ctx":
        raise FaultError(node, f"a call of ctx.{function.attr[:48]}", "write it without parentheses")
    if function.attr not in ("copy", "replace"):
        advice = "values have no methods but copy() of arrays and replace(...) of structs"
        raise FaultError(node, f"the method {function.attr[:48]}", advice)
    operand = body.value(owner)
    if function.attr == "copy":
        return _copy(body, node, operand)
    if not isinstance(operand.kind, StructOf):
        raise FaultError(
            node, f"replace of {operand.kind}", "assign the new value; structs alone have replace"
        )
    return _replace(body, node, operand, operand.kind)


def _copy(body: Body, node: ast.Call, operand: Operand) -> Operand:
    if not isinstance(operand.kind, ArrayOf) or node.args or node.keywords:
        raise FaultError(node, f"copy of {operand.kind}", "leave it out: arrays alone have copy()")
    (part,) = body.registers(operand, node)
    if body.builder.is_temporary(part):
        return Operand(operand.kind, (part,))
    (dst,) = body.temporaries(operand.kind, node)
    body.builder.emit(Move(dst, part), node)
    return Operand(operand.kind, (dst,))


def _replace(body: Body, node: ast.Call, operand: Operand, kind: StructOf) -> Operand:
    parts = list(operand.parts)
    if node.args or not node.keywords:
        raise FaultError(node, "replace without a field's name", f"write replace({kind.fields[0][0]}=...)")
    given: set[str] = set()
    for word in node.keywords:
        found = field_parts(kind, word.arg) if word.arg is not None else None
        if found is None or word.arg is None or word.arg in given:
            advice = f"name each once: {', '.join(name for name, _ in kind.fields)}"
            raise FaultError(word, f"a field that {kind} does not have, or twice", advice)
        given.add(word.arg)
        inner, start, end = found
        parts[start:end] = body.value_of(word.value, inner).parts
    return Operand(kind, tuple(parts))
