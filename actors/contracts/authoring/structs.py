"""Struct and Event in ordinary Python: frozen records whose fields take values of their declared types."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, TypeVar, dataclass_transform

from actors.contracts.authoring.layouts import Layout, TupleLayout, layout_of
from actors.contracts.ir import Shape

T = TypeVar("T", bound="Record")


class RecordLayout:
    """The fields' columns one after the other."""

    def __init__(self, python: type[Record], fields: dict[str, Layout]) -> None:
        self.python, self.fields = python, fields
        self._row = TupleLayout(tuple(fields.values()))

    @property
    def name(self) -> str:
        """The name of the class."""
        return self.python.__name__

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Of all fields, nested ones in their place."""
        return self._row.shapes

    def coerce(self, value: Any, where: str) -> Any:
        """Records of this class only."""
        if type(value) is not self.python:
            raise TypeError(f"{where} is {self.name}, not {type(value).__name__}: write {self.name}(…)")
        return value

    def adapt(self, value: Any, where: str) -> Any:
        """Records of this class only."""
        return self.coerce(value, where)

    def encode(self, value: Any) -> bytes:
        """Fields in order."""
        return self._row.encode(value.__values__)

    def decode(self, data: bytes) -> Any:
        """Fields in order."""
        made = object.__new__(self.python)
        object.__setattr__(made, "__values__", self._row.decode(data))
        return made

    def fresh(self, value: Any) -> Any:
        """Records never change."""
        return value


class Field:
    """Reads one field: arrays as copies, so that a record stays as it is."""

    def __init__(self, place: int, layout: Layout) -> None:
        self._place, self._layout = place, layout

    def __get__(self, record: Record | None, owner: type) -> Any:
        """The field's value."""
        return self if record is None else self._layout.fresh(record.__values__[self._place])


class Record:
    """What Struct and Event share. Authors' fields may have any name but those of two underscores."""

    __layout__: ClassVar[RecordLayout]
    __values__: tuple[Any, ...]

    def __init_subclass__(cls) -> None:
        """Fields are the annotations of the class."""
        if Record in cls.__bases__:
            return
        annotations = inspect.get_annotations(cls, eval_str=True)
        fields = {name: layout_of(kind, f"{cls.__name__}.{name}") for name, kind in annotations.items()}
        for place, (name, layout) in enumerate(fields.items()):
            if name in cls.__dict__:
                raise TypeError(f"{cls.__name__}.{name} has no default: give it where you make the record")
            setattr(cls, name, Field(place, layout))
        cls.__layout__ = RecordLayout(cls, fields)

    def __fill__(self, given: dict[str, Any]) -> None:
        """Set all fields. Raises TypeError with advice."""
        kind, fields = type(self).__name__, type(self).__layout__.fields
        for name in given:
            if name not in fields:
                raise TypeError(f"{kind} has no field {name}: it has {', '.join(fields)}")
        for name in fields:
            if name not in given:
                raise TypeError(f"{kind} needs {name}=…: all fields are given")
        values = tuple(layout.coerce(given[name], f"{kind}.{name}") for name, layout in fields.items())
        object.__setattr__(self, "__values__", values)

    def __setattr__(self, name: str, value: object) -> None:
        """Refused."""
        raise TypeError(f"{type(self).__name__} is frozen: write x.replace({name}=…)")

    def __eq__(self, other: object) -> bool:
        """Of one class, field by field."""
        return isinstance(other, Record) and type(other) is type(self) and self.__values__ == other.__values__

    def __hash__(self) -> int:
        """Of the bytes."""
        return hash((type(self), self.__layout__.encode(self)))

    def __repr__(self) -> str:
        """As an author writes it."""
        pairs = zip(self.__layout__.fields, self.__values__, strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in pairs)})"


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Struct(Record):
    """A value of several fields: `Position(owner=…, amount=…)`."""

    def __init__(self, **given: Any) -> None:
        self.__fill__(given)

    def replace(self: T, **changes: Any) -> T:
        """Another with these fields changed."""
        made = object.__new__(type(self))
        made.__fill__(dict(zip(self.__layout__.fields, self.__values__, strict=True)) | changes)
        return made


@dataclass_transform(frozen_default=True)
class Event(Record):
    """What `emit` takes: `Transfer(sender=…, amount=…)`, or its fields in order."""

    def __init__(self, *args: Any, **given: Any) -> None:
        names = list(self.__layout__.fields)
        if len(args) > len(names):
            raise TypeError(f"{type(self).__name__} has {len(names)} fields, not {len(args)}")
        for name in names[: len(args)]:
            if name in given:
                raise TypeError(f"{type(self).__name__}.{name} is given twice")
        self.__fill__(dict(zip(names, args, strict=False)) | given)
