"""What a call of a contract means. This is the definition: whatever else runs contracts must agree with it.

1. A call is one function of one contract, with arguments as bytes, coins that came along, and a limit of gas.
   What it may not be is told in this order: UNKNOWN_FUNCTION, TAKES_NO_COINS, BAD_ARGUMENTS.
2. A frame holds the registers of one function that runs: its arguments, then zeros. Its lists are run from
   beginning to end, each operation as execution.py says; gas is charged as gas.py says, so OUT_OF_GAS goes
   before any failure in what was to be paid.
3. A function of the same contract gets a frame of its own. A declared greatest value of a parameter holds in
   every call; a greater one is BAD_ARGUMENTS.
4. Another contract is called with this contract as its sender. In this order: CALL_DEPTH, MISSING_CONTRACT,
   UNKNOWN_FUNCTION (also if the import is not what is there), TAKES_NO_COINS, BAD_ARGUMENTS,
   INSUFFICIENT_COINS; then the coins move, and its function runs in its own state.
5. The first failure, in whichever contract, fails the whole call. Then nothing has changed: entries, coins
   and events were kept apart (world.py), and are dropped.
6. Time and memory are bounded by the verifier and by gas. A call needs less than 650 levels of Python's
   stack: contracts within each other, times functions within each other, times lists within each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from actors.contracts import ir
from actors.contracts.execution import EXECUTE, move_coins, read, write
from actors.contracts.failures import CallFailedError, Failure
from actors.contracts.limits import CONTRACTS_DEPTH_MAX
from actors.contracts.running import CallContext, EmittedEvent, RunningCall, RunningContract, RunningFunction
from actors.contracts.types import Slot
from actors.contracts.verified import BasicBlock, Choice, Code, Rounds, Verified, VerifiedFunction
from actors.contracts.world import World


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a call. After a failure: its message if it was a requirement, and the gas; nothing else.

    results: the bytes of the function's results. entries_created, entries_removed: of the state.
    """

    failure: Failure | None
    message: str = ""
    gas_used: int
    results: bytes = b""
    events: tuple[EmittedEvent, ...] = ()
    entries_created: int = 0
    entries_removed: int = 0


def call(
    program: Verified, function: int | str, arguments: bytes, context: CallContext, world: World, gas: int
) -> Result:
    """Call an entry or view by its number or name. `world` has all of its changes afterwards, or none."""
    if isinstance(function, str):
        called = program.named(function)
    else:
        called = program.functions[function] if 0 <= function < len(program.functions) else None
    if called is not None and called.function.kind not in (ir.FunctionKind.ENTRY, ir.FunctionKind.VIEW):
        called = None
    return _result(RunningCall(world, context, gas), program, called, arguments, context)


def run_init(program: Verified, arguments: bytes, context: CallContext, world: World, gas: int) -> Result:
    """Do what the deployment of a contract calls for: its INIT, if it has one; else it takes nothing."""
    if program.init is None:
        failure = Failure.TAKES_NO_COINS if context.amount else Failure.BAD_ARGUMENTS if arguments else None
        return Result(failure=failure, gas_used=0)
    return _result(RunningCall(world, context, gas), program, program.init, arguments, context)


def check_imports(program: Verified, world: World) -> None:
    """Raise CallFailedError for the first import that is not what is at its address: for the deployment."""
    for imported in program.program.imports:
        find_import(imported, world.program(imported.address))


def find_import(imported: ir.Import, program: Verified | None) -> tuple[Verified, VerifiedFunction]:
    """The contract and function that an import names. program: what is at its address. Raises
    CallFailedError."""
    if program is None:
        raise CallFailedError(Failure.MISSING_CONTRACT)
    called = program.named(imported.function)
    if program.program.name != imported.contract or called is None or not _matches(imported, called.function):
        raise CallFailedError(Failure.UNKNOWN_FUNCTION)
    return program, called


def _matches(imported: ir.Import, function: ir.Function) -> bool:
    return (
        imported.kind is function.kind
        and imported.params == tuple([param.shape for param in function.params])
        and imported.results == tuple([named.shape for _, named in function.results])
    )


def _result(
    running: RunningCall,
    program: Verified,
    called: VerifiedFunction | None,
    arguments: bytes,
    context: CallContext,
) -> Result:
    """Run it, and keep its changes or drop them."""
    try:
        if called is None:
            raise CallFailedError(Failure.UNKNOWN_FUNCTION)
        _check_coins(called, context.amount)
        slots = _decode_arguments(called, arguments)
        contract = RunningContract(running, program, context.contract, context.sender, context.amount, 1)
        results = _run_function(contract, called, slots)
    except CallFailedError as failed:
        used = running.gas if failed.failure is Failure.OUT_OF_GAS else running.gas - running.gas_left
        return Result(failure=failed.failure, message=failed.message, gas_used=used)
    created, removed = running.world.commit()
    return Result(
        failure=None,
        gas_used=running.gas - running.gas_left,
        results=called.results.encode(results),
        events=tuple(running.events),
        entries_created=created,
        entries_removed=removed,
    )


def _check_coins(called: VerifiedFunction, amount: int) -> None:
    if amount and not called.function.accepts_coins:
        raise CallFailedError(Failure.TAKES_NO_COINS)


def _decode_arguments(called: VerifiedFunction, arguments: bytes) -> list[Slot]:
    try:
        slots = called.params.decode(arguments)
    except ValueError:
        raise CallFailedError(Failure.BAD_ARGUMENTS) from None
    _check_maxima(called, slots)
    return slots


def _check_maxima(called: VerifiedFunction, arguments: Sequence[Any]) -> None:
    for register, greatest in called.maxima:
        if arguments[register] > greatest:
            raise CallFailedError(Failure.BAD_ARGUMENTS)


def _run_function(contract: RunningContract, function: VerifiedFunction, arguments: list[Any]) -> list[Any]:
    """Its results."""
    registers = [*arguments, *function.zeros[len(arguments) :]]
    _run(RunningFunction(contract, function, registers), function.code)
    return [registers[register] for register, _ in function.function.results]


def _run(frame: RunningFunction, code: Code) -> None:
    """A list of operations."""
    registers = frame.registers
    for part in code:
        frame.call.charge(part.gas)
        if type(part) is BasicBlock:
            for operation in part.operations:
                _EXECUTE[type(operation)](frame, operation)
        elif type(part) is Choice:
            _run(frame, part.then if registers[part.condition] else part.otherwise)
        elif type(part) is Rounds:
            count = registers[part.count]
            if count > part.max:
                raise CallFailedError(Failure.LOOP_BOUND)
            for index in range(count):
                frame.call.charge(part.round_gas)
                registers[part.index] = index
                _run(frame, part.body)


def _call(frame: RunningFunction, op: ir.Call) -> None:
    called, arguments = frame.contract.program.functions[op.function], read(frame, op.args)
    _check_maxima(called, arguments)
    write(frame, op.dsts, _run_function(frame.contract, called, arguments))


def _call_contract(frame: RunningFunction, op: ir.CallContract) -> None:
    contract, imported = frame.contract, frame.contract.program.program.imports[op.target]
    if contract.depth == CONTRACTS_DEPTH_MAX:
        raise CallFailedError(Failure.CALL_DEPTH)
    program, called = find_import(imported, contract.call.world.program(imported.address))
    amount, arguments = 0 if op.amount is None else frame.registers[op.amount], read(frame, op.args)
    _check_coins(called, amount)
    _check_maxima(called, arguments)
    move_coins(contract, imported.address, amount)
    sender, depth = contract.address, contract.depth + 1
    callee = RunningContract(contract.call, program, imported.address, sender, amount, depth)
    write(frame, op.dsts, _run_function(callee, called, arguments))


_EXECUTE: dict[type[ir.Op], Callable[[RunningFunction, Any], None]] = {
    **EXECUTE,
    ir.Call: _call,
    ir.CallContract: _call_contract,
}
