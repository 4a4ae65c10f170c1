"""Programs of single operations, so that their arguments stand at the edges of types as they are drawn.

What a compiler of sources seldom writes is here: rounds beyond a loop's bound, divisors that are -1, messages
as long as a block is without its padding, and elements behind the last.
"""

from __future__ import annotations

from random import Random

from actors.contracts import ir
from actors.contracts.encoding import decode_program, encode_program
from actors.contracts.types import HASH, I64, U8, U16, U32, U64, U128, Type, bytes_type
from actors.contracts.verified import Verified
from actors.contracts.verifier import verify

FUNCTIONS_EACH = 14
_UNSIGNED = (U8, U16, U32, U64, U128)
_NUMBERS = (*_UNSIGNED, I64)
_MESSAGES = (54, 55, 56, 63, 64, 119, 120, 128)
_BYTES_MAX = 64
Parts = tuple[list[Type], list[ir.Shape | Type], list[ir.AnyOp], list[int]]
"""Parameters, other registers, operations, results."""


def edge_program(random: Random) -> Verified:
    """Some functions, each of one kind."""
    makers = (_divided, _rounds, _hashed, _element, *[_binary] * 3, _cast)
    functions = []
    for place in range(FUNCTIONS_EACH):
        maker = makers[place] if place < len(makers) else random.choice(makers)
        functions.append(_function(f"f{place}", *maker(random)))
    program = ir.Program(ir.IR_VERSION, "Edges", (), (), (), (), tuple(functions))
    return verify(decode_program(encode_program(program)))


def _function(
    name: str, params: list[Type], others: list[ir.Shape | Type], body: list[ir.AnyOp], results: list[int]
) -> ir.Function:
    registers = tuple(each if isinstance(each, ir.Shape) else ir.Shape(each) for each in (*params, *others))
    return ir.Function(
        name,
        ir.FunctionKind.ENTRY,
        False,
        tuple(ir.Param(f"p{place}", ir.Shape(kind), None) for place, kind in enumerate(params)),
        registers,
        tuple(
            (register, ir.Named(f"r{place}", registers[register])) for place, register in enumerate(results)
        ),
        tuple(body),
    )


def _number(kind: Type, value: int) -> bytes:
    return value.to_bytes(kind.width_bytes, "little", signed=value < 0)


def _binary(random: Random) -> Parts:
    kind = random.choice(_NUMBERS)
    few = [each for each in ir.Arithmetic if not ir.Arithmetic.AND <= each <= ir.Arithmetic.SHR]
    what = random.choice(few if kind == I64 else list(ir.Arithmetic))
    return [kind, kind], [kind], [ir.Binary(what, 2, 0, 1)], [2]


def _divided(random: Random) -> Parts:
    """By -1, or by a number near 0, which a small parameter decides."""
    what = random.choice((ir.Arithmetic.FLOOR_DIV, ir.Arithmetic.MOD, ir.Arithmetic.FLOOR_DIV))
    if random.random() < 0.5:
        return [I64], [I64, I64], [ir.Const(1, _number(I64, -1)), ir.Binary(what, 2, 0, 1)], [2]
    body: list[ir.AnyOp] = [
        ir.Cast(2, 1),
        ir.Const(3, _number(I64, 3)),
        ir.Binary(ir.Arithmetic.SUB, 2, 2, 3),
        ir.Binary(what, 4, 0, 2),
    ]
    return [I64, U8], [I64, I64, I64], body, [4]


def _rounds(random: Random) -> Parts:
    kind = random.choice(_UNSIGNED)
    body: list[ir.AnyOp] = [ir.Loop(1, 0, random.randint(1, 6), (ir.Move(2, 1),))]
    return [kind], [kind, kind], body, [1, 2]


def _hashed(random: Random) -> Parts:
    width = random.choice(_MESSAGES)
    params = [bytes_type(min(_BYTES_MAX, width - at)) for at in range(0, width, _BYTES_MAX)]
    return params, [HASH], [ir.Hash(len(params), tuple(range(len(params))))], [len(params)]


def _element(random: Random) -> Parts:
    index, count = random.choice(_UNSIGNED), random.choice((1, 2, 3, 5))
    body: list[ir.AnyOp] = [ir.Store(3, 0, 2), ir.Load(4, 3, 1)]
    return [index, index, U64], [ir.Shape(U64, count), U64], body, [3, 4]


def _cast(random: Random) -> Parts:
    old, new = random.sample(_NUMBERS, 2)
    return [old], [new], [ir.Cast(1, 0)], [1]
