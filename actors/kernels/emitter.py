"""Writes LLVM IR as text: straight-line vector code, and loops whose state is carried in registers.

Theory of operation. A kernel is a function that handles one row in each lane of a vector, so ``<8 x i64>``
works on eight rows at once and there is nothing to schedule by hand: Python writes each operation once, and
LLVM allocates registers and orders instructions. Python loops unroll at emission; ``Emitter.loop`` makes a
loop at run time, with a phi node for each carried value. Loops keep the code within the instruction cache
and the compile time within seconds.

Values are strings: the names of registers (``%v12``) or constants. A register is assigned once, so an
expression written in Python becomes the same expression in IR. Reference: LLVM Language Reference Manual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Value = str
Carried = tuple[str, Value]
"""A type and the value that a loop starts with."""


class Emitter:
    """The text of one module, written function after function."""

    def __init__(self, lanes: int = 8) -> None:
        """``lanes`` is the number of rows that a kernel's functions work on at once: 8, or 1."""
        self.lanes = lanes
        self.declarations: set[str] = set()
        self.globals: list[str] = []
        self.lines: list[str] = []
        self._block = "entry"
        self._names = 0

    def text(self) -> str:
        """The whole module."""
        return "\n".join([*self.globals, *sorted(self.declarations), *self.lines, ""])

    def name(self, prefix: str) -> str:
        """A name that no other register or block of the module has."""
        self._names += 1
        return f"{prefix}{self._names}"

    def let(self, expression: str) -> Value:
        """Assign an expression to a new register."""
        register = self.name("%v")
        self.lines.append(f"  {register} = {expression}")
        return register

    def do(self, statement: str) -> None:
        """Write a statement that has no value."""
        self.lines.append(f"  {statement}")

    def begin(self, name: str, parameters: Sequence[str], internal: bool = False) -> None:
        """Open ``void name(parameters)``; internal functions are called by this module only, never
        inlined."""
        linkage, attributes = ("internal ", "nounwind noinline") if internal else ("", "nounwind")
        self.lines.append(f"define {linkage}void @{name}({', '.join(parameters)}) {attributes} {{")
        self._label("entry")

    def end(self) -> None:
        """Return from the function and close it."""
        self.do("ret void")
        self.lines.append("}")

    def _label(self, name: str) -> None:
        self.lines.append(f"{name}:")
        self._block = name

    def loop(
        self,
        count: Value,
        carried: Sequence[Carried],
        body: Callable[[Value, list[Value]], Sequence[Value]],
    ) -> list[Value]:
        """Run ``body(index, values)`` for index 0 .. count-1, count >= 1, and answer the last values.

        ``body`` receives the carried values and answers those of the next turn, in the same order.
        """
        head, before = self.name("loop"), self._block
        self.do(f"br label %{head}")
        self._label(head)
        at = len(self.lines)
        index, after = self.name("%i"), self.name("%i")
        values = [self.name("%p") for _ in carried]
        results = list(body(index, values))
        if len(results) != len(carried):
            raise ValueError(f"loop body answered {len(results)} values for {len(carried)} carried ones")
        self.do(f"{after} = add i64 {index}, 1")
        again = self.let(f"icmp ult i64 {after}, {count}")
        done = self.name("done")
        self.do(f"br i1 {again}, label %{head}, label %{done}")
        phis = [f"  {index} = phi i64 [ 0, %{before} ], [ {after}, %{self._block} ]"]
        for (kind, start), value, result in zip(carried, values, results, strict=True):
            phis.append(f"  {value} = phi {kind} [ {start}, %{before} ], [ {result}, %{self._block} ]")
        self.lines[at:at] = phis
        self._label(done)
        return results

    def offset(self, pointer: Value, offset_bytes: Value | int) -> Value:
        """The pointer that many bytes further."""
        return self.let(f"getelementptr i8, ptr {pointer}, i64 {offset_bytes}")

    def scaled(self, pointer: Value, index: Value, step_bytes: Value | int) -> Value:
        """The pointer ``index`` steps further."""
        return self.offset(pointer, self.let(f"mul i64 {index}, {step_bytes}"))

    def load(self, kind: str, pointer: Value, align: int = 1) -> Value:
        return self.let(f"load {kind}, ptr {pointer}, align {align}")

    def store(self, kind: str, value: Value, pointer: Value, align: int = 1) -> None:
        self.do(f"store {kind} {value}, ptr {pointer}, align {align}")

    def call(self, kind: str, function: str, arguments: Sequence[tuple[str, Value]]) -> Value:
        """Call an LLVM intrinsic, declaring it on first use."""
        self.declarations.add(f"declare {kind} @{function}({', '.join(k for k, _ in arguments)})")
        return self.let(f"call {kind} @{function}({', '.join(f'{k} {v}' for k, v in arguments)})")

    def call_immediate(
        self, kind: str, function: str, arguments: Sequence[tuple[str, Value]], immediate: int
    ) -> Value:
        """Call an intrinsic whose last argument must be a constant."""
        kinds = ", ".join(k for k, _ in arguments)
        self.declarations.add(f"declare {kind} @{function}({kinds}, i32 immarg)")
        values = ", ".join(f"{k} {v}" for k, v in arguments)
        return self.let(f"call {kind} @{function}({values}, i32 {immediate})")

    def prefetch(self, pointer: Value) -> None:
        """Ask for the cache line at ``pointer``, which need not exist."""
        self.declarations.add("declare void @llvm.prefetch.p0(ptr, i32 immarg, i32 immarg, i32 immarg)")
        self.do(f"call void @llvm.prefetch.p0(ptr {pointer}, i32 0, i32 3, i32 1)")

    def invoke(self, function: str, arguments: Sequence[tuple[str, Value]]) -> None:
        """Call a function of this module."""
        self.do(f"call void @{function}({', '.join(f'{k} {v}' for k, v in arguments)})")

    def table(self, name: str, kind: str, values: Sequence[int]) -> None:
        """A constant array, aligned to 64 bytes."""
        content = ", ".join(f"{kind} {value}" for value in values)
        self.globals.append(f"@{name} = private constant [{len(values)} x {kind}] [{content}], align 64")

    def row_or_last(self, index: Value, rows: Value) -> Value:
        """``index``, or the last row for the lanes that a short batch leaves over."""
        last = self.let(f"sub i64 {rows}, 1")
        return self.call("i64", "llvm.umin.i64", [("i64", index), ("i64", last)])

    def bytes_masked(self, pointer: Value, keep: Value, otherwise: Value) -> Value:
        """64 bytes at ``pointer`` where the ``<64 x i1>`` mask is set; the other bytes are not touched."""
        return self.call(
            "<64 x i8>",
            "llvm.masked.load.v64i8.p0",
            [("ptr", pointer), ("<64 x i1>", keep), ("<64 x i8>", otherwise)],
        )


class Vector:
    """Operations on vectors of one shape, such as ``<8 x i64>``."""

    def __init__(self, emitter: Emitter, lanes: int, bits: int) -> None:
        self.emitter, self.lanes, self.bits = emitter, lanes, bits
        self.kind, self.mask_kind, self.every = f"<{lanes} x i{bits}>", f"<{lanes} x i1>", "splat (i1 true)"
        self.lane, self.suffix = f"i{bits}", f"v{lanes}i{bits}"

    def const(self, value: int) -> Value:
        sign = 1 << (self.bits - 1)
        return f"splat (i{self.bits} {((value + sign) & (2 * sign - 1)) - sign})"

    def _binary(self, operation: str, a: Value, b: Value) -> Value:
        return self.emitter.let(f"{operation} {self.kind} {a}, {b}")

    def add(self, a: Value, b: Value) -> Value:
        return self._binary("add", a, b)

    def sub(self, a: Value, b: Value) -> Value:
        return self._binary("sub", a, b)

    def mul(self, a: Value, b: Value) -> Value:
        return self._binary("mul", a, b)

    def and_(self, a: Value, b: Value) -> Value:
        return self._binary("and", a, b)

    def or_(self, a: Value, b: Value) -> Value:
        return self._binary("or", a, b)

    def xor(self, a: Value, b: Value) -> Value:
        return self._binary("xor", a, b)

    def shl(self, a: Value, places: int) -> Value:
        return self._binary("shl", a, self.const(places))

    def shr(self, a: Value, places: int) -> Value:
        return self._binary("lshr", a, self.const(places))

    def sar(self, a: Value, places: int) -> Value:
        return self._binary("ashr", a, self.const(places))

    def rotr(self, a: Value, places: int) -> Value:
        arguments = [(self.kind, a), (self.kind, a), (self.kind, self.const(places))]
        return self.emitter.call(self.kind, f"llvm.fshr.{self.suffix}", arguments)

    def ternary(self, a: Value, b: Value, c: Value, table: int) -> Value:
        """Any function of three bits, by its truth table: bit 4a + 2b + c of ``table`` is the answer."""
        arguments = [(self.kind, a), (self.kind, b), (self.kind, c)]
        size = "d" if self.bits == 32 else "q"
        name = f"llvm.x86.avx512.pternlog.{size}.512"
        return self.emitter.call_immediate(self.kind, name, arguments, table)

    def swap_bytes(self, a: Value) -> Value:
        return self.emitter.call(self.kind, f"llvm.bswap.{self.suffix}", [(self.kind, a)])

    def compare(self, condition: str, a: Value, b: Value) -> Value:
        """A mask, a vector of i1; the condition is one of LLVM's (eq, ne, slt, ult ...)."""
        return self.emitter.let(f"icmp {condition} {self.kind} {a}, {b}")

    def select(self, mask: Value, a: Value, b: Value) -> Value:
        """``a`` in the lanes where the mask of i1 is set, ``b`` in the others."""
        return self.emitter.let(f"select {self.mask_kind} {mask}, {self.kind} {a}, {self.kind} {b}")

    def mask(self, operation: str, a: Value, b: Value) -> Value:
        """Two masks joined by ``and``, ``or`` or ``xor``."""
        return self.emitter.let(f"{operation} {self.mask_kind} {a}, {b}")

    def inverted(self, mask: Value) -> Value:
        """The mask that is set where this one is not."""
        return self.mask("xor", mask, self.every)

    def widened(self, mask: Value) -> Value:
        """-1 where the mask is set, else 0."""
        return self.emitter.let(f"sext {self.mask_kind} {mask} to {self.kind}")

    def splat(self, scalar: Value) -> Value:
        one = self.emitter.let(f"insertelement {self.kind} poison, {self.lane} {scalar}, i32 0")
        zeros = f"<{self.lanes} x i32> zeroinitializer"
        return self.emitter.let(f"shufflevector {self.kind} {one}, {self.kind} poison, {zeros}")

    def load(self, pointer: Value, align: int = 64) -> Value:
        return self.emitter.load(self.kind, pointer, align)

    def store(self, value: Value, pointer: Value, align: int = 64) -> None:
        self.emitter.store(self.kind, value, pointer, align)

    def shuffle(self, a: Value, b: Value, picks: Sequence[int]) -> Value:
        """Elements of ``a`` (0 .. lanes-1) and ``b`` (lanes ..) by number."""
        mask = ", ".join(f"i32 {pick}" for pick in picks)
        return self.emitter.let(
            f"shufflevector {self.kind} {a}, {self.kind} {b}, <{len(picks)} x i32> <{mask}>"
        )

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
