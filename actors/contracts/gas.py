"""Gas: what each operation weighs, and so what a call costs.

1. Operations that stand one after the other and are not STRUCTURED form a basic block. Its whole weight is
   charged before its first operation runs.
2. A structured operation is charged before it runs. A loop is charged once more before each round.
3. Weights depend on the program alone, never on values. So the verifier knows the most a function can cost:
   of a choice the dearer list, of a loop all rounds, of a call what it calls. What contracts that it calls
   cost stands apart.
4. A call that runs out pays its whole limit; one that fails otherwise pays for what was charged until then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from actors.contracts import ir

WEIGHT_MAX = 1 << 20
"""No call costs 2^63 with weights up to this one."""
CHUNK_BYTES = 64


class Weights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Gas of what operations do. The genesis holds them: members must agree.

    The defaults follow what compiled code takes, as `bench contracts --gas` measures it: for the slowest form
    of what a weight is for, a nanosecond costs about as much whatever is chosen.
    """

    simple: int = 1  # an operation on scalars, a choice
    divide: int | msgspec.UnsetType = msgspec.UNSET  # as simple where a genesis does not say
    element: int = 1  # an array's element
    operand: int = 1  # a register that an operation names in a list
    chunk: int = 4  # 64 bytes of an array, of arguments, of an event, or a part of them
    hash: int = 12
    hash_chunk: int = 24  # 64 bytes of what is hashed, or a part of them
    read: int = 50  # an entry of the state, at most 64 bytes of a row
    write: int = 100  # an entry of the state
    emit: int = 3
    send: int = 20
    balance: int = 8
    round: int = 1  # of a loop
    call: int = 10
    call_contract: int = 20

    def __post_init__(self) -> None:
        """Raise ValueError for a weight out of its bounds."""
        for name in self.__struct_fields__:
            weight = getattr(self, name)
            if weight is not msgspec.UNSET and not 0 <= weight <= WEIGHT_MAX:
                raise ValueError(f"the weight {name} is {weight}: 0 to {WEIGHT_MAX}")


WEIGHTS = Weights(divide=12)
"""Of a new network, and of what is not told those of another."""


class Sizes(NamedTuple):
    """What weights of a function's operations depend on besides the weights."""

    weights: Weights
    register_bytes: Sequence[int]
    table_chunks: Sequence[int]


def _chunks(size: Sizes, registers: Sequence[int]) -> int:
    return -(-sum([size.register_bytes[register] for register in registers]) // CHUNK_BYTES)


def _simple(size: Sizes, _: Any) -> int:
    return size.weights.simple


def _binary(size: Sizes, op: ir.Binary) -> int:
    divide = size.weights.divide
    divides = op.what in (ir.Arithmetic.FLOOR_DIV, ir.Arithmetic.MOD)
    return divide if divides and isinstance(divide, int) else size.weights.simple


def _copy(size: Sizes, op: ir.Const | ir.Move) -> int:
    """What is shorter than a chunk costs no more than a number."""
    return size.weights.simple + size.weights.chunk * (size.register_bytes[op.dst] // CHUNK_BYTES)


def _element(size: Sizes, _: Any) -> int:
    return size.weights.element


def _hash(size: Sizes, op: ir.Hash) -> int:
    weights = size.weights
    return weights.hash + weights.operand * len(op.srcs) + weights.hash_chunk * _chunks(size, op.srcs)


def _get(size: Sizes, op: ir.Get) -> int:
    weights = size.weights
    return weights.operand * (len(op.keys) + len(op.dsts)) + weights.read * size.table_chunks[op.table]


def _put(size: Sizes, op: ir.Put) -> int:
    weights = size.weights
    return weights.operand * (len(op.keys) + len(op.srcs)) + weights.write * size.table_chunks[op.table]


def _increase(size: Sizes, op: ir.Increase) -> int:
    weights = size.weights
    return weights.operand * (len(op.keys) + 1) + weights.read + weights.write


def _emit(size: Sizes, op: ir.Emit) -> int:
    weights = size.weights
    return weights.emit + weights.operand * len(op.srcs) + weights.chunk * _chunks(size, op.srcs)


def _send(size: Sizes, _: ir.Send) -> int:
    return size.weights.send


def _balance(size: Sizes, _: ir.Balance) -> int:
    return size.weights.balance


def _passing(size: Sizes, op: ir.Call | ir.CallContract) -> int:
    registers = op.args + op.dsts
    return size.weights.operand * len(registers) + size.weights.chunk * _chunks(size, registers)


def _call(size: Sizes, op: ir.Call) -> int:
    return size.weights.call + _passing(size, op)


def _call_contract(size: Sizes, op: ir.CallContract) -> int:
    return size.weights.call_contract + _passing(size, op)


WEIGH: dict[type[ir.Op], Callable[[Sizes, Any], int]] = {
    ir.Binary: _binary,
    **dict.fromkeys((ir.Compare, ir.Not, ir.Cast, ir.Context, ir.Require), _simple),
    **dict.fromkeys((ir.If, ir.Loop), _simple),
    **dict.fromkeys((ir.Const, ir.Move), _copy),
    **dict.fromkeys((ir.Load, ir.Store), _element),
    ir.Hash: _hash,
    ir.Get: _get,
    ir.Put: _put,
    ir.Increase: _increase,
    ir.Emit: _emit,
    ir.Send: _send,
    ir.Balance: _balance,
    ir.Call: _call,
    ir.CallContract: _call_contract,
}
"""The weight of an operation that was checked; of a loop or choice, without what it holds."""
