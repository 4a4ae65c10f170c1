"""Table and Cell in ordinary Python: handles on the state of the contract that runs."""

from __future__ import annotations

from typing import Any, Generic, NoReturn, TypeVar, cast

from actors.contracts.authoring.calls import writing
from actors.contracts.authoring.layouts import Layout
from actors.contracts.authoring.state import Rows

K = TypeVar("K")
V = TypeVar("V")


class Cell(Generic[V]):
    """One value: `self.owner.value`."""

    def __init__(self, name: str, rows: Rows) -> None:
        self._name, self._rows = name, rows

    @property
    def value(self) -> V:
        """What was written last; zero before."""
        return cast(V, self._rows.read(b""))

    @value.setter
    def value(self, value: V) -> None:
        writing(f"write self.{self._name}")
        self._rows.write(b"", self._rows.layout.coerce(value, f"self.{self._name}.value"))


class Table(Generic[K, V]):
    """A value for every key: `self.shares[who]`, zero where nothing was written."""

    def __init__(self, name: str, keys: Layout, rows: Rows) -> None:
        self._name, self._keys, self._rows = name, keys, rows

    def _key(self, key: K) -> bytes:
        return self._keys.encode(self._keys.coerce(key, f"the key of self.{self._name}"))

    def __getitem__(self, key: K) -> V:
        """What was written there last."""
        return cast(V, self._rows.read(self._key(key)))

    def __setitem__(self, key: K, value: V) -> None:
        """Write it."""
        writing(f"write self.{self._name}")
        self._rows.write(self._key(key), self._rows.layout.coerce(value, f"a value of self.{self._name}"))

    def _refuse(self, advice: str) -> NoReturn:
        raise TypeError(f"self.{self._name}: {advice}")

    def __contains__(self, key: object) -> NoReturn:
        """Refused."""
        self._refuse("a table has every key; compare the value with its zero")

    def __iter__(self) -> NoReturn:
        """Refused."""
        self._refuse("a table does not list its keys; keep those you need in a table of their own")

    def __len__(self) -> NoReturn:  # noqa: PLE0303
        """Refused."""
        self._refuse("a table does not count its rows; count them in a Cell")

    def __delitem__(self, key: Any) -> NoReturn:
        """Refused."""
        self._refuse("nothing is deleted; write its zero, which gives the deposit back")
