"""Governed functions at one member: running them before it proposes or votes, and those that it refused.

Rules
1. Nothing is run whose row is not statically valid: the governors' signatures are verified first, always.
2. A function runs on the state that its block begins with. What was found for one row on one state at one
   time is kept, the last one alone, so that a member that was asked to try it votes by what it found then.
3. A function that fails here, or whose effects differ, is refused: its row is left out of this member's
   blocks, and its mempool drops it. Effects in a block that others have certified are taken as they are.
   REFUSED_MAX refusals are remembered, the oldest go first, and all when the process ends.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from actors.execution.functions import FunctionColumns, FunctionFailedError
from actors.ledger.accounts import unpack
from actors.ledger.checks import static_verdicts
from actors.ledger.effects import BalanceEffects, decode_effects
from actors.ledger.environment import Environment
from actors.ledger.governed_payloads import GovernedCall, decode_governed
from actors.ledger.hashing import sha256
from actors.ledger.rows import KIND_GOVERNED, Batch, FormatError, encode_batch
from actors.ledger.verdict import Verdict
from actors.storage.accounts import Accounts
from actors.storage.governed_transition import changed, ranked_accounts, refusal_of
from actors.storage.interface import FunctionRefusal, FunctionTried

REFUSED_MAX = 256


class RunsFunctions(Protocol):
    """Who runs a function: execution/functions.py."""

    def run(self, call: GovernedCall, columns: FunctionColumns) -> BalanceEffects:
        """Raises FunctionFailedError."""
        ...


class Functions:
    """See the module's text. payload_bytes_max: of a block. told: is told of each refusal."""

    def __init__(self, runner: RunsFunctions, payload_bytes_max: int, told: Callable[[str], None]) -> None:
        self._runner, self._payload_bytes_max, self._told = runner, payload_bytes_max, told
        self._refused: OrderedDict[bytes, FunctionRefusal] = OrderedDict()
        self._last: tuple[tuple[bytes, bytes, int], FunctionTried] | None = None
        self.runs = 0

    def refusals(self) -> list[FunctionRefusal]:
        """The newest last."""
        return list(self._refused.values())

    def forget(self) -> None:
        """Keep nothing of the last function that was run."""
        self._last = None

    def attempt(
        self, accounts: Accounts, function: Batch, env: Environment, parent: bytes, runs: int = 1
    ) -> FunctionTried:
        """Run the function of one row on this state. parent: the hash of the block that it follows. runs: so
        many times, which must all agree."""
        verdict = _static(function, env)
        tx = unpack(function)[0]
        verdict = verdict or refusal_of(accounts, tx, env)
        tx_id = function.ids()[0].tobytes()
        if not verdict and tx_id in self._refused:
            return FunctionTried(int(Verdict.FUNCTION_REFUSED), reason=self._refused[tx_id].reason)
        if verdict:
            return FunctionTried(int(verdict), reason=verdict.name.lower())
        key = tx_id, parent, env.time_ms
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        try:
            found = {self._run(accounts, function, env) for _ in range(runs)}
        except FunctionFailedError as error:
            return self.refuse(function, env.height, str(error))
        if len(found) > 1:
            return self.refuse(function, env.height, "two runs at this member have different effects")
        effects = found.pop()
        tried = FunctionTried(0, sha256(effects), np.frombuffer(effects, dtype=np.uint8))
        self._last = key, tried
        return tried

    def hold_against(
        self, accounts: Accounts, function: Batch, env: Environment, parent: bytes, digest: bytes
    ) -> FunctionTried:
        """As `attempt`; refuses the function if the leader's effects, of this SHA-256, are not those found
        here."""
        own = self.attempt(accounts, function, env, parent)
        if own.verdict or own.digest == digest:
            return own
        what = f"its effects are {own.digest.hex()} at this member, {digest.hex()} at the leader"
        return self.refuse(function, env.height, what)

    def verify(self, accounts: Accounts, block: Batch, env: Environment, parent: bytes) -> str:
        """Of a block of a function and its effects: why this member does not vote for it, or nothing. What
        the rules of the state say against it anyway is not said here."""
        function = block.take(np.array([0]))
        own = self.attempt(accounts, function, env, parent)
        if own.verdict == Verdict.FUNCTION_REFUSED:
            return own.reason
        if own.verdict or own.effects is None:
            return ""
        theirs = block.payloads[len(function.payloads) :]
        if sha256(theirs.tobytes()) == own.digest:
            return ""
        fault = _difference(accounts, function, own.effects, theirs)
        self.refuse(function, env.height, fault)
        return fault

    def waiting(self, batch: Batch, verdicts: NDArray[np.uint8]) -> bytes:
        """The first row, with its payload, of a function that waits for a block of its own, as a batch; empty
        if none does. Rows of functions that were refused get that verdict."""
        first = b""
        for row in np.flatnonzero(verdicts == Verdict.NEEDS_EFFECTS):
            if int(batch.rows["kind"][row]) != KIND_GOVERNED:
                continue
            function = batch.take(np.array([row]))
            if function.ids()[0].tobytes() in self._refused:
                verdicts[row] = Verdict.FUNCTION_REFUSED
            else:
                first = first or encode_batch(function)
        return first

    def refuse(self, function: Batch, height: int, reason: str) -> FunctionTried:
        """Remember that the function of one row is refused in a block at this height."""
        tx_id = function.ids()[0].tobytes()
        if tx_id not in self._refused:
            self._told(f"governed function {tx_id.hex()} is refused at height {height}: {reason}")
            sender = function.rows["sender"][0].tobytes()
            self._refused[tx_id] = FunctionRefusal(tx_id, height, sender, reason)
            if len(self._refused) > REFUSED_MAX:
                self._refused.popitem(last=False)
        return FunctionTried(int(Verdict.FUNCTION_REFUSED), reason=reason)

    def _run(self, accounts: Accounts, function: Batch, env: Environment) -> bytes:
        """Its effects, which can be applied. Raises FunctionFailedError."""
        tx = unpack(function)[0]
        call = decode_governed(tx.payload)
        ranked = ranked_accounts(accounts, tx.recipient)
        if call is None or ranked.treasury < 0:
            raise FunctionFailedError("its treasury has no account")
        self.runs += 1
        keys, slots = accounts.keys_at(ranked.slots), ranked.slots
        columns = FunctionColumns(
            keys, accounts.balances[slots], accounts.nonces[slots], ranked.treasury, env.height, env.time_ms
        )
        effects = self._runner.run(call, columns)
        if isinstance(fault := changed(accounts, tx, effects, env), str):
            raise FunctionFailedError(fault)
        encoded = effects.encode()
        if len(encoded) + len(tx.payload) > self._payload_bytes_max:
            limit = f"at most {self._payload_bytes_max} (network.block_payload_bytes_max)"
            raise FunctionFailedError(
                f"its effects and its own bytes are {len(encoded) + len(tx.payload)}: {limit}"
            )
        return encoded


def _static(function: Batch, env: Environment) -> Verdict:
    """Of one row, whatever its kind: only governed functions are run."""
    if int(function.rows["kind"][0]) != KIND_GOVERNED:
        return Verdict.UNKNOWN_KIND
    verdicts = static_verdicts(function, env.chain_tag, env.height, env.prices, governors=env.governors)
    return Verdict(int(verdicts[0]))


def _difference(accounts: Accounts, function: Batch, own: Any, theirs: NDArray[np.uint8]) -> str:
    """The first account of which two effects say something else, in words."""
    try:
        block = decode_effects(theirs.data)
    except FormatError as error:
        return f"the block's effects are malformed: {error}"
    ranked = ranked_accounts(accounts, function.rows["recipient"][0].tobytes())
    changes = np.zeros((2, len(ranked.slots)), dtype=np.int64)
    for row, effects in zip(changes, (block, decode_effects(own.data)), strict=True):
        if not ranked.has(effects):
            return "the block's effects change accounts that do not exist"
        row[ranked.places_of(effects)] = effects.changes
    differing = np.flatnonzero(changes[0] != changes[1])
    at = differing[:1]
    key = accounts.keys_at(ranked.slots[at]).tobytes().hex()
    told, found = changes[:, at[0]].tolist()
    more = f", and {len(differing) - 1} more" if len(differing) > 1 else ""
    return f"the block changes account {key} by {told}, this member by {found}{more}"
