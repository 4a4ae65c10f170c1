"""A member that lies as a leader: what it proposes is false, and those who find out must not pay for it."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack
from dataclasses import replace

import numpy as np

from actors.consensus.raft import Entry, EntryKind
from actors.consensus.raft.messages import AppendRequest, AppendResponse
from actors.ledger.block import Block, Header, decode_block, sign_proposal
from actors.ledger.merkle import root
from actors.ledger.rows import FormatError
from bench.attack.lying_member import LyingMember
from bench.attack.registry import AttackOutcome, AttackTarget, attack, judged


@attack("bad-block", kind="consensus", harms_member=True)
def bad_block(target: AttackTarget) -> AttackOutcome:
    """A member proposes blocks with a false state root, of a higher term: it is refused, and nobody halts."""
    return asyncio.run(_bad_block(target))


async def _bad_block(target: AttackTarget) -> AttackOutcome:
    async with AsyncExitStack() as stack:
        liar = LyingMember(target, stack)
        if problem := liar.step_aside():
            return AttackOutcome(False, problem)
        proposed = 0
        while liar.patient(proposed):
            for victim in liar.victims:
                for heard in await liar.listen(victim):
                    if not isinstance(heard, AppendRequest) or not heard.entries:
                        continue
                    last = heard.entries[-1]
                    # As an honest follower would, so that the leader goes on to say where its log stands.
                    held = AppendResponse(liar.number, victim, heard.term, last.index, round=heard.round)
                    await liar.say(victim, held)
                    parent = _block_of(liar, heard, last)
                    if parent is None:
                        continue
                    for other in liar.victims:
                        await liar.say(other, _false_request(liar, other, heard, parent))
                        proposed += 1
    problem = liar.await_growth()
    convicted = max(standing.evidence for standing in liar.standings())
    if not convicted:
        problem = problem or "nobody has kept evidence of it"
    return judged(f"{proposed} false blocks proposed, {convicted} refused blocks kept as evidence", problem)


def _block_of(liar: LyingMember, request: AppendRequest, entry: Entry) -> Block | None:
    genesis = liar.genesis
    for raw in request.bodies:
        try:
            block = decode_block(raw, genesis.block_transactions_max, genesis.block_payload_bytes_max)
        except FormatError:
            continue
        if block.header.hash() == entry.digest:
            return block
    return None


def _false_request(liar: LyingMember, victim: int, heard: AppendRequest, parent: Block) -> AppendRequest:
    """The block after `parent`, of the next term, without rows and with a state root of nothing."""
    last, term = heard.entries[-1], heard.term + 1
    header = Header(
        height=parent.header.height + 1,
        term=term,
        time_ms=max(parent.header.time_ms, time.time_ns() // 1_000_000),
        transaction_count=0,
        payload_bytes=0,
        parent_hash=parent.header.hash(),
        transaction_root=root(np.empty((0, 32), dtype=np.uint8)),
        state_root=os.urandom(32),
        receipts_root=root(np.empty((0, 32), dtype=np.uint8)),
        proposer=liar.signer.public_key,
    )
    signature = sign_proposal(liar.signer, liar.genesis.hash(), header.hash())
    empty = replace(parent.batch, rows=parent.batch.rows[:0], payloads=parent.batch.payloads[:0])
    entry = Entry(last.index + 1, term, EntryKind.BLOCK, header.hash(), 0)
    return AppendRequest(
        liar.number,
        victim,
        term,
        last.index,
        last.term,
        heard.commit,
        1,
        (entry,),
        (Block(header, signature, empty).encode(),),
    )
