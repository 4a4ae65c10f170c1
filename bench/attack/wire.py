"""Attacks on the peer's wire, by strangers and observers: real sockets, real frames, no key of any member.

On one machine a crowd comes from many loopback addresses, each of which a node takes for a source of its own.
Beside each attack stands an honest observer, who must be let in and answered.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import wraps

from actors.ledger.genesis import decode_genesis
from actors.peer import messages
from actors.peer.errors import ProtocolError
from actors.peer.messages import Announce, Bodies, Hello, Request, Response, Span
from actors.peer.wire.connection import WireConnection
from actors.peer.wire.frames import FramedMessage, Priority
from actors.peer.wire.handshake import Handshake, LocalIdentity
from actors.peer.wire.queues import SendQueue
from bench.attack.registry import AttackOutcome, AttackTarget, Run, attack

HOARDERS = 12
HALF_OPEN = 300
CROWD_ADDRESSES, CROWD_EACH = 16, 16
PATIENCE_S = 5.0
QUEUE_BYTES = 8 << 20
LATER_VERSION = b"\x02"
"""Of an offer of transactions: what a node of today ignores, and blames nobody for."""


class Visitor:
    """A connection that has proved an identity: one of its own making, or a member's by its key."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, local: LocalIdentity
    ) -> None:
        self.reader, self.writer = reader, writer
        handshake = Handshake(local, os.urandom(32), initiator=True)
        self.wire = WireConnection(handshake, SendQueue(4_096, QUEUE_BYTES), QUEUE_BYTES)
        self.heard: list[FramedMessage] = []

    async def introduce(self) -> None:
        """Shake hands and say hello. Raises `ConnectionError`."""
        await self.flush()
        while not self.wire.transcript_hash:
            await self.hear()
        hello = messages.encode(Hello(os.urandom(8), b"", "attack"))
        await self.say(Priority.CONTROL, hello)

    async def say(self, priority: Priority, head: bytes, body: bytes = b"") -> None:
        """Send a message; credit of the other side is not waited for."""
        self.wire.queue.credit(priority, QUEUE_BYTES)
        self.wire.send(priority, body, head)
        await self.flush()

    async def hear(self) -> None:
        """Take what the node says next. Raises `ConnectionError` when it says nothing any more."""
        async with asyncio.timeout(PATIENCE_S):
            data = await self.reader.read(1 << 16)
        if not data:
            raise ConnectionError("the node ended the connection")
        self.heard += [event for event in self.wire.receive(data) if isinstance(event, FramedMessage)]

    async def ask(self, method: str, body: bytes) -> Response:
        """Ask once. Raises `ConnectionError` or `TimeoutError`."""
        await self.say(Priority.BLOCKS, *messages.encode_parts(Request(1, method, body)))
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for event in self.heard:
                    with suppress(ProtocolError):
                        said = messages.decode_parts(event.head, event.body)
                        if isinstance(said, Response):
                            return said
                self.heard.clear()
                await self.hear()

    async def flush(self) -> None:
        """Send what waits, credit for what was heard among it."""
        self.writer.writelines(self.wire.data_to_send(QUEUE_BYTES))
        await self.writer.drain()


class _Attacker:
    """Opens sockets to one node from many addresses, and closes them at the end."""

    def __init__(self, target: AttackTarget, stack: AsyncExitStack) -> None:
        self.host, self.port = target.wires[0]
        self.genesis_hash = decode_genesis(target.genesis_path.read_bytes()).hash()
        self.seconds, self.until_s = target.seconds, time.monotonic() + target.seconds
        self._stack = stack

    @property
    def goes_on(self) -> bool:
        """Whether there is time left."""
        return time.monotonic() < self.until_s

    async def open(self, source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A socket. Raises `OSError` or `TimeoutError`."""
        local = (source, 0) if self.host.startswith("127.") else None
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(self.host, self.port, local_addr=local)
        self._stack.callback(writer.close)
        return reader, writer

    async def observer(self, source: str) -> Visitor:
        """An introduced observer. Raises `OSError` or `TimeoutError`."""
        local = LocalIdentity(os.urandom(32), self.genesis_hash)
        observer = Visitor(*await self.open(source), local)
        await observer.introduce()
        return observer

    async def honest(self) -> str:
        """What went wrong for an honest observer of an address of its own; nothing if it was served."""
        for _ in range(3):  # an honest peer tries again
            try:
                observer = await self.observer("127.0.200.1")
                answer = await observer.ask("sync_status", b"")
            except (OSError, TimeoutError, ProtocolError) as error:
                problem = f"an honest observer was not served: {error or type(error).__name__}"
                continue
            return f"an honest observer was answered {answer.error}" if answer.error else ""
        return problem


def _over_the_wire(run: Callable[[_Attacker], Awaitable[AttackOutcome]]) -> Run:
    """The attack of an `_Attacker`, whose sockets are closed at the end."""

    async def attacked(target: AttackTarget) -> AttackOutcome:
        async with AsyncExitStack() as stack:
            return await run(_Attacker(target, stack))

    @wraps(run)
    def start(target: AttackTarget) -> AttackOutcome:
        return asyncio.run(attacked(target))

    return start


@attack("hello-flood", kind="wire")
@_over_the_wire
async def hello_flood(attacker: _Attacker) -> AttackOutcome:
    """One hello again and again, and fresh ones of one address: few are answered, and others are let in."""
    identity = LocalIdentity(os.urandom(32), attacker.genesis_hash)
    hello = Handshake(identity, os.urandom(32), initiator=True).data_to_send()
    sent = answered = replays_answered = 0
    while attacker.goes_on:
        replay = sent % 2 == 0
        fresh = Handshake(identity, os.urandom(32), initiator=True).data_to_send()
        said = await _say_once(attacker, hello if replay else fresh, f"127.0.66.{1 + sent % 2}")
        answered += said
        replays_answered += said and replay
        sent += 1
    problem = await attacker.honest()
    allowed = 64 + 16 * (attacker.seconds + PATIENCE_S)
    held = not problem and replays_answered <= 1 and answered <= allowed
    detail = f"{sent} hellos, {answered} answered, {replays_answered} of them replays"
    return AttackOutcome(held, "; ".join(filter(None, (detail, problem))))


async def _say_once(attacker: _Attacker, data: bytes, source: str) -> bool:
    """Send a hello on a connection of its own; whether it was answered."""
    with suppress(OSError, TimeoutError):
        reader, writer = await attacker.open(source)
        try:
            writer.write(data)
            async with asyncio.timeout(1.0):
                return len(await reader.read(32)) == 32
        finally:
            writer.transport.abort()
    return False


@attack("half-open", kind="wire")
@_over_the_wire
async def half_open(attacker: _Attacker) -> AttackOutcome:
    """Hundreds of connections that begin a handshake and never end it, opened again as they are closed."""
    opened, problem = 0, ""
    while attacker.goes_on:
        for number in range(HALF_OPEN // 10):
            with suppress(OSError, TimeoutError):
                _, writer = await attacker.open(f"127.0.67.{1 + number % 10}")
                writer.write(b"RYCH")
                opened += 1
        problem = problem or await attacker.honest()
        await asyncio.sleep(0.2)
    return AttackOutcome(not problem, "; ".join(filter(None, (f"{opened} half-open connections", problem))))


@attack("body-hoarders", kind="wire")
@_over_the_wire
async def body_hoarders(attacker: _Attacker) -> AttackOutcome:
    """Twelve observers ask for bodies without end, read nothing and give no credit."""
    hoarders = [await attacker.observer(f"127.0.68.{index + 1}") for index in range(HOARDERS)]
    asked, problem = 0, ""
    while attacker.goes_on:
        for index, hoarder in enumerate(hoarders):
            span = messages.encode(Span(1 + (asked + index) % 8, 256))
            request = messages.encode_parts(Request(asked + 1, "sync_bodies", span))
            with suppress(OSError):
                if not hoarder.writer.is_closing():
                    await hoarder.say(Priority.BLOCKS, *request)
            asked += 1
        await asyncio.sleep(0.01)
        if asked % (100 * HOARDERS) == 0:
            problem = problem or await attacker.honest()
    problem = problem or await attacker.honest()
    return AttackOutcome(not problem, "; ".join(filter(None, (f"{asked} requests for bodies", problem))))


@attack("junk-gossip", kind="wire")
@_over_the_wire
async def junk_gossip(attacker: _Attacker) -> AttackOutcome:
    """An observer floods items that are ignored and ids that it never delivers, against honest gossip."""
    listener = await attacker.observer("127.0.200.1")
    flooder = await attacker.observer("127.0.69.1")
    pushed, floods, got = 0, 1, 0
    while attacker.goes_on:
        junk = [LATER_VERSION + os.urandom(511) for _ in range(128)]
        ids = [os.urandom(32) for _ in range(512)]
        try:
            for said in (Bodies("transactions", junk), Announce("transactions", ids)):
                async with asyncio.timeout(0.5):  # not being read is the node's defence
                    await flooder.say(Priority.TRANSACTIONS, *messages.encode_parts(said))
            pushed += len(junk)
        except TimeoutError:
            flooder.wire.queue.clear()
        except OSError:
            flooder, floods = await attacker.observer(f"127.0.69.{1 + floods % 250}"), floods + 1
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await listener.hear()
        got += sum(event.priority is Priority.TRANSACTIONS for event in listener.heard)
        listener.heard.clear()
    detail = f"{pushed} items of junk from {floods} observers, {got} honest messages heard meanwhile"
    return AttackOutcome(got > 0, detail)


@attack("observer-crowd", kind="wire")
@_over_the_wire
async def observer_crowd(attacker: _Attacker) -> AttackOutcome:
    """More observers of one subnet than a node has places for: others still get one."""
    came, problem = 0, ""
    for number in range(CROWD_ADDRESSES * CROWD_EACH):
        if not attacker.goes_on:
            break
        with suppress(OSError, TimeoutError):
            await attacker.observer(f"127.0.70.{1 + number % CROWD_ADDRESSES}")
            came += 1
        if number % 64 == 63:
            problem = problem or await attacker.honest()
    problem = problem or await attacker.honest()
    return AttackOutcome(not problem, "; ".join(filter(None, (f"{came} observers came", problem))))
