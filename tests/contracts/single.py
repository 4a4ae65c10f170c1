"""One function in a program of its own, written, verified and called in a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from actors.contracts import ir
from actors.contracts.encoding import decode_program, encode_program
from actors.contracts.failures import Failure
from actors.contracts.interpreter import Result, call
from actors.contracts.running import CallContext
from actors.contracts.slots import SlotLayout
from actors.contracts.types import Slot, Type
from actors.contracts.verified import Verified
from actors.contracts.verifier import verify
from actors.contracts.world import MemoryWorld

SENDER, CONTRACT, ORIGIN, OTHER = (bytes((letter,)) * 32 for letter in b"scot")
GAS = 1 << 30


def shape(kind: Type | ir.Shape) -> ir.Shape:
    """A type as the shape of a scalar."""
    return kind if isinstance(kind, ir.Shape) else ir.Shape(kind)


def program(
    *functions: ir.Function,
    tables: tuple[ir.Table, ...] = (),
    events: tuple[ir.Event, ...] = (),
    imports: tuple[ir.Import, ...] = (),
    messages: tuple[str, ...] = (),
    name: str = "Sample",
) -> ir.Program:
    """A program of these functions."""
    return ir.Program(ir.IR_VERSION, name, tables, events, imports, messages, functions)


def function(
    params: Sequence[Type | ir.Shape] = (),
    others: Sequence[Type | ir.Shape] = (),
    body: Sequence[Any] = (),
    results: Sequence[int] = (),
    name: str = "f",
    kind: ir.FunctionKind = ir.FunctionKind.ENTRY,
    accepts_coins: bool = False,
    maxima: Sequence[int | None] = (),
) -> ir.Function:
    """A function; its registers are `params`, then `others`."""
    registers = tuple(map(shape, (*params, *others)))
    greatest = [*maxima, *[None] * (len(params) - len(maxima))]
    return ir.Function(
        name,
        kind,
        accepts_coins,
        tuple(
            ir.Param(f"p{n}", shape(each), most)
            for n, (each, most) in enumerate(zip(params, greatest, strict=True))
        ),
        registers,
        tuple((register, ir.Named(f"r{n}", registers[register])) for n, register in enumerate(results)),
        tuple(body),
    )


def verified(sample: ir.Program) -> Verified:
    """The program as it comes out of its bytes."""
    return verify(decode_program(encode_program(sample)))


def arguments(called: ir.Function, slots: Sequence[Slot]) -> bytes:
    """The bytes of arguments."""
    return SlotLayout(param.shape for param in called.params).encode(slots)


def results(called: ir.Function, data: bytes) -> list[Slot]:
    """The results that these bytes are."""
    return SlotLayout(named.shape for _, named in called.results).decode(data)


def context(amount: int = 0) -> CallContext:
    """A call by SENDER in a transaction that ORIGIN signed."""
    return CallContext(
        sender=SENDER, contract=CONTRACT, origin=ORIGIN, amount=amount, height=77, time_ms=1_000_001
    )


def call_one(
    sample: ir.Program | Verified,
    *slots: Slot,
    name: str = "f",
    world: MemoryWorld | None = None,
    amount: int = 0,
    gas: int = GAS,
) -> Result:
    """What came of a call of the function of this name."""
    ready = sample if isinstance(sample, Verified) else verified(sample)
    called = ready.named(name)
    data = b"" if called is None else arguments(called.function, slots)
    return call(ready, name, data, context(amount), MemoryWorld() if world is None else world, gas)


def outcome(
    params: Sequence[Type | ir.Shape],
    others: Sequence[Type | ir.Shape],
    body: Sequence[Any],
    result: int,
    *slots: Slot,
) -> Slot | Failure:
    """What register `result` holds in the end, or why there is no end."""
    one = function(params, others, body, (result,))
    came = call_one(program(one), *slots)
    return results(one, came.results)[0] if came.failure is None else came.failure
