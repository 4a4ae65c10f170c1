"""Parts of native code by themselves: SHA-256 with and without the processor's help, and tables that grow."""

from __future__ import annotations

import ctypes
from hashlib import sha256
from random import Random

import pytest

from actors.contracts.native.code import Code
from actors.contracts.native.hashing import SHA256, emit_sha256, padding_of
from actors.contracts.native.tables import AccountTable, EntryTable
from actors.kernels.compiled import Host, Loaded, compile_object, host
from actors.kernels.emitter import I64, POINTER, VOID
from tests.contracts.native.beside import SEED

WITHOUT = Host(host().cpu, host().features - {"sha"})


@pytest.mark.parametrize("target", [host(), WITHOUT], ids=["as it is", "without SHA extensions"])
def test_hashes_are_those_of_hashlib(target: Host) -> None:
    code = Code()
    emit_sha256(code, target)
    message, blocks, out = code.function("hash", VOID, [POINTER, I64, POINTER], internal=False)
    code.invoke(SHA256, message, blocks, out)
    code.end()
    loaded = Loaded(compile_object(code.text(), target), target)
    run = loaded.function("hash", ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
    random = Random(1)
    for width in (*range(200), 8_192):
        data = random.randbytes(width)
        padded, digest = data + padding_of(width), ctypes.create_string_buffer(32)
        run(padded, len(padded) // 64, digest)
        assert digest.raw == sha256(data).digest(), width


def test_entries_are_found_again_however_many() -> None:
    random, table, kept = Random(2), EntryTable(SEED), dict[bytes, bytes]()
    for count in (0, 1, 50, 400, 3_000):
        more = {random.randbytes(32): random.randbytes(random.randrange(65)) for _ in range(count)}
        again = dict(list(kept.items())[: count // 2])
        table.put_entries({**more, **dict.fromkeys(again, b"new")})
        kept |= more | dict.fromkeys(again, b"new")
        assert dict(table.items()) == kept
    assert len(table) == len(kept)
    slots = {key: table.slot_of(key) for key in kept}
    assert list(slots.values()) == list(range(len(kept)))
    assert table.slot_of(random.randbytes(32)) is None
    assert not dict(table.items(changed_only=True))


def test_balances_are_found_again() -> None:
    random, table = Random(3), AccountTable(SEED)
    balances = {random.randbytes(32): random.randrange(1 << 50) for _ in range(500)}
    table.put_balances(balances)
    assert dict(table.items()) == balances
