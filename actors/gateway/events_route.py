"""GET /v1/events: a WebSocket of what becomes final. One JSON object a message, with `type` and `height`.

Query: `topic=blocks`, `account=KEY` (its transactions), `key=KEY` (its state), `contract=ADDRESS`,
`contract=ADDRESS.EVENT` or `contract=ADDRESS.EVENT.FIRST` (its events, see `contract_topics.py`), the last
three up to KEYS_MAX in sum, and `from_height=H` to be sent every block from H on before the live ones. H may
lie up to RESUME_MAX blocks back, and what is older is reported as lagged; or up to AHEAD_MAX blocks ahead of
this node's head, as after a fail-over from a node that was further, and is then waited for.

Messages: `hello` (the head at the beginning), `block`, `transaction`, `event` (of a contract; `position` is
its place among those of its transaction), `state` (also once at the beginning, for each key), and `lagged`
with `from_height` and `to_height` of what was left out because this reader was too slow, or because this node
does not have those blocks any more. The stream takes no messages. A reader that does not answer pings is
disconnected.

Refused before the stream begins: 422 for a bad query, 403 for a foreign Origin, 503 at the bound of
subscribers or at this client's share of it, or of what is watched. Afterwards the
connection ends with 1011 if the node stops answering (resume with `from_height`), 1013 where `from_height` is
too far ahead, 3000 when the API key that opened it is revoked; the reason is in words.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import msgspec
import numpy as np

from actors.gateway import render
from actors.gateway.backend import BusyError, UnavailableError
from actors.gateway.body import Receive, Report, Scope, Send, refuse_stream
from actors.gateway.contract_events import Chosen, ContractEvents
from actors.gateway.contract_topics import contract_topics
from actors.gateway.events import BlockFacts, EventHub, Subscription, Topics
from actors.gateway.known_contracts import KnownContracts
from actors.gateway.problem import ProblemError, of_error
from actors.gateway.roles import CALLER_KEY, AccessRole, needs
from actors.gateway.service import Service
from actors.gateway.shares import ClientShares, FairTurns
from actors.gateway.streams import REVOKED
from actors.ledger.block import Block, Header, decode_block
from actors.ledger.delta import AccountState, Delta

EVENTS_PATH = "/v1/events"
KEYS_MAX = 64
RESUME_MAX = 10_000
AHEAD_MAX = 1_000
WATCHED_MAX = 65_536
CATCHING_UP_MAX = 16
QUERY_FIELDS_MAX = 128
Message = dict[str, Any]


_ENDS = {
    "websocket.receive": (1008, "the stream takes no messages"),
    REVOKED: (3000, "the API key is revoked"),
}


class _TooFarAheadError(Exception):
    """The subscriber asks for what this node will not have for long."""


@needs(AccessRole.READ)
class EventsRoute:
    """The ASGI application of the stream. `published` is called with every delta."""

    def __init__(
        self, source: Service, contracts: KnownContracts, report: Report, subscribers_max: int
    ) -> None:
        self._source, self._report = source, report
        self._contract_events = ContractEvents(source, contracts)
        self.hub = EventHub(source.hash_seed)
        self._shares = ClientShares("event streams", subscribers_max)
        self._watched = ClientShares("accounts, keys and contracts watched by event streams", WATCHED_MAX)
        self._turns = FairTurns("event streams that catch up", CATCHING_UP_MAX)
        self._wakes: dict[Subscription, asyncio.Event] = {}
        self._decoded: tuple[int, Block] | None = None
        self._encoded: tuple[int, str] = 0, ""
        self.sent = 0

    @property
    def open(self) -> int:
        """Open streams."""
        return self._shares.held

    def published(self, delta: Delta) -> None:
        """A block is final: wake whom it concerns."""
        for subscription in self.hub.publish(delta):
            self._wakes[subscription].set()

    def figures(self) -> dict[str, int]:
        """Open streams, messages sent, readers that lagged."""
        return {"subscribers": self.open, "events_sent": self.sent, "lagged": self.hub.lagged}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        client = scope[CALLER_KEY].client
        try:
            topics, resume_height = _read_query(scope)
            self._shares.take(client)
            try:
                self._watched.take(client, topics.count)
            except BusyError:
                self._shares.give(client)
                raise
        except (ProblemError, BusyError) as error:
            await refuse_stream(send, of_error(error))
            return
        try:
            await send({"type": "websocket.accept"})
            messages = self._messages(topics, resume_height, client)
            code, reason = await self._stream(messages, receive, send)
            if code:
                await send({"type": "websocket.close", "code": code, "reason": reason})
        except OSError:
            return  # the client is gone, or the connection was closed by the server
        finally:
            self._shares.give(client)
            self._watched.give(client, topics.count)

    async def _stream(
        self, messages: AsyncIterator[Message | str], receive: Receive, send: Send
    ) -> tuple[int, str]:
        """Send until the client goes away (0), or the code and the reason to close with."""
        sender = asyncio.ensure_future(self._send_all(messages, send))
        listener = asyncio.ensure_future(receive())
        try:
            await asyncio.wait({sender, listener}, return_when=asyncio.FIRST_COMPLETED)
            if listener.done():
                return _ENDS.get(listener.result()["type"], (0, ""))
            await sender
        except _TooFarAheadError as error:
            return 1013, str(error)
        except (UnavailableError, BusyError):
            return 1011, "the node does not answer at the moment: resume with from_height"
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 - the outermost boundary: reported, and the stream is closed
            self._report("event stream", error)
            return 1011, "the gateway failed; the fault is logged"
        finally:
            for task in (sender, listener):
                task.cancel()
            await asyncio.gather(sender, listener, return_exceptions=True)
        return 0, ""

    async def _send_all(self, messages: AsyncIterator[Message | str], send: Send) -> None:
        async for message in messages:
            text = message if isinstance(message, str) else msgspec.json.encode(message).decode()
            await send({"type": "websocket.send", "text": text})
            self.sent += 1

    async def _messages(
        self, topics: Topics, resume_height: int | None, client: str
    ) -> AsyncIterator[Message | str]:
        head = (await self._source.head()).height
        yield {"type": "hello", "height": head, "chain_id": self._source.genesis.hash().hex()}
        next_height = head + 1
        if resume_height is not None:
            if resume_height > head + AHEAD_MAX:
                raise _TooFarAheadError(
                    f"from_height is more than {AHEAD_MAX} ahead of the head {head}: ask later, or elsewhere"
                )
            next_height = max(1, resume_height, head - RESUME_MAX)
            if next_height > max(1, resume_height):
                yield _lagged(max(1, resume_height), next_height - 1)
        # Blocks that become final while older ones are read belong to the catching up.
        while next_height <= max(head, self.hub.newest or 0):
            for message in await self._in_turn(topics, next_height, client):
                yield message
            next_height += 1
        with self._subscribed(topics, next_height - 1) as (subscription, wake):
            for key in sorted(topics.keys):
                yield _state_message(key, await self._source.account(key))
            while True:
                await wake.wait()
                wake.clear()
                pending = subscription.take()
                if pending.lagged is not None:
                    yield _lagged(*pending.lagged)
                for height in pending.heights:
                    for message in await self._of_block(topics, height, live=True):
                        yield message

    async def _in_turn(self, topics: Topics, height: int, client: str) -> list[Message | str]:
        """A block's messages for a reader who catches up: readers of other clients come in between."""
        await self._turns.enter(client)
        try:
            return await self._of_block(topics, height, live=False)
        finally:
            self._turns.leave(client)

    @contextlib.contextmanager
    def _subscribed(self, topics: Topics, height: int) -> Any:
        subscription = Subscription(topics, height)
        self._wakes[subscription] = wake = asyncio.Event()
        self.hub.add(subscription)
        try:
            yield subscription, wake
        finally:
            self.hub.remove(subscription)
            del self._wakes[subscription]

    async def _of_block(self, topics: Topics, height: int, live: bool) -> list[Message | str]:
        """A block's messages in the order block, transactions, events, states; `lagged` where it is not kept.

        What a delta touched is known for the keys that were watched when it came, thus to live readers only.
        """
        facts = self.hub.facts(height) if live or not topics.watched else None
        block: Block | None = None
        if facts is None or (topics.accounts and not topics.accounts.isdisjoint(facts.touched)):
            block = await self._block(height)
            if block is None:
                return [_lagged(height, height)]
        chosen: Chosen = []
        if topics.contracts:
            count = facts.transactions if facts else block.header.transaction_count  # type: ignore[union-attr]
            found = await self._contract_events.choose(topics.contracts, height, count)
            block = block or (await self._block(height) if found else None)
            if found is None or (found and block is None):
                return [_lagged(height, height)]
            chosen = found
        messages: list[Message | str] = []
        if topics.blocks:
            messages.append(
                self._block_text(facts) if facts else _header_message(block.header)  # type: ignore[union-attr]
            )
        if block is not None:
            messages += _transactions(block, topics.accounts)
            messages += await self._contract_events.messages(chosen, block)
        if facts is not None:
            for key in sorted(topics.keys & facts.touched.keys()):
                nonce, balance = facts.touched[key]
                state = {"nonce": nonce, "balance": balance, "height": height}
                messages.append({"type": "state", "key": key.hex(), **state})
        elif block is not None:
            for key in sorted(topics.keys & _touched(block)):
                messages.append(_state_message(key, await self._source.account(key)))
        return messages

    def _block_text(self, facts: BlockFacts) -> str:
        """The message of a block, encoded once for all who are told of it at the same time."""
        if self._encoded[0] != facts.height:
            self._encoded = facts.height, msgspec.json.encode(_block_message(facts)).decode()
        return self._encoded[1]

    async def _block(self, height: int) -> Block | None:
        if self._decoded is not None and self._decoded[0] == height:
            return self._decoded[1]
        data, genesis = await self._source.block(height), self._source.genesis
        if data is None:
            return None
        block = decode_block(data, genesis.block_transactions_max, genesis.block_payload_bytes_max)
        self._decoded = height, block
        return block


def _read_query(scope: Scope) -> tuple[Topics, int | None]:
    try:
        query = parse_qs(
            scope.get("query_string", b"").decode("latin-1"),
            keep_blank_values=True,
            max_num_fields=QUERY_FIELDS_MAX,
        )
    except ValueError:
        raise ProblemError("invalid", "too many parameters", limit=QUERY_FIELDS_MAX) from None
    if unknown := set(query) - {"topic", "account", "key", "contract", "from_height"}:
        expected = "expected topic, account, key, contract, from_height"
        raise ProblemError("invalid", expected, field=min(unknown)[:64])
    if set(query.get("topic", [])) - {"blocks"}:
        detail = "the topic is `blocks`; use account, key and contract for others"
        raise ProblemError("invalid", detail, field="topic")
    contracts = contract_topics(query.get("contract", []))
    topics = Topics("topic" in query, _keys(query, "account"), _keys(query, "key"), contracts)
    if topics.count > KEYS_MAX:
        raise ProblemError("invalid", "too many accounts, keys and contracts", field="key", limit=KEYS_MAX)
    if not topics.blocks and not topics.count:
        detail = "subscribe to topic=blocks, account=KEY, key=KEY or contract=ADDRESS"
        raise ProblemError("invalid", detail, field="topic")
    text = query.get("from_height", [None])[-1]
    if text is not None and not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ProblemError("invalid", "a height is a number", field="from_height")
    return topics, None if text is None else int(text)


def _keys(query: dict[str, list[str]], name: str) -> frozenset[bytes]:
    keys = set()
    for text in query.get(name, []):
        try:
            key = bytes.fromhex(text) if len(text) == 64 else b""
        except ValueError:
            key = b""
        if len(key) != 32:
            raise ProblemError("invalid", "a key is 64 hexadecimal digits", field=name)
        keys.add(key)
    return frozenset(keys)


def _lagged(first: int, last: int) -> Message:
    return {"type": "lagged", "height": last, "from_height": first, "to_height": last}


def _block_message(facts: BlockFacts) -> Message:
    return {
        "type": "block",
        "height": facts.height,
        "hash": facts.hash.hex(),
        "state_root": facts.state_root.hex(),
        "time_ms": facts.time_ms,
        "transactions": facts.transactions,
    }


def _state_message(key: bytes, account: AccountState) -> Message:
    return {"type": "state", "key": key.hex(), **msgspec.structs.asdict(account)}


def _header_message(header: Header) -> Message:
    count = header.transaction_count
    return _block_message(
        BlockFacts(header.height, header.hash(), header.state_root, header.time_ms, count, {})
    )


def _transactions(block: Block, accounts: frozenset[bytes]) -> list[Message]:
    """Messages of the transactions that have one of the accounts as sender or recipient, in block order."""
    if not accounts or len(block.batch) == 0:
        return []
    rows, chosen = block.batch.rows, np.zeros(len(block.batch), dtype=np.bool_)
    for account in accounts:
        key = np.frombuffer(account, dtype=np.uint8)
        chosen |= (rows["sender"] == key).all(axis=1) | (rows["recipient"] == key).all(axis=1)
    starts, height = block.batch.payload_offsets, block.header.height
    return [
        {
            "type": "transaction",
            **render.transaction(
                rows[at : at + 1],
                block.batch.payloads[starts[at] : starts[at + 1]].tobytes(),
                height,
                at,
                None,
            ),
        }
        for at in np.flatnonzero(chosen).tolist()
    ]


def _touched(block: Block) -> set[bytes]:
    """Senders, recipients and the proposer."""
    rows = block.batch.rows
    keys = {row.tobytes() for name in ("sender", "recipient") for row in rows[name]}
    return keys | {block.header.proposer}
