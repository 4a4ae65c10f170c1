"""The intermediate representation: what a contract is on the chain.

Rules
1. Structured: operations stand in lists, `If` and `Loop` hold lists, and there are no jumps. A function's
   results are what its result registers hold when its list has ended.
2. Static: a function's registers are declared with their types, hold zero at first, and are its alone. The
   first are its parameters. There are no pointers and no allocation.
3. Finite: every loop has a constant bound, and a function calls only functions with a smaller number, a
   contract only contracts that were deployed before it. So every call ends, and its worst case is known.
4. Structs are gone: a struct's fields are registers, columns and parameters of their own, named `a.b`.
5. Checked: what does not fit its type fails the call (failures.py).
6. One form: see encoding.py. Names are for people and for the ABI; they are part of the program and its hash.

Registers are named by their number. Where an operation says `T`, all registers it names have one type.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from actors.contracts.types import Type

IR_VERSION = 1


class Shape(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a register, column, parameter or field holds: one value, or `count` of them if that is not 0."""

    type: Type
    count: int = 0

    @property
    def width_bytes(self) -> int:
        """Bytes of all its values."""
        return self.type.width_bytes * (self.count or 1)


class Named(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A column of a table, a field of an event, or a result. A struct's field is named `struct.field`."""

    name: str
    shape: Shape


class Param(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A parameter. max: its declared greatest value (UpTo), or None."""

    name: str
    shape: Shape
    max: int | None = None


class Table(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A table, or, with no keys, a cell. Keys are scalars. All columns are zero where nothing is written."""

    name: str
    keys: tuple[Type, ...]
    columns: tuple[Named, ...]

    @property
    def value_bytes(self) -> int:
        """Bytes of all columns of one row."""
        return sum(column.shape.width_bytes for column in self.columns)


class Event(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What an entry may emit. Whoever follows may ask for values of the first field."""

    name: str
    fields: tuple[Named, ...]


class FunctionKind(IntEnum):
    """Who may call a function, and what it may do. A view writes, emits and sends nothing."""

    PRIVATE = 0
    ENTRY = 1
    VIEW = 2
    INIT = 3  # called once, by the deployment


class Import(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An entry or view of a contract that was deployed before."""

    address: bytes  # 32
    contract: str
    function: str
    kind: FunctionKind  # ENTRY or VIEW
    params: tuple[Shape, ...]
    results: tuple[Shape, ...]


class Op(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One operation."""


class Const(Op, frozen=True, tag=1):
    """dst := the value that these bytes of its type stand for; an array register gets it in every place."""

    dst: int
    value: bytes


class Move(Op, frozen=True, tag=2):
    """dst := src, of one shape."""

    dst: int
    src: int


class Arithmetic(IntEnum):
    """On integers of one type. FLOOR_DIV and MOD round as Python's `//` and `%` do."""

    ADD = 1
    SUB = 2
    MUL = 3
    FLOOR_DIV = 4
    MOD = 5
    AND = 6  # these three and the shifts: unsigned only
    OR = 7
    XOR = 8
    SHL = 9  # bits that leave the type fail the call
    SHR = 10  # by its width or more: 0
    MIN = 11
    MAX = 12


class Binary(Op, frozen=True, tag=3):
    """dst := a ? b, all of one integer type."""

    what: Arithmetic
    dst: int
    a: int
    b: int


class Comparison(IntEnum):
    """On values of one type; bytes are compared as big-endian numbers. Bools: EQ and NE only."""

    EQ = 1
    NE = 2
    LT = 3
    LE = 4


class Compare(Op, frozen=True, tag=4):
    """dst (bool) := a ? b, both of one type."""

    what: Comparison
    dst: int
    a: int
    b: int


class Not(Op, frozen=True, tag=5):
    """dst := not a, bools."""

    dst: int
    a: int


class Cast(Op, frozen=True, tag=6):
    """dst := src: between integers, failing if it does not fit; between bytes of one width."""

    dst: int
    src: int


class Load(Op, frozen=True, tag=7):
    """dst := array[index]; index of any unsigned type. Outside the array the call fails."""

    dst: int
    array: int
    index: int


class Store(Op, frozen=True, tag=8):
    """array[index] := src."""

    array: int
    index: int
    src: int


class Hash(Op, frozen=True, tag=9):
    """dst (Hash) := SHA-256 of the bytes of the sources, one after the other."""

    dst: int
    srcs: tuple[int, ...]


class Fact(IntEnum):
    """What a call knows of its surroundings."""

    SENDER = 1  # Address: who called this contract: a contract, if one called
    CONTRACT = 2  # Address of this contract
    AMOUNT = 3  # u64: coins that came with the call
    HEIGHT = 4  # u64
    TIME_MS = 5  # u64: of the block
    ORIGIN = 6  # Address: who signed the transaction


class Context(Op, frozen=True, tag=10):
    """dst := a fact."""

    what: Fact
    dst: int


class Get(Op, frozen=True, tag=11):
    """dsts := all columns of the row at `keys`."""

    table: int
    keys: tuple[int, ...]
    dsts: tuple[int, ...]


class Put(Op, frozen=True, tag=12):
    """The row at `keys` := srcs, one for each column."""

    table: int
    keys: tuple[int, ...]
    srcs: tuple[int, ...]


class Increase(Op, frozen=True, tag=13):
    """The row at `keys` += src, in a table with one scalar integer column. It does not tell the sum."""

    table: int
    keys: tuple[int, ...]
    src: int


class Emit(Op, frozen=True, tag=14):
    """An event, with one source for each field."""

    event: int
    srcs: tuple[int, ...]


class Send(Op, frozen=True, tag=15):
    """Coins (amount: u64) of this contract go to an Address. Fails if it has fewer."""

    to: int
    amount: int


class Balance(Op, frozen=True, tag=16):
    """dst (u64) := the coins of this contract, those that came with the call among them."""

    dst: int


class Require(Op, frozen=True, tag=17):
    """Unless `condition` holds, the call fails with this message of the program."""

    condition: int
    message: int


class If(Op, frozen=True, tag=18):
    """One of two lists."""

    condition: int
    then: tuple[AnyOp, ...]
    otherwise: tuple[AnyOp, ...] = ()


class Loop(Op, frozen=True, tag=19):
    """`body` for index = 0 .. count - 1 (unsigned, one type; nothing else in the body writes either). Fails
    if count is above `max`."""

    index: int
    count: int
    max: int
    body: tuple[AnyOp, ...]


class Call(Op, frozen=True, tag=20):
    """dsts := results of a function of this contract with these arguments."""

    function: int
    args: tuple[int, ...]
    dsts: tuple[int, ...]


class CallContract(Op, frozen=True, tag=21):
    """dsts := results of an imported function; amount: a u64 register of coins that go along, or None."""

    target: int  # number of the import
    args: tuple[int, ...]
    dsts: tuple[int, ...]
    amount: int | None = None


AnyOp = (
    Const | Move | Binary | Compare | Not | Cast | Load | Store | Hash | Context | Get | Put | Increase | Emit
    | Send | Balance | Require | If | Loop | Call | CallContract
)  # fmt: skip
STRUCTURED = (If, Loop, Call, CallContract)
"""What ends a basic block; see gas.py."""


class Function(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One function. Its first registers are its parameters; `results` names registers and says what they are.

    accepts_coins: whether a call may bring coins along (ENTRY and INIT only).
    """

    name: str
    kind: FunctionKind
    accepts_coins: bool
    params: tuple[Param, ...]
    registers: tuple[Shape, ...]
    results: tuple[tuple[int, Named], ...]
    body: tuple[AnyOp, ...]


class Program(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One contract."""

    version: int
    name: str
    tables: tuple[Table, ...]
    events: tuple[Event, ...]
    imports: tuple[Import, ...]
    messages: tuple[str, ...]
    functions: tuple[Function, ...]
