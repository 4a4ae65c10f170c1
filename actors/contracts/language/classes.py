"""What stands in the body of a class: fields, decorators, signatures; and interfaces, which are only that."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from actors.contracts.ir import FunctionKind
from actors.contracts.language.annotations import read_parameter, read_result
from actors.contracts.language.faults import FaultError, SourcePlace
from actors.contracts.language.kinds import Kind, Parameter, Signature, flatten
from actors.contracts.language.literals import read_address
from actors.contracts.language.module import (
    BUILT_IN,
    EXPORTED,
    Imported,
    ImportedContract,
    Module,
    check_name,
)
from actors.contracts.limits import (
    ARGUMENTS_BYTES_MAX,
    IMPORTS_MAX,
    NAME_CHARS_MAX,
    PARAMS_MAX,
    RESULTS_MAX,
)

KINDS = {"entry": FunctionKind.ENTRY, "view": FunctionKind.VIEW, "init": FunctionKind.INIT}


@dataclass(frozen=True, slots=True)
class Decorator:
    """`@name` or `@name(...)`."""

    name: str
    node: ast.expr
    call: ast.Call | None


def is_docstring(node: ast.stmt) -> bool:
    """True for a string that stands alone."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def body_of(node: ast.ClassDef | ast.FunctionDef) -> list[ast.stmt]:
    """The statements below the docstring."""
    return node.body[1:] if is_docstring(node.body[0]) else node.body


def decorator_of(node: ast.ClassDef | ast.FunctionDef, names: tuple[str, ...]) -> Decorator | None:
    """The decorator, if there is one. Raises FaultError for one that is not among `names`, and for two."""
    if not node.decorator_list:
        return None
    if len(node.decorator_list) > 1:
        raise FaultError(node.decorator_list[1], "a second decorator", "write one")
    decorator = node.decorator_list[0]
    call = decorator if isinstance(decorator, ast.Call) else None
    name = call.func if call is not None else decorator
    if not isinstance(name, ast.Name) or name.id not in names:
        raise FaultError(decorator, "an unknown decorator", f"write @{' or @'.join(names)}")
    return Decorator(name.id, decorator, call)


def field_of(statement: ast.stmt, word: str) -> tuple[str, ast.expr]:
    """Name and annotation of `name: kind`."""
    if isinstance(statement, ast.FunctionDef):
        raise FaultError(statement, f"a method of {word}", "make it a private method of the contract")
    if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
        raise FaultError(statement, f"a statement in {word}", "declare fields, such as amount: u64")
    if statement.value is not None:
        raise FaultError(statement.value, "a default value", "remove it: what is unwritten is zero")
    check_name(statement.target.id, statement)
    return statement.target.id, statement.annotation


def add_field(fields: list[tuple[str, Kind]], name: str, kind: Kind, place: SourcePlace) -> None:
    """One more field. Raises FaultError if its name is not free."""
    if name in ("replace", "self"):
        raise FaultError(place, f"a field with the name {name}", "use another name")
    if any(name == other for other, _ in fields):
        raise FaultError(place, f"the field {name} twice", "use another name")
    check_flat(kind, name, place)
    fields.append((name, kind))


def check_flat(kind: Kind, name: str, place: SourcePlace) -> None:
    """Raises FaultError where a nested struct makes a name such as a.b.c too long."""
    for leaf in flatten(kind, name):
        if len(leaf.name) > NAME_CHARS_MAX:
            advice = f"use at most {NAME_CHARS_MAX} characters, those of the structs around it counted"
            raise FaultError(place, f"the name {leaf.name}", advice)


def read_signature(module: Module, node: ast.FunctionDef, decorator: Decorator | None) -> Signature:
    """Name, parameters, result. Raises FaultError."""
    check_name(node.name, node)
    if node.name in EXPORTED or node.name in BUILT_IN or node.name in module.declared:
        raise FaultError(node, f"a function with the name {node.name}", "use another: this one is taken")
    kind = KINDS[decorator.name] if decorator is not None else FunctionKind.PRIVATE
    if decorator is not None:
        module.need(decorator.name, decorator.node)
    parameters = _read_parameters(module, node)
    result = read_result(module, node.returns, node)
    if len(flatten(result, "")) > RESULTS_MAX:
        raise FaultError(node, f"more than {RESULTS_MAX} results", "return less, or write it to a table")
    for leaf in flatten(result, ""):
        if len(leaf.name) > NAME_CHARS_MAX:
            raise FaultError(
                node, f"the result's name {leaf.name}", f"use at most {NAME_CHARS_MAX} characters"
            )
    if kind is FunctionKind.INIT and result is not None:
        raise FaultError(node, "an @init that returns", "write -> None")
    accepts = decorator is not None and _accepts_coins(decorator)
    return Signature(node.name, kind, accepts, parameters, result, node.lineno)


def _read_parameters(module: Module, node: ast.FunctionDef) -> tuple[Parameter, ...]:
    arguments = node.args
    if not arguments.args or arguments.args[0].arg != "self":
        raise FaultError(node, f"{node.name} has no self", f"write def {node.name}(self, ...)")
    if arguments.args[0].annotation is not None:
        raise FaultError(arguments.args[0], "a type of self", "write self alone")
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs:
        raise FaultError(node, "parameters with *, ** or /", "write each parameter by its name")
    if arguments.defaults:
        raise FaultError(arguments.defaults[0], "a default value", "remove it: every argument is given")
    parameters: list[Parameter] = []
    for arg in arguments.args[1:]:
        parameter = read_parameter(module, arg)
        if arg.arg in EXPORTED or arg.arg in BUILT_IN or arg.arg in module.declared:
            raise FaultError(arg, f"a parameter with the name {arg.arg}", "use another: this one is taken")
        if any(arg.arg == other.name for other in parameters):
            raise FaultError(arg, f"the parameter {arg.arg} twice", "use another name")
        check_flat(parameter.kind, parameter.name, arg)
        parameters.append(parameter)
        if len(parameters) > PARAMS_MAX:
            raise FaultError(
                arg, f"more than {PARAMS_MAX} parameters", "group them in a struct, or drop some"
            )
    leaves = [leaf for parameter in parameters for leaf in flatten(parameter.kind, parameter.name)]
    if len(leaves) > PARAMS_MAX:
        raise FaultError(node, f"parameters of {len(leaves)} scalars and arrays", f"use at most {PARAMS_MAX}")
    size_bytes = sum(leaf.shape.width_bytes for leaf in leaves)
    if size_bytes > ARGUMENTS_BYTES_MAX:
        raise FaultError(node, f"parameters of {size_bytes} bytes", f"use at most {ARGUMENTS_BYTES_MAX}")
    return tuple(parameters)


def _accepts_coins(decorator: Decorator) -> bool:
    call = decorator.call
    if call is None:
        return False
    word = call.keywords[0] if len(call.keywords) == 1 and not call.args else None
    if decorator.name == "view" or word is None or word.arg != "accepts_coins":
        right = "@view" if decorator.name == "view" else f"@{decorator.name}(accepts_coins=True)"
        raise FaultError(call, f"arguments of @{decorator.name}", f"write {right}")
    if not (isinstance(word.value, ast.Constant) and type(word.value.value) is bool):
        raise FaultError(word.value, "not True or False", "write accepts_coins=True")
    return word.value.value


def read_interface(module: Module, node: ast.ClassDef, decorator: Decorator) -> None:
    """A deployed contract's functions. Those that nothing calls are not imported."""
    call = decorator.call
    if call is None or len(call.args) != 1 or call.keywords:
        raise FaultError(
            decorator.node, "an interface without an address", 'write @interface("64 hex digits")'
        )
    address = read_address(call.args[0])
    functions: dict[str, Imported] = {}
    for other, declared in module.interfaces.items():
        if declared.address == address:
            raise FaultError(decorator.node, f"the address of {other} again", f"add its functions to {other}")
    number = sum(
        function.number is not None
        for one in module.interfaces.values()
        for function in one.functions.values()
    )
    for statement in body_of(node):
        with module.faults.recording():
            signature = _read_imported(module, statement, functions)
            is_called = (node.name, signature.name) in module.called
            if is_called and number >= IMPORTS_MAX:
                advice = f"at most {IMPORTS_MAX} of all interfaces together may be called"
                raise FaultError(statement, "too many imported functions", advice)
            functions[signature.name] = Imported(
                signature.kind,
                signature.accepts_coins,
                signature.parameters,
                signature.result,
                number if is_called else None,
            )
            number += is_called
    faulty = {one.name for one in body_of(node) if isinstance(one, ast.FunctionDef)} - functions.keys()
    module.interfaces[node.name] = ImportedContract(address, functions, frozenset(faulty))


def _read_imported(module: Module, statement: ast.stmt, others: dict[str, Imported]) -> Signature:
    if not isinstance(statement, ast.FunctionDef):
        raise FaultError(
            statement, "a statement in an interface", "declare functions, each with the body ..."
        )
    decorator = decorator_of(statement, ("entry", "view"))
    if decorator is None:
        raise FaultError(statement, "neither entry nor view", "write @entry or @view above it")
    body = body_of(statement)
    if body and not _is_ellipsis(body):
        raise FaultError(body[0], "a body in an interface", "write ... instead: the code is on the chain")
    signature = read_signature(module, statement, decorator)
    if signature.name in others:
        raise FaultError(statement, f"{signature.name} is declared twice", "remove one")
    return signature


def _is_ellipsis(body: list[ast.stmt]) -> bool:
    only = body[0]
    return (
        len(body) == 1
        and isinstance(only, ast.Expr)
        and isinstance(only.value, ast.Constant)
        and only.value.value is Ellipsis
    )
