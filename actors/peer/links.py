"""Every connection of the node: accepted and dialled sessions, hellos, admission, upkeep.

Rules
1. A peer is part of the network once its identity is proved and both hellos are through; before that it can
   only cost its handshake, whose number, size and time are bounded.
2. There is one current session an identity. A session that lost against another one is closed in order, and
   what it still delivers counts.
3. Consensus frames of an identity outside the genesis end the connection.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable

from loguru import logger

from actors.peer import messages
from actors.peer.admission import HandshakeAdmission, is_loopback
from actors.peer.advertise import is_published_to
from actors.peer.backoff import DialPlan, DialTarget
from actors.peer.config import PeerConfig, parse_address
from actors.peer.delivery import Deliverable
from actors.peer.errors import ConfigError, NotConnectedError, ProtocolError, QueueFullError, RequestError
from actors.peer.failures import Failures
from actors.peer.faults import FaultTable
from actors.peer.greylist import Greylist, TokenBucket
from actors.peer.kademlia.records import EndpointRecord, decode_record
from actors.peer.messages import Credit, Hello, Ping, Pong, Response
from actors.peer.session import PeerSession
from actors.peer.table import Link, LinkTable
from actors.peer.wire.budget import SendBudget
from actors.peer.wire.connection import ConnectionState, WireConnection
from actors.peer.wire.frames import FramedMessage, Priority
from actors.peer.wire.handshake import Handshake, LocalIdentity
from actors.peer.wire.queues import SendQueue

SOFTWARE = "raychain"
DIALS_AT_ONCE_MAX = 16
UNWEIGHED = frozenset({"greylisted", "observer", "self", "handshake_rate"})
"""Refusals that cost this node nothing, or are nobody's fault."""

Route = Callable[[PeerSession, Priority, "Deliverable | Response", int], None]
"""Takes a message and its size in bytes, head and body; whoever is done with it says so to the session."""


class Links:
    """Sessions and the table of who is connected. Implements `session.SessionOwner`."""

    def __init__(self, config: PeerConfig, local: LocalIdentity, route: Route) -> None:
        limits, intervals = config.limits, config.intervals
        self.config = config
        self.local = local
        self.members = frozenset(member.identity for member in config.members)
        self.table = LinkTable(local.public, limits, intervals)
        self.greylist = Greylist(limits.greylist_max, intervals.greylist_halflife_s)
        self.plan = DialPlan(intervals.backoff_min_s, intervals.backoff_max_s)
        self.record: EndpointRecord | None = None
        self.refused: Counter[str] = Counter()
        self.on_established: list[Callable[[Link, EndpointRecord | None], None]] = []
        self.on_gone: list[Callable[[bytes], None]] = []
        self.on_greylisted: list[Callable[[bytes], None]] = []
        self.faults: FaultTable | None = None
        self._route = route
        self._incarnation = os.urandom(8)
        self._jitter = random.Random(os.urandom(8)).random
        self._open: set[PeerSession] = set()
        self._current: dict[bytes, PeerSession] = {}
        self.admission = HandshakeAdmission(limits)
        self.failures = Failures()
        self._send_budgets = {
            True: SendBudget("members", limits.send_bytes_max_members),
            False: SendBudget("observers", limits.send_bytes_max_observers),
        }
        self._held_bytes_observers = 0
        self._dials: set[asyncio.Task[None]] = set()

    def now_s(self) -> float:
        """The event loop's monotonic clock, in seconds."""
        return asyncio.get_running_loop().time()

    def session(self, identity: bytes) -> PeerSession:
        """The current session. Raises `NotConnectedError`."""
        session = self._current.get(identity)
        if session is None:
            raise NotConnectedError(f"no connection to {identity.hex()}")
        return session

    # -- opening and closing

    def accept(self) -> PeerSession:
        """Protocol factory of the listening socket; limits apply once the remote host is known."""
        return self._new_session(outbound=False, dialled=None, expected=None)

    def _new_session(self, *, outbound: bool, dialled: str | None, expected: bytes | None) -> PeerSession:
        limits = self.config.limits

        def admit(ephemeral: bytes) -> None:
            self.admission.hello(session.source, ephemeral, self.now_s())

        handshake = Handshake(
            self.local, os.urandom(32), initiator=outbound, expected_identity=expected, admit=admit
        )
        queue = SendQueue(limits.send_queue_messages_max, limits.send_queue_bytes_max)
        connection = WireConnection(handshake, queue, limits.message_bytes_max_observer)
        session = PeerSession(connection, self, self.config.intervals, outbound=outbound, dialled=dialled)
        return session

    def on_opened(self, session: PeerSession) -> None:
        """The socket is open; aborts it when a limit or the greylist says so."""
        self._open.add(session)
        if session.outbound:
            self.admission.dialled(session.source)
            return
        reason, crowding = self.admission.accepted(session.source, session)
        if isinstance(crowding, PeerSession):
            self.refused["handshakes_pending_max"] += 1
            crowding.abort()
        if not reason and self.greylist.is_listed(session.source, self.now_s()):
            reason = "greylisted"
        if reason:
            self.refused[reason] += 1
            session.abort()

    async def dial(self, address: str, identity: bytes | None = None) -> bytes:
        """Connect to `address`, expecting `identity` when given; returns who answered.

        Returns at once when that identity is connected. Raises `RequestError`, `OSError` or `TimeoutError`.
        """
        if identity is not None and identity in self._current:
            return identity
        host, port = parse_address(address)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self.config.intervals.dial_timeout_s):
            _, session = await loop.create_connection(
                lambda: self._new_session(outbound=True, dialled=address, expected=identity), host, port
            )
            try:
                return await asyncio.shield(session.ready)
            except asyncio.CancelledError:
                session.abort()
                raise

    async def stop(self) -> None:
        """End every connection in order, aborting what takes longer than a second."""
        for task in list(self._dials):
            task.cancel()
        await asyncio.gather(*self._dials, return_exceptions=True)
        for session in list(self._open):
            session.close()
        waiting = [asyncio.create_task(session.closed.wait()) for session in self._open]
        if waiting:
            await asyncio.wait(waiting, timeout=1.0)
        for session in list(self._open):
            session.abort()
        await asyncio.gather(*waiting)

    # -- session.SessionOwner

    def on_authenticated(self, session: PeerSession) -> None:
        """Refuse the greylisted and, by configuration, observers; else say hello."""
        identity = session.identity or b""
        member = identity in self.members
        if self.greylist.is_listed(identity, self.now_s()):
            raise ProtocolError("greylisted", "this identity misbehaved")
        if not member and not self.config.allow_observers:
            raise ProtocolError("observer", "this node admits members only")
        limits, now_s = self.config.limits, self.now_s()
        backlog_max = limits.send_queue_bytes_max if member else limits.send_backlog_bytes_max_observer
        account = self._send_budgets[member].open(lambda: self._give_way(session))
        session.connection.queue.charge_to(account, backlog_max)
        if member:
            session.connection.allow_message_bytes(limits.message_bytes_max_member)
            if not session.outbound:
                self.admission.proved_member(session.source, now_s)
        rate = limits.messages_per_s_member if member else limits.messages_per_s_observer
        session.bucket = TokenBucket(rate, 2 * rate, now_s)
        own = self.record
        shown = own.encoded if own is not None and is_published_to(own.host, session.host) else b""
        session.send(Priority.CONTROL, Hello(self._incarnation, shown, SOFTWARE))

    def on_message(self, session: PeerSession, message: FramedMessage) -> None:
        """Check rate and role, answer keep-alives, route the rest; at once, unless a test set faults."""
        if self.faults is None or session.hello is None or message.priority is Priority.CONTROL:
            self._take(session, message)
            return
        arrivals_s = self.faults.deliveries_s(session.identity or b"")
        if not arrivals_s:
            session.dealt_with(message.priority, message.size)
        for after_s in arrivals_s:
            if after_s:
                asyncio.get_running_loop().call_later(after_s, self._take_late, session, message)
            else:
                self._take(session, message)

    def _take_late(self, session: PeerSession, message: FramedMessage) -> None:
        if session not in self._open or session.connection.state is not ConnectionState.OPEN:
            return
        try:
            self._take(session, message)
        except ProtocolError as error:
            session.violated(error)

    def _take(self, session: PeerSession, message: FramedMessage) -> None:
        identity, now_s = session.identity, self.now_s()
        if identity is None or session.bucket is None:
            raise ProtocolError("hello", "a message before authentication")
        if not session.bucket.take(1, now_s):
            raise ProtocolError("flood", "more messages than the limit per second and its burst")
        decoded = messages.decode_parts(message.head, message.body)
        if isinstance(decoded, Hello):
            self._on_hello(session, identity, decoded)
            return
        if session.hello is None:
            raise ProtocolError("hello", "the first message is not a hello")
        control = isinstance(decoded, Ping | Pong | Credit)
        self.table.saw(identity, now_s, traffic=not control)
        if control != (message.priority is Priority.CONTROL):
            raise ProtocolError("message", f"{type(decoded).__name__} in a {message.priority.name} frame")
        if isinstance(decoded, Ping):
            self._offer(session, Pong(decoded.nonce))
        elif isinstance(decoded, Pong):
            self._on_pong(session, identity, decoded)
        elif isinstance(decoded, Credit):
            session.credited(decoded)
        elif message.priority is Priority.CONSENSUS and identity not in self.members:
            raise ProtocolError("not_member", "only members speak consensus")
        else:
            self._route(session, message.priority, decoded, message.size)

    def _give_way(self, session: PeerSession) -> None:
        """What waits for a peer that does not take it is needed for others."""
        held = sum(session.connection.queue.waiting_bytes(priority) for priority in Priority)
        session.violated(ProtocolError("slow_reader", f"{held} bytes waited, which others needed"))

    def on_held(self, session: PeerSession, change: int) -> None:
        """Keep what observers have sent in part within its bound."""
        if session.identity in self.members:
            return
        self._held_bytes_observers += change
        limit, now_s = self.config.limits.partial_bytes_max_observers, self.now_s()
        if change > 0 and self._held_bytes_observers > limit:
            strangers = (other for other in self._open if other.identity not in self.members)
            worst = max(strangers, key=lambda other: other.held_bytes * (1 + other.held_s(now_s)))
            worst.violated(ProtocolError("slow_message", f"observers have sent more than {limit} in part"))

    def on_violation(self, session: PeerSession, error: ProtocolError) -> None:
        """Count it, weigh it on the identity, or on the remote address while none is proved."""
        now_s = self.now_s()
        self.refused[error.reason] += 1
        offender: bytes | str = session.identity or session.source
        if error.reason in UNWEIGHED:
            return
        if session.identity is None and (session.outbound or self._is_exempt(session.host)):
            self.greylist.offences[error.reason] += 1
            return
        if self.greylist.penalise(offender, error.reason, now_s):
            logger.warning("greylisted {}: {}", _name(offender), error)
            self._announce_greylisted(offender)
        else:
            logger.info("closed {}: {}", _name(offender), error)

    def on_lost(self, session: PeerSession) -> None:
        """Forget a session; when it was the current one, its peer is gone."""
        if session not in self._open:
            return
        self._open.discard(session)
        self.admission.closed(session.source)
        if not session.outbound and session.hello is None:
            self.admission.settled(session.source, session)
        if session.identity is not None and self._current.get(session.identity) is session:
            self._forget(session.identity)

    def penalise(self, identity: bytes, reason: str) -> None:
        """A part of the node judged a peer's content; the listed are disconnected."""
        if not self.greylist.penalise(identity, reason, self.now_s()):
            return
        self._announce_greylisted(identity)
        if identity in self._current:
            self.refused[reason] += 1
            self._current[identity].abort()

    # -- hello

    def _on_hello(self, session: PeerSession, identity: bytes, hello: Hello) -> None:
        if session.hello is not None:
            raise ProtocolError("hello", "a second hello")
        record = decode_record(hello.record, self.local.genesis_hash) if hello.record else None
        if record is not None and record.identity != identity:
            raise ProtocolError("record", "identity: the record is somebody else's")
        session.hello = hello
        if not session.outbound:
            self.admission.settled(session.source, session)
            session.address = record.address if record is not None else session.address
        now_s = self.now_s()
        link = Link(
            identity=identity,
            address=session.address,
            host=session.host,
            member=identity in self.members,
            outbound=session.outbound,
            incarnation=hello.incarnation,
            traffic_s=now_s,
            seen_s=now_s,
        )
        admission = self.table.admit(link)
        if session.dialled is not None:
            self.plan.succeeded(session.dialled, identity, now_s)
        if not admission.admitted:
            self.refused[admission.reason] += 1
            session.established()
            session.close()
            return
        displaced = self._current.pop(admission.displaced, None) if admission.displaced is not None else None
        self._current[identity] = session
        session.established()
        if displaced is not None:
            displaced.close()
            if admission.displaced != identity and admission.displaced is not None:
                self.refused["displaced"] += 1
                self._announce_gone(admission.displaced)
        self._probe(session)
        if admission.displaced != identity:
            for hook in self.on_established:
                hook(link, record)

    def _on_pong(self, session: PeerSession, identity: bytes, pong: Pong) -> None:
        if session.ping is not None and session.ping[0] == pong.nonce:
            self.table.measured(identity, (time.perf_counter() - session.ping[1]) * 1e3)
            session.ping = None

    def _probe(self, session: PeerSession) -> None:
        # The loop's clock may tick in whole milliseconds only.
        session.ping = (os.urandom(8), time.perf_counter())
        self._offer(session, Ping(session.ping[0]))

    def _offer(self, session: PeerSession, message: Ping | Pong) -> None:
        try:
            session.send(Priority.CONTROL, message)
        except (QueueFullError, NotConnectedError):
            self.refused["keep_alive"] += 1

    # -- upkeep

    def tick(self) -> None:
        """Probe the silent, drop the unresponsive and the stalled, dial who is due."""
        now_s = self.now_s()
        upkeep = self.table.tick(now_s)
        for identity in upkeep.probe:
            if identity in self._current:
                self._probe(self._current[identity])
        for identity in upkeep.drop:
            session = self._current.get(identity)
            if session is not None:
                self.refused["unresponsive"] += 1
                session.abort()
                self._forget(identity)
        limit_s = self.config.intervals.message_deadline_s
        for session in list(self._open):
            if session.stalled_s(now_s) > limit_s:
                session.violated(ProtocolError("slow_message", f"a message took longer than {limit_s} s"))
        room = DIALS_AT_ONCE_MAX - len(self._dials)
        for target in self.plan.due(now_s, set(self._current), max(0, room)):
            task = asyncio.create_task(self._dial_target(target))
            self._dials.add(task)
            task.add_done_callback(self._dials.discard)

    async def _dial_target(self, target: DialTarget) -> None:
        try:
            identity = await self.dial(target.address, target.identity)
            self.plan.succeeded(target.address, identity, self.now_s())
            self.failures.succeeded(target.address)
        except (RequestError, ConfigError, OSError, TimeoutError) as error:
            self.plan.failed(target.address, self.now_s(), self._jitter())
            if isinstance(error, RequestError) and error.reason == "self":
                self.plan.discard(target.address)
                self.failures.succeeded(target.address)
            else:
                self.failures.failed(target.address, error)
            logger.debug("dialling {} failed: {}", target.address, error)

    def _forget(self, identity: bytes) -> None:
        self._current.pop(identity, None)
        self.table.remove(identity)
        self._announce_gone(identity)

    def _announce_gone(self, identity: bytes) -> None:
        for hook in self.on_gone:
            hook(identity)

    def _announce_greylisted(self, offender: bytes | str) -> None:
        if isinstance(offender, bytes):
            for hook in self.on_greylisted:
                hook(offender)

    def _is_exempt(self, host: str) -> bool:
        """Loopback hosts share one address among honest nodes: counted, but not greylisted by it."""
        return is_loopback(host) and not self.config.limits.greylist_loopback


def _name(offender: bytes | str) -> str:
    return offender if isinstance(offender, str) else offender.hex()
