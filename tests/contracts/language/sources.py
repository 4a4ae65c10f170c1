"""Whole contracts that use most of the language."""

from __future__ import annotations

TOKEN = '''"""A token with allowances."""

from raychain import Address, Cell, Event, Table, contract, ctx, emit, entry, init, require, u64, view


class Transfer(Event):
    """Coins of the token move."""

    sender: Address
    recipient: Address
    amount: u64


@contract
class Token:
    """Balances, and who may spend for whom."""

    supply: Cell[u64]
    balances: Table[Address, u64]
    allowances: Table[tuple[Address, Address], u64]

    @init
    def start(self, supply: u64) -> None:
        self.supply.value = supply
        self.balances[ctx.sender] = supply

    @entry
    def transfer(self, to: Address, amount: u64) -> bool:
        """Pay."""
        self._move(ctx.sender, to, amount)
        return True

    @entry
    def approve(self, spender: Address, amount: u64) -> None:
        self.allowances[ctx.sender, spender] = amount

    @entry
    def transfer_from(self, owner: Address, to: Address, amount: u64) -> bool:
        allowed = self.allowances[owner, ctx.sender]
        require(allowed >= amount, "not allowed")
        self.allowances[owner, ctx.sender] = allowed - amount
        self._move(owner, to, amount)
        return True

    @view
    def balance_of(self, who: Address) -> u64:
        return self.balances[who]

    def _move(self, sender: Address, to: Address, amount: u64) -> None:
        require(self.balances[sender] >= amount, "too little")
        self.balances[sender] -= amount
        self.balances[to] += amount
        emit(Transfer(sender, to, amount))
'''
EXCHANGE = '''"""Everything else."""
from raychain import Address, Array, Bytes, Cell, Event, Hash, Struct, Table, UpTo, contract, ctx, emit
from raychain import entry, i64, init, interface, range, require, send, sha256, u8, u16, u32, u64, u128, view

RATE = u64(30)
SLOTS = u16(4)
NOBODY = Address("0000000000000000000000000000000000000000000000000000000000000000")
TAG = Bytes[4](b"ray\\x00")
OPEN = True

class Point(Struct):
    x: u64
    y: i64

class Position(Struct):
    owner: Address
    at: Point
    marks: Array[u8, SLOTS]

class Opened(Event):
    """A position."""
    owner: Address
    position: Position

class Closed(Event):
    key: Hash

@interface("abababababababababababababababababababababababababababababababab")
class Token:
    @entry
    def transfer(self, to: Address, amount: u64) -> bool: ...
    @view
    def balance_of(self, who: Address) -> u64: ...
    @entry(accepts_coins=True)
    def deposit(self, who: Address) -> tuple[u64, bool]: ...
    @view
    def never_called(self) -> None: ...

@contract
class Exchange:
    """An exchange."""
    owner: Cell[Address]
    counts: Cell[Array[u64, 8]]
    positions: Table[tuple[Address, u64], Position]
    seen: Table[Hash, bool]
    total: Table[u32, u128]

    def _second(self, a: u64, n: UpTo[u64, 8]) -> u64:
        s = self._first(a)
        for i in range(n):
            s = s * 2 // (i + 1)
        return s

    def _first(self, a: u64) -> u64:
        """The first."""
        return min(a, RATE) + 1

    @init(accepts_coins=True)
    def start(self, owner: Address) -> None:
        self.owner.value = owner

    @entry(accepts_coins=True)
    def open(self, key: u64, rounds: UpTo[u64, 8], position: Position) -> Hash:
        """Open one.

        At length.
        """
        require(OPEN and ctx.sender != NOBODY, "closed")
        marks = position.marks.copy()
        for i in range(SLOTS):
            if marks[i] % 2 == 0 or not i < 3:
                marks[i] = u8(i) << 1
            else:
                marks[i] += 1
        p = position.replace(marks=marks, owner=ctx.sender)
        old = self.positions[ctx.sender, key]
        if old.owner == NOBODY:
            self.positions[ctx.sender, key] = p
            emit(Opened(ctx.sender, position=p))
        elif old.at.x > p.at.x:
            if old.at.y < -p.at.y:
                return Hash(ctx.origin)
        else:
            self._second(key, rounds)
        h = sha256(p, key, TAG)
        self.seen[h] = True
        self.total[u32(key % 7)] += u128(p.at.x) * 3
        return h

    @entry
    def close(self, key: u64) -> tuple[u64, bool]:
        p = self.positions[ctx.sender, key]
        require(p.owner == ctx.sender, "not yours")
        value = self._second(p.at.x, 3) if 0 < p.at.x < 100 else u64(0)
        got, ok = Token.deposit(p.owner, coins=value)
        if not ok:
            return 0, False
        s = u64(0)
        for x in self.counts.value:
            s = max(s, x)
        require(Token.transfer(to=p.owner, amount=got + s), "token")
        send(ctx.sender, ctx.balance // 2)
        emit(Closed(key=sha256(ctx.height, ctx.time_ms, ctx.amount)))
        self.counts.value = Array[u64, 8]()
        return got, True

    @view
    def look(self, who: Address, key: u64) -> Position:
        p = self.positions[who, key]
        return p if Token.balance_of(who) > 0 else Position(owner=NOBODY, at=Point(x=0, y=-1), marks=p.marks)
'''
SOURCES = (TOKEN, EXCHANGE)
