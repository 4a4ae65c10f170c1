"""A block of a governed function and its effects, over columns: the fast twin of ledger/governed_rules.py."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from actors.ledger.accounts import U64_MAX, Account, Transaction, unpack
from actors.ledger.checks import ENTRY_WORD
from actors.ledger.columns import FEES, PASSED
from actors.ledger.contract_payloads import DEPOSITS_KEY
from actors.ledger.contract_rules import refusal
from actors.ledger.effects import BalanceEffects
from actors.ledger.environment import Environment
from actors.ledger.governed_rules import effects_named
from actors.ledger.hashing import sha256
from actors.ledger.output_columns import OutputColumns, output_columns
from actors.ledger.receipts import Output
from actors.ledger.rows import Batch
from actors.ledger.verdict import Verdict
from actors.storage.accounts import Accounts
from actors.storage.column_ledger import ColumnLedger


class RankedAccounts(NamedTuple):
    """slots: (n,) int64 of the accounts that a function sees, in ascending order of their keys; the treasury
    is among them, at `treasury`, or -1 if it has no account."""

    slots: NDArray[np.int64]
    treasury: int

    def has(self, effects: BalanceEffects) -> bool:
        """Whether there are all the accounts that these effects change."""
        return not len(effects.ranks) or int(effects.ranks[-1]) < len(self.slots) - 1

    def places_of(self, effects: BalanceEffects) -> NDArray[np.int64]:
        """Where the accounts are that these effects change, among `slots`: ranks leave the treasury out."""
        return effects.ranks + (effects.ranks >= self.treasury)


def ranked_accounts(accounts: Accounts, treasury: bytes) -> RankedAccounts:
    """All accounts that exist, without that of deposits."""
    words = accounts.index.keys[: accounts.count]
    exist = (accounts.balances[: accounts.count] != 0) & (words[:, 0] != ENTRY_WORD)
    if (deposits := accounts.find(DEPOSITS_KEY)) >= 0:
        exist[deposits] = False
    slots = np.flatnonzero(exist)
    leading = words[slots, 0].byteswap()
    order = np.argsort(leading, kind="stable")
    if (np.diff(leading[order]) == 0).any():  # keys are compared as bytes, all of them
        order = np.lexsort([words[slots, word].byteswap() for word in range(words.shape[1] - 1, -1, -1)])
    slots = slots[order]
    found = accounts.find(treasury)
    at = np.flatnonzero(slots == found) if found >= 0 else slots[:0]
    return RankedAccounts(slots, int(at[0]) if len(at) else -1)


def run_governed(
    ledger: ColumnLedger,
    accounts: Accounts,
    batch: Batch,
    verdicts: NDArray[np.uint8],
    env: Environment,
    outputs: list[OutputColumns],
) -> None:
    """Apply both rows, or neither; `verdicts` have the static ones, and then what became of them."""
    if verdicts.any():
        verdicts[:] = verdicts[0] or Verdict.NEEDS_EFFECTS, verdicts[1] or Verdict.BAD_EFFECTS
        return
    function, effects = unpack(batch)
    if verdict := refusal_of(accounts, function, env):
        verdicts[:] = verdict, Verdict.BAD_EFFECTS
        return
    found = effects_named(batch.ids()[0].tobytes(), effects, env)
    after = "malformed" if found is None else changed(accounts, function, found, env)
    if isinstance(after, str):
        verdicts[:] = Verdict.NEEDS_EFFECTS, Verdict.BAD_EFFECTS
        return
    ledger.write_accounts(accounts.keys_at(after.slots), after.nonces, after.balances)
    columns = ledger.columns
    for at, (tx, fee) in enumerate(((function, function.fee), (effects, 0))):
        balances = [_account(accounts, key).balance for key in (tx.sender, tx.recipient)]
        columns.receipts[at] = 0, fee, *balances
    columns.totals[PASSED], columns.totals[FEES] = 2, function.fee
    ledger.count_islands(2, 2)
    outputs.append(output_columns([Output(0, 0, sha256(effects.payload)), Output(1, 0)]))


class Changed(NamedTuple):
    """What accounts are after a block: (m,) slots, each once, and their nonces and balances."""

    slots: NDArray[np.int64]
    nonces: NDArray[np.uint64]
    balances: NDArray[np.uint64]


def changed(
    accounts: Accounts, function: Transaction, found: BalanceEffects, env: Environment
) -> Changed | str:
    """What these effects and the fee make of accounts, or why that cannot be."""
    ranked = ranked_accounts(accounts, function.recipient)
    if ranked.treasury < 0:
        return "its treasury has no account"
    if not ranked.has(found):
        return f"it changes account {found.ranks[-1]} of {len(ranked.slots) - 1}"
    slots, changes = ranked.slots[ranked.places_of(found)], found.changes
    balances = accounts.balances[slots]
    singles: dict[int, int] = {}  # the few to which more than one thing happens
    sender, treasury = accounts.find(function.sender), int(ranked.slots[ranked.treasury])
    if (of_treasury := found.treasury_change()) != 0:
        singles[treasury] = int(accounts.balances[treasury]) + of_treasury
    if len(at := np.flatnonzero(slots == sender)):
        singles[sender] = int(balances[at[0]]) + int(changes[at[0]])
    bounded = set(singles)
    singles[sender] = singles.get(sender, int(accounts.balances[sender])) - function.fee
    least, bounds = env.prices.balance_min, f"{env.prices.balance_min} to 2^64-1"
    for slot in bounded:
        if not least <= singles[slot] <= U64_MAX:
            what = "the treasury" if slot == treasury else "the sender"
            return f"it leaves {what} with {singles[slot]}: {bounds}"
    others = slots != sender
    slots, balances, changes = slots[others], balances[others], changes[others]
    after = balances + changes.view(np.uint64)
    wrong = np.where(changes < 0, after > balances, after < balances) | (after < np.uint64(least))
    if wrong.any():
        at = np.flatnonzero(wrong)[:1]
        left = int(balances[at[0]]) + int(changes[at[0]])
        return f"it leaves account {accounts.keys_at(slots[at]).tobytes().hex()} with {left}: {bounds}"
    all_slots = np.concatenate([slots, np.array(list(singles), dtype=np.int64)])
    nonces = accounts.nonces[all_slots]
    nonces[all_slots == sender] += np.uint64(1)
    after = np.concatenate([after, np.array(list(singles.values()), dtype=np.uint64)])
    return Changed(all_slots, nonces, after)


def refusal_of(accounts: Accounts, function: Transaction, env: Environment) -> Verdict:
    """What keeps a function's row, which is statically valid, out of the block that comes next."""
    held = _account(accounts, function.sender), _account(accounts, function.recipient)
    return refusal(function, *held, env)


def _account(accounts: Accounts, key: bytes) -> Account:
    """As the plain rules see it before any row of the block: nothing, where none exists."""
    slot = accounts.find(key)
    if slot < 0 or not accounts.balances[slot]:
        return Account()
    return Account(int(accounts.nonces[slot]), int(accounts.balances[slot]))
