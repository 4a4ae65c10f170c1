"""What both twins of `Contract` ask a gateway for, in which order, and what they make of the answers. No I/O.

Each function is a generator that yields requests, is sent their answers, and returns the outcome:
`run` of contract.py and its awaited twin carry them out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from actors.contracts.limits import SOURCE_BYTES_MAX
from actors.ledger.contract_state import head_key
from actors.ledger.genesis import Genesis
from actors.ledger.hashing import sha256
from actors.ledger.signing import Transfer
from actors.sdk import contract_requests as requests
from actors.sdk.answers import read_object
from actors.sdk.contract_interface import (
    Arguments,
    ContractFunction,
    ContractInterface,
    read_interface,
    single,
)
from actors.sdk.contract_offers import (
    PreparedDeployment,
    WantedDeployment,
    call_draft,
    call_fee,
    fee_for,
    prepare_deployment,
)
from actors.sdk.contract_results import (
    Called,
    DeployedContract,
    Simulation,
    read_called,
    read_deployed,
    read_simulated,
)
from actors.sdk.contract_values import InterfaceError
from actors.sdk.inclusion_proof import ProofError
from actors.sdk.light_client import verify_entry
from actors.sdk.requests import ApiRequest, Height, block

if TYPE_CHECKING:
    import httpx

Outcome = TypeVar("Outcome")
Steps = Generator[ApiRequest[Any], Any, Outcome]


@dataclass(frozen=True)
class TableRow:
    """A row of a table at a height, as it was proven. exists: whether something is kept there; a row that
    nothing is kept of has zeros in all columns."""

    table: str
    keys: tuple[Any, ...]
    height: int
    exists: bool
    columns: dict[str, Any]

    @property
    def value(self) -> Any:
        """Its columns as one value."""
        return single(self.columns)


def open_steps(address: bytes, genesis: Genesis, trusted: bool) -> Steps[ContractInterface]:
    """Read a contract; where the genesis is trusted its program is proven to be the one of the state."""
    facts, head = (yield requests.contract(address)), None
    if trusted:
        key = head_key(address)
        _, head = verify_entry(genesis, key, (yield requests.entry_proof(key, "latest")))
    return read_interface(address, facts, genesis.prices.weights, head)


def simulate_steps(
    interface: ContractInterface,
    function: ContractFunction,
    arguments: Arguments,
    sender: bytes | None = None,
    coins: int = 0,
    gas: int | None = None,
    height: int | None = None,
) -> Steps[Simulation]:
    """What a call would do."""
    data = function.encode(arguments)
    body: dict[str, Any] = {"function": function.number, "arguments": data.hex()}
    body |= {} if sender is None else {"sender": sender.hex()}
    body |= {"amount": str(coins)} if coins else {}
    body |= {} if gas is None else {"gas": gas}
    body |= {} if height is None else {"height": height}

    def read(response: httpx.Response) -> Simulation:
        return read_simulated(interface, function, read_object(response))

    simulated: Simulation = yield requests.simulate(interface.address, body, read)
    return simulated


def view_steps(interface: ContractInterface, function: ContractFunction, arguments: Arguments) -> Steps[Any]:
    """The results of a call that changes nothing, as one value."""
    simulated = yield from simulate_steps(interface, function, arguments)
    simulated.require_success()
    return simulated.value


def prepare_steps(
    interface: ContractInterface,
    genesis: Genesis,
    function: ContractFunction,
    arguments: Arguments,
    sender: bytes | None,
    coins: int,
    gas: int | None,
) -> Steps[tuple[Transfer, Simulation]]:
    """A call that wants a nonce and a signature, with its fee; and what its simulation said.
    Raises ContractFailedError for one that would fail."""
    simulated = yield from simulate_steps(interface, function, arguments, sender, coins, gas)
    simulated.require_success()
    fee = call_fee(genesis.prices, function, simulated, gas)
    data = function.encode(arguments)
    return call_draft(interface.address, function, data, coins, fee), simulated


def unsimulated_draft(
    interface: ContractInterface,
    genesis: Genesis,
    function: ContractFunction,
    arguments: Arguments,
    coins: int,
    gas: int,
) -> Transfer:
    """A call whatever comes of it, with so much gas; deposits are paid of the same."""
    fee = fee_for(genesis.prices, gas, 0)
    return call_draft(interface.address, function, function.encode(arguments), coins, fee)


def deployment_steps(genesis: Genesis, wanted: WantedDeployment) -> Steps[PreparedDeployment]:
    """A deployment that wants a nonce and a signature, tried at the height and time of the chain. Raises what
    `prepare_deployment` raises."""
    newest = yield block("latest", 0, 0)
    header = {"height": 0, "time_ms": genesis.created_ms} if newest is None else newest["header"]
    return prepare_deployment(wanted, genesis.prices, int(header["height"]), int(header["time_ms"]))


def called_steps(
    interface: ContractInterface, function: ContractFunction, tx_id: bytes
) -> Steps[Called | None]:
    """What came of a call; None where the gateway does not know it as committed."""
    called: Called | None = yield _outcome(tx_id, lambda record: read_called(interface, function, record))
    return called


def deployed_steps(tx_id: bytes) -> Steps[DeployedContract | None]:
    """What came of a deployment; None where the gateway does not know it as committed."""
    deployed: DeployedContract | None = yield _outcome(tx_id, read_deployed)
    return deployed


def _outcome(tx_id: bytes, read_record: Callable[[dict[str, Any]], Outcome]) -> ApiRequest[Outcome]:
    def read(response: httpx.Response) -> Outcome:
        record = read_object(response)
        if record["id"] != tx_id.hex():
            raise InterfaceError(f"{str(record['id'])[:64]} was answered, {tx_id.hex()} is asked for")
        return read_record(record)

    return ApiRequest("GET", f"/v1/transactions/{tx_id.hex()}", read, none_if_missing=True)


def row_steps(
    interface: ContractInterface, genesis: Genesis, table: str, keys: Sequence[Any], height: Height = "latest"
) -> Steps[TableRow]:
    """A row, each of its entries proven against the certificate of one block. Raises ProofError."""
    found, values = interface.table(table), list[bytes]()
    slots = found.read_keys(keys)
    for key in found.entry_keys(interface.address, slots):
        proven_height, value = verify_entry(genesis, key, (yield requests.entry_proof(key, height)))
        if height not in ("latest", proven_height):
            raise ProofError("height", f"the proof is of height {proven_height}, {height} is asked for")
        height = proven_height
        values.append(value)
    at = 0 if height == "latest" else int(height)
    return TableRow(table, tuple(slots), at, any(values), found.columns(values))


def cells_steps(
    interface: ContractInterface, genesis: Genesis, height: Height = "latest"
) -> Steps[dict[str, TableRow]]:
    """All cells, proven at one height."""
    cells = dict[str, TableRow]()
    for table in interface.tables.values():
        if not table.declared.keys:
            cells[table.name] = yield from row_steps(interface, genesis, table.name, (), height)
            height = cells[table.name].height
    return cells


def source_steps(interface: ContractInterface) -> Steps[str]:
    """The source that was deployed. Raises InterfaceError where it is not the one of the hash."""
    answer = yield requests.source(interface.address)
    text = answer["source"]
    data = text.encode() if isinstance(text, str) else b""
    if len(data) > SOURCE_BYTES_MAX or sha256(data) != interface.source_hash:
        raise InterfaceError(f"the source that was answered is not that of {interface.address.hex()}")
    return str(text)
