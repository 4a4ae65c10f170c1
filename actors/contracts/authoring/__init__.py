"""What a contract's file imports, for ordinary Python: types that check, and a World to deploy it in.

The same file is compiled for the chain; here it runs as it is, so that pytest and hypothesis test it. Result,
failure, events and state are those of the chain.

A type checker sees integers as `int`, so that bare literals are at home everywhere, and does not look into
`Array[T, N]` and `Bytes[N]`: what mixes types is found by the compiler, and by any test that gets there. For
interfaces, whose functions have no body, mypy needs `disable_error_code = ["empty-body"]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.contracts.authoring.byte_strings import Address, Hash
from actors.contracts.authoring.calls import ctx, emit, range, require, send, sha256
from actors.contracts.authoring.declarations import contract, entry, init, interface, view
from actors.contracts.authoring.state import Emitted
from actors.contracts.authoring.structs import Event, Struct
from actors.contracts.authoring.tables import Cell, Table
from actors.contracts.authoring.world import Deployed, World
from actors.contracts.failures import CallFailedError, Failure

if TYPE_CHECKING:
    from typing import Annotated as UpTo
    from typing import Any

    Array: Any
    Bytes: Any
    u8 = int
    u16 = int
    u32 = int
    u64 = int
    u128 = int
    i64 = int
else:
    from actors.contracts.authoring.arrays import Array
    from actors.contracts.authoring.byte_strings import Bytes
    from actors.contracts.authoring.declarations import UpTo
    from actors.contracts.authoring.integers import i64, u8, u16, u32, u64, u128

__all__ = [
    "Address",
    "Array",
    "Bytes",
    "CallFailedError",
    "Cell",
    "Deployed",
    "Emitted",
    "Event",
    "Failure",
    "Hash",
    "Struct",
    "Table",
    "UpTo",
    "World",
    "contract",
    "ctx",
    "emit",
    "entry",
    "i64",
    "init",
    "interface",
    "range",
    "require",
    "send",
    "sha256",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "view",
]
