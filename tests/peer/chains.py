"""A toy chain for the tests of sync: blocks that commit to their bodies and parents, under a shared seal."""

import hashlib
import hmac

from actors.peer.errors import ProtocolError
from actors.peer.sync import VerifiedHeader

SEAL_KEY = b"stands for the certificate's signatures"


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def encode_header(height: int, parent: bytes, body: bytes, key: bytes = SEAL_KEY) -> bytes:
    content = height.to_bytes(8, "little") + parent + digest(body)
    return content + hmac.digest(key, content, "sha256")


def open_header(_parent: VerifiedHeader, encoded: bytes) -> VerifiedHeader:
    """What `verify_header` does here: form and certificate."""
    if len(encoded) != 104 or hmac.digest(SEAL_KEY, encoded[:72], "sha256") != encoded[72:]:
        raise ProtocolError("certificate", "the seal does not verify")
    height = int.from_bytes(encoded[:8], "little")
    return VerifiedHeader(height, digest(encoded[:72]), encoded[8:40], encoded)


def body_matches(header: VerifiedHeader, body: bytes) -> bool:
    return digest(body) == header.encoded[40:72]


GENESIS_HEADER = VerifiedHeader(0, bytes(32), bytes(32), b"")


class Chain:
    """Blocks from height 1 on. Implements `catchup.ChainSource` and `catchup.ChainSink`."""

    def __init__(self, length: int = 0, body_bytes: int = 40) -> None:
        self.blocks: list[tuple[VerifiedHeader, bytes]] = []
        self.served = 0
        for height in range(1, length + 1):
            body = b"%d " % height * body_bytes
            parent = self.blocks[-1][0] if self.blocks else GENESIS_HEADER
            self.blocks.append((open_header(parent, encode_header(height, parent.hash, body)), body))

    async def tip_height(self) -> int:
        return len(self.blocks)

    async def headers(self, start: int, count: int) -> list[bytes]:
        return [header.encoded for header, _ in self.blocks[start - 1 : start - 1 + count]]

    async def bodies(self, start: int, count: int) -> list[bytes]:
        found = [body for _, body in self.blocks[start - 1 : start - 1 + count]]
        self.served += len(found)
        return found

    async def tip(self) -> VerifiedHeader:
        return self.blocks[-1][0] if self.blocks else GENESIS_HEADER

    def verify_header(self, parent: VerifiedHeader, encoded: bytes) -> VerifiedHeader:
        return open_header(parent, encoded)

    def verify_body(self, header: VerifiedHeader, body: bytes) -> bool:
        return body_matches(header, body)

    async def append(self, blocks: list[tuple[VerifiedHeader, bytes]]) -> None:
        self.blocks.extend(blocks)


class LyingChain(Chain):
    """Serves true headers and false bodies."""

    async def bodies(self, start: int, count: int) -> list[bytes]:
        return [b"false" for _ in await super().bodies(start, count)]


class ForgedChain(Chain):
    """Claims a longer chain of its own making."""

    async def tip_height(self) -> int:
        return 10_000

    async def headers(self, start: int, count: int) -> list[bytes]:
        return [encode_header(start + index, bytes(32), b"", key=b"forger") for index in range(count)]


class BoastfulChain(Chain):
    """Claims blocks that it does not have."""

    async def tip_height(self) -> int:
        return 1 << 40
