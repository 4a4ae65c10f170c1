"""The statements of the module, in order: imports, constants, structs, events, interfaces, the contract."""

from __future__ import annotations

import ast

from actors.contracts.language.annotations import read_kind
from actors.contracts.language.classes import (
    add_field,
    body_of,
    decorator_of,
    field_of,
    is_docstring,
    read_interface,
)
from actors.contracts.language.contract import read_contract
from actors.contracts.language.faults import AlreadyToldError, FaultError, FaultList
from actors.contracts.language.kinds import Kind, StructOf, flatten
from actors.contracts.language.literals import read_constant
from actors.contracts.language.module import EXPORTED, EventOf, Module
from actors.contracts.limits import COLUMNS_MAX, EVENT_BYTES_MAX, EVENTS_MAX, OPERANDS_MAX

OUTSIDE = {
    "FunctionDef": ("a function outside the contract", "make it a private method: def _name(self, ...)"),
    "AsyncFunctionDef": ("an async function", "write def, inside the contract"),
    "Import": ("an import", "write from raychain import ...: a contract uses nothing else"),
    "AnnAssign": ("an annotated constant", "write NAME = u64(5)"),
    "If": ("a statement outside the contract", "contracts have no code that runs at import: remove it"),
    "Expr": ("an expression outside the contract", "remove it, or write a comment"),
}


def read_module(tree: ast.Module, faults: FaultList) -> Module:
    """All declarations of the source; what is wrong with one is kept in `faults`, and the others are read."""
    module = Module(faults, _called(tree))
    for number, node in enumerate(tree.body):
        with faults.recording():
            if not (number == 0 and is_docstring(node)):
                try:
                    _read(module, node)
                except (FaultError, AlreadyToldError):
                    module.faulty.update(_names(node))
                    raise
    return module


def _names(node: ast.stmt) -> list[str]:
    """What a statement would have declared."""
    if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _called(tree: ast.Module) -> frozenset[tuple[str, str]]:
    functions = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return frozenset(
        (function.value.id, function.attr)
        for function in functions
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
    )


def _read(module: Module, node: ast.stmt) -> None:
    if isinstance(node, ast.ImportFrom):
        _read_import(module, node)
    elif isinstance(node, ast.Assign):
        _read_constant(module, node)
    elif isinstance(node, ast.ClassDef):
        _read_class(module, node)
    else:
        what = OUTSIDE.get(type(node).__name__, ("a statement outside the contract", "remove it"))
        raise FaultError(node, *what)


def _read_import(module: Module, node: ast.ImportFrom) -> None:
    if node.module != "raychain" or node.level:
        raise FaultError(node, "an import", "write from raychain import ...: a contract uses nothing else")
    for alias in node.names:
        with module.faults.recording():
            if alias.name == "*":
                raise FaultError(alias, "an import of everything", "name what is used")
            if alias.name not in EXPORTED:
                raise FaultError(alias, f"raychain has no {alias.name[:48]}", f"it has {', '.join(EXPORTED)}")
            module.imported.add(alias.name)
            if alias.asname is not None:
                raise FaultError(alias, "an import under another name", f"write import {alias.name}")


def _read_constant(module: Module, node: ast.Assign) -> None:
    if len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
        raise FaultError(node, "an assignment to several names", "write NAME = u64(5)")
    name = node.targets[0].id
    module.declare(name, node)
    module.constants[name] = read_constant(module, node.value)


def _read_class(module: Module, node: ast.ClassDef) -> None:
    if node.keywords:
        raise FaultError(node, "keywords of a class", "write Struct or Event in the parentheses, or nothing")
    bases = [base.id if isinstance(base, ast.Name) else "" for base in node.bases]
    if bases in (["Struct"], ["Event"]) and not node.decorator_list:
        module.need(bases[0], node.bases[0])
        module.declare(node.name, node)
        _read_fields(module, node, is_event=bases == ["Event"])
        return
    decorator = decorator_of(node, ("contract", "interface"))
    if decorator is None:
        advice = "write @contract or @interface above it, or (Struct) or (Event) behind its name"
        raise FaultError(node, f"the class {node.name[:48]} is nothing of the language", advice)
    module.need(decorator.name, decorator.node)
    module.declare(node.name, node)
    if node.bases:
        raise FaultError(node.bases[0], "a class that inherits", "write the class without a base")
    if decorator.name == "interface":
        read_interface(module, node, decorator)
    elif module.contract is not None:
        advice = f"line {module.contract.line} has one: put this into a file of its own"
        raise FaultError(node, "a second contract", advice)
    else:
        read_contract(module, node, decorator)


def _read_fields(module: Module, node: ast.ClassDef, *, is_event: bool) -> None:
    word = "an event" if is_event else "a struct"
    fields: list[tuple[str, Kind]] = []
    for statement in body_of(node):
        name, annotation = field_of(statement, word)
        add_field(fields, name, read_kind(module, annotation), statement)
        if len(fields) > COLUMNS_MAX:
            raise FaultError(statement, f"{word} of more than {COLUMNS_MAX} fields", "group or drop some")
    if not fields:
        raise FaultError(node, f"{word} without fields", "declare one, such as amount: u64")
    kind = StructOf(node.name, tuple(fields))
    leaves = flatten(kind, "")
    if len(leaves) > min(COLUMNS_MAX, OPERANDS_MAX):
        raise FaultError(node, f"{word} of {len(leaves)} scalars and arrays", f"use at most {COLUMNS_MAX}")
    if not is_event:
        module.structs[node.name] = kind
        return
    size_bytes = sum(leaf.shape.width_bytes for leaf in leaves)
    if size_bytes > EVENT_BYTES_MAX:
        raise FaultError(node, f"an event of {size_bytes} bytes", f"use at most {EVENT_BYTES_MAX}")
    if len(module.events) >= EVENTS_MAX:
        raise FaultError(
            node, f"more than {EVENTS_MAX} events", "emit one event with a field that tells which"
        )
    module.events[node.name] = EventOf(len(module.events), kind)
