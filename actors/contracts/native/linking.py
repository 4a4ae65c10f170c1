"""Contracts as compiled code knows them: a record for each, linked to those that it imports.

A program that is deployed never changes, so what an import leads to is looked up before calls run, by the
rule that the interpreter has for it (`find_import`). Nothing is at an address that no program is known of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from actors.contracts.failures import CallFailedError
from actors.contracts.interpreter import find_import
from actors.contracts.ir import Import
from actors.contracts.limits import CONTRACTS_DEPTH_MAX
from actors.contracts.native.layout import CONTRACT, KEY_BYTES, LINK, PUBLIC_FUNCTION
from actors.contracts.native.program import NativeProgram

FindProgram = Callable[[bytes], NativeProgram | None]
_FIELD_BYTES = 8


class LinkedContracts:
    """Contracts at these addresses, and all that they import. find: the program at an address."""

    def __init__(self, addresses: Iterable[bytes], find: FindProgram) -> None:
        self.programs = _reachable(addresses, find)
        self.addresses = list(self.programs)
        self.numbers = {address: number for number, address in enumerate(self.addresses)}
        self._records = np.zeros((len(self.addresses), len(CONTRACT)), np.uint64)
        self._tables = list[NDArray[np.uint64]]()
        for address, program in self.programs.items():
            self._fill(address, program)

    @property
    def records_address(self) -> int:
        """Of all records, one behind the other, by their numbers."""
        return self._records.ctypes.data

    def record_address(self, address: bytes) -> int:
        """Of one contract's."""
        return self.records_address + self.numbers[address] * _FIELD_BYTES * len(CONTRACT)

    def message(self, contract: int, number: int) -> str:
        """The words of a requirement of the contract of this number."""
        return self.programs[self.addresses[contract]].verified.program.messages[number]

    @property
    def frames_bytes(self) -> int:
        """Of a call of any of them, with all that it calls."""
        return max((self._frames_of(address, 1) for address in self.addresses), default=0)

    @property
    def message_bytes(self) -> int:
        """Of the longest message that any of them hashes."""
        return max((program.message_bytes for program in self.programs.values()), default=0)

    def _frames_of(self, address: bytes, depth: int) -> int:
        own = self.programs[address]
        if depth == CONTRACTS_DEPTH_MAX:
            return own.frames_bytes
        within = {each.address for each in own.verified.program.imports} & self.programs.keys()
        return own.frames_bytes + max((self._frames_of(each, depth + 1) for each in within), default=0)

    def _fill(self, address: bytes, program: NativeProgram) -> None:
        record, functions = self._records[self.numbers[address]], program.function_table()
        links = np.array([self._link(each) for each in program.verified.program.imports], np.uint64)
        self._tables += [functions, links]
        record[: KEY_BYTES // _FIELD_BYTES] = np.frombuffer(address, np.uint64)
        record[CONTRACT.index("number")] = self.numbers[address]
        record[CONTRACT.index("functions")] = functions.ctypes.data
        record[CONTRACT.index("functions_count")] = len(functions)
        record[CONTRACT.index("links")] = links.ctypes.data

    def _link(self, imported: Import) -> list[int]:
        program = self.programs.get(imported.address)
        try:
            _, called = find_import(imported, program.verified if program else None)
        except CallFailedError as failed:
            return [failed.failure, *[0] * (len(LINK) - 1)]
        code = int(program.function_table()[called.number][PUBLIC_FUNCTION.index("code")]) if program else 0
        return [0, self.record_address(imported.address), code]


def _reachable(addresses: Iterable[bytes], find: FindProgram) -> dict[bytes, NativeProgram]:
    found, wanted = dict[bytes, NativeProgram](), list(addresses)
    while wanted:
        address = wanted.pop()
        if address not in found and (program := find(address)) is not None:
            found[address] = program
            wanted += [each.address for each in program.verified.program.imports]
    return found
