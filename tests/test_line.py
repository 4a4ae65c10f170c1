"""A line between two actors: whole batches in order, bounds, and ends that are noticed."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable

import pytest

from actors.local_socket import (
    BACKLOG_BYTES_MAX,
    FRAME_BYTES_MAX,
    LocalConnection,
    LocalListener,
    Spoken,
    call,
)

SAID: list[Spoken] = [(b"\x01" * 32, "raft", b"body"), (b"\x02" * 32, "certificate", bytes(300_000))]


def run(
    scenario: Callable[[LocalListener, LocalConnection, list[Spoken], list[Spoken]], Awaitable[None]],
) -> None:
    async def whole() -> None:
        heard_there: list[Spoken] = []
        heard_here: list[Spoken] = []
        exchange = LocalListener(heard_there.extend)
        await exchange.start()
        line = await call(exchange.name, heard_here.extend)
        try:
            async with asyncio.timeout(60):
                await scenario(exchange, line, heard_there, heard_here)
        finally:
            line.close()
            exchange.close()

    asyncio.run(whole())


async def until(holds: Callable[[], object]) -> None:
    while not holds():
        await asyncio.sleep(0)


def test_batches_arrive_in_order_both_ways() -> None:
    async def scenario(
        exchange: LocalListener, line: LocalConnection, there: list[Spoken], here: list[Spoken]
    ) -> None:
        for number in range(20):
            assert line.send([(b"", "raft", b"%d" % number), *SAID])
        await until(lambda: len(there) == 60)
        assert [body for _, _, body in there[::3]] == [b"%d" % number for number in range(20)]
        assert there[1:3] == SAID
        assert exchange.send(SAID)
        await until(lambda: len(here) == 2)
        assert here == SAID

    run(scenario)


def test_a_second_caller_takes_the_line_over() -> None:
    async def scenario(
        exchange: LocalListener, line: LocalConnection, _: list[Spoken], here: list[Spoken]
    ) -> None:
        taken: list[Spoken] = []
        other = await call(exchange.name, taken.extend)
        await line.ended.wait()
        assert not line.send(SAID)
        await until(lambda: exchange.send(SAID))
        await until(lambda: taken)
        assert not here
        exchange.close()
        await other.ended.wait()

    run(scenario)


@pytest.mark.parametrize("frame", [struct.pack("<I", FRAME_BYTES_MAX + 1), struct.pack("<I", 1) + b"\xc1"])
def test_what_is_no_frame_ends_the_line(frame: bytes) -> None:
    async def scenario(
        _: LocalListener, line: LocalConnection, there: list[Spoken], __: list[Spoken]
    ) -> None:
        assert line._transport is not None
        line._transport.write(frame)
        await line.ended.wait()
        assert not there

    run(scenario)


def test_who_does_not_read_costs_a_bounded_backlog() -> None:
    async def scenario(
        exchange: LocalListener, line: LocalConnection, _: list[Spoken], __: list[Spoken]
    ) -> None:
        assert line._transport is not None
        line._transport.pause_reading()
        await until(lambda: exchange.send([]))
        big = [(b"", "raft", bytes(1 << 20))]
        sent = 0
        while exchange.send(big):
            sent += 1
            assert sent < 4 * BACKLOG_BYTES_MAX >> 20
        assert sent >= BACKLOG_BYTES_MAX >> 20

    run(scenario)


def test_nobody_answers_an_unknown_name() -> None:
    async def scenario() -> None:
        with pytest.raises(OSError, match="No such file"):
            await call("raychain-nobody", lambda _: None)
        assert not LocalListener(lambda _: None).send(SAID)

    asyncio.run(scenario())
