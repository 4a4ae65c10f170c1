"""A program as native code: compiled, and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from actors.contracts import ir
from actors.contracts.encoding import decode_program, program_hash
from actors.contracts.gas import Weights
from actors.contracts.limits import KEY_BYTES_MAX
from actors.contracts.native.code import Code
from actors.contracts.native.division import emit_division
from actors.contracts.native.hashing import blocks_of
from actors.contracts.native.hints import RowPlaces, emit_hints, hinted, hints_symbol
from actors.contracts.native.layout import ENTRIES, KEY_BYTES, PUBLIC_FUNCTION
from actors.contracts.native.lowering import FunctionCode, frames_of, operations_of
from actors.contracts.native.operations import lower
from actors.contracts.native.public import emit_public, symbol_of
from actors.contracts.native.runtime import address_of
from actors.contracts.native.table_code import emit_touch
from actors.contracts.touches import touches_of
from actors.contracts.types import U128
from actors.contracts.verified import Verified, VerifiedFunction
from actors.contracts.verifier import verify
from actors.kernels.compiled import Loaded, compile_object, host
from actors.kernels.sha256 import BLOCK_BYTES

PUBLIC = (ir.FunctionKind.ENTRY, ir.FunctionKind.VIEW)
ROW_PLACES = RowPlaces(sender=48, recipient=80, amount=24)
"""Of the rows of the ledger, which nothing here knows besides (ledger/rows.py)."""
_ROW_MESSAGE_BYTES = KEY_BYTES + 2 + KEY_BYTES_MAX


def _message_bytes(program: Verified) -> int:
    """Of the longest message that is hashed, with its padding."""
    longest = _ROW_MESSAGE_BYTES
    for function in program.functions:
        widths = [shape.width_bytes for shape in function.function.registers]
        for op in operations_of(function.function.body):
            if isinstance(op, ir.Hash):
                longest = max(longest, sum(widths[src] for src in op.srcs))
    return BLOCK_BYTES * blocks_of(longest)


def lowered(program: Verified) -> str:
    """The module of a program, as LLVM IR."""
    code = Code()
    emit_touch(code, ENTRIES)
    if any(shape.type == U128 for each in program.functions for shape in each.function.registers):
        emit_division(code)
    frames, frames_bytes = frames_of(program)
    for function, frame in zip(program.functions, frames, strict=True):
        FunctionCode(code, program, function.number, frame, frames_bytes).write(lower)
        if function.function.kind in PUBLIC:
            emit_public(code, function)
    for touches in touches_of(program.program).values():
        emit_hints(code, touches, ROW_PLACES)
    return code.text()


def compile_program(program: Verified) -> bytes:
    """Its object code for this processor."""
    return compile_object(lowered(program), host())


class NativeProgram:
    """The code of one verified program."""

    def __init__(self, program: Verified, code: bytes | None = None) -> None:
        """code: what `compile_program` answered for it on such a processor, else it is compiled now."""
        self.verified = program
        code = compile_program(program) if code is None else code
        self.code_bytes = len(code)
        self._loaded = Loaded(code, host())
        self.message_bytes = _message_bytes(program)
        _, self.frames_bytes = frames_of(program)
        self._touches = touches_of(program.program)
        self._table = np.array([self._public(each) for each in program.functions], np.uint64)

    def _public(self, function: VerifiedFunction) -> list[int]:
        fields = dict.fromkeys(PUBLIC_FUNCTION, 0)
        if (number := function.number) in self._touches:
            fields |= {
                "code": address_of(self._loaded, symbol_of(number)),
                "arguments_bytes": function.params.width_bytes,
                "results_bytes": function.results.width_bytes,
                "accepts_coins": int(function.function.accepts_coins),
                "hints_code": address_of(self._loaded, hints_symbol(number)),
                "hints_count": len(hinted(self._touches[number])),
            }
        return [fields[name] for name in PUBLIC_FUNCTION]

    def function_table(self) -> NDArray[np.uint64]:
        """Of all functions, by their numbers: PUBLIC_FUNCTION."""
        return self._table


class NativeCache:
    """Programs as native code, by their hash and their weights; the least recently used leave first.

    compile_code: answers a program's object code for this processor; its errors are those of `get`.
    """

    def __init__(
        self, programs_max: int, compile_code: Callable[[Verified], bytes] = compile_program
    ) -> None:
        self._kept: OrderedDict[tuple[bytes, Weights], NativeProgram] = OrderedDict()
        self._programs_max, self._compile = programs_max, compile_code

    def get(self, encoded: bytes, weights: Weights) -> NativeProgram:
        """The code of an encoded program, compiled now if it is not there."""
        key = (program_hash(encoded), weights)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        program = verify(decode_program(encoded), weights)
        found = self._kept[key] = NativeProgram(program, self._compile(program))
        if len(self._kept) > self._programs_max:
            self._kept.popitem(last=False)
        return found
