"""The asyncio shell of the room: the listening socket and what hangs on it."""

from __future__ import annotations

import asyncio

from nacl.signing import SigningKey

from actors.peer.config import PeerConfig, format_address


class Network:
    """One node's sockets. Every method runs on the event loop that called `start`."""

    def __init__(self, config: PeerConfig) -> None:
        self.config = config
        self.identity = SigningKey(config.identity_seed).verify_key.encode()
        self.address: str | None = None
        self.refused_total = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Bind the listening socket. Raises `OSError` when the address is taken."""
        if self._server is not None:
            return
        self._server = await asyncio.start_server(
            self._on_accept, self.config.listen_host, self.config.listen_port
        )
        host, port = self._server.sockets[0].getsockname()[:2]
        self.address = self.config.advertise_address or format_address(host, port)

    async def stop(self) -> None:
        """Close the listening socket and every connection. Calling it twice is harmless."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed()

    def peers(self) -> list[dict[str, object]]:
        """One row a known peer: state, address, identity, last_seen_s, rtt_ms."""
        return []

    async def _on_accept(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.refused_total += 1
        writer.close()
