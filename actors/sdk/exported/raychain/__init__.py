"""What an application needs of a raychain network, as one import. It brings no Ray and no part of a node.

    from raychain import Client, read_genesis

Clients with their errors, a wallet with automatic nonces, one delivery until its fate is known, and events;
signing; and proofs, checked against a genesis alone. The folder above is on the path of the repository's
environment.
"""

from __future__ import annotations

from actors.ledger.block import Block, Certificate, Header, InclusionProof
from actors.ledger.genesis import Genesis, decode_genesis
from actors.ledger.rows import Batch, FormatError, concatenate, decode_batch, encode_batch
from actors.ledger.signing import Signer, Transfer, development_signer, sign_transfer
from actors.sdk.answers import ApiError, CommitTimeoutError, ForeignAnswerError, UnavailableApiError
from actors.sdk.client import AsyncClient, Client
from actors.sdk.delivery import DeliveryOutcome, deliver
from actors.sdk.endpoints import AddressError
from actors.sdk.inclusion_proof import ProofError
from actors.sdk.light_client import GivenBlock, read_block, verify, verify_chain, verify_proof
from actors.sdk.proxies import ProxyError
from actors.sdk.requests import BatchReceipt, Found, RowRefusal, WaitLevel
from actors.sdk.subscribe import follow
from actors.sdk.trust import TrustError, read_genesis
from actors.sdk.wallet import RefusedError, Sent, UnconfirmedError, Wallet

__all__ = [
    "AddressError",
    "ApiError",
    "AsyncClient",
    "Batch",
    "BatchReceipt",
    "Block",
    "Certificate",
    "Client",
    "CommitTimeoutError",
    "DeliveryOutcome",
    "ForeignAnswerError",
    "FormatError",
    "Found",
    "Genesis",
    "GivenBlock",
    "Header",
    "InclusionProof",
    "ProofError",
    "ProxyError",
    "RefusedError",
    "RowRefusal",
    "Sent",
    "Signer",
    "Transfer",
    "TrustError",
    "UnavailableApiError",
    "UnconfirmedError",
    "WaitLevel",
    "Wallet",
    "concatenate",
    "decode_batch",
    "decode_genesis",
    "deliver",
    "development_signer",
    "encode_batch",
    "follow",
    "read_block",
    "read_genesis",
    "sign_transfer",
    "verify",
    "verify_chain",
    "verify_proof",
]
