"""Annotations to kinds: `u64`, `Bytes[32]`, `Array[u8, 4]`, `UpTo[u64, 16]`, `tuple[u64, bool]`, a struct."""

from __future__ import annotations

import ast

from actors.contracts.language.faults import FaultError
from actors.contracts.language.kinds import ArrayOf, Kind, Parameter, Result, TupleOf
from actors.contracts.language.module import SCALARS, Module, check_name
from actors.contracts.limits import ARRAY_MAX, BYTES_MAX
from actors.contracts.types import UNSIGNED, Type, bytes_type

INSTEAD = {
    "int": "write u64, or another integer type",
    "float": "write u64 and count in a smaller unit",
    "str": "write Bytes[N]",
    "bytes": "write Bytes[N]",
    "bytearray": "write Bytes[N]",
    "list": "write Array[T, N]",
    "dict": "write Table[K, V] in the contract",
    "set": "write Table[K, bool] in the contract",
    "Bytes": "write Bytes[N], with the number of bytes",
    "Array": "write Array[T, N], with the number of elements",
    "tuple": "declare a Struct",
    "UpTo": "write UpTo[u64, 16], on a parameter",
    "Table": "tables stand in the contract's class: write a scalar, an array or a struct",
    "Cell": "cells stand in the contract's class: write a scalar, an array or a struct",
}


def read_scalar(module: Module, node: ast.expr, what: str) -> Type:
    """A scalar type. what: for the fault, such as "a key"."""
    kind = read_kind(module, node)
    if not isinstance(kind, Type):
        raise FaultError(node, f"{what} of type {kind}", "use a scalar: bool, an integer, or bytes")
    return kind


def read_kind(module: Module, node: ast.expr) -> Kind:
    """The kind of one value."""
    if isinstance(node, ast.Name):
        return _read_name(module, node)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        name = node.value.id
        if name == "Bytes":
            module.need(name, node)
            return bytes_type(read_size(module, node.slice, BYTES_MAX))
        if name == "Array":
            module.need(name, node)
            element, count = arguments(node, 2)
            return ArrayOf(
                read_scalar(module, element, "an array's element"), read_size(module, count, ARRAY_MAX)
            )
        raise FaultError(node, f"the type {name[:32]}[...]", INSTEAD.get(name, "use a type of the language"))
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        raise FaultError(node, "a type in quotes", "write it without quotes, below what it names")
    raise FaultError(node, "this is not a type", "write a type of the language, such as u64")


def _read_name(module: Module, node: ast.Name) -> Kind:
    if node.id in SCALARS:
        module.need(node.id, node)
        return SCALARS[node.id]
    if node.id in module.structs:
        return module.structs[node.id]
    if node.id in INSTEAD:
        raise FaultError(node, f"the type {node.id}", INSTEAD[node.id])
    if node.id in module.events:
        raise FaultError(node, f"the event {node.id} as a type", "declare a Struct")
    raise module.unknown(node.id, node)


def read_result(module: Module, node: ast.expr | None, function: ast.FunctionDef) -> Result:
    """The annotation behind `->`."""
    if node is None:
        raise FaultError(function, "no type of the result", "write -> None, or the type that is returned")
    if isinstance(node, ast.Constant) and node.value is None:
        return None
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "tuple":
        items = elements(node)
        if len(items) < 2:
            raise FaultError(node, "a tuple of fewer than two results", "write the type alone")
        return TupleOf(tuple(read_kind(module, item) for item in items))
    return read_kind(module, node)


def read_parameter(module: Module, arg: ast.arg) -> Parameter:
    """One parameter of a function."""
    check_name(arg.arg, arg)
    node = arg.annotation
    if node is None:
        raise FaultError(
            arg, f"the parameter {arg.arg} has no type", f"write {arg.arg}: u64, or another type"
        )
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "UpTo":
        module.need("UpTo", node)
        base, limit = arguments(node, 2)
        kind = read_scalar(module, base, "UpTo")
        if kind.code not in UNSIGNED:
            raise FaultError(node, f"UpTo of {kind}", "use an unsigned integer type, such as u64")
        return Parameter(arg.arg, kind, read_size(module, limit, kind.range[1]))
    return Parameter(arg.arg, read_kind(module, node))


def read_size(module: Module, node: ast.expr, maximum: int) -> int:
    """A number from 1 to `maximum`: in figures, or a constant of the module."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        size = node.value
    elif isinstance(node, ast.Name) and node.id in module.constants:
        value = module.constants[node.id].value
        size = value if type(value) is int else 0
    elif isinstance(node, ast.Name):
        raise module.unknown(node.id, node)
    else:
        raise FaultError(node, "a size that is not a number", "write it in figures, or name a constant")
    if not 1 <= size <= maximum:
        raise FaultError(node, "a size out of range", f"write a number from 1 to {maximum}")
    return size


def elements(node: ast.Subscript) -> list[ast.expr]:
    """What stands in the brackets, parted by commas."""
    return list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]


def arguments(node: ast.Subscript, count: int) -> list[ast.expr]:
    """What stands in the brackets. Raises FaultError unless there are `count`."""
    found = elements(node)
    if len(found) != count:
        raise FaultError(node, f"{len(found)} in the brackets", f"write {count}, parted by commas")
    return found
