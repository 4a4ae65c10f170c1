"""A memory has an identity that stays with it where it is, and with no copy of it."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

import pytest

from actors.storage import disk_identity
from actors.storage.disk_identity import DiskIdentity, Stamp, settle, stamp_of
from actors.storage.errors import DiskFullError


class Memory:
    """A node's folder whose database is one file."""

    drawn = count(1)

    def __init__(self, folder: Path) -> None:
        self.folder, self.database = folder, folder / "db"
        folder.mkdir(exist_ok=True)

    def random_bytes(self, size: int) -> bytes:
        return next(self.drawn).to_bytes(size, "big")

    def start(self) -> DiskIdentity:
        stored = self.database.read_bytes() if self.database.exists() else None
        return settle(self.folder, stored, self.store, self.random_bytes)

    def store(self, value: bytes) -> None:
        self.database.write_bytes(value)


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "node-1")


def test_it_is_the_same_at_every_start(memory: Memory) -> None:
    first = memory.start()
    assert first.renewed == "it is new"
    assert [memory.start() for _ in range(3)] == [DiskIdentity(first.identity)] * 3


def test_it_moves_with_its_folder(memory: Memory, tmp_path: Path) -> None:
    first = memory.start()
    memory.folder.rename(tmp_path / "moved")
    assert Memory(tmp_path / "moved").start() == DiskIdentity(first.identity)


def test_an_emptied_folder_has_another(memory: Memory) -> None:
    first = memory.start()
    shutil.rmtree(memory.folder)
    assert Memory(memory.folder).start().identity != first.identity


@pytest.mark.parametrize("lost", ["db", disk_identity.IDENTITY_FILE])
def test_half_a_folder_has_another(memory: Memory, lost: str) -> None:
    first = memory.start()
    (memory.folder / lost).unlink()
    again = memory.start()
    assert again.identity != first.identity
    assert "not from one start" in again.renewed


def test_a_copy_has_another_even_where_the_original_was(memory: Memory, tmp_path: Path) -> None:
    first = memory.start()
    shutil.copytree(memory.folder, tmp_path / "backup")
    copy = Memory(tmp_path / "backup").start()
    assert copy.identity != first.identity
    assert "copied or restored" in copy.renewed
    shutil.rmtree(memory.folder)
    shutil.copytree(tmp_path / "backup", memory.folder)
    assert Memory(memory.folder).start().identity not in (first.identity, copy.identity)


def test_an_inode_that_is_used_again_does_not_deceive() -> None:
    assert not Stamp(7, 1_000).fits(Stamp(7, 2_000))
    assert Stamp(7, 1_000).fits(Stamp(7, 0))
    assert not Stamp(8, 0).fits(Stamp(7, 0))


def test_an_older_database_beside_the_file_has_another(memory: Memory) -> None:
    memory.start()
    older = memory.database.read_bytes()
    first = memory.start()
    memory.start()
    memory.database.write_bytes(older)
    again = memory.start()
    assert again.identity != first.identity
    assert "older or newer" in again.renewed


def test_a_crash_between_the_two_writes_is_survived(memory: Memory) -> None:
    first = memory.start()
    before = memory.database.read_bytes()
    memory.start()
    memory.database.write_bytes(before)  # the file was written, the database was not
    assert memory.start() == DiskIdentity(first.identity)


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff", b'{"identity":1}', b"[" * 5000])
def test_a_file_that_says_nothing_is_no_identity(memory: Memory, text: bytes) -> None:
    first = memory.start()
    (memory.folder / disk_identity.IDENTITY_FILE).write_bytes(text)
    assert memory.start().identity != first.identity


def test_without_room_the_last_identity_goes_on_and_none_begins(memory: Memory) -> None:
    def refuse(_value: bytes) -> None:
        raise DiskFullError("here", 1, 2)

    first = memory.start()
    stored = memory.database.read_bytes()
    kept = settle(memory.folder, stored, refuse, memory.random_bytes)
    assert kept == DiskIdentity(first.identity)
    assert memory.start() == DiskIdentity(first.identity)
    (memory.folder / disk_identity.IDENTITY_FILE).unlink()
    none = settle(memory.folder, memory.database.read_bytes(), refuse, memory.random_bytes)
    assert none.identity == b""
    assert "cannot be named" in none.renewed


def test_the_stamp_tells_files_apart(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"1")
    assert stamp_of(one).fits(stamp_of(one))
    assert not stamp_of(one).fits(stamp_of(other))
