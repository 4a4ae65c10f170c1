"""The Ray shell that joins the wire to a node: one `NodePeer` a node.

It serves the chain that Storage holds, announces what Consensus commits, and at an observer fetches what it
lacks and hands it to Consensus. Bodies pass by reference. Where there are mempool shards, it gossips what
clients hand in there, and offers them what peers gossip.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError

from actors.faces import ConsensusFace, MempoolFace, remote
from actors.kernels.interface import Choice
from actors.kernels.selection import select
from actors.ledger.block import BlockOutcome, Header, OfferedBlock, SealedHeader
from actors.ledger.channels import (
    CERTIFICATE_CHANNEL,
    CHANGE_METHOD,
    CLOCK_CHANNEL,
    FUNCTION_METHOD,
    PROGRESS_METHOD,
    RAFT_CHANNEL,
)
from actors.ledger.delta import Delta
from actors.ledger.genesis import Genesis
from actors.ledger.rows import Batch, shard_of
from actors.ledger.signing import Signer
from actors.ledger.verdict import Verdict as Judgement
from actors.local_socket import LocalConnection, Spoken, call
from actors.near.messages import NearError
from actors.near.shard import NearShard
from actors.peer import messages
from actors.peer.address_book import FILE_NAME, AddressBook, decode_address_book, usual_port
from actors.peer.advertise import is_published_to
from actors.peer.block_exchange import BlockExchange
from actors.peer.catchup import HEADERS_METHOD, serve_chain, synchronise
from actors.peer.chain import ChainRefusedError, NodeChain
from actors.peer.config import PeerConfig, parse_address
from actors.peer.errors import ConfigError, NotConnectedError, ProtocolError, RequestError
from actors.peer.gossip import GossipItem, ItemVerdict
from actors.peer.kademlia.records import EndpointRecord
from actors.peer.messages import BlockWanted, Span
from actors.peer.network import ChannelHandler, Network
from actors.peer.node_config import node_config
from actors.peer.outgoing import Outgoing, ShardCalls, Told
from actors.peer.snapshots import serve_snapshots
from actors.peer.spread import BLOCKS, TRANSACTIONS
from actors.peer.standing import Standings
from actors.peer.table import Link
from actors.peer.transactions import Transactions
from actors.peer.wire.frames import Priority
from actors.peer.wire_face import Peer
from actors.settings import PeerSettings
from actors.shell import (
    ActorContext,
    Shell,
    first_line,
    freeze_long_lived,
    kernel_cache_dir,
    retain_large_buffers,
)
from actors.storage.interface import StorageFace

PROOF_METHOD, PROOF_DEADLINE_S = "block_proof", 2.0
OPTIONS: dict[str, Any] = {"max_restarts": -1, "max_task_retries": 0, "max_concurrency": 1000}

ADMIT_TIMEOUT_S = 10.0
LINE_PAUSE_S_MIN, LINE_PAUSE_S_MAX = 0.05, 5.0


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
        shards: Sequence[Any] = (),
        kernel_choice: Choice = "auto",
    ) -> None:
        Shell.__init__(self, context)
        retain_large_buffers()
        seed = bytes.fromhex(Path(identity_path).read_text().strip())
        self._book_path = Path(context.data_dir) / FILE_NAME
        self._book = self._read_book()
        self._sequence = self._book.sequence
        Peer.__init__(self, _peer_config(settings, genesis, seed, self._book))
        self._settings = settings
        self._consensus: ConsensusFace = remote(consensus)
        self._storage: StorageFace = remote(storage)
        self._shards: list[MempoolFace] = [NearShard(remote(shard), (RayError,)) for shard in shards]
        members = frozenset(bytes.fromhex(member.identity) for member in genesis.members)
        self._transactions = Transactions(
            self._admit, self._publish_offers, members, lambda: time.time_ns() // 1_000_000
        )
        calls_of = [ShardCalls(_outbox_of(shard), shard.offer_anew) for shard in self._shards]
        self._outgoing = Outgoing(calls_of, self._transactions, (RayError,))
        self._follows = Signer(seed).public_key not in genesis.member_keys
        hash_rows = select(kernel_choice, kernel_cache_dir(), tables_bytes_max=0).hash_rows
        self._chain = NodeChain(genesis, self._storage, self._append, hash_rows)
        self._blocks = BlockExchange(genesis, self._storage.stored_block, ray.put)
        self._behind = asyncio.Event()
        self._standings = Standings()
        self._synced_blocks = 0
        self._halted = ""
        self._line: LocalConnection | None = None
        self._line_kept: asyncio.Task[None] | None = None
        self._life: asyncio.Task[None] | None = None
        with contextlib.suppress(RuntimeError):
            self._life = asyncio.get_running_loop().create_task(self._live())

    async def start(self) -> dict[str, object]:
        """As `Peer.start`; the chain is served from then on.

        Without a configured port the one of the last start is bound again, if it is still free.
        """
        try:
            told = await Peer.start(self)
        except OSError:
            if self._settings.port or not self._config.listen_port:
                raise
            self._config = replace(self._config, listen_port=0)
            told = await Peer.start(self)
        network = self._running()
        network.exchange.unreachable = (RayError,)  # what it asks is restarting
        serve_chain(network, self._chain)
        self._blocks.serve(network)
        serve_snapshots(network, self._storage)
        if not self._follows:
            self._join_consensus(network)
        if self._spread is not None:
            self._spread.register_judge(BLOCKS, self._judge_announcements)
            if self._shards:
                self._spread.register_judge(TRANSACTIONS, self._transactions.judge, apart=True)
        self._outgoing.start(network)
        self._write_book(self._book.bound(parse_address(str(told["address"]))[1], self._sequence))
        return told

    def _record_sequence(self) -> int:
        """Also with a clock that was set back others take the new record for the old one."""
        self._sequence = max(time.time_ns() // 1_000_000, self._book.sequence + 1)
        return self._sequence

    def _join_consensus(self, network: Network) -> None:
        """What other members say to this one's Consensus, and what they may ask it."""
        consensus = self._consensus

        def passed_on(channel: str) -> ChannelHandler:
            async def on_batch(batch: list[tuple[bytes, bytes]]) -> None:
                members = network.links.members
                if self._line is not None:  # else Consensus is restarting: messages may be lost
                    self._line.send([(who, channel, body) for who, body in batch if who in members])

            return on_batch

        async def on_proof(_peer: bytes, body: bytes) -> bytes:
            wanted = messages.decode_block_wanted(body)
            return bytes(await consensus.prove(wanted.height, wanted.hash))

        for channel in (RAFT_CHANNEL, CERTIFICATE_CHANNEL, CLOCK_CHANNEL):
            network.register_channel(channel, passed_on(channel))
        if self._line_kept is None or self._line_kept.done():  # ended with the network of an earlier start
            self._line_kept = network.spawn(self._keep_line(network), "line to consensus")

        async def on_change(_peer: bytes, body: bytes) -> bytes:
            return bytes(await consensus.hear_change(body))

        async def on_progress(_peer: bytes, _body: bytes) -> bytes:
            return bytes(await consensus.hear_progress())

        network.register_method(PROOF_METHOD, on_proof, members_only=True)
        network.register_method(PROGRESS_METHOD, on_progress, members_only=True)

        async def on_function(_peer: bytes, body: bytes) -> bytes:
            return bytes(await consensus.hear_function(body))

        network.register_method(CHANGE_METHOD, on_change, members_only=True)
        network.register_method(FUNCTION_METHOD, on_function, members_only=True)
        self._blocks.taker = consensus.offer_block

    async def _keep_line(self, network: Network) -> None:
        """Have a line to Consensus, and another one when it ends."""

        def on_batch(batch: list[Spoken]) -> None:
            for identity, channel, body in batch:
                network.offer(identity, channel, body, Priority.CONSENSUS)

        pause_s = LINE_PAUSE_S_MIN
        while True:
            try:
                self._line = line = await call(await self._consensus.line(), on_batch)
            except (RayError, OSError):
                pause_s = min(2 * pause_s, LINE_PAUSE_S_MAX)
            else:
                pause_s = LINE_PAUSE_S_MIN
                try:
                    await line.ended.wait()
                finally:
                    self._line = None
                    line.close()
            await asyncio.sleep(pause_s)

    async def ask_proofs(self, to: list[bytes], height: int, digest: bytes) -> list[tuple[bytes, bytes]]:
        """Ask members for a block's certificate or their vote; (identity, answer) of those that answered."""
        wanted = messages.encode(BlockWanted(height, digest))
        calls = [self._running().request(identity, PROOF_METHOD, wanted, PROOF_DEADLINE_S) for identity in to]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        return [(who, said) for who, said in zip(to, answers, strict=True) if isinstance(said, bytes)]

    async def ask_headers(self, to: list[bytes], height: int, count: int) -> list[bytes]:
        """Ask members for the sealed headers from `height` on, as bytes that nobody has checked."""
        wanted = messages.encode(Span(height, count))
        calls = [self._running().request(who, HEADERS_METHOD, wanted, PROOF_DEADLINE_S) for who in to]
        found: list[bytes] = []
        for answer in await asyncio.gather(*calls, return_exceptions=True):
            with contextlib.suppress(ProtocolError):
                found += messages.decode_blobs(answer).items[:count] if isinstance(answer, bytes) else ()
        return found

    async def add_seeds(self, addresses: list[str]) -> None:
        """As `Peer.add_seeds`; they are also remembered over the end of this process."""
        await Peer.add_seeds(self, addresses)
        self._write_book(self._book.reached(*addresses))

    async def health(self) -> dict[str, object]:
        """Process facts, the wire's figures, how following goes, and the gossip of transactions.

        known_head: of an observer, the height that members say they have; 0 while none has.
        """
        own = {
            "follows": self._follows,
            "known_head": self._known_head(),
            "synced_blocks": self._synced_blocks,
            "served_blocks": self._chain.served_bodies,
            "served_headers": self._chain.served_headers,
            "halted": self._halted,
            "transactions": dict(self._transactions.counters),
        }
        return {**self.process_health(), **(await Peer.health(self)), **own}

    def _known_head(self) -> int:
        if self._network is None or not self._follows:
            return 0
        members = self._network.links.members
        return self._standings.known_head(who for who in self._network.connected() if who in members)

    async def stop(self) -> None:
        """Stop following and offering, close every connection."""
        if self._life is not None:
            self._life.cancel()
        self._outgoing.stop()
        await Peer.stop(self)

    async def fetch_block(
        self, identity: bytes, height: int, digest: bytes, deadline_s: float | None = None
    ) -> OfferedBlock | None:
        """Get a block that a member stores, committed or not, as `Consensus.validate_blocks` takes it.

        With its certificate if it has one. None if it does not store it, does not answer, or answers another.
        """
        try:
            return await self._blocks.fetch(self._running(), identity, height, digest, deadline_s)
        except (NotConnectedError, RequestError, ProtocolError) as error:
            self.log.warning("block {} not fetched from {}: {}", height, identity.hex()[:16], error)
            return None

    async def committed(self, *deltas: Delta) -> None:
        """Blocks are final here: announce them to those who follow. Members hear of it from the log."""
        if self._network is None or self._spread is None or self._follows:
            return
        members = self._network.links.members
        if members.issuperset(self._network.connected()):
            return
        for delta in deltas:
            for sealed in await self._storage.sealed_headers(delta.height, 1):
                self._spread.publish(BLOCKS, [sealed], known_by=members)

    async def _judge_announcements(self, items: list[GossipItem]) -> list[ItemVerdict]:
        verdicts = []
        for item in items:
            try:
                news = self._chain.is_news(item.body)
            except ProtocolError as error:
                self.log.warning("announcement of {} refused: {}", item.peer.hex()[:16], error)
                verdicts.append(ItemVerdict.REJECT)
                continue
            if news:
                self._behind.set()
            verdicts.append(ItemVerdict.ACCEPT if news else ItemVerdict.IGNORE)
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
                await self._synchronise()
            except ChainRefusedError as error:
                self._halted = str(error)
                self.log.critical("this node stops following: {}", error)
            except RayError as error:
                self.log.warning("catching up again after {}", first_line(error))

    async def _synchronise(self) -> None:
        report = await synchronise(self._running(), self._chain, self._standings)
        if report.blocks:
            self.log.info("caught up with {} blocks to height {}", report.blocks, report.height)

    async def catch_up(self) -> None:
        """Hand the proven blocks of others to Consensus, until there are no more or it takes no more."""
        with contextlib.suppress(ChainRefusedError):
            await self._synchronise()

    # Transactions

    def _publish_offers(self, offers: list[bytes], but: frozenset[bytes]) -> None:
        if self._spread is not None:
            self._spread.publish(TRANSACTIONS, offers, but)

    async def _admit(self, batch: Batch, source: str) -> NDArray[np.uint8]:
        """Verdicts of the shards; UNAVAILABLE for the rows of one that does not answer."""
        verdicts = np.full(len(batch), Judgement.UNAVAILABLE, dtype=np.uint8)
        place = shard_of(batch.rows["sender"], len(self._shards))

        async def ask(number: int) -> None:
            mine = place == number
            part = batch if mine.all() else batch.take(mine)
            rows, payloads = _owned(part.rows), _owned(part.payloads)
            try:
                async with asyncio.timeout(ADMIT_TIMEOUT_S):
                    verdicts[mine] = await self._shards[number].admit(
                        rows, payloads, False, (source,), None, True
                    )
            except (RayError, NearError, TimeoutError) as error:
                self.log.warning("offered rows refused by a shard: {}", first_line(error))

        await asyncio.gather(*(ask(int(number)) for number in np.unique(place)))
        return verdicts

    # Following

    async def _append(self, blocks: list[tuple[SealedHeader, Batch]]) -> list[BlockOutcome]:
        """Hand proven blocks to Consensus, bodies by reference."""
        offered = [
            OfferedBlock(
                sealed.header,
                sealed.signature,
                sealed.certificate.encode(),
                ray.put(_owned(batch.rows)),
                ray.put(_owned(batch.payloads)),
            )
            for sealed, batch in blocks
        ]
        answers = await self._consensus.validate_blocks(offered)
        self._synced_blocks += sum(isinstance(answer, Header) for answer in answers)
        return answers

    def _on_established(self, link: Link, record: EndpointRecord | None) -> None:
        if not link.member or record is None or record.address in self._book.addresses:
            return
        if is_published_to(record.host, link.host):
            self._write_book(self._book.reached(record.address))

    def _read_book(self) -> AddressBook:
        try:
            return decode_address_book(self._book_path.read_bytes())
        except FileNotFoundError:
            return AddressBook()
        except (OSError, ConfigError) as error:
            self.log.warning("{}: {}; starting without it", self._book_path, error)
            return AddressBook()

    def _write_book(self, book: AddressBook) -> None:
        """Replace the file. Where it cannot be written the node works, and only remembers less."""
        if book == self._book:
            return
        self._book = book
        fresh = self._book_path.with_suffix(".new")
        try:
            fresh.write_bytes(book.encode())
            fresh.replace(self._book_path)
        except OSError as error:
            self.log.warning("{}: {}", self._book_path, error)


def _outbox_of(shard: MempoolFace) -> Callable[[int, float, int], Awaitable[Told]]:
    async def outbox(since: int, wait_s: float, incarnation: int) -> Told:
        told, rows, payloads = await asyncio.gather(*shard.outbox(since, wait_s, incarnation))
        return told, rows, payloads

    return outbox


def _owned(column: NDArray[Any]) -> NDArray[Any]:
    """A copy that does not keep a whole message alive."""
    return np.array(column)


def _peer_config(settings: PeerSettings, genesis: Genesis, seed: bytes, book: AddressBook) -> PeerConfig:
    """What the wire needs of the profile, the genesis, the node's key and what it remembers."""
    return replace(
        node_config(settings, genesis, seed),
        seeds=tuple(dict.fromkeys((*settings.seeds, *book.addresses))),
        listen_port=settings.port or book.port or usual_port(Signer(seed).public_key),
        advertise_address=settings.advertise or None,
        allow_observers=settings.allow_observers,
    )
