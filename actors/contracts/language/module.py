"""What one source declares, by name: what annotations, functions and calls look up."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from actors.contracts.ir import FunctionKind
from actors.contracts.language.faults import AlreadyToldError, FaultError, FaultList, SourcePlace
from actors.contracts.language.kinds import Kind, Parameter, Result, Signature, StructOf
from actors.contracts.language.values import KnownValue
from actors.contracts.limits import NAME_CHARS_MAX
from actors.contracts.types import ADDRESS, BOOL, HASH, I64, U8, U16, U32, U64, U128, Type

SCALARS = {
    "bool": BOOL, "u8": U8, "u16": U16, "u32": U32, "u64": U64, "u128": U128, "i64": I64,
    "Address": ADDRESS, "Hash": HASH,
}  # fmt: skip
EXPORTED = (
    "Address", "Array", "Bytes", "Cell", "Event", "Hash", "Struct", "Table", "UpTo",
    "contract", "ctx", "emit", "entry", "i64", "init", "interface", "range", "require", "send", "sha256",
    "u128", "u16", "u32", "u64", "u8", "view",
)  # fmt: skip
"""What `from raychain import ...` may name."""
BUILT_IN = ("bool", "len", "max", "min", "self", "tuple")
"""What needs no import. No other name may be declared twice, and none of these at all."""


@dataclass(frozen=True, slots=True)
class TableOf:
    """A table or a cell of the contract."""

    number: int
    name: str
    keys: tuple[Type, ...]
    value: Kind
    is_cell: bool
    commutes: bool  # one scalar integer column: `+=` is an Increase


@dataclass(frozen=True, slots=True)
class EventOf:
    """An event."""

    number: int
    fields: StructOf


@dataclass(frozen=True, slots=True)
class Imported:
    """A function of an interface. number: among the imports, None if nothing calls it."""

    kind: FunctionKind
    accepts_coins: bool
    parameters: tuple[Parameter, ...]
    result: Result
    number: int | None


@dataclass(frozen=True, slots=True)
class ImportedContract:
    """A deployed contract. faulty: functions whose declaration was refused."""

    address: bytes
    functions: dict[str, Imported]
    faulty: frozenset[str]


@dataclass(frozen=True, slots=True)
class ContractOf:
    """The contract of the source. bodies: the nodes of its functions, in order."""

    name: str
    line: int
    tables: dict[str, TableOf]
    signatures: dict[str, Signature]
    bodies: dict[str, ast.FunctionDef]


@dataclass(slots=True)
class Module:
    """Everything that was declared so far."""

    faults: FaultList
    called: frozenset[tuple[str, str]]  # (interface, function) for each `Name.function(...)` of the source
    imported: set[str] = field(default_factory=set)
    constants: dict[str, KnownValue] = field(default_factory=dict)
    structs: dict[str, StructOf] = field(default_factory=dict)
    events: dict[str, EventOf] = field(default_factory=dict)
    interfaces: dict[str, ImportedContract] = field(default_factory=dict)
    contract: ContractOf | None = None
    faulty_state: set[str] = field(default_factory=set)  # tables and cells whose declaration was refused
    declared: dict[str, int] = field(default_factory=dict)  # name -> line
    faulty: set[str] = field(default_factory=set)  # names whose declaration was refused

    def declare(self, name: str, place: SourcePlace) -> None:
        """A new name of the module. Raises FaultError if it is not free."""
        check_name(name, place)
        if name in EXPORTED or name in BUILT_IN:
            raise FaultError(place, f"{name} is a word of the language", "use another name")
        if name in self.declared:
            advice = f"line {self.declared[name]} declares it: use another name"
            raise FaultError(place, f"{name} is declared twice", advice)
        self.declared[name] = place.lineno

    def need(self, name: str, place: SourcePlace) -> None:
        """A word of the language is used. Raises FaultError if the source does not import it."""
        if name in EXPORTED and name not in self.imported:
            raise FaultError(place, f"{name} is not imported", f"write from raychain import {name}")

    def unknown(self, name: str, place: SourcePlace) -> Exception:
        """What to raise for a name that is not what is needed here."""
        if name in self.faulty:
            return AlreadyToldError()
        return FaultError(place, f"unknown name {name[:NAME_CHARS_MAX]}", "declare it above its use")


def check_name(name: str, place: SourcePlace) -> None:
    """Raises FaultError for a name that the language does not allow."""
    if name.startswith("__"):
        raise FaultError(place, "a name that begins with __", "use another name")
    if len(name) > NAME_CHARS_MAX:
        advice = f"use at most {NAME_CHARS_MAX} characters"
        raise FaultError(place, f"a name of {len(name)} characters", advice)
