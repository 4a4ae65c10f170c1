"""The smallest consensus engine: member 1 orders, and its word is final. For tests of the seam alone.

A certificate is the leader's vote and no other; blocks go to the others whole, on the engine's own messages.
Nobody is elected, so that whoever loses member 1 has lost the network.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Literal

import msgspec

from actors.consensus.agreement import Dependencies, EngineStatus
from actors.consensus.pipeline import Pipeline, Position, Sealed, Work
from actors.ledger.block import Certificate, Header, sign_vote
from actors.ledger.delta import ChainHead
from actors.ledger.membership import ChangeOutcome, ChangeRefused, MemberStanding

TERM = 1


class Said(msgspec.Struct, frozen=True, array_like=True):
    """block: certificate and block. ask: a number. height: the number, and what the leader has."""

    kind: Literal["block", "ask", "height"]
    number: int = 0
    height: int = 0
    certificate: bytes = b""
    block: bytes = b""


class FixedLeader:
    """An `Agreement`, and at member 1 a `Leadership`."""

    def __init__(self, node: Dependencies, _log: object) -> None:
        self._node, self._members = node, node.genesis.member_keys
        self._own, self._leader = node.signer.public_key, node.genesis.member_keys[0]
        self._pipeline: Pipeline | None = None
        self._ordered: asyncio.Queue[Said] = asyncio.Queue()
        self._asked: dict[int, asyncio.Future[int]] = {}
        self._halted = ""
        self.ready, self.advanced = asyncio.Event(), asyncio.Event()
        self.may_propose = self.takes_part = True
        self.awaits_stragglers = False

    @property
    def head(self) -> ChainHead:
        return self._node.ports.head

    @property
    def height(self) -> int:
        return self.head.height

    @property
    def _leads(self) -> bool:
        return bool(self._own == self._leader)

    async def run(self) -> None:
        node = self._node
        node.ports.epoch, head = await node.storage.fence()
        node.ports.head = head
        position = Position(head.height, head.hash, TERM, head.time_ms)
        self._pipeline = pipeline = Pipeline(
            *(node.ports, position, self._own, node.ports.network, self._members),
            *(node.settings.blocks_inflight_max, node.clock_us, node.time.now_ms, node.times),
        )
        node.ports.persist_stage = self._take
        self.ready.set()
        await (node.builder.run(self, pipeline) if self._leads else self._follow())

    async def close(self) -> None:
        if self._pipeline is not None:
            await self._pipeline.close()

    async def _take(self, sealed: Sealed) -> None:
        """What the pipeline found valid is durable and final at once."""
        node, certificate = self._node, sealed.certificate
        if self._leads:
            vote = sign_vote(node.signer, node.ports.network, sealed.header, TERM)
            certificate = Certificate(TERM, ((self._own, vote),)).encode()
        await node.ports.take_proven(replace(sealed, certificate=certificate))
        self.advanced.set()
        if self._leads:
            self._say(self.others(), Said("block", certificate=certificate, block=sealed.body))

    async def _follow(self) -> None:
        while True:
            said = await self._ordered.get()
            if (body := self._node.read_body(said.block)) is not None:
                parts, header = (body.rows, body.payloads), body.header
                work = Work(parts, header.transaction_count, header=header, signature=body.signature)
                work.certificate = said.certificate
                await self.submit_proven(work)

    def _say(self, to: list[bytes], said: Said) -> None:
        body = msgspec.msgpack.encode(said)
        self._node.ports.send([(identity, body) for identity in to])

    def deliver(self, identity: bytes, body: bytes) -> None:
        said = msgspec.msgpack.decode(body, type=Said)
        if said.kind == "ask" and self._leads:
            self._say([identity], Said("height", said.number, self.height))
        elif said.kind == "block" and identity == self._leader:
            self._ordered.put_nowait(said)
        elif said.kind == "height" and identity == self._leader:
            self._asked[said.number].set_result(said.height)

    def others(self) -> list[bytes]:
        return [identity for identity in self._members if identity != self._own]

    def vote(self, _digest: bytes) -> None:
        return None

    def heed(self, header: Header) -> None:
        if fork := self._node.convictions.fork(header):
            self.halt(fork)

    def halt(self, reason: str) -> None:
        self._halted = reason

    async def submit_proven(self, work: Work) -> asyncio.Future[Header | None]:
        assert self._pipeline is not None
        return await self._pipeline.submit(work)

    async def read_height(self, timeout_s: float) -> int:
        if self._leads:
            return self.height
        number = len(self._asked)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(timeout_s):
            self._say([self._leader], Said("ask", number))
            wanted: int = await answer
            while self.height < wanted:
                self.advanced.clear()
                await self.advanced.wait()
        return wanted

    def members(self) -> list[MemberStanding]:
        return [
            MemberStanding(
                number, member.name, member.identity, member.address, "voter", number == 1, "unnamed"
            )
            for number, member in enumerate(self._node.genesis.members, 1)
        ]

    async def change(self, action: str, name: str) -> ChangeOutcome:
        return ChangeRefused(f"to {action} {name}: the leader is fixed")

    def status(self) -> EngineStatus:
        return EngineStatus("leader" if self._leads else "follower", TERM, self._leader, 1, 0)

    def trouble(self) -> dict[str, str]:
        return {"halted": self._halted, "standing": ""}

    def depths(self) -> dict[str, int]:
        return self._pipeline.depths() if self._pipeline is not None else {}

    def figures(self) -> dict[str, object]:
        return {"leads": self._leads}

    def hand_over(self) -> bool:
        return False
