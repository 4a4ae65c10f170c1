"""A chain of one process for tests: contracts are deployed and called, and a failed call changes nothing.

    world = World(height=1)
    alice = world.account("alice", coins=100)
    token = world.deploy(Token, sender=alice, args=(1_000,))
    assert token.transfer(bob, 5, sender=alice)

What it does not have is gas and deposits: it never fails with OUT_OF_GAS or DEPOSIT.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from actors.contracts.authoring.byte_strings import Address
from actors.contracts.authoring.calls import Block, Frame, running
from actors.contracts.authoring.declarations import ContractDeclaration, Declared, Interface
from actors.contracts.authoring.state import COINS_MAX, Emitted, Rows, State
from actors.contracts.authoring.tables import Cell, Table
from actors.contracts.failures import CallFailedError, Failure
from actors.contracts.ir import FunctionKind
from actors.contracts.limits import CONTRACTS_DEPTH_MAX

NOBODY = Address(bytes(32))
CALLABLE = (FunctionKind.ENTRY, FunctionKind.VIEW)


@dataclass(frozen=True)
class _Instance:
    """A contract at its address."""

    declaration: ContractDeclaration
    body: Any


class Deployed:
    """A deployed contract: its entries and views are methods that take `sender=` and `coins=`."""

    def __init__(self, world: World, address: Address, functions: dict[str, Declared]) -> None:
        self._world, self.address, self._functions = world, address, functions

    def __getattr__(self, name: str) -> Any:
        """The entry or view of this name."""
        declared = self._functions.get(name)
        if declared is None or declared.kind not in CALLABLE:
            names = ", ".join(each.name for each in self._functions.values() if each.kind in CALLABLE)
            raise AttributeError(f"no entry or view is called {name}: there are {names}")

        def call(*args: Any, sender: Any = None, coins: int = 0, **named: Any) -> Any:
            return self._world.call(self, name, *args, sender=sender, coins=coins, **named)

        return call

    def __repr__(self) -> str:
        """Where it is."""
        return f"Deployed({self.address.hex()})"


class World:
    """State, coins and events of one chain. height and time_ms are those of the next call's block."""

    def __init__(self, *, height: int = 1, time_ms: int = 0) -> None:
        self.height, self.time_ms = height, time_ms
        self._state = State()
        self._instances: dict[Address, _Instance] = {}

    @property
    def events(self) -> list[Emitted]:
        """All events, oldest first."""
        return self._state.events

    @property
    def entries(self) -> dict[bytes, bytes]:
        """All entries of all contracts, by the keys that the state tree has."""
        return self._state.entries

    def account(self, name: str, *, coins: int = 0) -> Address:
        """An address made of a name, with these coins more."""
        address = _address(sha256(name.encode()).digest())
        self.fund(address, coins)
        return address

    def balance(self, who: Any) -> int:
        """Coins of an account or a contract."""
        return self._state.coins.get(_address(who), 0)

    def fund(self, who: Any, coins: int) -> None:
        """Make coins out of nothing."""
        if not 0 <= coins <= COINS_MAX - sum(self._state.coins.values()):
            raise ValueError(f"{coins} coins: all coins together are at most {COINS_MAX}")
        self._state.coins[_address(who)] = self.balance(who) + coins

    def deploy(
        self,
        what: type,
        *,
        sender: Any = NOBODY,
        args: tuple[Any, ...] = (),
        coins: int = 0,
        address: Any = None,
    ) -> Deployed:
        """Deploy a contract, and run its init. address: where, for those that others import."""
        declaration: ContractDeclaration = what.__contract__  # type: ignore[attr-defined]
        place = _address(address or sha256(b"contract %d" % len(self._instances)).digest())
        if place in self._instances:
            raise ValueError(f"there is a contract at {place.hex()}: give another address")
        for interface, wanted in declaration.imports():
            self._imported(interface, wanted)
        self._instances[place] = _Instance(declaration, self._body(declaration, place))
        try:
            self._initialise(declaration, place, _address(sender), args, coins)
        except BaseException:
            del self._instances[place]
            raise
        return Deployed(self, place, declaration.functions)

    def call(
        self, where: Any, name: str, /, *args: Any, sender: Any = None, coins: int = 0, **named: Any
    ) -> Any:
        """Call an entry or view as a transaction would; views need no sender. Raises CallFailedError."""
        place = _address(where)
        declared = self._find(place, name)
        if declared.kind is FunctionKind.ENTRY and sender is None:
            raise TypeError(f"{name} is an entry: say who calls, {name}(…, sender=alice)")
        values = declared.take(declared.bind(args, named), outside=True)
        return self._outermost(place, declared, _address(sender or NOBODY), values, coins)

    def _initialise(
        self,
        declaration: ContractDeclaration,
        place: Address,
        sender: Address,
        args: tuple[Any, ...],
        coins: int,
    ) -> None:
        if declaration.init is None:
            if coins:
                raise CallFailedError(Failure.TAKES_NO_COINS)
            if args:
                raise TypeError(f"{declaration.name} has no @init: it takes no args")
            return
        values = declaration.init.take(declaration.init.bind(args, {}), outside=True)
        self._outermost(place, declaration.init, sender, values, coins)

    def _body(self, declaration: ContractDeclaration, place: Address) -> Any:
        body = object.__new__(declaration.python)
        for number, (name, keys, values) in enumerate(declaration.tables):
            rows = Rows(self._state, place, number, values)
            handle = Cell[Any](name, rows) if keys is None else Table[Any, Any](name, keys, rows)
            body.__dict__[name] = handle
        return body

    def _find(self, place: Address, name: str) -> Declared:
        instance = self._instances.get(place)
        if instance is None:
            raise CallFailedError(Failure.MISSING_CONTRACT)
        declared = instance.declaration.functions.get(name)
        if declared is None or declared.kind not in CALLABLE:
            raise CallFailedError(Failure.UNKNOWN_FUNCTION)
        return declared

    def _imported(self, interface: Interface, wanted: Declared) -> Declared:
        declared = self._find(interface.address, wanted.name)
        name = self._instances[interface.address].declaration.name
        if name != interface.name or wanted.signature != declared.signature:
            raise CallFailedError(Failure.UNKNOWN_FUNCTION)
        return declared

    def _outermost(
        self, place: Address, declared: Declared, sender: Address, values: tuple[Any, ...], coins: int
    ) -> Any:
        if self.balance(sender) < coins:
            raise ValueError(f"the sender has {self.balance(sender)} coins of {coins}: world.fund(…) them")
        block = Block(self.height, self.time_ms)
        read_only = declared.kind is FunctionKind.VIEW
        number = self._instances[place].declaration.event_number
        call = self._call_contract
        frame = Frame(self._state, block, place, sender, sender, coins, read_only, 1, number, call)
        try:
            result = self._run(frame, declared, values)
        except BaseException:
            self._state.undo()
            raise
        self._state.keep()
        return result

    def _call_contract(
        self, caller: Frame, interface: Interface, wanted: Declared, values: tuple[Any, ...], coins: int
    ) -> Any:
        """Arguments and results cross as bytes: each side has structs of its own."""
        if caller.depth == CONTRACTS_DEPTH_MAX:
            raise CallFailedError(Failure.CALL_DEPTH)
        declared = self._imported(interface, wanted)
        frame = replace(
            caller,
            contract=interface.address,
            sender=caller.contract,
            amount=coins,
            read_only=caller.read_only or declared.kind is FunctionKind.VIEW,
            depth=caller.depth + 1,
            event_numbers=self._instances[interface.address].declaration.event_number,
        )
        result = self._run(frame, declared, declared.params.decode(wanted.params.encode(values)))
        return None if result is None else wanted.results.decode(declared.results.encode(result))

    def _run(self, frame: Frame, declared: Declared, values: tuple[Any, ...]) -> Any:
        if frame.amount and not declared.accepts_coins:
            raise CallFailedError(Failure.TAKES_NO_COINS)
        declared.check_maxima(values)
        self._state.move(frame.sender, frame.contract, frame.amount)
        with running(frame):
            return declared.give(declared.body(self._instances[frame.contract].body, *values))


def _address(who: Any) -> Address:
    who = getattr(who, "address", who)
    return who if isinstance(who, Address) else Address(who)
