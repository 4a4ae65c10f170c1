"""What a call or deployment offers to pay: enough for what it was seen to use, and a margin.

Rules
  * What is not used is not taken, so the margin costs nothing; the sender has to have it, though.
  * Between simulation and block others may change the state: a quarter more gas than was used, but never more
    than the function can use at all, and the deposit of one entry more.
  * A deployment runs no code of others if its contract imports nothing: then it is tried here, on an empty
    state, which is just what it meets. Else the most that its INIT can use is offered, for each call of
    another contract CONTRACT_CALL_GAS, and as many deposits as entries can be written with that gas.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from actors.contracts.encoding import encode_program
from actors.contracts.interpreter import run_init
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


def fee_for(prices: Prices, gas: int, entries: int) -> int:
    """The most that somebody pays for so much gas, and so many entries more than before."""
    return prices.fee_min + -(-gas // prices.gas_per_unit) + max(entries, 0) * prices.entry_deposit


def call_fee(prices: Prices, function: ContractFunction, simulated: Simulation, gas: int | None) -> int:
    """For a call that was simulated. gas: the caller's own limit, or None."""
    if gas is None:
        gas = simulated.gas * MARGIN_QUARTERS // 4
        if function.gas_max is not None:
            gas = min(gas, max(function.gas_max, simulated.gas))
    return fee_for(prices, gas, simulated.entries_created - simulated.entries_removed + 1)


def call_draft(contract: bytes, function: ContractFunction, data: bytes, coins: int, fee: int) -> Transfer:
    """A call that wants a nonce and a signature."""
    payload = encode_call(function.number, data)
    return Transfer(contract, coins, 0, fee, payload=payload, kind=KIND_CALL)


@dataclass(frozen=True)
class PreparedDeployment:
    """draft: wants a nonce, the address that follows from it as recipient, and a signature. entries: that the
    contract's program takes."""

    name: str
    draft: Transfer
    gas: int
    entries: int


def with_nonce(draft: Transfer, sender: bytes, nonce: int) -> Transfer:
    """The draft as it is signed with this nonce: a deployment's recipient follows from it."""
    recipient = contract_address(sender, nonce) if draft.kind == KIND_DEPLOY else draft.recipient
    return replace(draft, nonce=nonce, recipient=recipient)


@dataclass(frozen=True)
class WantedDeployment:
    """What somebody wants to deploy. source: text. gas: the most that it may use, or None. simulate: whether
    its INIT is tried here. filename: of the source, for those who mend it."""

    source: str
    arguments: Arguments
    sender: bytes
    coins: int = 0
    gas: int | None = None
    simulate: bool = True
    filename: str = "contract.py"


def prepare_deployment(
    wanted: WantedDeployment, prices: Prices, height: int, time_ms: int
) -> PreparedDeployment:
    """Compile a contract and see what its deployment takes. height, time_ms: of the newest block.

    Raises LanguageError or ProgramError for a source that is no contract, InterfaceError for arguments that
    its `@init` does not take, ContractFailedError for one that would fail.
    """
    compiled = compile_source(wanted.source, wanted.filename)
    verified = verify(compiled.program, prices.weights)
    data = _init_arguments(verified, wanted.arguments)
    deployment = Deployment(encode_program(compiled.program), wanted.source.encode(), data)
    payload = deployment.encode()
    origin = Origin(height, 0, wanted.sender)
    entries = len(program_entries(_NOBODY, deployment.program, deployment.source, origin))
    if verified.program.imports or not wanted.simulate:
        used, created = _most(verified, prices)
    else:
        used, created = _tried(verified, wanted, data, prices, (height + 1, time_ms))
    own_gas = DEPLOY_CHUNK_GAS * -(-len(payload) // ENTRY_BYTES_MAX)
    gas = own_gas + used if wanted.gas is None else wanted.gas
    fee = fee_for(prices, gas, entries + created + 1)
    draft = Transfer(_NOBODY, wanted.coins, 0, fee, payload=payload, kind=KIND_DEPLOY)
    return PreparedDeployment(verified.program.name, draft, gas, entries)


def _init_arguments(verified: Verified, arguments: Arguments) -> bytes:
    if verified.init is not None:
        return ContractFunction(verified.init).encode(arguments)
    if arguments:
        raise InterfaceError(f"{verified.program.name} has no @init, so its deployment takes no arguments")
    return b""


def _most(verified: Verified, prices: Prices) -> tuple[int, int]:
    """Gas, and entries that come to be, as far as is known without trying."""
    if verified.init is None:
        return 0, 0
    worst = verified.init.worst
    gas = worst.gas + worst.contract_calls * CONTRACT_CALL_GAS
    return gas, gas // max(1, prices.weights.write)


def _tried(
    verified: Verified, wanted: WantedDeployment, data: bytes, prices: Prices, block: tuple[int, int]
) -> tuple[int, int]:
    """Run its INIT on an empty state, with the coins that come along: gas with a margin, and entries."""
    height, time_ms = block
    context = CallContext(
        sender=wanted.sender,
        contract=_NOBODY,
        origin=wanted.sender,
        amount=wanted.coins,
        height=height,
        time_ms=time_ms,
    )
    world = MemoryWorld()
    world.balances = {_NOBODY: wanted.coins}
    result = run_init(verified, data, context, world, prices.block_gas_max)
    if result.failure is not None:
        raise ContractFailedError(result.failure.name, result.message)
    return result.gas_used * MARGIN_QUARTERS // 4, result.entries_created
