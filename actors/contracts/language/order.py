"""Numbers of functions: private ones first, in order of appearance, each after those it calls."""

from __future__ import annotations

import ast

from actors.contracts.ir import FunctionKind
from actors.contracts.language.faults import FaultError, FaultList
from actors.contracts.language.module import ContractOf
from actors.contracts.limits import CALL_DEPTH_MAX


def number_functions(contract: ContractOf, faults: FaultList) -> list[str]:
    """Names of the functions that have a signature, in the order of their numbers. Circles are faults."""
    callees = {name: _callees(body, contract) for name, body in contract.bodies.items()}
    finished: list[str] = []
    depths: dict[str, int] = {}
    for name, signature in contract.signatures.items():
        if signature.kind is FunctionKind.PRIVATE:
            _visit(name, contract, callees, [], finished, depths, faults)
    for name, signature in contract.signatures.items():
        if signature.kind is not FunctionKind.PRIVATE:
            _visit(name, contract, callees, [], finished, depths, faults)
    return [name for name in finished if name in contract.signatures]


def _visit(
    name: str,
    contract: ContractOf,
    callees: dict[str, list[str]],
    path: list[str],
    finished: list[str],
    depths: dict[str, int],
    faults: FaultList,
) -> None:
    if name in depths:
        return
    path.append(name)
    node = contract.bodies[name]
    depth = 0
    for callee in callees[name]:
        if callee in path:
            circle = " -> ".join([*path[path.index(callee) :], callee])
            faults.add(
                FaultError(node, f"functions call each other in a circle: {circle[:200]}", "write a loop")
            )
            continue
        _visit(callee, contract, callees, path, finished, depths, faults)
        depth = max(depth, depths[callee])
    path.pop()
    depths[name] = depth + 1
    finished.append(name)
    if depth + 1 == CALL_DEPTH_MAX + 1:
        advice = f"at most {CALL_DEPTH_MAX} may wait for each other: join some"
        faults.add(FaultError(node, f"{name} is the end of too long a chain of calls", advice))


def _callees(body: ast.FunctionDef, contract: ContractOf) -> list[str]:
    """Private functions that this one calls, in order of appearance."""
    called = [
        (node.lineno, node.col_offset, node.func.attr)
        for node in ast.walk(body)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "self"
    ]
    names = dict.fromkeys(name for _, _, name in sorted(called))
    return [name for name in names if name in contract.bodies and name.startswith("_")]
