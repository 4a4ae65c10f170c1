"""Expressions to operations, in CPython's order: operands from left to right, then what is done with them."""

from __future__ import annotations

import ast

from actors.contracts.ir import Balance, Context, Fact, Get, Load, Shape
from actors.contracts.language.body import Body
from actors.contracts.language.calls import call
from actors.contracts.language.faults import FaultError, SourcePlace
from actors.contracts.language.kinds import ArrayOf, StructOf, field_parts
from actors.contracts.language.module import SCALARS, TableOf
from actors.contracts.language.operators import binary, comparison, conditional, short_circuit, unary
from actors.contracts.language.values import Bare, Operand, Value, constant, fit, known, typed
from actors.contracts.types import ADDRESS, BOOL, U64, UNSIGNED, Type

FACTS = {
    "sender": (Fact.SENDER, ADDRESS),
    "contract": (Fact.CONTRACT, ADDRESS),
    "amount": (Fact.AMOUNT, U64),
    "height": (Fact.HEIGHT, U64),
    "time_ms": (Fact.TIME_MS, U64),
    "origin": (Fact.ORIGIN, ADDRESS),
}
OUTSIDE = {
    "Await": ("await", "remove it: calls end before the next statement"),
    "Dict": ("a dict", "declare a Table in the contract"),
    "DictComp": ("a comprehension", "write a loop over range or an Array"),
    "GeneratorExp": ("a comprehension", "write a loop over range or an Array"),
    "Lambda": ("a lambda", "write a private method"),
    "List": ("a list", "write Array[T, N]() and assign its elements"),
    "ListComp": ("a comprehension", "write a loop over range or an Array"),
    "NamedExpr": ("an assignment in an expression", "assign in a statement of its own"),
    "Set": ("a set", "declare a Table[K, bool] in the contract"),
    "SetComp": ("a comprehension", "write a loop over range or an Array"),
    "Slice": ("a slice", "read the elements one by one"),
    "Starred": ("a *", "write each value"),
    "Tuple": ("a tuple", "use a struct; several values stand only behind return"),
    "Yield": ("yield", "return a value"),
    "YieldFrom": ("yield", "return a value"),
}


def expression(body: Body, node: ast.expr) -> Value:
    """Any expression. Raises FaultError."""
    if isinstance(node, ast.Constant):
        return _literal(node)
    if isinstance(node, ast.Name):
        return _name(body, node)
    if isinstance(node, ast.Attribute):
        return _attribute(body, node)
    if isinstance(node, ast.Subscript):
        return _subscript(body, node)
    if isinstance(node, ast.Call):
        return call(body, node)
    return _operation(body, node)


def _operation(body: Body, node: ast.expr) -> Value:
    if isinstance(node, ast.BinOp):
        return binary(body, node)
    if isinstance(node, ast.UnaryOp):
        return unary(body, node)
    if isinstance(node, ast.Compare):
        return comparison(body, node)
    if isinstance(node, ast.BoolOp):
        return short_circuit(body, node)
    if isinstance(node, ast.IfExp):
        return conditional(body, node)
    raise FaultError(node, *OUTSIDE.get(type(node).__name__, ("this expression", "write it in other words")))


def _literal(node: ast.Constant) -> Value:
    value = node.value
    if isinstance(value, bool):
        return known(BOOL, value)
    if isinstance(value, int):
        return Bare(value)
    words = {
        bytes: ("bytes without a type", "write Bytes[N](b...), with their number"),
        str: ("a string", 'write Bytes[N](b"..."); strings stand only in require and Address'),
        float: ("a number with a point", "count in a smaller unit, as u64"),
        complex: ("a complex number", "use integers"),
        type(None): ("None", "what is unwritten is zero: use a zero, or a bool beside the value"),
    }
    raise FaultError(node, *words.get(type(value), ("...", "write a value")))


def _name(body: Body, node: ast.Name) -> Operand:
    module, name = body.module, node.id
    found = body.local(name, node)
    if found is not None:
        return Operand(found.kind, found.registers, shared=True)
    if name in module.constants:
        value = module.constants[name]
        return known(value.type, value.value)
    if name == "self":
        raise FaultError(node, "self alone", "write self.name of a table, a cell or a private function")
    if name == "ctx":
        raise FaultError(node, "ctx alone", f"write ctx.{', ctx.'.join(FACTS)} or ctx.balance")
    if name in module.interfaces:
        raise FaultError(node, f"{name} alone", f"call a function of it: {name}.name(...)")
    if name in SCALARS or name in module.structs or name in module.events:
        raise FaultError(node, f"{name} stands for a value", f"write {name}(...)")
    contract = module.contract
    if contract is not None and (name in contract.tables or name in contract.bodies):
        raise FaultError(node, f"{name} without self", f"write self.{name}")
    if name in module.declared:
        raise module.unknown(name, node)
    raise FaultError(node, f"unknown name {name[:48]}", "assign it before, or declare it as a constant")


def _attribute(body: Body, node: ast.Attribute) -> Operand:
    owner = node.value
    if isinstance(owner, ast.Name) and owner.id == "ctx":
        return _context(body, node)
    if (table := body.table(node)) is not None:
        right = f"self.{node.attr}.value" if table.is_cell else f"self.{node.attr}[key]"
        raise FaultError(node, f"self.{node.attr} alone", f"write {right}")
    if (table := body.table(owner)) is not None:
        if table.is_cell and node.attr == "value":
            return read_row(body, table, (), node)
        right = f"self.{table.name}.value" if table.is_cell else f"self.{table.name}[key]"
        raise FaultError(node, f"{node.attr[:48]} of self.{table.name}", f"write {right}")
    operand = body.value(owner)
    if not isinstance(operand.kind, StructOf):
        raise FaultError(node, f"{node.attr[:48]} of {operand.kind}", "structs alone have fields")
    found = field_parts(operand.kind, node.attr)
    if found is None:
        names = ", ".join(name for name, _ in operand.kind.fields)
        raise FaultError(node, f"{operand.kind} has no {node.attr[:48]}", f"it has {names}")
    kind, start, end = found
    return Operand(kind, operand.parts[start:end], shared=True)


def _context(body: Body, node: ast.Attribute) -> Operand:
    body.module.need("ctx", node)
    if node.attr == "balance":
        dst = body.temporary(Shape(U64), node)
        body.builder.emit(Balance(dst), node)
        return Operand(U64, (dst,))
    if node.attr not in FACTS:
        advice = f"it has {', '.join(FACTS)} and balance"
        raise FaultError(node, f"ctx has no {node.attr[:48]}", advice)
    fact, kind = FACTS[node.attr]
    dst = body.temporary(Shape(kind), node)
    body.builder.emit(Context(fact, dst), node)
    return Operand(kind, (dst,))


def _subscript(body: Body, node: ast.Subscript) -> Operand:
    table = body.table(node.value)
    if table is not None:
        return read_row(body, table, read_keys(body, table, node), node)
    operand = body.value(node.value)
    if not isinstance(operand.kind, ArrayOf):
        raise FaultError(node, f"an index into {operand.kind}", "arrays and tables alone have one")
    index = read_index(body, node, operand.kind)
    dst = body.temporary(Shape(operand.kind.element), node)
    array, place = body.registers(operand, node)[0], body.registers(index, node)[0]
    body.builder.emit(Load(dst, array, place), node)
    return Operand(operand.kind.element, (dst,))


def read_index(body: Body, node: ast.Subscript, kind: ArrayOf) -> Operand:
    """The index of an element: unsigned; a bare number is u64."""
    if isinstance(node.slice, (ast.Slice, ast.Tuple)):
        raise FaultError(node, "several elements at once", "read them one by one")
    value = body.evaluate(body, node.slice)
    if isinstance(value, Bare) and value.number < 0:
        raise FaultError(node.slice, "an index below zero", f"write the index from 0 to {kind.count - 1}")
    index = fit(value, U64, node.slice) if isinstance(value, Bare) else typed(value, node.slice)
    if not isinstance(index.kind, Type) or index.kind.code not in UNSIGNED:
        raise FaultError(node.slice, f"an index of type {index.kind}", "use an unsigned integer, such as u64")
    number = constant(index)
    if number is not None and int(number.value) >= kind.count:
        raise FaultError(node.slice, "an index outside the array", f"use 0 to {kind.count - 1}")
    return index


def read_keys(body: Body, table: TableOf, node: ast.Subscript) -> tuple[int, ...]:
    """The registers of the keys in `self.table[...]`."""
    if table.is_cell:
        raise FaultError(node, f"an index into the cell {table.name}", f"write self.{table.name}.value")
    nodes = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
    if len(nodes) != len(table.keys):
        right = ", ".join(str(key) for key in table.keys)
        raise FaultError(
            node, f"{table.name} has another number of keys", f"write {len(table.keys)}: {right}"
        )
    operands = [body.value_of(one, kind) for one, kind in zip(nodes, table.keys, strict=True)]
    return tuple(body.registers(operand, node)[0] for operand in operands)


def read_row(body: Body, table: TableOf, keys: tuple[int, ...], place: SourcePlace) -> Operand:
    """The value of a row. An array in it is shared: it must be copied before it is written to."""
    dsts = body.temporaries(table.value, place)
    body.builder.emit(Get(table.number, keys, dsts), place)
    return Operand(table.value, dsts, shared=True)
