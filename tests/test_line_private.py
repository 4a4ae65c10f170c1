"""Who is not of this user neither reaches a line nor ends one that is there."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from actors import local_socket as lines
from actors.local_socket import LocalListener, LocalRpcServer, Spoken, call

NOBODY = 65534
SAID: list[Spoken] = [(b"\x01" * 32, "raft", b"body")]


@pytest.fixture
def strangers(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """While it is set, whoever calls counts as a process of another user."""
    away = threading.Event()
    real = lines.is_own_user
    monkeypatch.setattr(lines, "is_own_user", lambda other: not away.is_set() and real(other))
    return away


def test_a_strangers_call_leaves_the_line_of_an_exchange_alone(strangers: threading.Event) -> None:
    async def whole() -> None:
        there: list[Spoken] = []
        exchange = LocalListener(there.extend)
        await exchange.start()
        own = await call(exchange.name, lambda _: None)
        assert own.send(SAID)
        while not there:
            await asyncio.sleep(0)
        strangers.set()
        reader, writer = await asyncio.open_unix_connection(exchange.name)
        assert await reader.read() == b"", "the stranger is hung up on"
        writer.close()
        assert own.send(SAID)
        assert exchange.send(SAID)
        while len(there) < 2:
            await asyncio.sleep(0)
        own.close()
        exchange.close()

    asyncio.run(asyncio.wait_for(whole(), 60))


def test_a_strangers_call_leaves_the_caller_of_a_desk_alone(strangers: threading.Event) -> None:
    async def whole() -> None:
        answers: asyncio.Queue[bytes] = asyncio.Queue()
        own = await call(desk.name, answers.put_nowait, decode=bytes)
        assert own.send(b"one")
        await answers.get()
        strangers.set()
        reader, writer = await asyncio.open_unix_connection(desk.name)
        assert await reader.read() == b"", "the stranger is hung up on"
        writer.close()
        assert own.send(b"two"), "the caller from before still has the line"
        await answers.get()
        own.close()

    desk = LocalRpcServer(lambda request: request, "desk")
    try:
        asyncio.run(asyncio.wait_for(whole(), 60))
    finally:
        desk.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
def test_another_user_has_no_way_to_the_socket() -> None:
    async def whole() -> None:
        exchange = LocalListener(lambda _: None)
        await exchange.start()
        code = (
            "import os, socket, sys\n"
            f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
            "try: socket.socket(socket.AF_UNIX).connect(sys.argv[1])\n"
            "except PermissionError: print('refused')"
        )
        other = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, exchange.name, stdout=subprocess.PIPE
        )
        out, _ = await other.communicate()
        assert out.strip() == b"refused"
        exchange.close()
        assert not Path(exchange.name).exists()

    asyncio.run(asyncio.wait_for(whole(), 60))


def test_a_socket_of_an_exchange_is_of_the_file_system() -> None:
    exchange = LocalListener(lambda _: None)
    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind(exchange.name)
    folder = Path(exchange.name).parent
    assert folder.stat().st_mode & 0o077 == 0
    assert folder.stat().st_uid == os.getuid()
    Path(exchange.name).unlink()
