"""A governed function on its way from a Python file to a block: a document that governors sign one by one.

The document is JSON: what governors sign, the function's bytes, and the source that they were made of,
for people to read. The source is no proof of the bytes: who wants one makes them from it again (`matches`).
"""

from __future__ import annotations

import sys
from importlib.metadata import version

import msgspec

from actors.contracts.limits import SOURCE_BYTES_MAX
from actors.execution.functions import function_of
from actors.ledger.genesis import Genesis
from actors.ledger.governed_payloads import (
    FUNCTION_ARGUMENTS_BYTES_MAX,
    FUNCTION_BYTES_MAX,
    GovernedCall,
    Statement,
    lock_of,
)
from actors.ledger.governed_signing import approve
from actors.ledger.rows import KIND_GOVERNED, NEVER_EXPIRES_HEIGHT, FormatError
from actors.ledger.signing import Signer, Transfer

PROPOSAL_BYTES_MAX = 2 * (FUNCTION_BYTES_MAX + FUNCTION_ARGUMENTS_BYTES_MAX + SOURCE_BYTES_MAX)


class FunctionProposal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """chain_tag to lock: as in `Statement`, keys in hexadecimal. approvals: signatures in hexadecimal by the
    governor's number."""

    network: str
    chain_tag: int
    sender: str
    nonce: int
    treasury: str
    expiry_height: int
    python_minor: int
    lock: str
    function: bytes
    arguments: bytes
    source: str
    approvals: dict[int, str] = {}

    def encode(self) -> bytes:
        """The document, indented."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def statement(self) -> Statement:
        """What governors sign."""
        return Statement(
            self.chain_tag,
            bytes.fromhex(self.sender),
            self.nonce,
            bytes.fromhex(self.treasury),
            self.expiry_height,
            self.python_minor,
            bytes.fromhex(self.lock),
            self.function,
            self.arguments,
        )

    def approved_by(self, signer: Signer, genesis: Genesis) -> FunctionProposal:
        """The same with one approval more. Raises FormatError if the key governs nothing there."""
        self.require_network(genesis)
        number, signature = approve(self.statement(), signer, genesis.governed_by)
        return msgspec.structs.replace(self, approvals={**self.approvals, number: signature.hex()})

    def transaction(self, fee: int, genesis: Genesis) -> Transfer:
        """What its sender signs. Raises FormatError while it has too few approvals."""
        self.require_network(genesis)
        needed = genesis.governors_needed
        if len(self.approvals) < needed:
            raise FormatError("approvals", len(self.approvals), f"{needed}: have more governors sign it")
        chosen = sorted(self.approvals.items())[:needed]
        approvals = tuple((number, bytes.fromhex(signature)) for number, signature in chosen)
        call = GovernedCall(
            self.python_minor, bytes.fromhex(self.lock), self.function, self.arguments, approvals
        )
        treasury = bytes.fromhex(self.treasury)
        return Transfer(treasury, 0, self.nonce, fee, self.expiry_height, call.encode(), KIND_GOVERNED)

    def require_network(self, genesis: Genesis) -> None:
        """Raises FormatError if it is for another network, or for one without governors."""
        if self.chain_tag != genesis.chain_tag:
            raise FormatError("network", f"{self.network} ({self.chain_tag})", f"{genesis.network}")
        if not genesis.governors:
            raise FormatError(
                "genesis.governors", "none", "governors: a network names them when it is founded"
            )

    def matches(self) -> bool:
        """Whether the source makes the same bytes here. It does not under another Python or cloudpickle.
        Raises FunctionFailedError."""
        return function_of(self.source) == self.function


def decode_proposal(data: bytes) -> FunctionProposal:
    """Raises FormatError naming what is wrong."""
    try:
        proposal = msgspec.json.decode(data, type=FunctionProposal)
        sizes = [len(bytes.fromhex(text)) for text in (proposal.sender, proposal.treasury, proposal.lock)]
        signatures = [len(bytes.fromhex(text)) for text in proposal.approvals.values()]
    except (msgspec.DecodeError, ValueError) as error:
        raise FormatError("proposal", str(error), "a document of `governed make`") from None
    if sizes != [32, 32, 32] or set(signatures) - {64}:
        raise FormatError(
            "proposal", "keys, a lock or signatures of another length", "32 and 64 bytes in hex"
        )
    _check_sizes(proposal.function, proposal.arguments)
    return proposal


def propose(
    genesis: Genesis,
    sender: bytes,
    nonce: int,
    treasury: bytes,
    source: str,
    arguments: bytes = b"",
    expiry_height: int = NEVER_EXPIRES_HEIGHT,
) -> FunctionProposal:
    """A proposal that nobody has signed yet, for the Python and the libraries of this machine. Raises
    FunctionFailedError."""
    body = function_of(source)
    _check_sizes(body, arguments)
    return FunctionProposal(
        genesis.network,
        genesis.chain_tag,
        sender.hex(),
        nonce,
        treasury.hex(),
        expiry_height,
        sys.version_info.minor,
        lock_of(version).hex(),
        body,
        arguments,
        source,
    )


def _check_sizes(function: bytes, arguments: bytes) -> None:
    for field, got, limit in (
        ("function", len(function), FUNCTION_BYTES_MAX),
        ("arguments", len(arguments), FUNCTION_ARGUMENTS_BYTES_MAX),
    ):
        if got > limit:
            raise FormatError(field, f"{got} bytes", f"at most {limit}")
