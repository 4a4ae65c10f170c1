"""The asyncio shell of gossip, and `broadcast_block`: one body to chosen peers, with a report.

Topics map to priorities: what is said about blocks leaves before transactions. Judging is the node's part:
`judge` is awaited with a batch of items and answers one verdict each; until it has, nothing is relayed. A
judge that takes its time is registered as `apart`: then messages of its topic do not wait for each other.
What a peer has under judgement is bounded (see `gossip`); more is dropped and counted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from loguru import logger

from actors.ledger.block import PushReceipt
from actors.peer.errors import NotConnectedError, RequestError
from actors.peer.gossip import Gossip, GossipEffects, GossipItem, ItemVerdict, Topic
from actors.peer.messages import Announce, Bodies, Fetch
from actors.peer.network import Network
from actors.peer.table import Link
from actors.peer.wire.frames import Priority

BLOCKS = "blocks"
TRANSACTIONS = "transactions"
BLOCK_METHOD = "block"
TOPICS = (
    Topic(BLOCKS, eager=3, body_bytes_max=64 << 10),
    Topic(TRANSACTIONS, eager=2, body_bytes_max=1 << 20),
)
PRIORITIES = {BLOCKS: Priority.BLOCKS, TRANSACTIONS: Priority.TRANSACTIONS}

Judge = Callable[[list[GossipItem]], Awaitable[list[ItemVerdict]]]


async def _ignore(batch: list[GossipItem]) -> list[ItemVerdict]:
    return [ItemVerdict.IGNORE] * len(batch)


class Spread:
    """Gossip of one node over its network."""

    def __init__(self, network: Network) -> None:
        limits = network.config.limits
        self._network = network
        self._judges: dict[str, Judge] = {}
        self._apart: set[str] = set()
        self.core = Gossip(
            TOPICS,
            seen_max=limits.seen_max,
            store_bytes_max=limits.gossip_store_bytes_max,
            members=network.links.members,
        )
        network.on_gossip = self._on_gossip
        network.links.on_established.append(self._on_established)
        network.links.on_gone.append(self.core.peer_left)
        network.on_tick.append(lambda now_s: self._apply_sends(self.core.tick(now_s)))

    def register_judge(self, topic: str, judge: Judge, *, apart: bool = False) -> None:
        """Hand new items of `topic` to `judge`; without one they are ignored."""
        self._judges[topic] = judge
        if apart:
            self._apart.add(topic)

    def publish(self, topic: str, bodies: Iterable[bytes], known_by: Iterable[bytes] = ()) -> list[bytes]:
        """Spread items of this node's own, but not to those who know them; returns their ids.

        Raises `ValueError` for a bad topic or body.
        """
        ids, known_by = [], list(known_by)
        for body in bodies:
            id_, effects = self.core.publish(topic, body, known_by)
            ids.append(id_)
            self._apply_sends(effects)
        self._apply_sends(self.core.flush())
        return ids

    async def broadcast_block(
        self, body: bytes, to: Iterable[bytes] | None = None, deadline_s: float | None = None
    ) -> list[PushReceipt]:
        """Send a block to all of `to` (all connected members when None) at once; waits for every one.

        Each peer has `deadline_s` of its own to acknowledge; the report has one receipt a peer.
        """
        network = self._network
        members = network.links.members
        chosen = [p for p in network.connected() if p in members] if to is None else list(to)
        limit_s = network.config.intervals.broadcast_deadline_s if deadline_s is None else deadline_s
        return list(await asyncio.gather(*(self._send_block(peer, body, limit_s) for peer in chosen)))

    async def _send_block(self, peer: bytes, body: bytes, deadline_s: float) -> PushReceipt:
        start_s = time.perf_counter()
        error = ""
        try:
            await self._network.request(peer, BLOCK_METHOD, body, deadline_s, Priority.BLOCKS)
        except NotConnectedError:
            error = "not_connected"
        except RequestError as failure:
            error = failure.reason
        return PushReceipt(peer, error, (time.perf_counter() - start_s) * 1e3)

    def _on_established(self, link: Link, _record: object) -> None:
        self._apply_sends(self.core.peer_joined(link.identity))

    async def _on_gossip(self, peer: bytes, message: Announce | Fetch | Bodies) -> None:
        if isinstance(message, Announce):
            effects = self.core.on_announce(peer, message, self._network.links.now_s())
        elif isinstance(message, Fetch):
            effects = self.core.on_fetch(peer, message)
        else:
            effects = self.core.on_bodies(peer, message)
        self._apply_sends(effects)
        if not effects.deliver:
            return
        judge = self._judge(effects.deliver, self._judges.get(message.topic, _ignore))
        if message.topic in self._apart:
            self._network.spawn(judge, f"judge {message.topic}")
        else:
            await judge

    async def _judge(self, batch: list[GossipItem], judge: Judge) -> None:
        """Have a batch judged; it is ignored if that fails or takes too long."""
        verdicts = [ItemVerdict.IGNORE] * len(batch)
        try:
            verdicts = await judge(batch)
        except Exception:  # noqa: BLE001 - a judge's bug must not end the task without a word
            self._network.dropped["judge_errors"] += len(batch)
            logger.exception("judging {} failed", batch[0].topic)
        finally:
            for delivery, verdict in zip(batch, verdicts, strict=True):
                self._apply_sends(self.core.judged(delivery, verdict))
            self._apply_sends(self.core.flush())

    def _apply_sends(self, effects: GossipEffects) -> None:
        if effects.dropped:
            self._network.dropped["judging_full"] += effects.dropped
        for peer, message in effects.send:
            self._network.offer_message(peer, message, PRIORITIES.get(message.topic, Priority.TRANSACTIONS))
        for peer, reason in effects.blame:
            self._network.links.penalise(peer, reason)
