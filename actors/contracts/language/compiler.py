"""Source to program: parse, read the declarations, number the functions, compile each after those it calls.

Rules
1. The source is a stranger's. It is bounded before it is parsed, it is parsed and never run, and whatever it
   is, the answer is a program or a LanguageError.
2. One source has one program, whatever the version of Python: only what all of them parse alike is used.
3. Every fault names its place, what is not allowed, and what to write instead. After a fault the next
   statement is read, and what uses a faulty name is not told again.
"""

from __future__ import annotations

import ast

from actors.contracts.ir import (
    IR_VERSION,
    Event,
    Function,
    FunctionKind,
    Import,
    Named,
    Param,
    Program,
    Table,
)
from actors.contracts.language.body import Body, Callee, Local
from actors.contracts.language.classes import body_of, is_docstring
from actors.contracts.language.compiled import AbiField, AbiFunction, AbiStruct, AbiTable, Compiled
from actors.contracts.language.declarations import read_module
from actors.contracts.language.emission import Budget, OperationBuilder, finished, lines_of
from actors.contracts.language.expressions import expression
from actors.contracts.language.faults import FaultError, FaultList, TooLargeError
from actors.contracts.language.kinds import ArrayOf, Signature, StructOf, flatten, shapes
from actors.contracts.language.module import ContractOf, Module
from actors.contracts.language.order import number_functions
from actors.contracts.language.parsing import TOO_DEEP, At, parse
from actors.contracts.language.statement_calls import message_of
from actors.contracts.language.statements import function_body

Lines = dict[tuple[int, tuple[int, ...]], int]


def compile_source(source: str, filename: str = "contract.py") -> Compiled:
    """The contract that `source` is. Raises LanguageError."""
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    faults = FaultList(filename, source)
    compiled: Compiled | None = None
    try:
        compiled = _compile(source, filename, faults)
    except FaultError as refused:
        faults.add(refused)
    except RecursionError:
        faults.add(FaultError(At(1, 0), *TOO_DEEP))
    faults.raise_if_any()
    assert compiled is not None
    return compiled


def _compile(source: str, filename: str, faults: FaultList) -> Compiled:
    tree = parse(source, filename)
    module = read_module(tree, faults)
    contract = module.contract
    if contract is None:
        faults.raise_if_any()
        raise FaultError(At(1, 0), "no contract", "write @contract above a class")
    names = number_functions(contract, faults)
    messages = _messages(contract)
    functions: list[Function] = []
    others: dict[str, Callee] = {}
    lines: Lines = {}
    budget = Budget()
    for number, name in enumerate(names):
        functions.append(_function(module, contract, name, number, others, messages, budget, lines))
    program = Program(
        IR_VERSION,
        contract.name,
        tuple(Table(table.name, table.keys, flatten(table.value, "")) for table in contract.tables.values()),
        tuple(Event(name, flatten(event.fields, "")) for name, event in module.events.items()),
        _imports(module),
        tuple(messages),
        tuple(functions),
    )
    return _with_abi(program, tree, filename, module, contract, names, lines)


def _messages(contract: ContractOf) -> dict[str, int]:
    """Numbers of the messages of `require`, in order of appearance."""
    found = [
        (node.lineno, node.col_offset, message)
        for body in contract.bodies.values()
        for node in ast.walk(body)
        if isinstance(node, ast.Call) and (message := message_of(node)) is not None
    ]
    return {message: number for number, message in enumerate(dict.fromkeys(one for *_, one in sorted(found)))}


def _imports(module: Module) -> tuple[Import, ...]:
    return tuple(
        Import(
            interface.address,
            contract,
            name,
            function.kind,
            tuple(shape for parameter in function.parameters for shape in shapes(parameter.kind)),
            shapes(function.result),
        )
        for contract, interface in module.interfaces.items()
        for name, function in interface.functions.items()
        if function.number is not None
    )


def _function(
    module: Module,
    contract: ContractOf,
    name: str,
    number: int,
    others: dict[str, Callee],
    messages: dict[str, int],
    budget: Budget,
    lines: Lines,
) -> Function:
    signature, node = contract.signatures[name], contract.bodies[name]
    builder = OperationBuilder(budget)
    body = Body(module, signature, builder, others, messages, expression)
    results: tuple[tuple[int, Named], ...] = ()
    try:
        _enter(body, node)
        leaves = flatten(signature.result, "")
        body.results = tuple(builder.fresh(leaf.shape, node) for leaf in leaves)
        results = tuple(zip(body.results, leaves, strict=True))
        function_body(body, body_of(node), node)
    except TooLargeError as refused:
        module.faults.add(refused)
    if signature.kind is FunctionKind.PRIVATE:
        others[name] = Callee(number, body.effects)
    lines.update({(number, path): line for path, line in lines_of(builder.lists[0])})
    params = tuple(
        Param(leaf.name, leaf.shape, parameter.max)
        for parameter in signature.parameters
        for leaf in flatten(parameter.kind, parameter.name)
    )
    return Function(
        name,
        signature.kind,
        signature.accepts_coins,
        params,
        tuple(builder.registers),
        results,
        finished(builder.lists[0]),
    )


def _enter(body: Body, node: ast.FunctionDef) -> None:
    """Make variables of the parameters. One with a declared maximum keeps its value, and so does an array."""
    for parameter in body.signature.parameters:
        leaves = flatten(parameter.kind, parameter.name)
        registers = tuple(body.builder.fresh(leaf.shape, node) for leaf in leaves)
        body.locals[parameter.name] = Local(parameter.kind, registers, parameter)
        body.assigned.add(parameter.name)
        if parameter.max is not None or isinstance(parameter.kind, ArrayOf):
            body.fixed[parameter.name] = "use another variable: this parameter keeps its value"


def _with_abi(
    program: Program,
    tree: ast.Module,
    filename: str,
    module: Module,
    contract: ContractOf,
    names: list[str],
    lines: Lines,
) -> Compiled:
    documented = {node.name: _doc(node) for node in tree.body if isinstance(node, ast.ClassDef)}
    return Compiled(
        program,
        filename,
        _doc(tree),
        tuple(_abi_struct(kind, documented) for kind in module.structs.values()),
        tuple(_abi_struct(event.fields, documented) for event in module.events.values()),
        tuple(
            AbiTable(table.name, tuple(str(key) for key in table.keys), str(table.value))
            for table in contract.tables.values()
        ),
        tuple(
            _abi_function(number, contract.signatures[name], _doc(contract.bodies[name]))
            for number, name in enumerate(names)
        ),
        lines,
    )


def _doc(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    return (ast.get_docstring(node) or "") if node.body and is_docstring(node.body[0]) else ""


def _abi_struct(kind: StructOf, documented: dict[str, str]) -> AbiStruct:
    fields = tuple(AbiField(name, str(inner)) for name, inner in kind.fields)
    return AbiStruct(kind.name, fields, documented[kind.name])


def _abi_function(number: int, signature: Signature, doc: str) -> AbiFunction:
    return AbiFunction(
        number,
        signature.name,
        signature.kind.name.lower(),
        signature.accepts_coins,
        tuple(
            AbiField(parameter.name, str(parameter).partition(": ")[2]) for parameter in signature.parameters
        ),
        "" if signature.result is None else str(signature.result),
        doc,
        signature.line,
    )
