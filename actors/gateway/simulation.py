"""What a call would do: the chain's own rule, on the state of one height, with nothing written. No I/O.

1. The call is executed as the block after `height` would execute it, at that block's height and with the time
   of the block at `height`, by ledger/contract_rules.py.
2. It may use `gas`, whatever its sender could pay for. So the sender is lent a fee that no call uses up; the
   fee is taken before the call runs, so no contract sees it.
3. Coins that come along are the sender's own. Who does not have them, and the fee besides, and the least
   balance, is refused with the chain's verdict. A view, or a call by NOBODY that brings no coins, is free:
   there a sender without coins is lent the least balance, so that it could be sent some.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from actors.ledger.accounts import Account, Transaction
from actors.ledger.contract_payloads import encode_call
from actors.ledger.contract_rules import RowApplied, apply_call
from actors.ledger.environment import Environment
from actors.ledger.prices import Prices, first_nonce
from actors.ledger.rows import KIND_CALL, NEVER_EXPIRES_HEIGHT, ROW_VERSION
from actors.ledger.verdict import Verdict

LENT_FEE = 1 << 63
NOBODY = bytes(32)


@dataclass(frozen=True, slots=True)
class SimulatedCall:
    """A call that nobody signed. sender: NOBODY if the caller names none. gas: its limit.

    pays: whether the sender's coins are to cover it. height, time_ms: of the state that it is run on.
    """

    contract: bytes
    function: int
    arguments: bytes
    sender: bytes
    amount: int
    gas: int
    pays: bool
    height: int
    time_ms: int


@dataclass(frozen=True, slots=True)
class SimulationOutcome:
    """What came of it. verdict: why no block would have it, or OK; then applied says what happened.

    fee: that it would have to offer. deposit: of the entries that it makes, less of those that it removes.
    changes: before and after, of each entry that would be another; bytes, empty where there is none.
    """

    verdict: Verdict
    applied: RowApplied
    fee: int = 0
    deposit: int = 0
    changes: tuple[tuple[bytes, bytes, bytes], ...] = ()

    @property
    def created(self) -> int:
        """How many entries come to be."""
        return sum(not before for _, before, _ in self.changes)

    @property
    def removed(self) -> int:
        """How many go."""
        return sum(not after for _, _, after in self.changes)


class SimulatedLedger:
    """The view of one height (ledger/ledger_view.py), under changes of its own.

    known: what keys hold, as far as it was read; `fetch` reads another key.
    """

    def __init__(self, known: dict[bytes, bytes], fetch: Callable[[bytes], bytes]) -> None:
        self._known, self._fetch = known, fetch
        self._accounts: dict[bytes, Account] = {}
        self._entries: dict[bytes, bytes] = {}

    def _value(self, key: bytes) -> bytes:
        value = self._known.get(key)
        if value is None:
            value = self._known[key] = self._fetch(key)
        return value

    def account(self, key: bytes, height: int) -> Account:
        """See LedgerView."""
        held = self._accounts.get(key)
        if held is None:
            value = self._value(key)
            held = Account(int.from_bytes(value[:8], "little"), int.from_bytes(value[8:], "little"))
        return held if held.balance else Account(max(held.nonce, first_nonce(height)), 0)

    def set_account(self, key: bytes, account: Account) -> None:
        """See LedgerView."""
        self._accounts[key] = account

    def entry(self, key: bytes) -> bytes:
        """See LedgerView."""
        value = self._entries.get(key)
        return self._value(key) if value is None else value

    def set_entry(self, key: bytes, value: bytes) -> None:
        """See LedgerView."""
        self._entries[key] = value

    def changes(self) -> tuple[tuple[bytes, bytes, bytes], ...]:
        """Entries that are others than before, by key: what they held, and what they hold."""
        pairs = ((key, self._value(key), after) for key, after in sorted(self._entries.items()))
        return tuple((key, before, after) for key, before, after in pairs if before != after)


def simulate(
    ledger: SimulatedLedger, wanted: SimulatedCall, chain_tag: int, prices: Prices
) -> SimulationOutcome:
    """Run a call on a ledger of `wanted.height`; `ledger` has its changes afterwards."""
    height, sender = wanted.height + 1, wanted.sender
    own, nothing = ledger.account(sender, height), RowApplied(Verdict.OK)
    if wanted.pays and (verdict := _shortage(own.balance, wanted.amount + prices.fee_min, prices)):
        return SimulationOutcome(verdict, nothing, prices.fee_min)
    lent = 0 if wanted.pays else max(0, prices.balance_min - own.balance)
    ledger.set_account(sender, Account(own.nonce, own.balance + lent + LENT_FEE))
    limited = replace(prices, block_gas_max=wanted.gas)
    env = Environment(chain_tag, height, NOBODY, limited, wanted.time_ms)
    applied = apply_call(ledger, _transaction(wanted, sender, own.nonce, chain_tag), env, wanted.gas)
    changes = ledger.changes()
    deposit = sum((not before) - (not after) for _, before, after in changes) * prices.entry_deposit
    fee, verdict = applied.fee + max(0, deposit), applied.verdict
    if wanted.pays and not verdict:
        verdict = _shortage(own.balance, wanted.amount + fee, prices)
    return SimulationOutcome(verdict, applied, fee, deposit, changes)


def _shortage(balance: int, cost: int, prices: Prices) -> Verdict:
    """Why nobody with this balance can pay so much, as the chain says it."""
    if not balance or balance < cost:
        return Verdict.INSUFFICIENT_BALANCE
    return Verdict.SENDER_BELOW_MINIMUM if balance - cost < prices.balance_min else Verdict.OK


def _transaction(wanted: SimulatedCall, sender: bytes, nonce: int, chain_tag: int) -> Transaction:
    return Transaction(
        version=ROW_VERSION,
        kind=KIND_CALL,
        flags=0,
        chain_tag=chain_tag,
        nonce=nonce,
        amount=wanted.amount,
        fee=LENT_FEE,
        expiry_height=NEVER_EXPIRES_HEIGHT,
        sender=sender,
        recipient=wanted.contract,
        payload_hash=bytes(32),
        payload=encode_call(wanted.function, wanted.arguments),
    )
