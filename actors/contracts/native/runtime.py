"""What all programs need, compiled once for a process: tables, hashing, coins, and loops over calls."""

from __future__ import annotations

import ctypes
from functools import lru_cache

from actors.contracts.native import table_code
from actors.contracts.native.code import Code
from actors.contracts.native.filling import emit_fill
from actors.contracts.native.hashing import SHA256, SHA256_PAIR, emit_sha256, emit_sha256_pair
from actors.contracts.native.layout import ACCOUNTS, ENTRIES
from actors.contracts.native.loop import emit_loop
from actors.contracts.native.seeking import BALANCE, MOVE_COINS, SEEK_ENTRY, SUPPOSE_ACCOUNT, emit_seeking
from actors.contracts.native.table_code import COUNT, find, undo
from actors.kernels.compiled import Host, Loaded, host, module_code

CALLED = (
    SHA256,
    SHA256_PAIR,
    SEEK_ENTRY,
    BALANCE,
    MOVE_COINS,
    COUNT,
    find(ACCOUNTS),
    undo(ENTRIES),
    undo(ACCOUNTS),
    SUPPOSE_ACCOUNT,
)
"""By other modules: fields of the record of a call have their names and hold their addresses."""


def runtime_text(target: Host) -> str:
    """The module, as LLVM IR."""
    code = Code()
    emit_sha256(code, target)
    emit_sha256_pair(code, target)
    for shape in (ENTRIES, ACCOUNTS):
        table_code.emit_find(code, shape)
        table_code.emit_host_functions(code, shape)
        emit_fill(code, shape)
    table_code.emit_journal(code)
    table_code.emit_touch(code, ACCOUNTS)
    emit_seeking(code)
    emit_loop(code)
    return code.text()


@lru_cache(maxsize=1)
def runtime() -> Loaded:
    """Ready to be called."""
    return Loaded(module_code(runtime_text(host()), host()), host())


def address_of(loaded: Loaded, symbol: str) -> int:
    """Where a function begins, as long as its code is loaded."""
    return ctypes.cast(loaded.function(symbol), ctypes.c_void_p).value or 0  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def addresses() -> dict[str, int]:
    """Of CALLED."""
    return {name: address_of(runtime(), name) for name in CALLED}
