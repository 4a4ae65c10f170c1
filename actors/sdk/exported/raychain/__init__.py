"""What an application needs of a raychain network, as one import. It brings no Ray and no part of a node.

    from raychain import Client, read_genesis

Clients with their errors, a wallet with automatic nonces, one delivery until its fate is known, and events;
signing; and proofs, checked against a genesis alone. Contracts on a network: `client.contract(address)`,
`wallet.deploy`, `wallet.call`. What a contract's file imports, and a `World` to test it in, where `Deployed`
is a contract (on a network it is a `DeployedContract`). The folder above is on the path of the repository's
environment.
"""

from __future__ import annotations

from actors.contracts.authoring import (
    Address,
    Array,
    Bytes,
    CallFailedError,
    Cell,
    Deployed,
    Emitted,
    Event,
    Failure,
    Hash,
    Struct,
    Table,
    UpTo,
    World,
    contract,
    ctx,
    emit,
    entry,
    i64,
    init,
    interface,
    range,
    require,
    send,
    sha256,
    u8,
    u16,
    u32,
    u64,
    u128,
    view,
)
from actors.contracts.language.faults import LanguageError
from actors.ledger.block import Block, Certificate, Header, InclusionProof
from actors.ledger.genesis import Genesis, decode_genesis
from actors.ledger.rows import Batch, FormatError, concatenate, decode_batch, encode_batch
from actors.ledger.signing import Signer, Transfer, development_signer, sign_transfer
from actors.sdk.answers import ApiError, CommitTimeoutError, ForeignAnswerError, UnavailableApiError
from actors.sdk.client import AsyncClient, Client
from actors.sdk.contract import AsyncContract, Contract
from actors.sdk.contract_interface import ContractEvent, ContractFunction, ContractInterface
from actors.sdk.contract_results import (
    Called,
    ContractFailedError,
    DeployedContract,
    EventsLostError,
    Simulation,
)
from actors.sdk.contract_steps import TableRow
from actors.sdk.contract_values import InterfaceError
from actors.sdk.delivery import DeliveryOutcome, deliver
from actors.sdk.endpoints import AddressError
from actors.sdk.inclusion_proof import ProofError
from actors.sdk.light_client import GivenBlock, read_block, verify, verify_chain, verify_entry, verify_proof
from actors.sdk.proxies import ProxyError
from actors.sdk.requests import BatchReceipt, Found, RowRefusal, WaitLevel
from actors.sdk.sender import RefusedError, Sent, UnconfirmedError
from actors.sdk.subscribe import EventFilter, follow
from actors.sdk.trust import TrustError, read_genesis
from actors.sdk.wallet import Wallet

__all__ = [
    "Address",
    "AddressError",
    "ApiError",
    "Array",
    "AsyncClient",
    "AsyncContract",
    "Batch",
    "BatchReceipt",
    "Block",
    "Bytes",
    "CallFailedError",
    "Called",
    "Cell",
    "Certificate",
    "Client",
    "CommitTimeoutError",
    "Contract",
    "ContractEvent",
    "ContractFailedError",
    "ContractFunction",
    "ContractInterface",
    "DeliveryOutcome",
    "Deployed",
    "DeployedContract",
    "Emitted",
    "Event",
    "EventFilter",
    "EventsLostError",
    "Failure",
    "ForeignAnswerError",
    "FormatError",
    "Found",
    "Genesis",
    "GivenBlock",
    "Hash",
    "Header",
    "InclusionProof",
    "InterfaceError",
    "LanguageError",
    "ProofError",
    "ProxyError",
    "RefusedError",
    "RowRefusal",
    "Sent",
    "Signer",
    "Simulation",
    "Struct",
    "Table",
    "TableRow",
    "Transfer",
    "TrustError",
    "UnavailableApiError",
    "UnconfirmedError",
    "UpTo",
    "WaitLevel",
    "Wallet",
    "World",
    "concatenate",
    "contract",
    "ctx",
    "decode_batch",
    "decode_genesis",
    "deliver",
    "development_signer",
    "emit",
    "encode_batch",
    "entry",
    "follow",
    "i64",
    "init",
    "interface",
    "range",
    "read_block",
    "read_genesis",
    "require",
    "send",
    "sha256",
    "sign_transfer",
    "u8",
    "u16",
    "u32",
    "u64",
    "u128",
    "verify",
    "verify_chain",
    "verify_entry",
    "verify_proof",
    "view",
]
