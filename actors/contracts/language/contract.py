"""The contract's class: its tables and cells, and the signatures of its functions."""

from __future__ import annotations

import ast

from actors.contracts.ir import FunctionKind
from actors.contracts.language.annotations import arguments, elements, read_kind, read_scalar
from actors.contracts.language.classes import Decorator, body_of, check_flat, decorator_of, read_signature
from actors.contracts.language.faults import FaultError, SourcePlace
from actors.contracts.language.kinds import Kind, Signature, flatten
from actors.contracts.language.module import ContractOf, Module, TableOf, check_name
from actors.contracts.limits import FUNCTIONS_MAX, KEY_BYTES_MAX, KEYS_MAX, TABLES_MAX, VALUE_BYTES_MAX
from actors.contracts.types import Type

DECORATORS = ("entry", "view", "init")


def read_contract(module: Module, node: ast.ClassDef, decorator: Decorator) -> None:
    """Everything of the class but the bodies of its functions."""
    contract = ContractOf(node.name, node.lineno, {}, {}, {})
    module.contract = contract
    if decorator.call is not None:
        module.faults.add(FaultError(decorator.node, "arguments of @contract", "write @contract alone"))
    for statement in body_of(node):
        with module.faults.recording():
            if isinstance(statement, ast.FunctionDef):
                _read_function(module, contract, statement)
            elif isinstance(statement, ast.AnnAssign):
                _read_table(module, contract, statement)
            elif isinstance(statement, ast.AsyncFunctionDef):
                raise FaultError(statement, "an async function", "write def")
            elif not isinstance(statement, ast.Pass):
                advice = "declare tables and functions; constants stand above the class"
                raise FaultError(statement, "a statement in the contract's class", advice)
    if not any(one.kind is not FunctionKind.PRIVATE for one in contract.signatures.values()):
        module.faults.add(FaultError(node, "a contract that nobody can call", "write an @entry or a @view"))


def _declare(contract: ContractOf, name: str, place: SourcePlace) -> None:
    check_name(name, place)
    if name in contract.tables or name in contract.bodies:
        raise FaultError(place, f"{name} is declared twice", "use another name")


def _read_table(module: Module, contract: ContractOf, node: ast.AnnAssign) -> None:
    if not isinstance(node.target, ast.Name):
        raise FaultError(node, "a statement in the contract's class", "declare name: Table[K, V] or Cell[V]")
    name, annotation = node.target.id, node.annotation
    module.faulty_state.add(name)
    _declare(contract, name, node)
    if node.value is not None:
        raise FaultError(
            node.value, "a first value", "remove it: what is unwritten is zero, or write it in @init"
        )
    generic = annotation.value if isinstance(annotation, ast.Subscript) else None
    word = generic.id if isinstance(generic, ast.Name) else ""
    if not isinstance(annotation, ast.Subscript) or word not in ("Table", "Cell"):
        raise FaultError(node, f"{name} is neither a table nor a cell", "write Table[K, V] or Cell[V]")
    module.need(word, annotation)
    keys: tuple[Type, ...] = ()
    if word == "Table":
        key, value_node = arguments(annotation, 2)
        keys = _read_keys(module, key)
    else:
        (value_node,) = arguments(annotation, 1)
    value = read_kind(module, value_node)
    _check_row(keys, value, node)
    if len(contract.tables) >= TABLES_MAX:
        raise FaultError(node, f"more than {TABLES_MAX} tables", "join tables of the same keys with a struct")
    commutes = isinstance(value, Type) and value.is_integer
    contract.tables[name] = TableOf(len(contract.tables), name, keys, value, word == "Cell", commutes)
    module.faulty_state.discard(name)


def _read_keys(module: Module, node: ast.expr) -> tuple[Type, ...]:
    nodes = [node]
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "tuple":
        nodes = elements(node)
        if len(nodes) < 2:
            raise FaultError(node, "a tuple of one key", "write the key's type alone")
    return tuple(read_scalar(module, one, "a key") for one in nodes)


def _check_row(keys: tuple[Type, ...], value: Kind, place: SourcePlace) -> None:
    if len(keys) > KEYS_MAX:
        raise FaultError(place, f"a key of {len(keys)} parts", f"use at most {KEYS_MAX}")
    key_bytes = sum(key.width_bytes for key in keys)
    if key_bytes > KEY_BYTES_MAX:
        raise FaultError(
            place, f"a key of {key_bytes} bytes", f"use at most {KEY_BYTES_MAX}, such as a sha256"
        )
    check_flat(value, "", place)
    value_bytes = sum(leaf.shape.width_bytes for leaf in flatten(value, ""))
    if value_bytes > VALUE_BYTES_MAX:
        raise FaultError(place, f"a value of {value_bytes} bytes", f"use at most {VALUE_BYTES_MAX}")


def _read_function(module: Module, contract: ContractOf, node: ast.FunctionDef) -> None:
    decorator = decorator_of(node, DECORATORS)
    _declare(contract, node.name, node)
    if len(contract.bodies) >= FUNCTIONS_MAX:
        raise FaultError(node, f"more than {FUNCTIONS_MAX} functions", "join some, or split the contract")
    contract.bodies[node.name] = node
    private = node.name.startswith("_")
    if decorator is None and not private:
        advice = f"write @entry or @view above it, or name it _{node.name} if only the contract calls it"
        raise FaultError(node, f"{node.name} is neither public nor private", advice)
    if decorator is not None and private:
        raise FaultError(node, f"@{decorator.name} on a private name", "let its name not begin with _")
    signature = read_signature(module, node, decorator)
    if signature.kind is FunctionKind.INIT and _has_init(contract.signatures):
        raise FaultError(node, "a second @init", "join the two")
    contract.signatures[node.name] = signature


def _has_init(signatures: dict[str, Signature]) -> bool:
    return any(one.kind is FunctionKind.INIT for one in signatures.values())
