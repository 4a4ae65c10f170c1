"""Writes LLVM IR: straight-line vector code, and loops whose state is carried in registers.

Theory of operation. A kernel is a function that handles one row in each lane of a vector, so ``<8 x i64>``
works on eight rows at once and there is nothing to schedule by hand: Python writes each operation once, and
LLVM allocates registers and orders instructions. Python loops unroll at emission; ``Emitter.loop`` makes a
loop at run time, with a phi node for each carried value. Loops keep the code within the instruction cache
and the compile time within seconds.

Values are those of llvmlite's builder, which ``Emitter.builder`` is: an expression written in Python becomes
the same expression in IR. Reference: LLVM Language Reference Manual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from llvmlite import ir

I1, I8, I32, I64, VOID = ir.IntType(1), ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.VoidType()
POINTER = ir.PointerType()
BLOCK, BLOCK_MASK = ir.VectorType(I8, 64), ir.VectorType(I1, 64)
"""64 bytes as they lie in memory, and a bit for each."""


class Value(Protocol):
    """A register or a constant of llvmlite."""

    @property
    def type(self) -> Any: ...


def whole(value: Value | int) -> Value:
    """A number as a constant of 64 bits."""
    return ir.Constant(I64, value) if isinstance(value, int) else value


class Emitter:
    """One module, written function after function."""

    def __init__(self, lanes: int = 8, builder: Any = None) -> None:
        """``lanes`` is the number of rows that a kernel's functions work on at once: 8, or 1. With a builder
        the code goes where that stands, in a module of somebody else."""
        self.lanes = lanes
        self.builder = ir.IRBuilder() if builder is None else builder
        self.module = ir.Module() if builder is None else builder.module
        self._parameters: dict[str, Value] = {}

    def text(self) -> str:
        """The whole module."""
        self.module.triple = ""
        return str(self.module)

    def begin(self, name: str, parameters: Sequence[str], internal: bool = False) -> None:
        """Open a function; ``emitter["rows"]`` is then its parameter ``i64 rows``, and ``ptr`` begins the
        name of a pointer. Internal functions are called by this module only, never inlined."""
        kinds = [POINTER if each.startswith("ptr ") else I64 for each in parameters]
        function = ir.Function(self.module, ir.FunctionType(VOID, kinds), name)
        function.attributes.add("nounwind")
        if internal:
            function.linkage = "internal"
            function.attributes.add("noinline")
        for each, argument in zip(parameters, function.args, strict=True):
            argument.name = each.split()[-1]
            if "noalias" in each:
                argument.add_attribute("noalias")
        self._parameters = {argument.name: argument for argument in function.args}
        self.builder.position_at_end(function.append_basic_block())

    def __getitem__(self, parameter: str) -> Value:
        return self._parameters[parameter]

    def end(self) -> None:
        """Return from the function and close it."""
        self.builder.ret_void()

    def loop(
        self,
        count: Value | int,
        carried: Sequence[Value],
        body: Callable[[Value, list[Value]], Sequence[Value]],
    ) -> list[Value]:
        """Run ``body(index, values)`` for index 0 .. count-1, count >= 1, and answer the last values.

        ``body`` receives the carried values and answers those of the next turn, in the same order.
        """
        builder = self.builder
        starts = [whole(0), *carried]
        before, head = builder.block, builder.append_basic_block()
        builder.branch(head)
        builder.position_at_end(head)
        phis = [builder.phi(start.type) for start in starts]
        results = list(body(phis[0], phis[1:]))
        after = self.add(phis[0], 1)
        done = builder.append_basic_block()
        builder.cbranch(builder.icmp_unsigned("<", after, whole(count)), head, done)
        for phi, start, result in zip(phis, starts, [after, *results], strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(result, builder.block)
        builder.position_at_end(done)
        return results

    def add(self, a: Value | int, b: Value | int) -> Value:
        return self.builder.add(whole(a), whole(b))

    def sub(self, a: Value | int, b: Value | int) -> Value:
        return self.builder.sub(whole(a), whole(b))

    def mul(self, a: Value | int, b: Value | int) -> Value:
        return self.builder.mul(whole(a), whole(b))

    def shares(self, count: Value, size: int) -> Value:
        """How many parts of that size hold ``count``, the last one perhaps not full."""
        return self.builder.udiv(self.add(count, size - 1), whole(size))

    def pointer(self, address: Value) -> Value:
        """An address as a pointer."""
        return self.builder.inttoptr(address, POINTER)

    def address(self, table: str) -> Value:
        """Where a table of this module lies."""
        return self.builder.ptrtoint(self.module.globals[table], I64)

    def offset(self, pointer: Value, offset_bytes: Value | int) -> Value:
        """The pointer that many bytes further."""
        return self.builder.gep(pointer, [whole(offset_bytes)], source_etype=I8)

    def scaled(self, pointer: Value, index: Value | int, step_bytes: Value | int) -> Value:
        """The pointer ``index`` steps further."""
        return self.offset(pointer, self.mul(index, step_bytes))

    def load(self, kind: Any, pointer: Value, align: int = 1) -> Value:
        return self.builder.load(pointer, typ=kind, align=align)

    def store(self, value: Value, pointer: Value, align: int = 1) -> None:
        self.builder.store(value, pointer, align=align)

    def room(self, kind: Any) -> Value:
        """A pointer to memory of this function, aligned to 64 bytes."""
        room = self.builder.alloca(kind)
        room.align = 64
        return room

    def call(self, kind: Any, function: str, *arguments: Value | int) -> Value:
        """Call a function of this module, or an intrinsic of LLVM, which is declared on first use."""
        values = [whole(each) for each in arguments]
        if function not in self.module.globals:
            kinds = [POINTER if isinstance(each.type, ir.PointerType) else each.type for each in values]
            ir.Function(self.module, ir.FunctionType(kind, kinds), function)
        return self.builder.call(self.module.globals[function], values)

    def invoke(self, function: str, *arguments: Value | int) -> None:
        """Call a function of this module."""
        self.call(VOID, function, *arguments)

    def prefetch(self, pointer: Value) -> None:
        """Ask for the cache line at ``pointer``, which need not exist: to read, to keep, of data."""
        operands = [ir.Constant(I32, each) for each in (0, 3, 1)]
        self.call(VOID, "llvm.prefetch.p0", pointer, *operands)

    def table(self, name: str, values: Sequence[int]) -> None:
        """A constant array of 64-bit words, aligned to 64 bytes."""
        table = ir.GlobalVariable(self.module, ir.ArrayType(I64, len(values)), name)
        table.initializer = ir.Constant(table.value_type, values)
        table.linkage, table.global_constant, table.align = "private", True, 64

    def least(self, a: Value, b: Value | int) -> Value:
        return self.call(I64, "llvm.umin.i64", a, b)

    def row_or_last(self, index: Value, rows: Value) -> Value:
        """``index``, or the last row for the lanes that a short batch leaves over."""
        return self.least(index, self.sub(rows, 1))


class Vector:
    """Operations on vectors of one shape, such as ``<8 x i64>``."""

    def __init__(self, emitter: Emitter, lanes: int, bits: int) -> None:
        self.emitter, self.lanes, self.bits, self.lane = emitter, lanes, bits, ir.IntType(bits)
        self.kind, self.suffix = ir.VectorType(self.lane, lanes), f"v{lanes}i{bits}"
        self.builder = builder = emitter.builder
        self.add: Callable[[Value, Value], Value] = builder.add
        self.sub: Callable[[Value, Value], Value] = builder.sub
        self.mul: Callable[[Value, Value], Value] = builder.mul
        self.and_: Callable[[Value, Value], Value] = builder.and_
        self.or_: Callable[[Value, Value], Value] = builder.or_
        self.xor: Callable[[Value, Value], Value] = builder.xor
        self.inverted: Callable[[Value], Value] = builder.not_
        self.select: Callable[[Value, Value, Value], Value] = builder.select
        """Of a mask of i1 and two vectors: of the first where the mask is set, of the second elsewhere."""

    def const(self, value: int) -> Value:
        sign = 1 << (self.bits - 1)
        return ir.Constant(self.kind, ((value + sign) & (2 * sign - 1)) - sign)

    def numbers(self, values: Sequence[int]) -> Value:
        """A constant for each lane."""
        return ir.Constant(self.kind, list(values))

    def shl(self, a: Value, places: int) -> Value:
        return self.builder.shl(a, self.const(places))

    def shr(self, a: Value, places: int) -> Value:
        return self.builder.lshr(a, self.const(places))

    def sar(self, a: Value, places: int) -> Value:
        return self.builder.ashr(a, self.const(places))

    def rotr(self, a: Value, places: int) -> Value:
        return self.emitter.call(self.kind, f"llvm.fshr.{self.suffix}", a, a, self.const(places))

    def ternary(self, a: Value, b: Value, c: Value, table: int) -> Value:
        """Any function of three bits, by its truth table: bit 4a + 2b + c of ``table`` is the answer."""
        name = f"llvm.x86.avx512.pternlog.{'d' if self.bits == 32 else 'q'}.512"
        return self.emitter.call(self.kind, name, a, b, c, ir.Constant(I32, table))

    def swap_bytes(self, a: Value) -> Value:
        return self.emitter.call(self.kind, f"llvm.bswap.{self.suffix}", a)

    def compare(self, condition: str, a: Value, b: Value) -> Value:
        """A mask, a vector of i1, of numbers without sign; the condition is one of C's."""
        return self.builder.icmp_unsigned(condition, a, b)

    def negative(self, a: Value) -> Value:
        """The mask of what is below 0, read with a sign."""
        return self.builder.icmp_signed("<", a, self.const(0))

    def widened(self, mask: Value) -> Value:
        """-1 where the mask is set, else 0."""
        return self.builder.sext(mask, self.kind)

    def splat(self, scalar: Value) -> Value:
        nothing = ir.Constant(self.kind, ir.Undefined)
        one = self.builder.insert_element(nothing, scalar, ir.Constant(I32, 0))
        return self.shuffle(one, nothing, [0] * self.lanes)

    def load(self, pointer: Value, align: int = 64) -> Value:
        return self.emitter.load(self.kind, pointer, align)

    def store(self, value: Value, pointer: Value, align: int = 64) -> None:
        self.emitter.store(value, pointer, align)

    def shuffle(self, a: Value, b: Value, picks: Sequence[int]) -> Value:
        """Elements of ``a`` (0 .. lanes-1) and ``b`` (lanes ..) by number."""
        mask = ir.Constant(ir.VectorType(I32, len(picks)), list(picks))
        return self.builder.shuffle_vector(a, b, mask)

    def transpose(self, rows: Sequence[Value]) -> list[Value]:
        """Turn as many vectors as there are lanes around the diagonal.

        Eklundh's algorithm: for each bit of the index, exchange the off-diagonal blocks of that size.
        """
        out = list(rows)
        for bit in (1 << s for s in range(self.lanes.bit_length() - 1)):
            for i in (i for i in range(self.lanes) if not i & bit):
                a, b = out[i], out[i | bit]
                low = [e if not e & bit else self.lanes + (e ^ bit) for e in range(self.lanes)]
                high = [e | bit if not e & bit else self.lanes + e for e in range(self.lanes)]
                out[i], out[i | bit] = self.shuffle(a, b, low), self.shuffle(a, b, high)
        return out
