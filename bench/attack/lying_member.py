"""A member that lies: connections to the others under its key, and what it says there to their consensus.

Its key and the identity of its disk are read from the folder of the third node, as one would who has taken
them. That node goes on meanwhile, and takes its connections back whenever it can.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import msgspec

from actors.consensus.raft import Message, RaftError, decode, encode
from actors.ledger.channels import RAFT_CHANNEL
from actors.ledger.genesis import decode_genesis
from actors.ledger.signing import Signer
from actors.peer import messages
from actors.peer.errors import NotConnectedError, ProtocolError
from actors.peer.wire.frames import Priority
from actors.peer.wire.handshake import LocalIdentity
from actors.sdk.answers import ApiError
from actors.sdk.client import Client
from actors.storage.disk_identity import IDENTITY_FILE, Marker
from bench.attack.registry import AttackTarget
from bench.attack.wire import PATIENCE_S, Visitor

LISTEN_S = 0.05
LATE_S = 20.0
GROWTH_S_MAX, GROWTH_BLOCKS = 30.0, 3
_ENDED = (OSError, TimeoutError, ProtocolError, NotConnectedError)


@dataclass(frozen=True, slots=True)
class VictimStatus:
    """What a node says of itself."""

    height: int
    term: int
    leader: str
    halted: str
    evidence: int


class LyingMember:
    """The third member of a network of three. `victims` are the numbers of the other two."""

    def __init__(self, target: AttackTarget, stack: AsyncExitStack) -> None:
        self.genesis = decode_genesis(target.genesis_path.read_bytes())
        numbers = {member.name: number for number, member in enumerate(self.genesis.members, 1)}
        *others, own = target.folders
        self.name, self.number = own.name, numbers[own.name]
        self._seed = bytes.fromhex((own / "node.key").read_text().strip())
        self.signer = Signer(self._seed)
        marker = msgspec.json.decode((own / IDENTITY_FILE).read_bytes(), type=Marker)
        self.disk = bytes.fromhex(marker.identity)
        self.victims = {
            numbers[folder.name]: wire for folder, wire in zip(others, target.wires, strict=False)
        }
        self._urls = dict(zip(self.victims, target.urls, strict=False))
        self._until_s, self._stack = time.monotonic() + target.seconds, stack
        self._open: dict[int, Visitor] = {}
        self.said = 0

    @property
    def goes_on(self) -> bool:
        """Whether there is time left."""
        return time.monotonic() < self._until_s

    def patient(self, done: int) -> bool:
        """As `goes_on`, and LATE_S longer while nothing is done yet, as on a busy machine."""
        return time.monotonic() < self._until_s + (0.0 if done else LATE_S)

    async def say(self, victim: int, message: Message) -> None:
        """Say something to a victim's consensus, if it is reached."""
        stamped = msgspec.structs.replace(message, disk=self.disk, named=True)
        head, body = messages.encode_parts(messages.Data(RAFT_CHANNEL, encode(stamped)))
        try:
            async with asyncio.timeout(PATIENCE_S):
                await (await self._visitor(victim)).say(Priority.CONSENSUS, head, body)
        except _ENDED:
            self._drop(victim)
        else:
            self.said += 1

    async def listen(self, victim: int) -> list[Message]:
        """What a victim's consensus has said within LISTEN_S."""
        try:
            visitor = await self._visitor(victim)
            async with asyncio.timeout(LISTEN_S):
                await visitor.hear()
                await visitor.flush()
        except TimeoutError:
            return []
        except _ENDED:
            self._drop(victim)
            return []
        heard, visitor.heard = visitor.heard, []
        said = []
        for event in heard:
            with suppress(ProtocolError, RaftError):
                data = messages.decode_parts(event.head, event.body)
                if isinstance(data, messages.Data) and data.channel == RAFT_CHANNEL:
                    said.append(decode(data.body))
        return said

    async def _visitor(self, victim: int) -> Visitor:
        visitor = self._open.get(victim)
        if visitor is None or visitor.writer.is_closing():
            host, port = self.victims[victim]
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await asyncio.open_connection(host, port)
            self._stack.callback(writer.close)
            visitor = Visitor(reader, writer, LocalIdentity(self._seed, self.genesis.hash()))
            await visitor.introduce()
            self._open[victim] = visitor
        return visitor

    def _drop(self, victim: int) -> None:
        visitor = self._open.pop(victim, None)
        if visitor is not None:
            visitor.writer.close()

    def standings(self) -> list[VictimStatus]:
        """What the victims say of themselves. Raises `ApiError`."""
        found = []
        for url in self._urls.values():
            with Client(url, genesis=self.genesis) as client:
                node = client.status()["node"]
            found.append(
                VictimStatus(
                    height=int(node["height"]),
                    term=int(node["term"]),
                    leader=str(node["leader"]),
                    halted=str(node["halted"]),
                    evidence=int(node["evidence"]),
                )
            )
        return found

    def step_aside(self) -> str:
        """Have another member lead, since only who follows hears of blocks; what is wrong if none does."""
        own = self.signer.public_key.hex()
        if all(standing.leader != own for standing in self.standings()):
            return ""
        victim, url = next(iter(self._urls.items()))
        with Client(url, genesis=self.genesis) as client:
            try:
                client.change_member("transfer", self.genesis.members[victim - 1].name)
            except ApiError as error:
                return f"the office was not handed over: {error}"
        followed = self.await_all(lambda standing: standing.leader not in ("", own))
        return "" if followed else "nobody else came to lead"

    def remove(self) -> str:
        """Have the others remove this member; why they refused, if they did."""
        for url in self._urls.values():
            with Client(url, genesis=self.genesis) as client:
                try:
                    client.change_member("remove", self.name)
                except ApiError as error:
                    problem = str(error)
                    continue
                return ""
        return problem

    def await_all(self, holds: Callable[[VictimStatus], bool]) -> bool:
        """Whether it comes to hold of both victims within GROWTH_S_MAX."""
        until_s = time.monotonic() + GROWTH_S_MAX
        while time.monotonic() < until_s:
            with suppress(ApiError):
                if all(holds(standing) for standing in self.standings()):
                    return True
            time.sleep(0.2)
        return False

    def await_growth(self) -> str:
        """What is wrong with the victims' chain after the lies; nothing while it goes on."""
        start = max(standing.height for standing in self.standings())
        if not self.await_all(lambda standing: standing.height >= start + GROWTH_BLOCKS):
            return f"no {GROWTH_BLOCKS} blocks at both of the others within {GROWTH_S_MAX:.0f} s"
        halted = [standing.halted for standing in self.standings() if standing.halted]
        return f"halted: {halted[0]}" if halted else ""
