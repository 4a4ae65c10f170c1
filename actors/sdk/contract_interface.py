"""What a contract understands: its functions, tables and events, read from its program. No I/O.

Everything here is computed from the program's bytes, whose hash is the contract's: a gateway is believed
nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from actors.contracts.encoding import decode_program, program_hash
from actors.contracts.entries import RowLayout
from actors.contracts.errors import ProgramError
from actors.contracts.gas import Weights
from actors.contracts.ir import FunctionKind, Named, Param, Shape, Table
from actors.contracts.slots import codec
from actors.contracts.types import Slot
from actors.contracts.verified import Verified, VerifiedFunction
from actors.contracts.verifier import verify
from actors.contracts.world import MemoryWorld
from actors.ledger.hashing import DIGEST_BYTES
from actors.sdk.contract_values import InterfaceError, named_values, slot_of, type_name

Known = TypeVar("Known")
Arguments = Mapping[str, Any] | Sequence[Any]
"""Of a function: by their names, or in order."""


@dataclass(frozen=True)
class ContractFunction:
    """A function of a contract. gas_max: the most that it can use, other contracts that it calls apart."""

    verified: VerifiedFunction

    @property
    def number(self) -> int:
        """Among the program's functions; what a call names it by."""
        return self.verified.number

    @property
    def name(self) -> str:
        """As its author named it."""
        return self.verified.function.name

    @property
    def kind(self) -> FunctionKind:
        """ENTRY, VIEW or INIT."""
        return self.verified.function.kind

    @property
    def accepts_coins(self) -> bool:
        """Whether coins may come with a call."""
        return self.verified.function.accepts_coins

    @property
    def params(self) -> tuple[Param, ...]:
        """Its parameters; a struct's fields are parameters of their own, named `struct.field`."""
        return self.verified.function.params

    @property
    def results(self) -> tuple[Named, ...]:
        """What it returns; `value` where that is a single value, `value0`, `value1` of several."""
        return tuple(named for _, named in self.verified.function.results)

    @property
    def gas_max(self) -> int | None:
        """None where it calls other contracts, whose gas comes on top."""
        worst = self.verified.worst
        return None if worst.contract_calls else worst.gas

    @property
    def signature(self) -> str:
        """As its author declared it: `add(by: u64) -> u64`."""
        params = ", ".join(f"{each.name}: {type_name(each.shape, each.max)}" for each in self.params)
        results = ", ".join(
            type_name(each.shape)
            if each.name.startswith("value")
            else f"{each.name}: {type_name(each.shape)}"
            for each in self.results
        )
        return f"{self.name}({params})" + (f" -> {results}" if results else "")

    def encode(self, arguments: Arguments) -> bytes:
        """The bytes of its arguments. Raises InterfaceError naming the one that does not fit."""
        if isinstance(arguments, Mapping):
            named = dict(arguments)
        else:
            if len(arguments) > len(self.params):
                raise InterfaceError(f"{self.signature} takes {len(self.params)}, not {len(arguments)}")
            named = {each.name: value for each, value in zip(self.params, arguments, strict=False)}
        for name in named:
            if name not in {each.name for each in self.params}:
                raise InterfaceError(f"{self.signature} has no parameter {name!r}")
        missing = [each.name for each in self.params if each.name not in named]
        if missing:
            raise InterfaceError(f"{self.signature} needs a value for {', '.join(missing)}")
        slots = [slot_of(each.name, each.shape, named[each.name], each.max) for each in self.params]
        return self.verified.params.encode(slots)

    def decode(self, data: bytes) -> dict[str, Any]:
        """Its results by their names. Raises InterfaceError for what is none."""
        return _decoded(f"results of {self.name}", self.results, data)


def single(results: dict[str, Any]) -> Any:
    """Results as one value: None, the value, a tuple of several, or a struct's fields by their names."""
    if not results or list(results) == ["value"]:
        return results.get("value")
    if list(results) == [f"value{number}" for number in range(len(results))]:
        return tuple(results.values())
    return results


@dataclass(frozen=True)
class ContractTable:
    """A table, or a cell, which has no keys."""

    declared: Table
    layout: RowLayout

    @property
    def name(self) -> str:
        """As its author named it."""
        return self.declared.name

    @property
    def signature(self) -> str:
        """`balances[Address]: u64`."""
        keys = f"[{', '.join(str(kind) for kind in self.declared.keys)}]" if self.declared.keys else ""
        columns = self.declared.columns
        if [each.name for each in columns] == ["value"]:
            return f"{self.name}{keys}: {type_name(columns[0].shape)}"
        return f"{self.name}{keys}: " + ", ".join(f"{c.name}: {type_name(c.shape)}" for c in columns)

    def read_keys(self, keys: Sequence[Any]) -> list[Any]:
        """The keys of a row as the contract has them. Raises InterfaceError."""
        kinds = self.declared.keys
        if len(keys) != len(kinds):
            wanted = ", ".join(str(kind) for kind in kinds) or "none: it is a cell"
            raise InterfaceError(f"{self.name} has {len(kinds)} keys ({wanted}), not {len(keys)}")
        return [
            slot_of(f"key{n}", Shape(kind), key)
            for n, (kind, key) in enumerate(zip(kinds, keys, strict=True))
        ]

    def entry_keys(self, address: bytes, keys: Sequence[Any]) -> list[bytes]:
        """Where a row of the contract at `address` is kept, chunk by chunk. Raises InterfaceError."""
        return self.layout.entry_keys(address, self.read_keys(keys))

    def columns(self, chunks: Sequence[bytes]) -> dict[str, Any]:
        """The columns of a row with these entries; an empty one reads as zeros. Raises InterfaceError."""
        at = [number.to_bytes(2, "little") for number in range(len(chunks))]
        kept = MemoryWorld()
        kept.entries = {key: chunk for key, chunk in zip(at, chunks, strict=True) if chunk}
        try:
            slots = self.layout.read(kept, at)
        except ValueError as error:
            raise InterfaceError(f"{self.name}: what is kept there is no row of it: {error}") from error
        return {each.name: slot for each, slot in zip(self.declared.columns, slots, strict=True)}


@dataclass(frozen=True)
class ContractEvent:
    """An event. number, data: as the contract emitted it. fields: by their names, None where the emitting
    contract's program is not known here. height, transaction: of where it was found, if that is known."""

    contract: bytes
    number: int
    data: bytes
    name: str | None
    fields: dict[str, Any] | None
    height: int | None = None
    transaction: bytes | None = None


@dataclass(frozen=True)
class ContractInterface:
    """A contract at its address. deployer, deployed_height, nonce: as the gateway says them."""

    address: bytes
    verified: Verified
    program_hash: bytes
    source_hash: bytes
    deployer: bytes
    deployed_height: int
    nonce: int

    @property
    def name(self) -> str:
        """Of its class."""
        return self.verified.program.name

    @cached_property
    def functions(self) -> dict[str, ContractFunction]:
        """Entries and views, by name."""
        public = FunctionKind.ENTRY, FunctionKind.VIEW
        found = (ContractFunction(each) for each in self.verified.functions)
        return {each.name: each for each in found if each.kind in public}

    @cached_property
    def tables(self) -> dict[str, ContractTable]:
        """Tables and cells, by name."""
        declared = zip(self.verified.program.tables, self.verified.tables, strict=True)
        return {table.name: ContractTable(table, layout) for table, layout in declared}

    @property
    def event_names(self) -> list[str]:
        """In the order of their numbers."""
        return [each.name for each in self.verified.program.events]

    def function(self, name: str) -> ContractFunction:
        """Raises InterfaceError naming those that there are."""
        return _named(self.name, "function", self.functions, name)

    def table(self, name: str) -> ContractTable:
        """Raises InterfaceError naming those that there are."""
        return _named(self.name, "table", self.tables, name)

    def event_number(self, name: str) -> int:
        """Raises InterfaceError naming those that there are."""
        return _named(self.name, "event", {each: n for n, each in enumerate(self.event_names)}, name)

    def first_field(self, number: int, value: object) -> bytes:
        """The bytes of an event's first field, by which followers may filter. Raises InterfaceError."""
        event = self.verified.program.events[number]
        if not event.fields:
            raise InterfaceError(f"{event.name} has no fields to choose by")
        field = event.fields[0]
        return codec(field.shape).encode(slot_of(field.name, field.shape, value))

    def event(
        self,
        contract: bytes,
        number: int,
        data: bytes,
        name: str | None = None,
        fields: dict[str, Any] | None = None,
    ) -> ContractEvent:
        """An event; name and fields are what a gateway says of another contract's."""
        events = self.verified.program.events
        if contract == self.address:
            if not 0 <= number < len(events):
                raise InterfaceError(f"{self.name} has no event number {number}")
            name = events[number].name
            fields = _decoded(f"fields of {name}", events[number].fields, data)
        return ContractEvent(contract, number, data, name, fields)


def read_interface(
    address: bytes, facts: Mapping[str, Any], weights: Weights, head: bytes | None
) -> ContractInterface:
    """A contract as a gateway describes it. head: its entry (contract_state.py) as proven, or None: then the
    program is what the gateway says it is. Raises InterfaceError for what is not that contract."""
    try:
        data = bytes.fromhex(facts["program"])
        said = bytes.fromhex(facts["program_hash"]), bytes.fromhex(facts["source_hash"])
        deployer, nonce = bytes.fromhex(facts["deployer"]), int(facts["nonce"])
        height = int(facts["deployed_height"])
        known = said if head is None else (head[:DIGEST_BYTES], head[DIGEST_BYTES:])
        if program_hash(data) != known[0] or said != known:
            raise InterfaceError(f"what was answered is not the contract at {address.hex()}")
        verified = verify(decode_program(data), weights)
    except (KeyError, TypeError, ProgramError) as error:
        raise InterfaceError(f"what was answered is no contract: {error!r}") from error
    return ContractInterface(address, verified, *known, deployer, height, nonce)


def _named(contract: str, what: str, known: Mapping[str, Known], name: str) -> Known:
    if name not in known:
        raise InterfaceError(f"{contract} has no {what} {name!r}; it has {', '.join(known) or 'none'}")
    return known[name]


def _decoded(what: str, named: Sequence[Named], data: bytes) -> dict[str, Slot]:
    try:
        return named_values(named, data)
    except ValueError as error:
        raise InterfaceError(f"{what}: {error}") from error
