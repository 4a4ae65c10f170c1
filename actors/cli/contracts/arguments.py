"""What people type for a contract's values: `name=value` for arguments, values in order for a row's keys.

Integers are digits, bools true or false, bytes hexadecimal digits, arrays values with commas between them. An
Address may also be the name of a key, or development:N.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from actors.cli.options import DEVELOPMENT_PREFIX, key_bytes, public_key_of
from actors.console import UserError
from actors.contracts.ir import Param, Shape
from actors.contracts.types import ADDRESS
from actors.directory import DirectoryError
from actors.sdk.contract_values import example, type_name, value_of_text

DEFAULT_KEY = f"{DEVELOPMENT_PREFIX}0"
KEY_VARIABLE = "RAYCHAIN_KEY"
Key = Annotated[
    str,
    typer.Option("--key", "--from", envvar=KEY_VARIABLE, help="Who signs: name of a key, or development:N."),
]
Address = Annotated[
    str, typer.Argument(metavar="ADDRESS", help="The contract's, 64 hex digits.", show_default=False)
]
Given = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME=VALUE",
        help="One for each parameter, as in by=5 or to=development:1.",
        show_default=False,
    ),
]
Coins = Annotated[int, typer.Option(min=0, help="Coins to send along.")]
Gas = Annotated[
    int | None,
    typer.Option(min=0, help="The most gas it may use. Default: what a simulation used, and more."),
]
Tried = Annotated[
    bool, typer.Option("--simulate/--no-simulate", help="Try it first, and send nothing that would fail.")
]
Within = Annotated[
    float, typer.Option("--within", min=0, max=3600, help="Seconds to go on until its fate is known.")
]


def contract_key(address: str) -> bytes:
    """The address of a contract. Raises UserError."""
    return key_bytes("ADDRESS", address)


@dataclass(frozen=True)
class KeyNames:
    """Where names of keys stand for addresses."""

    folder: Path
    network: str

    def value(self, name: str, shape: Shape, text: str) -> object:
        """What a text stands for. Raises UserError for the name of no key."""
        if shape.type == ADDRESS and not shape.count:
            try:
                return public_key_of(self.folder, text, self.network)
            except (UserError, DirectoryError) as error:
                raise UserError(
                    f"{name}: {text!r} is no Address: 64 hex digits, the name of a key, or development:N, "
                    f"as in {name}=development:1; {error}"
                ) from None
        return value_of_text(shape, text)


def read_arguments(
    params: Sequence[Param], given: Iterable[str], names: KeyNames, option: str = ""
) -> dict[str, Any]:
    """Arguments by name. Raises UserError naming the one that is malformed or unknown; what a value may be is
    checked where it is encoded. option: what stands before each."""
    known, read, wanted = {each.name: each for each in params}, dict[str, Any](), _wanted(params, option)
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"{text!r} has no name: {wanted}")
        if name not in known:
            raise UserError(f"there is no parameter {name!r}: {wanted}")
        if name in read:
            raise UserError(f"{name} is given twice")
        read[name] = names.value(name, known[name].shape, value)
    missing = [each.name for each in params if each.name not in read]
    if missing:
        raise UserError(f"{missing[0]} is missing: {wanted}")
    return read


def _wanted(params: Sequence[Param], option: str) -> str:
    if not params:
        return "it takes no arguments"
    wanted = ", ".join(f"{each.name}: {type_name(each.shape, each.max)}" for each in params)
    return f"it takes {wanted}; write {' '.join(f'{option}{typed(each)}' for each in params)}"


def typed(param: Param) -> str:
    """An argument as it can be typed."""
    is_address = param.shape.type == ADDRESS and not param.shape.count
    return f"{param.name}={'development:1' if is_address else example(param.shape, param.max)}"


def read_keys(kinds: Sequence[Any], given: Sequence[str], names: KeyNames) -> list[object]:
    """A row's keys, in order."""
    if len(given) != len(kinds):
        wanted = ", ".join(str(kind) for kind in kinds) or "none: it is a cell"
        raise UserError(f"{len(given)} keys given, the table has {len(kinds)}: {wanted}")
    return [
        names.value(f"key{number}", Shape(kind), text)
        for number, (kind, text) in enumerate(zip(kinds, given, strict=True))
    ]
