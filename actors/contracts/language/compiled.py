"""What the compiler makes: the program, and what people need beside it. Only the program is on the chain."""

from __future__ import annotations

import msgspec

from actors.contracts.ir import Program


class AbiField(msgspec.Struct, frozen=True):
    """A field or a parameter: its name, and its type as the author wrote it."""

    name: str
    kind: str


class AbiStruct(msgspec.Struct, frozen=True):
    """A struct or an event."""

    name: str
    fields: tuple[AbiField, ...]
    doc: str


class AbiTable(msgspec.Struct, frozen=True):
    """A table (or a cell, without keys): types as the author wrote them."""

    name: str
    keys: tuple[str, ...]
    value: str


class AbiFunction(msgspec.Struct, frozen=True):
    """A function. number: among the program's functions. result: its type, or empty."""

    number: int
    name: str
    kind: str
    accepts_coins: bool
    parameters: tuple[AbiField, ...]
    result: str
    doc: str
    line: int


class Compiled(msgspec.Struct, frozen=True):
    """One contract, compiled.

    lines: the line of each operation, by the number of its function and its path. A path is the place in
    the function's list; inside an If it goes on with 0 (then) or 1 (otherwise) and the place in that list,
    inside a Loop with 0 and the place in its body.
    """

    program: Program
    filename: str
    doc: str
    structs: tuple[AbiStruct, ...]
    events: tuple[AbiStruct, ...]
    tables: tuple[AbiTable, ...]
    functions: tuple[AbiFunction, ...]
    lines: dict[tuple[int, tuple[int, ...]], int]
