"""The emitter of the kernels, with functions that answer, branches, and records of 64-bit fields."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from actors.contracts.native.layout import CALL, CONTRACT, STATUS_BITS, TABLE
from actors.kernels.emitter import I1, I8, I32, I64, POINTER, VOID, Emitter, Value, whole

I16 = ir.IntType(16)
OUTCOME = ir.LiteralStructType([I64, I32])
"""Gas that is left, and a status."""
RARELY = (1, 4096)


def integer(width_bytes: int) -> Any:
    """The type of so many bytes as one number."""
    return ir.IntType(8 * width_bytes)


def constant(kind: Any, value: int) -> Value:
    """A number of this type."""
    return ir.Constant(kind, value)


class Code(Emitter):
    """One module, function after function."""

    def function(
        self, name: str, answers: Any, parameters: Sequence[Any], internal: bool = True, inline: bool = True
    ) -> Sequence[Value]:
        """Open a function, and answer its parameters. Internal ones are called by this module only."""
        function = ir.Function(self.module, ir.FunctionType(answers, parameters), name)
        function.attributes.add("nounwind")
        if not inline:
            function.attributes.add("noinline")
        if internal:
            function.linkage = "internal"
        self.builder.position_at_end(function.append_basic_block())
        return list(function.args)

    def block(self) -> Any:
        """A new block of the function, to be gone to."""
        return self.builder.append_basic_block()

    def go_on_at(self, block: Any) -> None:
        """Write what follows there."""
        self.builder.position_at_end(block)

    def branch_rarely(self, condition: Value, seldom: Any, block: Any) -> None:
        """To the one block if the condition holds, which is not expected, else to the other."""
        self.builder.cbranch(condition, seldom, block).set_weights(RARELY)

    def repeat(self, count: Value | int, body: Callable[[Value], None]) -> None:
        """Run `body(index)` for index 0 .. count - 1; none if count is 0."""
        before, head, inside, after = self.builder.block, self.block(), self.block(), self.block()
        self.builder.branch(head)
        self.go_on_at(head)
        index = self.builder.phi(I64)
        index.add_incoming(constant(I64, 0), before)
        limit = constant(I64, count) if isinstance(count, int) else count
        self.builder.cbranch(self.builder.icmp_unsigned("<", index, limit), inside, after)
        self.go_on_at(inside)
        body(index)
        index.add_incoming(self.add(index, 1), self.builder.block)
        self.builder.branch(head)
        self.go_on_at(after)

    def copy(self, target: Value, source: Value, width_bytes: int) -> None:
        """So many bytes, which do not overlap."""
        args = (target, source, width_bytes, constant(I1, 0))
        self.call(VOID, "llvm.memcpy.p0.p0.i64", *args)

    def clear(self, target: Value, width_bytes: int) -> None:
        """Set so many bytes to zero."""
        self.call(VOID, "llvm.memset.p0.i64", target, constant(I8, 0), width_bytes, constant(I1, 0))

    def call_at(self, kind: Any, place: Value, *arguments: Value | int) -> Value:
        """Call the function whose address lies there."""
        values = [whole(each) for each in arguments]
        kinds = [POINTER if isinstance(each.type, ir.PointerType) else each.type for each in values]
        function = self.load(ir.FunctionType(kind, kinds).as_pointer(), place, 8)
        return self.builder.call(function, values)

    def return_if(self, condition: Value, answer: Value) -> None:
        """Return early, which is not expected."""
        seldom, go_on = self.block(), self.block()
        self.branch_rarely(condition, seldom, go_on)
        self.go_on_at(seldom)
        self.builder.ret(answer)
        self.go_on_at(go_on)

    def is_zero(self, value: Value) -> Value:
        """A bit."""
        return self.builder.icmp_unsigned("==", value, constant(value.type, 0))

    def is_null(self, pointer: Value) -> Value:
        """A bit."""
        return self.builder.icmp_unsigned("==", pointer, ir.Constant(POINTER, None))


class FieldRecord:
    """Fields of 64 bits, by their names."""

    def __init__(self, code: Code, pointer: Value, fields: Sequence[str]) -> None:
        self._code, self.pointer, self._fields = code, pointer, fields

    def at(self, name: str) -> Value:
        """Where a field is."""
        return self._code.offset(self.pointer, 8 * self._fields.index(name))

    def get(self, name: str) -> Value:
        """As a number."""
        return self._code.load(I64, self.at(name), 8)

    def address(self, name: str) -> Value:
        """As a pointer."""
        return self._code.load(POINTER, self.at(name), 8)

    def set(self, name: str, value: Value | int) -> None:
        """A number."""
        self._code.store(constant(I64, value) if isinstance(value, int) else value, self.at(name), 8)

    def point(self, name: str, pointer: Value) -> None:
        """To a pointer."""
        self._code.store(pointer, self.at(name), 8)


def call_record(code: Code, pointer: Value) -> FieldRecord:
    """What the loop was given."""
    return FieldRecord(code, pointer, CALL)


def contract_record(code: Code, pointer: Value) -> FieldRecord:
    """A contract."""
    return FieldRecord(code, pointer, CONTRACT)


def table_record(code: Code, pointer: Value) -> FieldRecord:
    """A table."""
    return FieldRecord(code, pointer, TABLE)


def outcome(code: Code, gas: Value, status: Value) -> Value:
    """What a function answers."""
    empty = ir.Constant(OUTCOME, ir.Undefined)
    return code.builder.insert_value(code.builder.insert_value(empty, gas, 0), status, 1)


def status_of(failure: int, message: int = 0) -> int:
    """As one number."""
    return failure | message << STATUS_BITS
