"""The Ray shell that joins the wire to a node: one `NodePeer` a node.

It serves the chain that Storage holds, announces what Consensus commits, and at an observer fetches what it
lacks and hands it to Consensus. Bodies pass by reference.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError

from actors.ledger.block import SealedHeader
from actors.ledger.genesis import Genesis
from actors.ledger.rows import Batch
from actors.ledger.signing import Signer
from actors.peer.actor import Peer
from actors.peer.catchup import serve_chain, synchronise
from actors.peer.chain import ChainCalls, ChainRefusedError, NodeChain
from actors.peer.config import Member, PeerConfig, PeerLimits
from actors.peer.errors import ProtocolError
from actors.peer.gossip import Delivery, Verdict
from actors.peer.spread import BLOCKS
from actors.settings import PeerSettings
from actors.shell import (
    ActorContext,
    Shell,
    first_line,
    freeze_long_lived,
    kernel_cache_dir,
    retain_large_buffers,
)
from actors.validator.kernels import select
from actors.validator.kernels.interface import Choice

OPTIONS: dict[str, Any] = {"max_restarts": -1, "max_task_retries": 0, "max_concurrency": 1000}


class NodePeer(Shell, Peer):
    """The peer of a whole node: serves its chain, announces its commits, and, at an observer, follows.

    Ray builds an async actor inside its loop, so the constructor begins to live there; that is how a
    restarted peer comes back.
    """

    def __init__(
        self,
        context: ActorContext,
        settings: PeerSettings,
        genesis: Genesis,
        identity_path: str,
        storage: Any,
        consensus: Any,
        kernel_choice: Choice = "auto",
    ) -> None:
        Shell.__init__(self, context)
        retain_large_buffers()
        seed = bytes.fromhex(Path(identity_path).read_text().strip())
        Peer.__init__(self, _peer_config(settings, genesis, seed))
        self._settings, self._storage, self._consensus = settings, storage, consensus
        self._follows = Signer(seed).public_key not in genesis.member_keys
        calls = ChainCalls(
            storage.head.remote, storage.sealed_headers.remote, storage.bodies.remote, self._append
        )
        self._chain = NodeChain(genesis, calls, select(kernel_choice, kernel_cache_dir()).hash_rows)
        self._behind = asyncio.Event()
        self._synced_blocks = 0
        self._halted = ""
        self._life: asyncio.Task[None] | None = None
        with contextlib.suppress(RuntimeError):
            self._life = asyncio.get_running_loop().create_task(self._live())

    async def start(self) -> dict[str, object]:
        """As `Peer.start`; the chain is served from then on."""
        told = await Peer.start(self)
        network = self._running()
        serve_chain(network, self._chain)
        if self._spread is not None:
            self._spread.register_judge(BLOCKS, self._judge_announcements)
        return told

    async def health(self) -> dict[str, object]:
        """Process facts, the wire's figures, and how following goes."""
        own = {"follows": self._follows, "synced_blocks": self._synced_blocks, "halted": self._halted}
        return {**self.process_health(), **(await Peer.health(self)), **own}

    async def stop(self) -> None:
        """Stop following, close every connection."""
        if self._life is not None:
            self._life.cancel()
        await Peer.stop(self)

    async def committed(self, delta: dict[str, Any]) -> None:
        """A block is final here: announce it to those who follow."""
        if self._spread is None or self._follows:
            return
        for sealed in await self._storage.sealed_headers.remote(int(delta["height"]), 1):
            self._spread.publish(BLOCKS, [sealed])

    async def _judge_announcements(self, items: list[Delivery]) -> list[Verdict]:
        verdicts = []
        for item in items:
            try:
                self._chain.proven(item.body)
            except ProtocolError as error:
                self.log.warning("announcement of {} refused: {}", item.peer.hex()[:16], error)
                verdicts.append(Verdict.REJECT)
            else:
                self._behind.set()
                verdicts.append(Verdict.ACCEPT)
        return verdicts

    async def _live(self) -> None:
        """Start, then follow the chain of others for as long as this node may not propose."""
        await self.start()
        freeze_long_lived()
        while self._follows and not self._halted:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.sync_pause_s):
                    await self._behind.wait()
            self._behind.clear()
            try:
                report = await synchronise(self._running(), self._chain)
            except ChainRefusedError as error:
                self._halted = str(error)
                self.log.critical("this node stops following: {}", error)
            except RayError as error:
                self.log.warning("catching up again after {}", first_line(error))
            else:
                if report.blocks:
                    self.log.info("caught up with {} blocks to height {}", report.blocks, report.height)

    async def _append(self, blocks: list[tuple[SealedHeader, Batch]]) -> list[dict[str, Any]]:
        """Hand proven blocks to Consensus, bodies by reference."""
        offered = [
            (
                sealed.header.encode(),
                sealed.signature,
                sealed.certificate.encode(),
                ray.put(_owned(batch.rows)),
                ray.put(_owned(batch.payloads)),
            )
            for sealed, batch in blocks
        ]
        answers: list[dict[str, Any]] = await self._consensus.validate_blocks.remote(offered)
        self._synced_blocks += sum("refused" not in answer for answer in answers)
        return answers


def _owned(column: NDArray[Any]) -> NDArray[Any]:
    """A copy that does not keep a whole message alive."""
    return np.array(column)


def _peer_config(settings: PeerSettings, genesis: Genesis, seed: bytes) -> PeerConfig:
    """What the wire needs of the profile, the genesis and the node's key."""
    limits = PeerLimits()
    if not settings.subnet_limits:
        limits = replace(limits, subnet_per_bucket_max=0, subnet_per_table_max=0)
    return PeerConfig(
        identity_seed=seed,
        genesis_hash=genesis.hash(),
        members=tuple(Member(bytes.fromhex(m.identity), m.address or None) for m in genesis.members),
        seeds=tuple(settings.seeds),
        listen_host=settings.host,
        listen_port=settings.port,
        allow_observers=settings.allow_observers,
        limits=limits,
    )
