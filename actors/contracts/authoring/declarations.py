"""What a contract's file declares: `@contract` and its functions, and the contracts that it imports.

A declared function does in ordinary Python what the chain does: it takes arguments of its parameters' types,
gives results of its results' types, and shares no array with its caller.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, get_args, get_origin, overload

from actors.contracts.authoring.byte_strings import Address
from actors.contracts.authoring.calls import current
from actors.contracts.authoring.integers import Integer, u64
from actors.contracts.authoring.layouts import Layout, ScalarLayout, TupleLayout, layout_of
from actors.contracts.authoring.structs import Event
from actors.contracts.authoring.tables import Cell, Table
from actors.contracts.failures import CallFailedError, Failure
from actors.contracts.ir import FunctionKind

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")
NO_RESULT = TupleLayout(())


@dataclass(frozen=True)
class BoundedLayout(ScalarLayout):
    """An UpTo parameter: `max` is its declared greatest value, which `Declared.check_maxima` holds it to."""

    max: int


class UpTo:
    """UpTo[u64, 16]: a parameter of at most 16, which may bound a loop."""

    def __class_getitem__(cls, parts: Any) -> UpTo:
        """The type and the greatest value."""
        kind, most = parts if isinstance(parts, tuple) and len(parts) == 2 else (None, None)
        if not (isinstance(kind, type) and issubclass(kind, Integer) and kind.low == 0):
            raise TypeError("UpTo has an unsigned type and a greatest value: write UpTo[u64, 16]")
        if not isinstance(most, int) or isinstance(most, bool) or not 0 <= most <= kind.high:
            raise TypeError(f"the greatest value of UpTo is a {kind.__name__}, not {most!r}")
        made = object.__new__(cls)
        made.__layout__ = BoundedLayout(kind.__layout__.kind, kind, int(most))
        return made

    __layout__: BoundedLayout


@dataclass(frozen=True)
class Declared:
    """A function. params and results: names and layouts."""

    name: str
    kind: FunctionKind
    accepts_coins: bool
    names: tuple[str, ...]
    params: TupleLayout
    results: Layout
    body: Callable[..., Any]

    def bind(self, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments in order. Raises TypeError with advice."""
        unknown = [name for name in named if name not in self.names[len(args) :]]
        if len(args) + len(named) != len(self.names) or unknown:
            raise TypeError(f"{self.name} takes ({', '.join(self.names)}): give each once")
        return args + tuple(named[name] for name in self.names[len(args) :])

    def take(self, args: tuple[Any, ...], *, outside: bool) -> tuple[Any, ...]:
        """Arguments in the parameters' types, shared with nobody."""
        pairs = zip(self.names, self.params.parts, args, strict=True)
        return tuple(
            layout.adapt(each, f"{self.name}({name})")
            if outside
            else layout.coerce(each, f"{self.name}({name})")
            for name, layout, each in pairs
        )

    def check_maxima(self, values: tuple[Any, ...]) -> None:
        """A value above its declared maximum fails the call."""
        for layout, value in zip(self.params.parts, values, strict=True):
            if isinstance(layout, BoundedLayout) and value > layout.max:
                raise CallFailedError(Failure.BAD_ARGUMENTS)

    def give(self, result: Any) -> Any:
        """The result in its type."""
        if self.results is NO_RESULT:
            if result is not None:
                raise TypeError(f"{self.name} returns nothing: declare its result with ->")
            return None
        return self.results.coerce(result, f"the result of {self.name}")

    @property
    def signature(self) -> tuple[Any, ...]:
        """What the function and its import have in common."""
        return self.kind, self.params.shapes, self.results.shapes


def declare(function: Any) -> Declared:
    """What the annotations of a function say. Raises TypeError with advice."""
    name, mark = function.__name__, getattr(function, "__mark__", (FunctionKind.PRIVATE, False))
    if mark[0] is FunctionKind.PRIVATE and not name.startswith("_"):
        raise TypeError(f"{name} is neither @entry nor @view: mark it, or call it _{name}")
    annotations = inspect.get_annotations(function, eval_str=True)
    params = list(inspect.signature(function).parameters.values())[1:]
    for param in params:
        if param.name not in annotations:
            raise TypeError(f"{name}({param.name}) has no type: write {param.name}: u64")
        if param.default is not param.empty or param.kind is not param.POSITIONAL_OR_KEYWORD:
            raise TypeError(f"{name}({param.name}) is a plain parameter without a default")
    layouts = tuple(layout_of(annotations[each.name], f"{name}({each.name})") for each in params)
    result = annotations.get("return")
    results = NO_RESULT if result is None else layout_of(result, f"the result of {name}")
    names = tuple(each.name for each in params)
    return Declared(name, mark[0], mark[1], names, TupleLayout(layouts), results, function)


class ContractFunction(Generic[P, R]):
    """An entry or view as type checkers see it."""

    def __call__(self, *args: P.args, **named: P.kwargs) -> R:  # noqa: ARG002
        """Call it."""
        raise TypeError("what @entry and @view mark is part of a contract")


class PayableFunction(Generic[R]):
    """An entry that accepts coins, as type checkers see it."""

    def __call__(self, *args: Any, coins: int = 0) -> R:  # noqa: ARG002
        """Call it, with coins if it is another contract's."""
        raise TypeError("what @entry marks is part of a contract")


def _marked(function: Any, kind: FunctionKind, accepts_coins: bool) -> Any:
    if function is None:
        return lambda given: _marked(given, kind, accepts_coins)
    function.__mark__ = (kind, accepts_coins)
    return function


@overload
def entry(function: Callable[Concatenate[Any, P], R], /) -> ContractFunction[P, R]: ...


@overload
def entry(*, accepts_coins: bool) -> Callable[[Callable[..., R]], PayableFunction[R]]: ...


def entry(function: Any = None, /, *, accepts_coins: bool = False) -> Any:
    """Mark a function that a transaction, or a contract, may call."""
    return _marked(function, FunctionKind.ENTRY, accepts_coins)


@overload
def init(function: Callable[Concatenate[Any, P], R], /) -> ContractFunction[P, R]: ...


@overload
def init(*, accepts_coins: bool) -> Callable[[Callable[..., R]], PayableFunction[R]]: ...


def init(function: Any = None, /, *, accepts_coins: bool = False) -> Any:
    """Mark the function that runs once, when the contract is deployed."""
    return _marked(function, FunctionKind.INIT, accepts_coins)


def view(function: Callable[Concatenate[Any, P], R], /) -> ContractFunction[P, R]:
    """Mark a function that anybody may call and that writes nothing."""
    return _marked(function, FunctionKind.VIEW, False)  # type: ignore[no-any-return]


def _inner(declared: Declared) -> Any:
    """The function as other functions of its contract call it."""

    @wraps(declared.body)
    def call(self: Any, /, *args: Any, **named: Any) -> Any:
        if declared.kind is not FunctionKind.PRIVATE:
            advice = "move its body to a private function, and call that in both places"
            raise TypeError(f"{declared.name} is called from the contract itself: {advice}")
        values = declared.take(declared.bind(args, named), outside=False)
        declared.check_maxima(values)
        return declared.give(declared.body(self, *values))

    return call


@dataclass(frozen=True)
class ContractDeclaration:
    """A contract. tables: name, layout of keys (None: a cell), layout of values."""

    name: str
    python: type[Any]
    tables: tuple[tuple[str, Layout | None, Layout], ...]
    functions: dict[str, Declared]

    @property
    def module(self) -> dict[str, Any]:
        """The names of its file, or of where else it was defined."""
        return next(iter(self.functions.values())).body.__globals__ if self.functions else {}

    @property
    def init(self) -> Declared | None:
        """What runs at deployment."""
        return next((each for each in self.functions.values() if each.kind is FunctionKind.INIT), None)

    def event_number(self, kind: type[Event]) -> int:
        """Numbers are the order of appearance in the file. Raises TypeError for an event of another."""
        events = [each for each in self.module.values() if isinstance(each, type) and Event in each.__bases__]
        if kind not in events:
            raise TypeError(f"{kind.__name__} is no event of {self.name}: declare it in the same file")
        return events.index(kind)

    def imports(self) -> list[tuple[Interface, Declared]]:
        """The functions of other contracts that its functions name."""
        names = [set(each.body.__code__.co_names) for each in self.functions.values()]
        declared = ((name, getattr(each, "__interface__", None)) for name, each in self.module.items())
        return [
            (interface, function)
            for name, interface in declared
            if interface is not None
            for function in interface.functions.values()
            if any({name, function.name} <= each for each in names)
        ]


def _table(name: str, annotation: Any, owner: str) -> tuple[str, Layout | None, Layout]:
    origin, args, where = get_origin(annotation), get_args(annotation), f"{owner}.{name}"
    if origin is Cell:
        return name, None, layout_of(args[0], where)
    if origin is Table:
        return name, layout_of(args[0], f"the key of {where}"), layout_of(args[1], where)
    raise TypeError(f"{where} is no state: write Cell[…] or Table[…, …]")


def _frozen(_self: Any, name: str, _value: object) -> None:
    raise TypeError(f"self.{name} is not assigned: write self.{name}.value = … of a Cell, or use a local")


def _not_made(self: Any, *_: object, **__: object) -> None:
    raise TypeError(f"{type(self).__name__} is deployed: write world.deploy({type(self).__name__}, sender=…)")


def contract(cls: type[C]) -> type[C]:
    """Make a class a contract, which `World.deploy` takes. Raises TypeError with advice."""
    functions = {
        name: declare(member)
        for name, member in vars(cls).items()
        if inspect.isfunction(member) and not name.startswith("__")
    }
    if sum(each.kind is FunctionKind.INIT for each in functions.values()) > 1:
        raise TypeError(f"{cls.__name__} has one @init at most")
    annotations = inspect.get_annotations(cls, eval_str=True)
    tables = tuple(_table(name, each, cls.__name__) for name, each in annotations.items())
    declaration = ContractDeclaration(cls.__name__, cls, tables, functions)
    for name, each in functions.items():
        setattr(cls, name, _inner(each))
    for name, value in (("__contract__", declaration), ("__setattr__", _frozen), ("__init__", _not_made)):
        setattr(cls, name, value)
    return cls


@dataclass(frozen=True)
class Interface:
    """A deployed contract as its caller knows it."""

    name: str
    address: Address
    functions: dict[str, Declared]


def _outer(interface: Interface, declared: Declared) -> Any:
    """The function of another contract as a contract calls it."""

    def call(*args: Any, coins: Any = None, **named: Any) -> Any:
        frame = current()
        if "coins" in declared.names and coins is not None:
            named, coins = named | {"coins": coins}, None
        if frame.read_only and declared.kind is FunctionKind.ENTRY:
            raise TypeError(f"a view does not call {declared.name}, an entry: make it an @entry")
        values = declared.take(declared.bind(args, named), outside=False)
        if coins is not None and not declared.accepts_coins:
            raise TypeError(f"coins to {declared.name}: it is not declared with accepts_coins=True")
        amount = int(u64.__layout__.coerce(coins or 0, "coins"))
        return frame.call_contract(frame, interface, declared, values, amount)

    return call


def interface(address: str) -> Callable[[type[C]], type[C]]:
    """Make a class the interface of the contract at this address (64 hexadecimal digits)."""
    where = Address(address)

    def of_class(cls: type[C]) -> type[C]:
        members = {name: each for name, each in vars(cls).items() if inspect.isfunction(each)}
        functions = {name: declare(each) for name, each in members.items()}
        imported = Interface(cls.__name__, where, functions)
        for name, each in functions.items():
            if each.kind not in (FunctionKind.ENTRY, FunctionKind.VIEW):
                raise TypeError(f"{cls.__name__}.{name} is imported: mark it @entry or @view")
            setattr(cls, name, staticmethod(_outer(imported, each)))
        cls.__interface__ = imported  # type: ignore[attr-defined]
        return cls

    return of_class
