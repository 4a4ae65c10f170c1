"""CRC-32 (the one of zlib) of megabytes: by carry-less multiplication where the processor has it.

Theory of operation (Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ"). A message
is a polynomial over GF(2) and its CRC the remainder modulo P, so sixteen bytes may be replaced by what is
congruent to them further on: four registers fold 64 bytes a step into the next 64, and at last into one. The
sixteen bytes that are left have the message's CRC, which zlib finishes together with the tail.
"""

from __future__ import annotations

import zlib
from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit
from numba.core import config, types
from numba.extending import intrinsic

STEP_BYTES = 64
FOLDED_BYTES_MIN = 32 << 10
"""Below this the call costs more than it saves."""
_ALL = 0xFFFFFFFF
_LANES = 4
_FOLD_STEP = (0x0154442BD4, 0x01C6E41596)  # x^(512 + 32) and x^(512 - 32) modulo P, bits reflected
_FOLD_LANE = (0x01751997D0, 0x00CCAA009E)  # x^(128 + 32) and x^(128 - 32)


def crc32(data: bytes | memoryview, value: int = 0) -> int:
    """As `zlib.crc32`, of contiguous bytes."""
    size = data.nbytes if isinstance(data, memoryview) else len(data)
    steps = size // STEP_BYTES
    if size < FOLDED_BYTES_MIN or not available():
        return zlib.crc32(data, value)
    source = np.frombuffer(data, dtype=np.uint8)
    left = np.empty(16, dtype=np.uint8)
    _fold(source.ctypes.data, steps, value ^ _ALL, left.ctypes.data)
    # zlib inverts the value it is given: this one has it begin with a register of zeros.
    return zlib.crc32(source[steps * STEP_BYTES :].data, zlib.crc32(left.data, _ALL))


@cache
def available() -> bool:
    """Whether this processor can fold, compiled code is made for it, and a test agrees with zlib."""
    if config.CPU_NAME or config.CPU_FEATURES or not binding.get_host_cpu_features().get("pclmul"):
        return False
    sample, left = np.arange(5 * STEP_BYTES, dtype=np.uint64).astype(np.uint8), np.empty(16, dtype=np.uint8)
    _fold(sample.ctypes.data, 5, 7 ^ _ALL, left.ctypes.data)
    return zlib.crc32(left.data, _ALL) == zlib.crc32(sample.data, 7)


def warm() -> None:
    """Compile the kernel, where it can run."""
    available()


@intrinsic
def _fold_steps(typing_context: Any, data: Any, steps: Any, register: Any, out: Any) -> Any:
    """Fold `steps` times STEP_BYTES at address `data`, steps > 0, into 16 bytes at address `out`."""

    def generate(_context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> None:
        at, count, begin, end = arguments
        word, vector = ir.IntType(64), ir.VectorType(ir.IntType(64), 2)

        def load(address: Any, lane: int) -> Any:
            place = builder.add(address, word(16 * lane))
            return builder.load(builder.inttoptr(place, vector.as_pointer()), align=1)

        def folded(lane: Any, by: tuple[int, int], added: Any) -> Any:
            kind = ir.FunctionType(vector, [vector, vector, ir.IntType(8)])
            multiply = builder.module.declare_intrinsic("llvm.x86.pclmulqdq", (), kind)
            factor = ir.Constant(vector, [word(by[0]), word(by[1])])
            low, high = (builder.call(multiply, [lane, factor, ir.IntType(8)(which)]) for which in (0, 0x11))
            return builder.xor(builder.xor(low, high), added)

        first = builder.insert_element(ir.Constant(vector, [word(0), word(0)]), begin, ir.IntType(32)(0))
        lanes = [builder.xor(load(at, 0), first), *(load(at, lane) for lane in range(1, _LANES))]
        entry = builder.block
        head, body, done = (builder.append_basic_block(name) for name in ("head", "body", "done"))
        builder.branch(head)
        builder.position_at_end(head)
        step, *held = (builder.phi(kind) for kind in (word, *[vector] * _LANES))
        for phi, start in zip((step, *held), (word(1), *lanes), strict=True):
            phi.add_incoming(start, entry)
        builder.cbranch(builder.icmp_unsigned("<", step, count), body, done)
        builder.position_at_end(body)
        here = builder.add(at, builder.mul(step, word(STEP_BYTES)))
        step.add_incoming(builder.add(step, word(1)), body)
        for number, phi in enumerate(held):
            phi.add_incoming(folded(phi, _FOLD_STEP, load(here, number)), body)
        builder.branch(head)
        builder.position_at_end(done)
        left = held[0]
        for lane in held[1:]:
            left = folded(left, _FOLD_LANE, lane)
        builder.store(left, builder.inttoptr(end, vector.as_pointer()), align=1)

    return types.void(types.int64, types.int64, types.int64, types.int64), generate


@njit(cache=True, nogil=True)
def _fold(data, steps, register, out):  # type: ignore[no-untyped-def]
    _fold_steps(data, steps, register, out)
