"""Calls of the contract's own private functions, and of functions of deployed contracts."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from actors.contracts.ir import AnyOp, Call, CallContract, FunctionKind
from actors.contracts.language.binding import bind, check_operands
from actors.contracts.language.body import Body
from actors.contracts.language.faults import AlreadyToldError, FaultError
from actors.contracts.language.kinds import Parameter, Result
from actors.contracts.language.module import ImportedContract
from actors.contracts.language.values import Operand, Value, constant
from actors.contracts.types import U64


def call_private(body: Body, node: ast.Call, function: ast.Attribute) -> Value:
    """`self._name(...)`."""
    contract, name = body.module.contract, function.attr
    if contract is None:
        raise AlreadyToldError
    if name in contract.tables:
        raise FaultError(
            node, f"a call of {name}", f"write self.{name}[key], or self.{name}.value for a cell"
        )
    if name not in contract.bodies:
        raise FaultError(node, f"the contract has no function {name[:48]}", "write it as a private method")
    signature = contract.signatures.get(name)
    if signature is None:
        raise AlreadyToldError
    if signature.kind is not FunctionKind.PRIVATE:
        advice = "move its body to a private function, and call that in both places"
        raise FaultError(node, f"{name} is called from the contract itself", advice)
    if name not in body.others:
        raise AlreadyToldError
    callee = body.others[name]
    registers = _arguments(body, node, signature.parameters, name)
    for what in callee.effects.told:
        body.does(f"{what.split(', in ')[0]}, in {name}", node)
    body.effects.tables_written |= callee.effects.tables_written
    return _result(body, node, signature.result, lambda dsts: Call(callee.number, registers, dsts))


def call_imported(body: Body, node: ast.Call, function: ast.Attribute, interface: ImportedContract) -> Value:
    """`Token.transfer(to, amount)`, with `coins=` where the function accepts some."""
    name = function.attr
    imported = interface.functions.get(name)
    if name in interface.faulty:
        raise AlreadyToldError
    if imported is None:
        advice = f"it has {', '.join(interface.functions) or 'none'}"
        raise FaultError(node, f"the interface has no function {name[:48]}", advice)
    number = imported.number
    assert number is not None, "the functions that are called were found before"
    if imported.kind is FunctionKind.ENTRY:
        body.does(f"calls the entry {name}", node)
    coins: list[Operand] = []
    parameters = list(imported.parameters)
    registers = _arguments(body, node, parameters, name, coins if imported.accepts_coins else None)
    amount = body.registers(coins[0], node)[0] if coins else None
    return _result(body, node, imported.result, lambda dsts: CallContract(number, registers, dsts, amount))


def _arguments(
    body: Body,
    node: ast.Call,
    parameters: Sequence[Parameter],
    name: str,
    coins: list[Operand] | None = None,
) -> tuple[int, ...]:
    """Registers of the arguments. coins: takes the value of `coins=`, if the function accepts some."""
    names = [parameter.name for parameter in parameters]
    values: dict[int, Operand] = {}
    if coins is not None and any(word.arg == "coins" for word in node.keywords) and "coins" not in names:
        names.append("coins")
    elif any(word.arg == "coins" for word in node.keywords) and "coins" not in names:
        raise FaultError(
            node, f"coins to {name}", "leave them out: it is not declared with accepts_coins=True"
        )
    for number, argument in bind(node, names, name):
        if number == len(parameters) and coins is not None:
            coins.append(body.value_of(argument, U64))
            continue
        values[number] = body.value_of(argument, parameters[number].kind)
        if node_is_private(node) and parameters[number].max is not None:
            _check_bound(body, argument, values[number], parameters[number])
    registers = [
        register for number in range(len(parameters)) for register in body.registers(values[number], node)
    ]
    check_operands(len(registers), node)
    return tuple(registers)


def _check_bound(body: Body, node: ast.expr, value: Operand, parameter: Parameter) -> None:
    """A declared maximum holds within a contract, too, where nothing checks it at run time."""
    assert parameter.max is not None
    number = constant(value)
    if number is not None and int(number.value) <= parameter.max:
        return
    found = body.locals.get(node.id) if isinstance(node, ast.Name) else None
    limit = found.parameter.max if found is not None and found.parameter is not None else None
    if limit is None or limit > parameter.max:
        advice = f"pass a number or a parameter UpTo[{parameter.kind}, {parameter.max}]"
        raise FaultError(node, f"{parameter.name} may be above {parameter.max} here", advice)


def node_is_private(node: ast.Call) -> bool:
    """True for `self._name(...)`."""
    function = node.func
    return (
        isinstance(function, ast.Attribute)
        and isinstance(function.value, ast.Name)
        and function.value.id == "self"
    )


def _result(
    body: Body, node: ast.Call, result: Result, operation: Callable[[tuple[int, ...]], AnyOp]
) -> Value:
    if result is None:
        body.builder.emit(operation(()), node)
        return None
    dsts = body.temporaries(result, node)
    body.builder.emit(operation(dsts), node)
    return Operand(result, dsts)
