"""Transactions of one key with automatic nonces, many in flight, retried until each one's fate is known.

Rules, which together exclude that a transaction is executed twice
  * A transaction is signed for one nonce, and every retry sends those same bytes: the chain takes an id once.
  * It is signed anew with another nonce only after the chain's nonce has passed the first one and the chain
    does not hold its id: no block up to the height at which the nonce was read has it. That height is
    compared, since two answers may come from different nodes, of which one is behind.
  * A refusal is believed only if no earlier attempt of the same bytes may have been taken. Otherwise the
    bytes are offered again until they are committed, displaced, or `deadline_s` is over: UnconfirmedError.
  * The nonce of a refused transaction goes to the next one. If others wait behind it and no transaction is
    left to take it, an empty transfer to oneself does, so that a refusal holds nobody up.

Bounds: `inflight_max` transactions between signing and commit (keep it below the mempool's nonce window);
QUEUED_MAX that wait for their turn, beyond which `send` waits. Transactions of one sender mostly execute in
the order of the calls, but this is no promise: one that another client displaced goes to the end.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from actors.ledger.rows import Batch, FormatError, concatenate
from actors.ledger.signing import Signer, Transfer, sign_transfer
from actors.sdk.answers import ApiError, CommitTimeoutError, UnavailableApiError
from actors.sdk.client import AsyncClient
from actors.sdk.contract_offers import with_nonce
from actors.sdk.nonces import NonceSequence
from actors.sdk.requests import Found, RowRefusal, pending_receipt

Told = TypeVar("Told")
INFLIGHT_MAX = 768
REQUEST_ROWS_MAX, REQUEST_PAYLOAD_BYTES_MAX = 256, 1 << 19
QUEUED_MAX = 100_000
DEADLINE_S = 120.0
PAUSE_FIRST_S, PAUSE_MAX_S = 0.05, 2.0
LOOKUPS_AT_ONCE = 16
_AGAIN = frozenset({"UNAVAILABLE", "POOL_FULL", "SENDER_LIMIT", "NONCE_GAP", "DUPLICATE", "PARKED"})
_NEVER_TAKEN = frozenset({"SENDER_LIMIT", "NONCE_GAP"})


@dataclass(frozen=True, slots=True)
class Sent:
    """A committed transaction. height: of its block, or of a later one that was committed with it."""

    id: bytes
    nonce: int
    height: int


class RefusedError(Exception):
    """The node refused a transaction; it is in no block. `verdict` and `advice` say why."""

    def __init__(self, verdict: str, advice: str) -> None:
        super().__init__(f"{verdict}: {advice}")
        self.verdict, self.advice = verdict, advice


class UnconfirmedError(Exception):
    """A signed transaction may still be committed: `id` tells once the node answers. The wallet is closed."""

    def __init__(self, tx_id: bytes, nonce: int, deadline_s: float) -> None:
        super().__init__(f"{tx_id.hex()} with nonce {nonce}: no outcome within {deadline_s:g} s")
        self.id, self.nonce = tx_id, nonce


@dataclass(slots=True, eq=False)
class _Outgoing:
    transfer: Transfer
    done: asyncio.Future[Sent]
    signed: Batch | None = None
    id: bytes = b""
    until: float = 0.0
    unsure: bool = False


class TransactionSender:
    """Automatic nonces for one key over one client. One a key at a time is fast; more are safe."""

    def __init__(
        self,
        client: AsyncClient,
        signer: Signer,
        inflight_max: int = INFLIGHT_MAX,
        deadline_s: float = DEADLINE_S,
        jitter: random.Random | None = None,
    ) -> None:
        self._client, self._signer = client, signer
        self._inflight_max, self._deadline_s = inflight_max, deadline_s
        self._jitter = jitter or random.Random()
        self._room = asyncio.Semaphore(QUEUED_MAX)
        self._lookups = asyncio.Semaphore(LOOKUPS_AT_ONCE)
        self._queue: deque[_Outgoing] = deque()
        self._inflight: dict[int, _Outgoing] = {}
        self._nonces, self._begun = NonceSequence(0), False
        self._chain_tag = self._fee_min = 0
        self._pump: asyncio.Task[None] | None = None
        self._deliveries: set[asyncio.Task[None]] = set()
        self._broken: Exception | None = None
        self.retries = self.resigned = 0

    async def send(self, draft: Transfer) -> Sent:
        """Sign, submit and wait until it is committed. A caller that is cancelled does not recall it.

        The draft's nonce is not looked at, nor is where a deployment goes, which follows from the nonce.
        Raises FormatError for a field out of range, RefusedError, UnconfirmedError, or ApiError when the
        node answers what no retry can mend; after the last two nothing more is taken.
        """
        sign_transfer(self._signer, 0, draft)
        async with self._room:
            if self._broken is not None:
                raise self._broken
            outgoing = _Outgoing(draft, asyncio.get_running_loop().create_future())
            outgoing.done.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._queue.append(outgoing)
            self._wake()
            return await asyncio.shield(outgoing.done)

    async def drain(self) -> None:
        """Return once nothing is queued or in flight."""
        while self._pump is not None or self._deliveries:
            await asyncio.wait({*self._deliveries, *([self._pump] if self._pump else [])})

    async def close(self) -> None:
        """Stop at once; what is in flight may still be committed, what is queued is cancelled."""
        tasks = [*self._deliveries, *([self._pump] if self._pump else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for outgoing in (*self._queue, *self._inflight.values()):
            outgoing.done.cancel()
        self._queue.clear()
        self._inflight.clear()

    # From the queue to requests

    def _wake(self) -> None:
        if self._pump is None and (self._queue or self._needs_filler()):
            self._pump = asyncio.get_running_loop().create_task(self._run())
            self._pump.add_done_callback(self._pumped)

    def _pumped(self, pump: asyncio.Task[None]) -> None:
        self._pump = None
        if not pump.cancelled() and (error := pump.exception()) is not None:
            self._break(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    async def _run(self) -> None:
        await asyncio.sleep(0)  # callers that ask at the same time share requests
        if not self._begun:
            await self._begin()
        while self._broken is None and len(self._inflight) < self._inflight_max:
            room = min(REQUEST_ROWS_MAX, self._inflight_max - len(self._inflight))
            if not self._queue and self._needs_filler():
                self._queue.append(self._filler())
            rows = [self._sign(outgoing) for outgoing in self._take(room)]
            if not rows:
                return
            delivery = asyncio.get_running_loop().create_task(self._deliver(rows))
            self._deliveries.add(delivery)
            delivery.add_done_callback(self._delivered)

    def _take(self, room: int) -> list[_Outgoing]:
        """Up to `room` from the queue, as far as their payloads fit into one request."""
        taken, payload_bytes = list[_Outgoing](), 0
        while self._queue and len(taken) < room:
            payload_bytes += len(self._queue[0].transfer.payload)
            if taken and payload_bytes > REQUEST_PAYLOAD_BYTES_MAX:
                break
            taken.append(self._queue.popleft())
        return taken

    async def _begin(self) -> None:
        """Learn the chain and the key's nonce."""
        genesis = await self._until_answered(self._client.genesis)
        self._chain_tag, self._fee_min = genesis.chain_tag, genesis.fee_min
        self._nonces, self._begun = NonceSequence((await self._until_answered(self._nonce))[0]), True

    async def _until_answered(self, ask: Callable[[], Awaitable[Told]]) -> Told:
        """Ask a node that is away or busy again, until the deadline."""
        loop, attempt = asyncio.get_running_loop(), 0
        until = loop.time() + self._deadline_s
        while True:
            try:
                return await ask()
            except UnavailableApiError as error:
                if loop.time() > until:
                    raise
                await self._pause(attempt, error)
                attempt += 1

    def _sign(self, outgoing: _Outgoing) -> _Outgoing:
        nonce = self._nonces.take()
        outgoing.transfer = with_nonce(outgoing.transfer, self._signer.public_key, nonce)
        outgoing.signed = sign_transfer(self._signer, self._chain_tag, outgoing.transfer)
        outgoing.id, outgoing.unsure = outgoing.signed.ids()[0].tobytes(), False
        outgoing.until = asyncio.get_running_loop().time() + self._deadline_s
        self._inflight[nonce] = outgoing
        return outgoing

    def _needs_filler(self) -> bool:
        return self._nonces.gap_below(self._inflight)

    def _filler(self) -> _Outgoing:
        done: asyncio.Future[Sent] = asyncio.get_running_loop().create_future()
        done.add_done_callback(self._filled)
        return _Outgoing(Transfer(self._signer.public_key, 0, 0, self._fee_min), done)

    def _filled(self, done: asyncio.Future[Sent]) -> None:
        if not done.cancelled() and isinstance(error := done.exception(), RefusedError):
            self._break(error)

    def _delivered(self, delivery: asyncio.Task[None]) -> None:
        self._deliveries.discard(delivery)
        if not delivery.cancelled() and (error := delivery.exception()) is not None:
            self._break(error if isinstance(error, Exception) else RuntimeError(repr(error)))
        self._wake()

    def _break(self, error: Exception) -> None:
        """Take nothing more; what is queued was never signed, and fails. What is in flight goes on."""
        self._broken = self._broken or error
        while self._queue:
            _fail(self._queue.popleft(), self._broken)

    # One request's rows, until all their fates are known

    async def _deliver(self, rows: list[_Outgoing]) -> None:
        attempt = 0
        try:
            while rows:
                before = len(rows)
                rows, busy = await self._offer(rows)
                rows = self._expire(rows)
                attempt = 0 if len(rows) < before else attempt + 1
                self._wake()
                if rows:
                    self.retries += 1
                    await self._pause(attempt, busy)
        except Exception as error:
            for outgoing in rows:
                self._finish(outgoing, error)
            raise

    async def _offer(self, rows: list[_Outgoing]) -> tuple[list[_Outgoing], UnavailableApiError | None]:
        """Offer rows once and wait for their commit: those to offer again, and why if the node was away."""
        batch = concatenate([outgoing.signed for outgoing in rows if outgoing.signed is not None])
        try:
            try:
                receipt = await self._client.submit(batch, wait="committed")
            except CommitTimeoutError as error:
                receipt = pending_receipt(batch, error)
        except UnavailableApiError as error:
            for outgoing in rows:
                outgoing.unsure |= not error.nothing_taken
            return rows, error
        except (ApiError, FormatError) as error:
            if isinstance(error, ApiError) and error.status < 500:
                raise
            for outgoing in rows:
                outgoing.unsure = True
            return rows, None
        refused = {refusal.index: refusal for refusal in receipt.rejected}
        again: list[_Outgoing] = []
        doubtful: list[_Outgoing] = []
        for index, outgoing in enumerate(rows):
            if index in receipt.pending:
                outgoing.unsure = True
                again.append(outgoing)
            elif index not in refused:
                self._commit(outgoing, receipt.height or 0)
            elif self._refused(outgoing, refused[index]):
                doubt = outgoing.unsure or refused[index].verdict == "NONCE_REUSED"
                (doubtful if doubt else again).append(outgoing)
        return again + await self._look_up(doubtful), None

    def _refused(self, outgoing: _Outgoing, refusal: RowRefusal) -> bool:
        """Whether a refused row is to be offered again, or looked up first."""
        verdict = refusal.verdict
        if verdict in _AGAIN:
            outgoing.unsure |= verdict not in _NEVER_TAKEN
            return True
        if verdict == "NONCE_REUSED" or outgoing.unsure:
            return True
        nonce = outgoing.transfer.nonce
        self._finish(outgoing, RefusedError(verdict, refusal.advice))
        self._nonces.give_back(nonce)
        return False

    async def _look_up(self, rows: list[_Outgoing]) -> list[_Outgoing]:
        """Rows that may have been committed, or displaced by another transaction of the key."""
        if not rows:
            return []
        try:
            nonce, height = await self._nonce()
        except UnavailableApiError:
            return rows
        answers = await asyncio.gather(*(self._find(outgoing.id) for outgoing in rows))
        again = []
        for outgoing, found in zip(rows, answers, strict=True):
            if found is None:
                again.append(outgoing)
            elif found.record is not None:
                self._commit(outgoing, found.height)
            elif outgoing.transfer.nonce < nonce and found.height >= height:
                self._displaced(outgoing)
            else:
                again.append(outgoing)
        self._nonces.passed(nonce)
        return again

    def _displaced(self, outgoing: _Outgoing) -> None:
        """Another transaction took the nonce: this one can never be committed, and is signed anew."""
        if self._broken is not None:
            self._finish(outgoing, self._broken)
            return
        self._inflight.pop(outgoing.transfer.nonce, None)
        self.resigned += 1
        self._queue.append(outgoing)

    async def _nonce(self) -> tuple[int, int]:
        """The key's next nonce, and at which height it is that."""
        account = await self._client.account(self._signer.public_key)
        return int(account["nonce"]), int(account["height"])

    async def _find(self, tx_id: bytes) -> Found | None:
        """None where no node answers: one lost answer must not undo what the others say."""
        async with self._lookups:
            try:
                return await self._client.find(tx_id)
            except UnavailableApiError:
                return None

    def _expire(self, rows: list[_Outgoing]) -> list[_Outgoing]:
        now = asyncio.get_running_loop().time()
        late = [outgoing for outgoing in rows if outgoing.until <= now]
        for outgoing in late:
            error = UnconfirmedError(outgoing.id, outgoing.transfer.nonce, self._deadline_s)
            self._finish(outgoing, error)
            self._break(error)
        return [outgoing for outgoing in rows if outgoing.until > now]

    def _commit(self, outgoing: _Outgoing, height: int) -> None:
        self._inflight.pop(outgoing.transfer.nonce, None)
        if not outgoing.done.done():
            outgoing.done.set_result(Sent(outgoing.id, outgoing.transfer.nonce, height))

    def _finish(self, outgoing: _Outgoing, error: Exception) -> None:
        self._inflight.pop(outgoing.transfer.nonce, None)
        _fail(outgoing, error)

    async def _pause(self, attempt: int, busy: UnavailableApiError | None) -> None:
        """Exponential backoff with jitter, capped; not before what a busy node asked for, up to the cap."""
        pause_s = min(PAUSE_FIRST_S * 2 ** min(attempt, 16), PAUSE_MAX_S)
        if busy is not None and busy.status:
            pause_s = max(pause_s, min(busy.retry_after_s, PAUSE_MAX_S))
        await asyncio.sleep(pause_s * self._jitter.uniform(0.5, 1.0))


def _fail(outgoing: _Outgoing, error: Exception) -> None:
    if not outgoing.done.done():
        outgoing.done.set_exception(error)
