"""Transactions of contracts, plainly: deploying one, and calling one.

Rules
1. What keeps a row out of a block: a nonce that is not the sender's next, a balance that does not cover
   amount and fee and the least balance besides, or too little gas left in the block for what the fee buys.
2. Everything else happens within the block: the row is applied, whatever comes of it. The nonce rises, and
   what was used is paid. A call that failed has changed nothing besides.
3. What is used: `fee_min`; gas, rounded up to whole units; and for each entry more than before the deposit,
   which waits in the account of deposits (contract_payloads.py) and comes back to who calls what removes it.
   A deployment pays for its program, too: its entries are entries.
4. Coins that are sent along are the contract's before its function runs.
5. No account is left with less than `balance_min`, but that of deposits.

Receipts: receipts.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from actors.contracts.encoding import decode_program
from actors.contracts.errors import ProgramError
from actors.contracts.failures import CallFailedError, Failure
from actors.contracts.interpreter import Result, call, check_imports, run_init
from actors.contracts.limits import ENTRY_BYTES_MAX
from actors.contracts.running import CallContext, EmittedEvent
from actors.contracts.verifier import verify
from actors.contracts.world import Overlay
from actors.ledger.accounts import U64_MAX, Account, Transaction
from actors.ledger.contract_payloads import DEPOSITS_KEY, Deployment, decode_deployment
from actors.ledger.contract_state import LedgerWorld, Origin, program_entries
from actors.ledger.environment import Environment
from actors.ledger.ledger_view import LedgerView
from actors.ledger.prices import Prices
from actors.ledger.receipts import Output
from actors.ledger.verdict import Verdict

_Run = Callable[[Overlay, Transaction, Environment, int], Result]
DEPLOY_CHUNK_GAS = 200
"""For as many bytes of its payload as an entry has: they are decoded, verified and kept."""


@dataclass(frozen=True, slots=True)
class RowApplied:
    """What came of a row: verdict OK if it is in the block, and then what it paid.

    status: 0, or the Failure. gas: used. results, events, message: as in interpreter.Result.
    """

    verdict: Verdict
    fee: int = 0
    status: int = 0
    gas: int = 0
    results: bytes = b""
    events: tuple[EmittedEvent, ...] = ()
    message: str = ""

    def output(self, position: int) -> Output:
        """What its receipt says besides, at this place in the block."""
        return Output(position, self.gas, self.results, self.events, self.message)


def gas_limit(tx: Transaction, prices: Prices) -> int:
    """What its fee buys; no more than a block has."""
    return min((tx.fee - prices.fee_min) * prices.gas_per_unit, prices.block_gas_max)


def apply_call(ledger: LedgerView, tx: Transaction, env: Environment, gas_left: int) -> RowApplied:
    """Apply a statically valid call. gas_left: of the block."""
    return _apply(ledger, tx, env, gas_left, _run_call)


def apply_deploy(ledger: LedgerView, tx: Transaction, env: Environment, gas_left: int) -> RowApplied:
    """Apply a statically valid deployment."""
    return _apply(ledger, tx, env, gas_left, _run_deploy)


def _apply(ledger: LedgerView, tx: Transaction, env: Environment, gas_left: int, run: _Run) -> RowApplied:
    sender, prices = ledger.account(tx.sender, env.height), env.prices
    gas = gas_limit(tx, prices)
    if verdict := refusal(tx, sender, ledger.account(tx.recipient, env.height), env):
        return RowApplied(verdict)
    if gas > gas_left:
        return RowApplied(Verdict.BLOCK_GAS)
    ledger.set_account(tx.sender, Account(sender.nonce + 1, sender.balance - tx.fee))
    base = LedgerWorld(ledger, env.height, prices.weights)
    world = Overlay(base)
    result = run(world, tx, env, gas)
    fee = prices.fee_min + -(-result.gas_used // prices.gas_per_unit)
    if result.failure is None:
        deposit = (result.entries_created - result.entries_removed) * prices.entry_deposit
        if fee + deposit > tx.fee:
            result = _failed(Failure.DEPOSIT, result.gas_used)
        elif _leaves_too_little(world, base, prices):
            result = _failed(Failure.BALANCE_BELOW_MINIMUM, result.gas_used)
        else:
            world.commit()
            if deposit:
                base.move(tx.sender, DEPOSITS_KEY, deposit)
    left = ledger.account(tx.sender, env.height)
    ledger.set_account(tx.sender, Account(left.nonce, left.balance + tx.fee - fee))
    return RowApplied(
        Verdict.OK, fee, result.failure or 0, result.gas_used, result.results, result.events, result.message
    )


def refusal(tx: Transaction, sender: Account, recipient: Account, env: Environment) -> Verdict:
    """What keeps a row out of a block (rule 1), its gas apart."""
    if tx.nonce < sender.nonce:
        return Verdict.NONCE_REUSED
    if not sender.balance:
        return Verdict.INSUFFICIENT_BALANCE
    if tx.nonce > sender.nonce:
        return Verdict.NONCE_GAP
    if sender.balance < tx.amount + tx.fee:
        return Verdict.INSUFFICIENT_BALANCE
    if tx.recipient != tx.sender and recipient.balance + tx.amount > U64_MAX:
        return Verdict.BALANCE_OVERFLOW
    if sender.balance - tx.amount - tx.fee < env.prices.balance_min:
        return Verdict.SENDER_BELOW_MINIMUM
    return Verdict.OK


def _leaves_too_little(world: Overlay, base: LedgerWorld, prices: Prices) -> bool:
    return any(
        0 < balance < prices.balance_min and balance != base.balance(address)
        for address, balance in world.balances.items()
    )


def _run_call(world: Overlay, tx: Transaction, env: Environment, gas: int) -> Result:
    program = world.program(tx.recipient)
    if program is None:
        return _failed(Failure.MISSING_CONTRACT, 0)
    world.move(tx.sender, tx.recipient, tx.amount)
    return call(program, tx.payload[0], tx.payload[1:], _context(tx, env), world, gas)


def _run_deploy(world: Overlay, tx: Transaction, env: Environment, gas: int) -> Result:
    wanted = decode_deployment(tx.payload) or Deployment(b"", b"")
    own_gas = DEPLOY_CHUNK_GAS * -(-len(tx.payload) // ENTRY_BYTES_MAX)
    if own_gas > gas:
        return _failed(Failure.OUT_OF_GAS, gas)
    try:
        program = verify(decode_program(wanted.program), env.prices.weights)
        check_imports(program, world)
    except ProgramError:
        return _failed(Failure.BAD_PROGRAM, own_gas)
    except CallFailedError as failed:
        return _failed(failed.failure, own_gas)
    origin = Origin(env.height, tx.nonce, tx.sender)
    entries = program_entries(tx.recipient, wanted.program, wanted.source, origin)
    for key, value in entries.items():
        world.set_entry(key, value)
    world.move(tx.sender, tx.recipient, tx.amount)
    result = run_init(program, wanted.arguments, _context(tx, env), world, gas - own_gas)
    return msgspec.structs.replace(
        result, gas_used=result.gas_used + own_gas, entries_created=result.entries_created + len(entries)
    )


def _failed(failure: Failure, gas_used: int) -> Result:
    return Result(failure=failure, gas_used=gas_used)


def _context(tx: Transaction, env: Environment) -> CallContext:
    return CallContext(
        sender=tx.sender,
        contract=tx.recipient,
        origin=tx.sender,
        amount=tx.amount,
        height=env.height,
        time_ms=env.time_ms,
    )
