"""Checks of what a program declares: names, types, tables, events, imports, messages, and functions' heads.

Names are ASCII identifiers, dotted where a struct was flattened: `position.amount`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from actors.contracts import limits
from actors.contracts.errors import ProgramError, at_most
from actors.contracts.ir import (
    IR_VERSION,
    Event,
    Function,
    FunctionKind,
    Import,
    Named,
    Param,
    Program,
    Shape,
    Table,
)
from actors.contracts.types import UNSIGNED, WIDTH_BYTES, Type, TypeCode

_IDENTIFIER = r"(?!__)[A-Za-z_][A-Za-z0-9_]*"
_NAME = re.compile(_IDENTIFIER)
_PATH = re.compile(rf"{_IDENTIFIER}(\.{_IDENTIFIER})*")
_OUTSIDE = (FunctionKind.ENTRY, FunctionKind.VIEW, FunctionKind.INIT)


def check_declarations(program: Program) -> None:
    """Raise ProgramError for the first rule that declarations break. Bodies are not looked at."""
    if program.version != IR_VERSION:
        raise ProgramError(f"version {program.version} of the intermediate representation: {IR_VERSION}")
    _check_name(program.name)
    at_most("tables", len(program.tables), limits.TABLES_MAX)
    at_most("events", len(program.events), limits.EVENTS_MAX)
    at_most("imports", len(program.imports), limits.IMPORTS_MAX)
    at_most("messages", len(program.messages), limits.MESSAGES_MAX)
    at_most("functions", len(program.functions), limits.FUNCTIONS_MAX)
    _check_unique("tables", (table.name for table in program.tables))
    _check_unique("events", (event.name for event in program.events))
    _check_unique("functions", (function.name for function in program.functions))
    for table in program.tables:
        _check_table(table)
    for event in program.events:
        _check_event(event)
    _check_imports(program.imports)
    for message in program.messages:
        at_most("bytes of a message", len(message.encode("utf-8", "surrogatepass")), limits.MESSAGE_BYTES_MAX)
    if sum(function.kind is FunctionKind.INIT for function in program.functions) > 1:
        raise ProgramError("functions that are called by the deployment: more than one", 1)
    for function in program.functions:
        try:
            _check_head(function)
        except ProgramError as error:
            raise error.at(f"function {function.name[:64]!r}") from None


def _check_name(name: str, form: re.Pattern[str] = _NAME) -> None:
    at_most("characters of a name", len(name), limits.NAME_CHARS_MAX)
    if not form.fullmatch(name):
        raise ProgramError(f"a name that is no identifier: {name!r}")


def _check_unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ProgramError(f"two {what} named {name[:64]!r}")
        seen.add(name)


def _check_type(kind: Type) -> int:
    """Bytes of a value."""
    if kind.code is TypeCode.BYTES:
        if not 1 <= kind.size <= limits.BYTES_MAX:
            raise ProgramError(f"a size of bytes: {kind.size}", limits.BYTES_MAX)
        return kind.size
    if kind.size != 0:
        raise ProgramError(f"a size of {kind.code.name.lower()}: {kind.size}", 0)
    return WIDTH_BYTES[kind.code]


def _check_shape(shape: Shape) -> int:
    """Its bytes."""
    width = _check_type(shape.type)
    if not 0 <= shape.count <= limits.ARRAY_MAX:
        raise ProgramError(f"values of an array: {shape.count}", limits.ARRAY_MAX)
    return width * (shape.count or 1)


def _check_named(what: str, named: Iterable[Named | Param], bytes_max: int) -> None:
    """Names and shapes of columns, fields, parameters or results."""
    width_bytes, names = 0, set()
    for each in named:
        _check_name(each.name, _PATH)
        if each.name in names:
            raise ProgramError(f"two {what} named {each.name!r}")
        names.add(each.name)
        width_bytes += _check_shape(each.shape)
    at_most(f"bytes of {what}", width_bytes, bytes_max)


def _check_table(table: Table) -> None:
    _check_name(table.name)
    at_most("keys of a table", len(table.keys), limits.KEYS_MAX)
    at_most("columns of a table", len(table.columns), limits.COLUMNS_MAX)
    if not table.columns:
        raise ProgramError(f"table {table.name!r} has no columns")
    at_most("bytes of a table's keys", sum(map(_check_type, table.keys)), limits.KEY_BYTES_MAX)
    _check_named("columns", table.columns, limits.VALUE_BYTES_MAX)


def _check_event(event: Event) -> None:
    _check_name(event.name)
    at_most("fields of an event", len(event.fields), limits.OPERANDS_MAX)
    _check_named("fields", event.fields, limits.EVENT_BYTES_MAX)


def _check_imports(imports: tuple[Import, ...]) -> None:
    seen = set()
    for each in imports:
        _check_name(each.contract)
        _check_name(each.function)
        if len(each.address) != 32:
            raise ProgramError(f"bytes of an import's address: {len(each.address)}, not 32")
        if each.kind not in (FunctionKind.ENTRY, FunctionKind.VIEW):
            raise ProgramError(f"an import of {each.function!r}, which is neither an entry nor a view")
        if (each.address, each.function) in seen:
            raise ProgramError(f"two imports of {each.function!r} from one contract")
        seen.add((each.address, each.function))
        at_most("parameters of an import", len(each.params), limits.PARAMS_MAX)
        at_most("results of an import", len(each.results), limits.RESULTS_MAX)
        at_most("bytes of parameters", sum(map(_check_shape, each.params)), limits.ARGUMENTS_BYTES_MAX)
        at_most("bytes of results", sum(map(_check_shape, each.results)), limits.FRAME_BYTES_MAX)


def _check_head(function: Function) -> None:
    _check_name(function.name)
    at_most("parameters", len(function.params), limits.PARAMS_MAX)
    at_most("results", len(function.results), limits.RESULTS_MAX)
    at_most("registers", len(function.registers), limits.REGISTERS_MAX)
    if function.accepts_coins and function.kind not in (FunctionKind.ENTRY, FunctionKind.INIT):
        raise ProgramError(f"{function.kind.name.lower()} functions accept no coins")
    at_most("bytes of registers", sum(map(_check_shape, function.registers)), limits.FRAME_BYTES_MAX)
    outside = function.kind in _OUTSIDE
    bytes_max = limits.ARGUMENTS_BYTES_MAX if outside else limits.FRAME_BYTES_MAX
    _check_named("parameters", function.params, bytes_max)
    _check_named("results", (named for _, named in function.results), limits.FRAME_BYTES_MAX)
    if tuple(param.shape for param in function.params) != function.registers[: len(function.params)]:
        raise ProgramError("its first registers are not its parameters")
    for param in function.params:
        if param.max is not None:
            _check_max(param, param.max)
    for register, named in function.results:
        if not 0 <= register < len(function.registers):
            raise ProgramError(f"register {register} of {len(function.registers)}")
        if function.registers[register] != named.shape:
            raise ProgramError(f"the result {named.name!r} is not what its register holds")


def _check_max(param: Param, greatest: int) -> None:
    kind = param.shape.type
    if param.shape.count or kind.code not in UNSIGNED:
        raise ProgramError(f"a greatest value of {param.name!r}, which is no unsigned integer")
    if not 0 <= greatest <= kind.range[1]:
        raise ProgramError(f"the greatest value of {param.name!r}: {greatest}", kind.range[1])
