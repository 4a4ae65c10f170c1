"""Who may change anything in consensus: not a member that was removed, and nobody by a term out of reach."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from actors.consensus.raft import Message
from actors.consensus.raft.messages import HeartbeatRequest, PreVoteRequest, VoteRequest
from actors.consensus.raft.records import INDEX_MAX, TERM_MAX
from bench.attack.lying_member import LyingMember
from bench.attack.registry import AttackOutcome, AttackTarget, attack, judged

TERMS_AHEAD, TERM_SANE_MAX = 1_000, 2**32
PAUSE_S = 0.01


@attack("removed-member", kind="consensus", harms_member=True)
def removed_member(target: AttackTarget) -> AttackOutcome:
    """A removed member's heartbeats and candidacies, of ever higher terms, depose nobody."""
    return asyncio.run(_removed_member(target))


async def _removed_member(target: AttackTarget) -> AttackOutcome:
    async with AsyncExitStack() as stack:
        liar = LyingMember(target, stack)
        if refused := liar.remove():
            return AttackOutcome(False, f"the member could not be removed: {refused}")
        first = max(standing.term for standing in liar.standings()) + TERMS_AHEAD
        term = await _lie(liar, first, 1)
    return _judged(liar, f"terms {first} to {term}", first)


@attack("absurd-term", kind="consensus", harms_member=True)
def absurd_term(target: AttackTarget) -> AttackOutcome:
    """A member says terms of 2^62 and 2^63-1: nobody's durable term goes there, and the chain goes on."""
    return asyncio.run(_absurd_term(target))


async def _absurd_term(target: AttackTarget) -> AttackOutcome:
    async with AsyncExitStack() as stack:
        liar = LyingMember(target, stack)
        await _lie(liar, TERM_MAX, INDEX_MAX - TERM_MAX)
    return _judged(liar, "terms 2^62 and 2^63-1", TERM_SANE_MAX)


async def _lie(liar: LyingMember, first: int, step: int) -> int:
    """Say terms from `first` on as a leader and as a candidate; the last one."""
    term = first
    while liar.goes_on:
        for victim in liar.victims:
            for message in _claims(liar.number, victim, term):
                await liar.say(victim, message)
            await liar.listen(victim)
        term = min(term + step, INDEX_MAX)
        await asyncio.sleep(PAUSE_S)
    return term


def _claims(sender: int, to: int, term: int) -> tuple[Message, ...]:
    return (
        HeartbeatRequest(sender, to, term, 0, 1, 0),
        VoteRequest(sender, to, term, 10**6, term - 1, True),
        VoteRequest(sender, to, term, 10**6, term - 1),
        PreVoteRequest(sender, to, term, 10**6, term - 1),
    )


def _judged(liar: LyingMember, what: str, term_reached: int) -> AttackOutcome:
    problem = liar.await_growth()
    terms = [standing.term for standing in liar.standings()]
    if max(terms) >= term_reached:
        problem = problem or f"a member's term is {max(terms)}"
    if not liar.said:
        problem = problem or "nothing could be said"
    return judged(f"{liar.said} messages with {what}; terms are {terms}", problem)
