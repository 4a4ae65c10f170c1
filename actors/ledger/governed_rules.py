"""Governed functions, plainly: two rows that are a block, a function and the effects that it has.

Rules
1. A governed function stands in a block of two rows and in no other: its own, and the row of its effects
   behind it. So it has seen the state that the block begins with, and nothing else of the block changes that.
2. Whether these are the function's effects is no rule of the state: who votes has found out before
   (actors/storage/functions.py), and who replays takes them as they are. That they can be some is: they keep
   the rules of effects.py.
3. The sender pays its fee first, then all balances change at once. The fee is taken whole.
4. Neither row passes without the other: a function without good effects has NEEDS_EFFECTS, effects without a
   function that passes have BAD_EFFECTS.

Receipts: the function's has the balances of sender and treasury after all changes, and as its results the
hash of the effects.
"""

from __future__ import annotations

from actors.ledger.accounts import U64_MAX, Account, State, Transaction
from actors.ledger.contract_payloads import DEPOSITS_KEY
from actors.ledger.contract_rules import RowApplied, refusal
from actors.ledger.effects import BalanceEffects, decode_effects
from actors.ledger.environment import Environment
from actors.ledger.hashing import sha256
from actors.ledger.rows import KIND_EFFECTS, KIND_GOVERNED, Batch, FormatError
from actors.ledger.verdict import Verdict


def is_governed(batch: Batch) -> bool:
    """Whether these rows are a function and its effects."""
    return len(batch) == 2 and tuple(batch.rows["kind"]) == (KIND_GOVERNED, KIND_EFFECTS)


def effects_named(function_id: bytes, effects: Transaction, env: Environment) -> BalanceEffects | None:
    """The effects that a row brings for the function with this id; None if it is not the proposer's, or
    malformed."""
    if effects.sender != env.proposer or effects.recipient != function_id:
        return None
    try:
        return decode_effects(effects.payload)
    except FormatError:
        return None


def ranked_keys(state: State, treasury: bytes) -> list[bytes]:
    """Keys of the accounts that effects name by their rank."""
    return sorted(key for key in state if key not in (treasury, DEPOSITS_KEY))


def apply_governed(
    state: State, function: Transaction, function_id: bytes, effects: Transaction, env: Environment
) -> tuple[RowApplied, RowApplied]:
    """Apply both rows, which are statically valid, or neither. `state` is that before the block."""
    held = state.get(function.sender, Account()), state.get(function.recipient, Account())
    if verdict := refusal(function, *held, env):
        return RowApplied(verdict), RowApplied(Verdict.BAD_EFFECTS)
    found = effects_named(function_id, effects, env)
    after = None if found is None else _changed(state, function, found, env)
    if after is None:
        return RowApplied(Verdict.NEEDS_EFFECTS), RowApplied(Verdict.BAD_EFFECTS)
    state.update(after)
    return RowApplied(Verdict.OK, function.fee, results=sha256(effects.payload)), RowApplied(Verdict.OK)


def _changed(state: State, function: Transaction, found: BalanceEffects, env: Environment) -> State | None:
    """What the sender and all whom the effects name are afterwards; None where that cannot be."""
    keys = ranked_keys(state, function.recipient)
    if len(found.ranks) and int(found.ranks[-1]) >= len(keys):
        return None
    if function.recipient not in state or function.recipient == DEPOSITS_KEY:
        return None
    changes = {
        keys[rank]: change for rank, change in zip(found.ranks.tolist(), found.changes.tolist(), strict=True)
    }
    if treasury := found.treasury_change():
        changes[function.recipient] = treasury
    sender = state[function.sender]
    after = {function.sender: Account(sender.nonce + 1, sender.balance - function.fee)}
    for key, change in changes.items():
        account = after.get(key, state[key])
        after[key] = Account(account.nonce, account.balance + change)
    least = env.prices.balance_min
    return after if all(least <= after[key].balance <= U64_MAX for key in changes) else None
