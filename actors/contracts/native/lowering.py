"""Lowers the functions of a verified program: lists, choices, loops, gas, and how a function ends.

1. A function `f` becomes `{i64 gas, i32 status} f(ptr call, i64 gas, ptr arguments, ptr results)`. What it
   takes and answers lies in memory as it is encoded. A status that is not 0 ends all functions around it.
2. Gas that is left is a register, from which a basic block takes its whole gas before it runs.
3. Registers of single values are LLVM's. Arrays lie in a frame: memory of the caller's, at a place that the
   function's depth decides, so that no call needs more than is known before. Frames of functions that may run
   within each other do not overlap, because what a function calls has a smaller depth. Frames of a contract
   that another one calls begin behind all those of its caller.
4. All registers are set to zero first: nothing is read that was not written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from actors.contracts import ir
from actors.contracts.failures import Failure
from actors.contracts.native.arithmetic import ir_type
from actors.contracts.native.code import OUTCOME, Code, call_record, constant, outcome, status_of
from actors.contracts.native.known_slots import KnownSlots, written_in
from actors.contracts.native.layout import Stop
from actors.contracts.verified import BasicBlock, Choice, Rounds, Verified, VerifiedFunction
from actors.kernels.emitter import I32, I64, POINTER, Value

_ALIGN = 64


def name_of(function: int) -> str:
    """Of a function's code."""
    return f"function_{function}"


def _rounded(width_bytes: int) -> int:
    return -(-width_bytes // _ALIGN) * _ALIGN


class FunctionFrame(NamedTuple):
    """Where a function keeps what is no single value: arrays by register, arguments and results of calls."""

    arrays: dict[int, int]
    arguments: int
    results: int
    end: int


def frames_of(program: Verified) -> tuple[list[FunctionFrame], int]:
    """Of all functions, and how many bytes are needed. One begins where those of smaller depth end."""
    widths = [_widths(each) for each in program.functions]
    depths = max((each.depth for each in program.functions), default=0)
    most = [0] * (depths + 1)
    for function, (arrays, arguments, results) in zip(program.functions, widths, strict=True):
        most[function.depth] = max(most[function.depth], sum(arrays.values()) + arguments + results)
    begins = [sum(most[:depth]) for depth in range(depths + 1)]
    frames = []
    for function, (arrays, arguments, results) in zip(program.functions, widths, strict=True):
        at, places = begins[function.depth], {}
        for register, width in arrays.items():
            places[register] = at
            at += width
        frames.append(FunctionFrame(places, at, at + arguments, at + arguments + results))
    return frames, sum(most)


def _widths(function: VerifiedFunction) -> tuple[dict[int, int], int, int]:
    shapes = function.function.registers
    arrays = {number: _rounded(shape.width_bytes) for number, shape in enumerate(shapes) if shape.count}
    calls = [op for op in operations_of(function.function.body) if isinstance(op, ir.Call | ir.CallContract)]
    arguments, results = (
        max((_rounded(sum(shapes[register].width_bytes for register in each)) for each in passed), default=0)
        for passed in ([op.args for op in calls], [op.dsts for op in calls])
    )
    return arrays, arguments, results


def operations_of(operations: Sequence[ir.Op]) -> Iterator[ir.Op]:
    """All of them, those in lists within lists, too."""
    for op in operations:
        yield op
        if isinstance(op, ir.If):
            yield from operations_of(op.then)
            yield from operations_of(op.otherwise)
        elif isinstance(op, ir.Loop):
            yield from operations_of(op.body)


class FunctionCode:
    """One function while it is written."""

    def __init__(
        self, code: Code, program: Verified, number: int, frame: FunctionFrame, frames_bytes: int
    ) -> None:
        self.frames_bytes = frames_bytes
        self.code, self.program, self.function = code, program, program.functions[number]
        self.shapes = self.function.function.registers
        self.frame = frame
        call, gas, arguments, results = code.function(
            name_of(number), OUTCOME, [POINTER, I64, POINTER, POINTER]
        )
        self.call = call_record(code, call)
        self._arguments, self._results = arguments, results
        self._gas = code.builder.alloca(I64)
        code.store(gas, self._gas, 8)
        self._frames = self.call.address("frames")
        self._exit = code.block()
        self._ends: list[tuple[Any, Value]] = []
        self._registers = [self._room(register) for register in range(len(self.shapes))]
        self.known = KnownSlots(len(self.shapes))

    def _room(self, register: int) -> Value:
        shape = self.shapes[register]
        return (
            self.frame_at(self.frame.arrays[register])
            if shape.count
            else self.code.builder.alloca(ir_type(shape.type))
        )

    def frame_at(self, offset: int) -> Value:
        """A place in the memory of frames."""
        return self.code.offset(self._frames, offset)

    def runtime(self, kind: Any, name: str, *arguments: Value | int) -> Value:
        """Call a function of the runtime."""
        return self.code.call_at(kind, self.call.at(name), *arguments)

    def write(self, lower: Any) -> None:
        """The whole function. lower: writes the operations of a basic block."""
        code, at = self.code, 0
        for register, shape in enumerate(self.shapes):
            if register < len(self.function.function.params):
                self.decode(register, code.offset(self._arguments, at))
                at += shape.width_bytes
            elif shape.count:
                code.clear(self._registers[register], shape.width_bytes)
            else:
                self.set(register, constant(ir_type(shape.type), 0))
        self._list(self.function.code, lower)
        at = 0
        for register, named in self.function.function.results:
            self.encode(register, code.offset(self._results, at))
            at += named.shape.width_bytes
        self._end(constant(I32, 0))
        code.go_on_at(self._exit)
        status = code.builder.phi(I32)
        for block, value in self._ends:
            status.add_incoming(value, block)
        code.builder.ret(outcome(code, code.load(I64, self._gas, 8), status))

    def _end(self, status: Value) -> None:
        self._ends.append((self.code.builder.block, status))
        self.code.builder.branch(self._exit)

    def stop_if(self, condition: Value, status: Value | int) -> None:
        """End the function with this status if the bit is set."""
        if isinstance(status, int):
            status = constant(I32, status)
        go_on = self.code.block()
        self._ends.append((self.code.builder.block, status))
        self.code.branch_rarely(condition, self._exit, go_on)
        self.code.go_on_at(go_on)

    def fail_if(self, condition: Value, failure: Failure, message: int = 0) -> None:
        """Fail the call if the bit is set."""
        self.stop_if(condition, status_of(failure, message))

    def stop_unless(self, condition: Value, why: Stop) -> None:
        """End the loop before this call if the bit is not set."""
        self.stop_if(self.code.builder.not_(condition), int(why))

    def charge(self, gas: int) -> None:
        """Before what it is for."""
        if gas:
            left = self.code.sub(self.gas(), gas)
            self.set_gas(left)
            self.fail_if(self.code.builder.icmp_signed("<", left, constant(I64, 0)), Failure.OUT_OF_GAS)

    def gas(self) -> Value:
        """What is left."""
        return self.code.load(I64, self._gas, 8)

    def set_gas(self, left: Value) -> None:
        """What is left now."""
        self.code.store(left, self._gas, 8)

    def at(self, register: int) -> Value:
        """Where it lies."""
        return self._registers[register]

    def get(self, register: int) -> Value:
        """A single value."""
        return self.code.load(ir_type(self.shapes[register].type), self._registers[register])

    def set(self, register: int, value: Value) -> None:
        """A single value."""
        self.code.store(value, self._registers[register])

    def bit(self, register: int) -> Value:
        """A bool."""
        return self.code.builder.not_(self.code.is_zero(self.get(register)))

    def set_bit(self, register: int, value: Value) -> None:
        """A bool."""
        self.set(register, self.code.builder.zext(value, ir_type(self.shapes[register].type)))

    def encode(self, register: int, target: Value) -> None:
        """Write its bytes there."""
        shape = self.shapes[register]
        if shape.count:
            self.code.copy(target, self._registers[register], shape.width_bytes)
        else:
            self.code.store(self.get(register), target)

    def decode(self, register: int, source: Value) -> None:
        """Set it to the bytes there."""
        shape = self.shapes[register]
        if shape.count:
            self.code.copy(self._registers[register], source, shape.width_bytes)
        else:
            self.set(register, self.code.load(ir_type(shape.type), source))

    def encode_all(self, registers: Sequence[int], target: Value) -> int:
        """Write their bytes there, one behind the other. How many."""
        at = 0
        for register in registers:
            self.encode(register, self.code.offset(target, at))
            at += self.shapes[register].width_bytes
        return at

    def decode_all(self, registers: Sequence[int], source: Value) -> None:
        """Set them to the bytes there, in their order, should one be named twice."""
        at = 0
        for register in registers:
            self.decode(register, self.code.offset(source, at))
            at += self.shapes[register].width_bytes

    def _list(self, parts: Sequence[Any], lower: Any) -> None:
        for part in parts:
            self.charge(part.gas)
            if isinstance(part, BasicBlock):
                for operation in part.operations:
                    lower(self, operation)
                    self.known.pass_by(operation, self.shapes)
            elif isinstance(part, Choice):
                self._choice(part, lower)
            else:
                self._rounds(part, lower)

    def _choice(self, part: Choice, lower: Any) -> None:
        code = self.code
        then, otherwise, after = code.block(), code.block(), code.block()
        code.builder.cbranch(self.bit(part.condition), then, otherwise)
        for block, parts in ((then, part.then), (otherwise, part.otherwise)):
            code.go_on_at(block)
            with self.known.aside():
                self._list(parts, lower)
            code.builder.branch(after)
        code.go_on_at(after)
        self.known.forget(written_in(part.then) | written_in(part.otherwise))

    def _rounds(self, part: Rounds, lower: Any) -> None:
        """Numbers of rounds fit 64 bits: they are at most `max`."""
        code, kind = self.code, ir_type(self.shapes[part.index].type)
        count = self.get(part.count)
        if part.max < self.shapes[part.count].type.range[1]:
            too_many = code.builder.icmp_unsigned(">", count, constant(kind, part.max))
            self.fail_if(too_many, Failure.LOOP_BOUND)

        changing = written_in(part.body) | {part.index}
        self.known.forget(changing)

        def one(number: Value) -> None:
            self.charge(part.round_gas)
            self.set(part.index, resized(code, number, kind))
            with self.known.aside():
                self._list(part.body, lower)

        code.repeat(resized(code, count, I64), one)
        self.known.forget(changing)


def resized(code: Code, value: Value, kind: Any) -> Value:
    """A number without sign in a type that holds it."""
    builder = code.builder
    if value.type.width > kind.width:
        return builder.trunc(value, kind)
    return builder.zext(value, kind) if value.type.width < kind.width else value
