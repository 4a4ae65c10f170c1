"""A leader's blocks with governed functions: tried by all members first, then proposed with their effects.

    a draw has a function -> the pipeline runs empty, all is committed
                          -> this member runs it on that state                fails: refused
                          -> the others run it on the same state, for the same time
                               a quorum has the same effects: a block of the function and its effects
                               too many have others, or it fails there: refused
                               too few say anything: it goes back to the mempool

Rules
1. No member trusts a trial: each holds the block that comes of it against what it found itself, and does not
   vote for another one (storage/functions.py). Trials only spare the chain blocks that would be refused.
2. A refused function is named in the log and in `refused_functions` of this member, and of each at which it
   failed or had other effects. It costs its sender nothing.
3. A member that leads a network by itself runs a function twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np

from actors.consensus.pipeline import Pipeline, Work
from actors.ledger.block_time import time_of_block
from actors.ledger.contract_payloads import ROW_PAYLOAD_BYTES_MAX
from actors.ledger.governed_signing import sign_effects
from actors.ledger.quorum import quorum
from actors.ledger.rows import BATCH_HEADER_BYTES, ROW_BYTES, concatenate, decode_batch
from actors.ledger.signing import Signer
from actors.ledger.verdict import Verdict
from actors.storage.interface import FunctionTried, TryFunction

TRIAL_DEADLINE_S, ELSEWHERE_TRIES, ELSEWHERE_PAUSE_S = 120.0, 40, 0.05
REASON_CHARS_MAX = 400
REQUEST_BYTES_MAX = BATCH_HEADER_BYTES + ROW_BYTES + ROW_PAYLOAD_BYTES_MAX + 1024


class TrialAnswer(msgspec.Struct, frozen=True, array_like=True):
    """What a member says of a function that it was asked to try. verdict: see FunctionTried."""

    verdict: int
    digest: bytes
    reason: str


class FunctionPorts(Protocol):
    """Storage and the wire, as a leader's trials see them."""

    signer: Signer

    async def try_function(self, request: TryFunction) -> FunctionTried: ...

    async def refuse_function(self, function: bytes, height: int, reason: str) -> None: ...

    async def ask_to_try(self, identity: bytes, request: bytes, deadline_s: float) -> bytes: ...


def decode_request(body: bytes) -> TryFunction:
    """What a leader asks of another member. Raises ValueError for anything else."""
    if len(body) > REQUEST_BYTES_MAX:
        raise ValueError(f"a request of {len(body)} bytes: at most {REQUEST_BYTES_MAX}")
    request = msgspec.msgpack.decode(body, type=TryFunction)
    if len(request.digest) != 32 or not 0 < request.height < 1 << 63 or not 0 <= request.time_ms < 1 << 63:
        raise ValueError("a leader asks about effects that it has found, at a height and a time")
    return msgspec.structs.replace(request, runs=1)


async def answer(body: bytes, tries: Callable[[TryFunction], Any]) -> bytes:
    """What this member says to a leader. Raises ValueError for a malformed request."""
    request = decode_request(body)
    tried: FunctionTried = await tries(request)
    for _ in range(ELSEWHERE_TRIES):
        if tried.verdict != Verdict.UNAVAILABLE:
            break
        await asyncio.sleep(ELSEWHERE_PAUSE_S)  # the block before is still on its way
        tried = await tries(request)
    return msgspec.msgpack.encode(TrialAnswer(tried.verdict, tried.digest, tried.reason[:REASON_CHARS_MAX]))


@dataclass(slots=True)
class FunctionTrials:
    """others() are the members to ask; names(identity) is what people call one."""

    ports: FunctionPorts
    chain_tag: int
    others: Callable[[], Sequence[bytes]]
    name: Callable[[bytes], str]
    wall_ms: Callable[[], int]
    told: Callable[[str], None]

    async def propose(self, function: bytes, pipeline: Pipeline) -> Verdict:
        """Try a function, a batch of one row, and propose it with its effects if a quorum agrees on them.

        The pipeline is empty, and its last block committed. OK once the block is durable here; BLOCK_GAS
        where the row is to wait; else why it is in no block.
        """
        tip, others = pipeline.tip, list(self.others())
        time_ms = time_of_block(self.wall_ms(), tip.time_ms)
        runs = 1 if others else 2
        request = TryFunction(tip.height + 1, tip.digest, time_ms, function, runs=runs)
        tried = await self.ports.try_function(request)
        if tried.verdict or tried.effects is None:
            self.told(f"a governed function is in no block: {tried.reason}")
            return _waits(Verdict(tried.verdict))
        asked = msgspec.structs.replace(request, digest=tried.digest)
        verdict, reason = await self._agreed(asked, others)
        if verdict is Verdict.FUNCTION_REFUSED:
            await self.ports.refuse_function(function, request.height, reason)
        if verdict:
            self.told(f"a governed function is in no block at height {request.height}: {reason}")
            return _waits(verdict)
        row = decode_batch(function, 1, ROW_PAYLOAD_BYTES_MAX)
        effects = sign_effects(self.ports.signer, self.chain_tag, row, tried.effects.tobytes())
        block = concatenate([row, effects])
        failed = list[int]()
        work = Work(
            (block.rows, block.payloads),
            2,
            order=np.arange(2),
            clock_ms=time_ms,
            on_executed=lambda verdicts: failed.extend(verdicts[verdicts != 0].tolist()),
        )
        await (await pipeline.submit(work))
        return Verdict(failed[0]) if failed else Verdict.OK

    async def _agreed(self, request: TryFunction, others: Sequence[bytes]) -> tuple[Verdict, str]:
        """OK if a quorum has the effects of this digest, FUNCTION_REFUSED if none can, else BLOCK_GAS."""
        members, body = 1 + len(others), msgspec.msgpack.encode(request)
        needed, agree, differ = quorum(members), 1, dict[str, str]()

        async def ask(identity: bytes) -> tuple[bytes, bytes]:
            return identity, await self.ports.ask_to_try(identity, body, TRIAL_DEADLINE_S)

        pending = {asyncio.create_task(ask(identity)) for identity in others}
        try:
            while pending and agree < needed and len(differ) <= members - needed:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for identity, found in map(_heard, done):
                    if not found.verdict and found.digest == request.digest:
                        agree += 1
                    elif found.verdict in (Verdict.OK, Verdict.FUNCTION_REFUSED):
                        differ[self.name(identity)] = found.reason or "it has other effects there"
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        if agree >= needed:
            return Verdict.OK, ""
        if len(differ) > members - needed:
            return Verdict.FUNCTION_REFUSED, "; ".join(f"{who}: {why}" for who, why in sorted(differ.items()))
        return (
            Verdict.BLOCK_GAS,
            f"{agree} of {members} members have said that they agree, {needed} are needed",
        )


def _heard(task: asyncio.Task[tuple[bytes, bytes]]) -> tuple[bytes, TrialAnswer]:
    """What a member said; UNAVAILABLE if that is nothing, or malformed."""
    identity, said = task.result()
    try:
        return identity, msgspec.msgpack.decode(said, type=TrialAnswer)
    except msgspec.DecodeError:
        return identity, TrialAnswer(int(Verdict.UNAVAILABLE), b"", "")


def _waits(verdict: Verdict) -> Verdict:
    """What a mempool is told: a row that may be in a later block goes back to it, as after BLOCK_GAS."""
    return Verdict.BLOCK_GAS if verdict in (Verdict.UNAVAILABLE, Verdict.NEEDS_EFFECTS) else verdict
