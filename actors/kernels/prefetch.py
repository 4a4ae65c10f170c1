"""A hint for compiled loops over large columns: bring a row into the cache before it is needed.

Rows at random places of a column that exceeds the caches cost a trip to memory each; asking for them some
iterations ahead lets these trips overlap. It never changes a result; any row number within bounds will do.
"""

from __future__ import annotations

from typing import Any

from numba.core import cgutils, types
from numba.extending import intrinsic

from .emitter import Emitter


@intrinsic
def prefetch(_typing_context: Any, column: Any, row: Any) -> Any:
    """`prefetch(column, row)` in compiled code: hint at the cache line where a row of an array begins."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, emitter = signature.args[0], Emitter(builder=builder)
        array = context.make_array(kind)(context, builder, arguments[0])
        stride = cgutils.unpack_tuple(builder, array.strides, kind.ndim)[0]
        index = context.cast(builder, arguments[1], signature.args[1], types.intp)
        emitter.prefetch(emitter.scaled(array.data, index, stride))
        return context.get_dummy_value()

    return types.void(column, row), generate
