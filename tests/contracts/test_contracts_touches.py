"""What a call touches, cut out of its transaction, against what it touches when it runs."""

from __future__ import annotations

from random import Random

import pytest

from actors.contracts import ir
from actors.contracts.entries import entry_key
from actors.contracts.interpreter import call
from actors.contracts.running import CallContext
from actors.contracts.touches import (
    ROWS_MAX,
    FunctionTouches,
    Mode,
    Piece,
    Pieces,
    PieceSource,
    touches_of,
)
from actors.contracts.types import U64
from actors.contracts.verified import Verified
from actors.contracts.verifier import verify
from actors.contracts.world import MemoryWorld
from bench.contract_fuzz.arguments import random_arguments
from bench.contract_mixes import GAS, MIXES, ExampleDeployment, Mix
from tests.contracts.programs import random_program
from tests.ledger.contract_transactions import example


class WatchedWorld(MemoryWorld):
    """Notes what a call asks for. Changes are dropped."""

    def __init__(self, below: MemoryWorld) -> None:
        super().__init__()
        self._below = below
        self.read: set[bytes] = set()
        self.written: set[bytes] = set()
        self.held: set[bytes] = set()

    def entry(self, key: bytes) -> bytes:
        self.read.add(key)
        return self._below.entry(key)

    def set_entry(self, key: bytes, value: bytes) -> None:
        self.written.add(key)

    def balance(self, address: bytes) -> int:
        self.held.add(address)
        return self._below.balance(address)

    def move(self, sender: bytes, recipient: bytes, amount: int) -> None:
        self.held |= {sender, recipient}

    def program(self, address: bytes) -> Verified | None:
        return self._below.program(address)


def cut(pieces: Pieces, context: CallContext, arguments: bytes) -> bytes:
    """The bytes that pieces stand for."""
    sources = {
        PieceSource.ARGUMENTS: arguments,
        PieceSource.SENDER: context.sender,
        PieceSource.RECIPIENT: context.contract,
        PieceSource.AMOUNT: context.amount.to_bytes(8, "little"),
    }
    return b"".join(
        piece.data
        if piece.source is PieceSource.CONSTANT
        else sources[piece.source][piece.offset :][: piece.width]
        for piece in pieces
    )


def holds(
    touches: FunctionTouches, program: Verified, context: CallContext, arguments: bytes, world: WatchedWorld
) -> None:
    """All that the call asked for has been told, if the function says that it tells all."""
    known, changed = set[bytes](), set[bytes]()
    for row in touches.rows:
        chunks = range(program.tables[row.table].chunk_count)
        keys = {
            entry_key(context.contract, row.table, chunk, cut(row.row, context, arguments))
            for chunk in chunks
        }
        known |= keys
        changed |= set() if row.mode is Mode.READ else keys
    if touches.is_complete:
        assert world.read <= known
        assert world.written <= changed
        payees = {cut(payee, context, arguments) for payee in touches.payees}
        assert world.held <= payees | {context.contract}
    if not touches.uses_coins and not touches.imports:
        assert not world.held


@pytest.mark.parametrize("mix", MIXES, ids=lambda mix: mix.name)
def test_the_examples_touch_what_is_told(mix: Mix) -> None:
    deployment = ExampleDeployment(mix)
    for program, name, arguments, context in deployment.steps:
        world = WatchedWorld(deployment.world)
        function = program.named(name)
        assert function is not None
        call(program, name, arguments, context, world, GAS)
        holds(touches_of(program.program)[function.number], program, context, arguments, world)
        deployment.run((program, name, arguments, context))


@pytest.mark.parametrize("seed", range(30))
def test_random_programs_touch_what_is_told(seed: int) -> None:
    random = Random(seed)
    program = verify(random_program(random))
    touches = touches_of(program.program)
    for function in program.functions:
        if function.number in touches:
            for _ in range(3):
                arguments = random_arguments(random, function.function.params)
                context = CallContext(
                    sender=bytes([1]) * 32, contract=bytes([2]) * 32, origin=bytes([1]) * 32
                )
                world = WatchedWorld(MemoryWorld())
                call(program, function.number, arguments, context, world, GAS)
                holds(touches[function.number], program, context, arguments, world)


def of(name: str, function: str) -> FunctionTouches:
    program = example(name)[2]
    called = program.named(function)
    assert called is not None
    return touches_of(program.program)[called.number]


SENDER = Piece(PieceSource.SENDER, 0, 32)


def test_a_token_is_known_by_its_arguments() -> None:
    to = Piece(PieceSource.ARGUMENTS, 0, 32)
    transfer = of("token", "transfer")
    assert transfer.is_complete
    assert not transfer.uses_coins
    assert {(row.row, row.mode) for row in transfer.rows} == {((SENDER,), Mode.WRITE), ((to,), Mode.WRITE)}
    allowance = of("token", "allowance")
    assert [row.row for row in allowance.rows] == [(to, Piece(PieceSource.ARGUMENTS, 32, 32))]
    assert allowance.rows[0].mode is Mode.READ


def test_what_reads_before_it_knows_is_not_complete() -> None:
    assert not of("exchange", "buy").is_complete
    assert of("counter", "add").is_complete


def program_of(body: tuple[ir.AnyOp, ...], registers: int) -> ir.Program:
    shape = ir.Shape(U64)
    table = ir.Table("rows", (U64,), (ir.Named("value", shape),))
    function = ir.Function(
        "go", ir.FunctionKind.ENTRY, False, (ir.Param("at", shape),), (shape,) * registers, (), body
    )
    return ir.Program(ir.IR_VERSION, "P", (table,), (), (), (), (function,))


def test_many_rows_and_many_operations_end_at_their_bound() -> None:
    consts = tuple(ir.Const(1, number.to_bytes(8, "little")) for number in range(ROWS_MAX + 1))
    body = tuple(op for const in consts for op in (const, ir.Put(0, (1,), (0,))))
    touches = touches_of(program_of(body, 2))[0]
    assert not touches.is_complete
    assert touches.rows == ()
    within = touches_of(program_of(body[:-2], 2))[0]
    assert within.is_complete
    assert len(within.rows) == ROWS_MAX


def test_a_register_of_two_branches_or_of_a_loop_is_no_piece() -> None:
    one, two = (ir.Const(1, bytes([number] * 8)) for number in (1, 2))
    put = ir.Put(0, (1,), (0,))
    branches = ir.If(2, (one,), (two,))
    assert not touches_of(program_of((branches, put), 3))[0].is_complete
    assert touches_of(program_of((ir.If(2, (one,), (one,)), put), 3))[0].is_complete
    looped = ir.Loop(2, 0, 3, (put, one))
    assert not touches_of(program_of((looped,), 3))[0].is_complete


def test_additions_commute_until_their_table_is_read() -> None:
    add = ir.Increase(0, (0,), 0)
    assert touches_of(program_of((add,), 1))[0].rows[0].mode is Mode.ADD
    read = ir.Get(0, (1,), (2,))
    modes = {row.mode for row in touches_of(program_of((add, read), 3))[0].rows}
    assert modes == {Mode.WRITE, Mode.READ}
