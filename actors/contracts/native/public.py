"""How a public function of a program is entered: what is looked at before it runs, whoever calls it."""

from __future__ import annotations

from actors.contracts.failures import Failure
from actors.contracts.native.arithmetic import ir_type
from actors.contracts.native.code import OUTCOME, Code, call_record, constant, outcome
from actors.contracts.native.lowering import name_of
from actors.contracts.native.rows import are_bools
from actors.contracts.native.seeking import MOVE_COINS, is_reserved
from actors.contracts.types import BOOL
from actors.contracts.verified import VerifiedFunction
from actors.kernels.emitter import I32, I64, POINTER, Value


def symbol_of(function: int) -> str:
    """`{i64 gas, i32 status} public(ptr call, i64 gas, ptr arguments, ptr results)`: of a public function."""
    return f"public_{function}"


def emit_public(code: Code, function: VerifiedFunction) -> None:
    """See `symbol_of`. The record of the call says already who calls, and with how many coins."""
    pointer, gas, arguments, results = code.function(
        symbol_of(function.number), OUTCOME, [POINTER, I64, POINTER, POINTER], internal=False
    )
    builder, call = code.builder, call_record(code, pointer)
    amount = call.get("amount")
    accepts_coins = function.function.accepts_coins
    if not accepts_coins:
        _fail_if(code, gas, builder.not_(code.is_zero(amount)), Failure.TAKES_NO_COINS)
    _check_arguments(code, gas, function, arguments)
    _fail_if(code, gas, is_reserved(code, call.address("contract")), Failure.RESERVED_ADDRESS)
    if accepts_coins:
        moved, there = code.block(), code.block()
        builder.cbranch(code.is_zero(amount), there, moved)
        code.go_on_at(moved)
        sender, contract = call.address("sender"), call.address("contract")
        status = code.call_at(I32, call.at(MOVE_COINS), pointer, sender, contract, amount)
        code.return_if(builder.not_(code.is_zero(status)), outcome(code, gas, status))
        builder.branch(there)
        code.go_on_at(there)
    builder.ret(code.call(OUTCOME, name_of(function.number), pointer, gas, arguments, results))


def _fail_if(code: Code, gas: Value, condition: Value, failure: Failure) -> None:
    code.return_if(condition, outcome(code, gas, constant(I32, int(failure))))


def _check_arguments(code: Code, gas: Value, function: VerifiedFunction, arguments: Value) -> None:
    """What `VerifiedFunction.params` and `maxima` say."""
    offset, maxima = 0, dict(function.maxima)
    for place, param in enumerate(function.function.params):
        at, shape = code.offset(arguments, offset), param.shape
        if shape.type == BOOL:
            bad = code.builder.not_(are_bools(code, at, shape.count or 1))
            _fail_if(code, gas, bad, Failure.BAD_ARGUMENTS)
        if place in maxima:
            value = code.load(ir_type(shape.type), at)
            too_great = code.builder.icmp_unsigned(">", value, constant(value.type, maxima[place]))
            _fail_if(code, gas, too_great, Failure.BAD_ARGUMENTS)
        offset += shape.width_bytes
