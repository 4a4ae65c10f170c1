"""Assignments: to variables, elements of arrays, rows of tables and cells."""

from __future__ import annotations

import ast

from actors.contracts.ir import Arithmetic, Increase, Load, Put, Shape, Store
from actors.contracts.language.annotations import read_kind
from actors.contracts.language.body import Body, Local, is_self
from actors.contracts.language.expressions import read_index, read_keys, read_row
from actors.contracts.language.faults import FaultError
from actors.contracts.language.kinds import ArrayOf, Kind, TupleOf
from actors.contracts.language.module import TableOf
from actors.contracts.language.operators import arithmetic_of, combine
from actors.contracts.language.values import Operand, Value, fit, typed


def assign(body: Body, node: ast.Assign) -> None:
    """`target = value`."""
    if len(node.targets) != 1:
        raise FaultError(node, "several targets of one value", "write one assignment for each")
    target = node.targets[0]
    if isinstance(target, (ast.Tuple, ast.List)):
        _unpack(body, node, target)
        return
    value = body.evaluate(body, node.value)
    if isinstance(target, ast.Name):
        _assign_name(body, target, value, node.value)
        return
    row = row_of(body, target)
    if row is not None:
        operand = fit(value, row.value, node.value)
        keys = read_keys(body, row, target) if isinstance(target, ast.Subscript) else ()
        _put(body, row, keys, operand, node)
        return
    if not isinstance(target, ast.Subscript):
        raise _not_a_target(target)
    local, kind = _array(body, target)
    operand = fit(value, kind.element, node.value)
    index = read_index(body, target, kind)
    (src,), (place,) = body.registers(operand, node), body.registers(index, node)
    body.builder.emit(Store(local.registers[0], place, src), node)


def _assign_name(body: Body, target: ast.Name, value: Value, node: ast.expr) -> None:
    operand = typed(value, node)
    refuse_alias(operand, node)
    assert not isinstance(operand.kind, TupleOf)
    local = body.target(target.id, operand.kind, target)
    body.builder.assign(local.registers, operand.parts, node)
    body.assigned.add(target.id)


def annotated(body: Body, node: ast.AnnAssign) -> None:
    """`name: kind = value`."""
    if not isinstance(node.target, ast.Name):
        raise FaultError(node, "an annotation here", "annotate new variables only, or nothing")
    if node.value is None:
        raise FaultError(node, "a variable without a value", "assign it where it is declared")
    kind = read_kind(body.module, node.annotation)
    operand = typed(body.evaluate(body, node.value), node.value)
    _assign_name(body, node.target, fit(operand, kind, node.value), node.value)


def _unpack(body: Body, node: ast.Assign, target: ast.Tuple | ast.List) -> None:
    names = [item for item in target.elts if isinstance(item, ast.Name)]
    if len(names) != len(target.elts) or len({name.id for name in names}) != len(names):
        raise FaultError(target, "these targets", "write different variables, parted by commas")
    if not isinstance(node.value, ast.Call):
        raise FaultError(
            node, "several assignments in one", "write one for each; only a call has several results"
        )
    operand = body.evaluate(body, node.value)
    if not isinstance(operand, Operand) or not isinstance(operand.kind, TupleOf):
        raise FaultError(node.value, "this call has one result at most", "assign it to one variable")
    items = operand.kind.items
    if len(items) != len(names):
        raise FaultError(target, f"{len(names)} variables for {len(items)} results", f"write {len(items)}")
    registers: list[int] = []
    for name, kind in zip(names, items, strict=True):
        registers.extend(body.target(name.id, kind, name).registers)
    body.builder.assign(registers, operand.parts, node)
    body.assigned.update(name.id for name in names)


def refuse_alias(operand: Operand, node: ast.expr) -> None:
    """An array has one name: a second one must be of a copy."""
    if isinstance(operand.kind, ArrayOf) and operand.shared:
        raise FaultError(node, "a second name for one array", f"write {_text(node)}.copy()")


def _text(node: ast.expr) -> str:
    text = ast.unparse(node) if isinstance(node, (ast.Name, ast.Attribute)) else "x"
    return text if len(text) <= 60 else "x"


def row_of(body: Body, target: ast.expr) -> TableOf | None:
    """The table of `self.name[...]`, or the cell of `self.name.value`; None for another target."""
    if isinstance(target, ast.Subscript):
        return body.table(target.value)
    if not isinstance(target, ast.Attribute):
        return None
    if is_self(target.value):
        table = body.table(target)
        assert table is not None
        right = f"self.{table.name}.value" if table.is_cell else f"self.{table.name}[key]"
        raise FaultError(target, f"an assignment to self.{table.name}", f"write {right} = ...")
    table = body.table(target.value)
    if table is not None and not (table.is_cell and target.attr == "value"):
        right = f"self.{table.name}.value" if table.is_cell else f"self.{table.name}[key]"
        raise FaultError(
            target, f"an assignment to {target.attr[:48]} of self.{table.name}", f"write {right} = ..."
        )
    return table


def _not_a_target(target: ast.expr) -> FaultError:
    if isinstance(target, ast.Attribute):
        advice = f"structs are frozen: write x = x.replace({target.attr[:48]}=...), and put that back"
        return FaultError(target, "an assignment to a field", advice)
    if isinstance(target, ast.Starred):
        return FaultError(target, "a * in an assignment", "write each variable")
    return FaultError(target, "an assignment to this", "assign to a variable, an element, a table or a cell")


def _array(body: Body, target: ast.Subscript) -> tuple[Local, ArrayOf]:
    """The variable whose element is assigned. It must be the array's only name."""
    advice = "copy it to a variable, assign there, and put that back where it is kept"
    if not isinstance(target.value, ast.Name):
        raise FaultError(target, "an assignment to an element of what is no variable", advice)
    name = target.value.id
    local = body.local(name, target)
    if local is None:
        raise body.module.unknown(name, target)
    if not isinstance(local.kind, ArrayOf):
        raise FaultError(
            target, f"an assignment to an element of {local.kind}", "arrays and tables have elements"
        )
    if local.parameter is not None:
        raise FaultError(target, f"an assignment to an element of the parameter {name}", advice)
    if name in body.fixed:
        raise FaultError(target, f"{name} is assigned to", body.fixed[name])
    return local, local.kind


def _put(body: Body, table: TableOf, keys: tuple[int, ...], value: Operand, node: ast.stmt) -> None:
    body.does(f"writes {table.name}", node, table)
    body.builder.emit(Put(table.number, keys, body.registers(value, node)), node)


def augmented(body: Body, node: ast.AugAssign) -> None:
    """`target += value`, and the others: the target is read first, then comes the value."""
    what = arithmetic_of(node.op, node)
    target = node.target
    if isinstance(target, ast.Name):
        local = body.local(target.id, target)
        if local is None:
            raise FaultError(target, f"unknown name {target.id[:48]}", "assign it before")
        old = Operand(local.kind, local.registers, shared=True)
        result = combine(body, what, old, body.evaluate(body, node.value), node)
        assert not isinstance(result.kind, TupleOf)
        body.builder.assign(body.target(target.id, result.kind, target).registers, result.parts, node)
        return
    row = row_of(body, target)
    if row is not None:
        _augment_row(body, node, what, row)
        return
    if not isinstance(target, ast.Subscript):
        raise _not_a_target(target)
    local, kind = _array(body, target)
    index = body.registers(read_index(body, target, kind), node)[0]
    old_register = body.temporary(Shape(kind.element), node)
    body.builder.emit(Load(old_register, local.registers[0], index), node)
    old = Operand(kind.element, (old_register,))
    result = combine(body, what, old, body.evaluate(body, node.value), node)
    body.builder.emit(Store(local.registers[0], index, body.registers(result, node)[0]), node)


def _augment_row(body: Body, node: ast.AugAssign, what: Arithmetic, table: TableOf) -> None:
    keys = read_keys(body, table, node.target) if isinstance(node.target, ast.Subscript) else ()
    if what is Arithmetic.ADD and table.commutes and not _writes(body, node.value, table):
        value: Kind = table.value
        src = body.registers(body.value_of(node.value, value), node)[0]
        body.does(f"writes {table.name}", node, table)
        body.builder.emit(Increase(table.number, keys, src), node)
        return
    old = read_row(body, table, keys, node)
    result = combine(body, what, old, body.evaluate(body, node.value), node)
    _put(body, table, keys, result, node)


def _writes(body: Body, node: ast.expr, table: TableOf) -> bool:
    """Whether a private function that the value calls writes this table: then the order shows."""
    called = (inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call))
    return any(
        table.number in body.others[function.attr].effects.tables_written
        for function in called
        if isinstance(function, ast.Attribute) and is_self(function.value) and function.attr in body.others
    )
