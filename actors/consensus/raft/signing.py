"""Which blocks a replica may sign: the rule on which commit certificates rest.

Raft alone does not say that a block on a majority's disks is committed: in the schedule of figure 8 (Raft
paper, section 5.4.2) a majority holds a block of an older term, and another leader replaces it. So under the
leader of term T a replica signs (height, T, block) only if

    its durable log holds the block, and ends with an entry whose own term is T, and
    it is a voter of a configuration that is not joint, or it knows the block to be committed, and
    its disk is the one that the configuration names (`may_sign`): it has forgotten no vote.

The second line of the first condition is what `durable entry of term T at or behind the block` comes to,
since terms never fall along a log. Blocks of older terms get votes only with the leader's no-op or a later
entry.

Proof that a certificate, the votes of more than half of the genesis for one (height, T, block), proves
commitment. If any of its voters knew the block to be committed, it is. Else every voter held, durably and
while in term T, entries of T behind the block; all entries of T come from one leader, so by log matching all
those logs agree up to the shortest of them, which ends with an entry e of term T behind the block. Each voter
votes in the configuration C of its log, which is not joint, so the joint one that led to C is committed, and
whoever is elected later needs a majority of C, until a later change is committed that has e before it. (Of
two configurations among the voters, the later one says that the change to it is committed, which no log of
the earlier one reaches, so neither does e.) The voters are more than half of the genesis and belong to C, so
they are a majority of C, and every one of them refuses candidates that lack e. So every later leader has e,
and the block before it: it is committed in the sense of Raft, whether its leader came to know or not. Two
blocks of one height are never both in such a leader's log, hence at most one block of a height is certified.
One member never signs two blocks of one height in one term, since its log up to e is that of the leader of T:
who does so convicts itself (`equivocation.py`).
"""

from __future__ import annotations

from .identity import Identity


def signable_index(raft: Identity) -> int:
    """Blocks up to this index may be signed, as acknowledged in `raft.term`; 0 for none."""
    durable = raft.durable_index
    if not raft.may_sign or raft.log.term_at(durable) != raft.term:
        return 0
    configuration = raft.configuration
    if raft.id in configuration.voters and not configuration.is_joint:
        return durable
    return min(durable, raft.commit_index)
