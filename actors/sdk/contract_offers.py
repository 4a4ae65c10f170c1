"""What a call or deployment offers to pay: enough for what it was seen to use, and a margin.

Rules
  * What is not used is not taken, so the margin costs nothing; the sender has to have it, though.
  * Between simulation and block others may change the state: a quarter more gas than was used, but never more
    than the function can use at all, and the deposit of one entry more.
  * A deployment runs no code of others if its contract imports nothing: then it is tried here, on an empty
    state, which is just what it meets. Else the most that its INIT can use is offered, and for each call of
    another contract CONTRACT_CALL_GAS.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from actors.contracts.encoding import encode_program
from actors.contracts.interpreter import Result, run_init
from actors.contracts.language.compiler import compile_source
from actors.contracts.limits import ENTRY_BYTES_MAX
from actors.contracts.running import CallContext
from actors.contracts.verified import Verified
from actors.contracts.verifier import verify
from actors.contracts.world import MemoryWorld
from actors.ledger.contract_payloads import Deployment, contract_address, encode_call
from actors.ledger.contract_rules import DEPLOY_CHUNK_GAS
from actors.ledger.contract_state import Origin, program_entries
from actors.ledger.prices import Prices
from actors.ledger.rows import KIND_CALL, KIND_DEPLOY
from actors.ledger.signing import Transfer
from actors.sdk.contract_interface import Arguments, ContractFunction
from actors.sdk.contract_results import ContractFailedError, Simulation
from actors.sdk.contract_values import InterfaceError

MARGIN_QUARTERS = 5
CONTRACT_CALL_GAS = 5_000
_NOBODY = bytes(32)


@dataclass(frozen=True)
class Offer:
    """gas: what the fee buys besides the deposit. fee: the most that the sender pays."""

    gas: int
    fee: int


def offer(prices: Prices, gas: int, entries: int) -> Offer:
    """For so much gas, and so many entries more than before."""
    units = -(-gas // prices.gas_per_unit)
    return Offer(gas, prices.fee_min + units + max(entries, 0) * prices.entry_deposit)


def call_offer(prices: Prices, function: ContractFunction, simulated: Simulation, gas: int | None) -> Offer:
    """For a call that was simulated. gas: the caller's own limit, or None."""
    if gas is None:
        gas = simulated.gas * MARGIN_QUARTERS // 4
        if function.gas_max is not None:
            gas = min(gas, max(function.gas_max, simulated.gas))
    return offer(prices, gas, simulated.entries_created - simulated.entries_removed + 1)


def call_draft(contract: bytes, function: ContractFunction, data: bytes, coins: int, fee: int) -> Transfer:
    """A call that wants a nonce and a signature."""
    payload = encode_call(function.number, data)
    return Transfer(contract, coins, 0, fee, payload=payload, kind=KIND_CALL)


@dataclass(frozen=True)
class PreparedDeployment:
    """draft: wants a nonce, the address that follows from it as recipient, and a signature. entries: that the
    contract's program takes."""

    name: str
    program: bytes
    draft: Transfer
    gas: int
    entries: int


def with_nonce(draft: Transfer, sender: bytes, nonce: int) -> Transfer:
    """The draft as it is signed with this nonce: a deployment's recipient follows from it."""
    recipient = contract_address(sender, nonce) if draft.kind == KIND_DEPLOY else draft.recipient
    return replace(draft, nonce=nonce, recipient=recipient)


def prepare_deployment(
    source: str,
    arguments: Arguments,
    sender: bytes,
    coins: int,
    gas: int | None,
    prices: Prices,
    height: int,
    filename: str = "contract.py",
) -> PreparedDeployment:
    """Compile a contract and see what its deployment takes. height: of the chain now.

    Raises LanguageError or ProgramError for a source that is no contract, InterfaceError for arguments that
    its `@init` does not take, ContractFailedError for one that would fail.
    """
    compiled = compile_source(source, filename)
    verified = verify(compiled.program, prices.weights)
    data = _init_arguments(verified, arguments)
    deployment = Deployment(encode_program(compiled.program), source.encode(), data)
    payload = deployment.encode()
    origin = Origin(height, 0, sender)
    entries = len(program_entries(_NOBODY, deployment.program, deployment.source, origin))
    if verified.program.imports:
        created, used = 0, _most(verified)
    else:
        tried = _try(
            verified,
            data,
            CallContext(sender=sender, contract=_NOBODY, origin=sender, amount=coins, height=height + 1),
            prices,
        )
        created, used = tried.entries_created, tried.gas_used * MARGIN_QUARTERS // 4
    own_gas = DEPLOY_CHUNK_GAS * -(-len(payload) // ENTRY_BYTES_MAX)
    wanted = offer(prices, gas if gas is not None else own_gas + used, entries + created + 1)
    draft = Transfer(_NOBODY, coins, 0, wanted.fee, payload=payload, kind=KIND_DEPLOY)
    return PreparedDeployment(verified.program.name, deployment.program, draft, wanted.gas, entries)


def _init_arguments(verified: Verified, arguments: Arguments) -> bytes:
    if verified.init is not None:
        return ContractFunction(verified.init).encode(arguments)
    if arguments:
        raise InterfaceError(f"{verified.program.name} has no @init, so its deployment takes no arguments")
    return b""


def _most(verified: Verified) -> int:
    if verified.init is None:
        return 0
    worst = verified.init.worst
    return worst.gas + worst.contract_calls * CONTRACT_CALL_GAS


def _try(verified: Verified, data: bytes, context: CallContext, prices: Prices) -> Result:
    """Run its INIT on an empty state, with the coins that come along."""
    world = MemoryWorld()
    world.balances = {context.contract: context.amount}
    result = run_init(verified, data, context, world, prices.block_gas_max)
    if result.failure is not None:
        raise ContractFailedError(result.failure.name, result.message)
    return result
