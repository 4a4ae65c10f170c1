"""A client that speaks the wire by hand and may break any rule, for the tests of hostile peers."""

import asyncio
import os
from contextlib import suppress

from actors.peer import messages
from actors.peer.messages import Hello
from actors.peer.network import Network
from actors.peer.wire.connection import WireConnection
from actors.peer.wire.frames import Priority
from actors.peer.wire.handshake import Handshake, LocalIdentity
from actors.peer.wire.queues import SendQueue
from tests.peer.nodes import GENESIS, PATIENCE_S, seed_of

HELLO = messages.encode(Hello(b"12345678", b"", "hostile"))


class Client:
    """A peer that speaks the wire by hand and may break any rule."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, index: int) -> None:
        self.reader, self.writer = reader, writer
        self.local = LocalIdentity(seed_of(index), GENESIS)
        handshake = Handshake(self.local, os.urandom(32), initiator=True)
        self.connection = WireConnection(handshake, SendQueue(10_000, 1 << 30), 1 << 30)

    @classmethod
    async def connect(cls, network: Network, index: int, source: str = "127.0.0.1") -> "Client":
        """Open a socket and authenticate as node `index`."""
        client = await cls.open(network, index, source)
        await client.flush()
        while not client.connection.transcript_hash:
            data = await client.reader.read(1 << 16)
            if not data:
                raise ConnectionError("the node closed the socket during the handshake")
            client.connection.receive(data)
        await client.flush()
        return client

    @classmethod
    async def open(cls, network: Network, index: int = 99, source: str = "127.0.0.1") -> "Client":
        """Open a socket from the loopback address `source` and say nothing."""
        host, _, port = str(network.address).rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port), local_addr=(source, 0)), index)

    async def send(self, data: bytes, priority: Priority = Priority.CONTROL) -> None:
        """Seal and send a message."""
        self.connection.send(priority, b"", data)
        await self.flush()

    async def flush(self) -> None:
        await self.raw(b"".join(self.connection.data_to_send(1 << 30)))

    async def raw(self, data: bytes) -> None:
        """Write bytes as they are; a closed socket shows in `gone`."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            await self.gone()

    def seal(self, priority: Priority, fragment: bytes, *, last: bool = True) -> bytes:
        """One frame, sealed but not sent."""
        assert self.connection._sealer is not None
        return b"".join(self.connection._sealer.seal(priority, fragment, last=last))

    def seal_message(self, priority: Priority, head: bytes, body: bytes = b"") -> bytes:
        """One frame with a whole message."""
        return self.seal(priority, len(head).to_bytes(2, "little") + head + body)

    async def gone(self) -> bytes:
        """Wait until the node has closed the socket; what it said until then."""
        said = b""
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionError):
                while data := await self.reader.read(1 << 16):
                    said += data
        self.writer.close()
        return said


def offences(network: Network) -> dict[str, int]:
    return dict(network.links.greylist.offences)
