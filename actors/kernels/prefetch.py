"""A hint for compiled loops over large columns: bring a row into the cache before it is needed.

Rows at random places of a column that exceeds the caches cost a trip to memory each; asking for them some
iterations ahead lets these trips overlap. It never changes a result; any row number within bounds will do.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_READ, _KEEP, _DATA = 0, 3, 1  # operands of llvm.prefetch: access, locality, cache


@intrinsic
def prefetch(_typing_context: Any, column: Any, row: Any) -> Any:
    """`prefetch(column, row)` in compiled code: hint at the cache line where a row of an array begins."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        array = context.make_array(kind)(context, builder, arguments[0])
        stride = cgutils.unpack_tuple(builder, array.strides, kind.ndim)[0]
        index = context.cast(builder, arguments[1], signature.args[1], types.intp)
        base = builder.bitcast(array.data, ir.PointerType(ir.IntType(8)))
        place = builder.gep(base, [builder.mul(index, stride)])
        operand = ir.IntType(32)
        kinds = ir.FunctionType(ir.VoidType(), [place.type, operand, operand, operand])
        function = builder.module.declare_intrinsic("llvm.prefetch.p0", (), kinds)
        builder.call(function, [place, operand(_READ), operand(_KEEP), operand(_DATA)])
        return context.get_dummy_value()

    return types.void(column, row), generate
