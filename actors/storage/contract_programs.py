"""Programs of contracts that a block calls, out of the columns; those used last are kept, by their hashes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from actors.contracts.encoding import decode_program
from actors.contracts.touches import FunctionTouches, touches_of
from actors.ledger.contract_state import head_key, read_program
from actors.ledger.hashing import DIGEST_BYTES

PROGRAMS_KEPT = 1024
Read = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class StoredProgram:
    """encoded: empty where there is no contract. imports: addresses. touches: of its public functions."""

    encoded: bytes
    imports: tuple[bytes, ...]
    touches: dict[int, FunctionTouches]


NO_PROGRAM = StoredProgram(b"", (), {})


class ProgramShelf:
    """Of one Storage. A contract is looked up each time, since blocks are undone; its program is not."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, StoredProgram] = OrderedDict()

    def with_imports(self, addresses: Iterable[bytes], read: Read) -> dict[bytes, StoredProgram]:
        """Programs of contracts, and of all that these may call. read: entries of the state."""
        found, left = dict[bytes, StoredProgram](), list(addresses)
        while left:
            address = left.pop()
            if address not in found:
                found[address] = self._program(address, read)
                left.extend(found[address].imports)
        return found

    def _program(self, address: bytes, read: Read) -> StoredProgram:
        named = read(head_key(address))[:DIGEST_BYTES]
        if not named:
            return NO_PROGRAM
        found = self._kept.get(named)
        if found is None:
            encoded = read_program(address, read) or b""
            program = decode_program(encoded)
            imports = tuple(dict.fromkeys(each.address for each in program.imports))
            found = self._kept[named] = StoredProgram(encoded, imports, touches_of(program))
            if len(self._kept) > PROGRAMS_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(named)
        return found
