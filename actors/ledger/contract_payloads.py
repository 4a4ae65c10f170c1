"""What transactions of contracts carry, and where a contract lives.

    call     function u8, then the bytes of its arguments
    deploy   program_bytes u32, source_bytes u32, then the program, its source, and the arguments of its INIT

A contract's address is SHA-256("raychain/contract" ‖ deployer ‖ nonce u64): of who deploys it, and of the
nonce of that transaction, which says it as its recipient. Coins that new entries cost wait in one account,
whose key is SHA-256("raychain/deposits"), of which nobody has the private key: as many times the deposit as
there are entries. One account for all contracts, since a call may make entries in one contract by way of
another, and a later one remove them without it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from actors.contracts.limits import ARGUMENTS_BYTES_MAX, PROGRAM_BYTES_MAX, SOURCE_BYTES_MAX
from actors.ledger.governed_payloads import GOVERNED_BYTES_MAX
from actors.ledger.hashing import sha256
from actors.ledger.rows import KIND_CALL, KIND_DEPLOY, KIND_GOVERNED, KIND_TRANSFER, PAYLOAD_BYTES_MAX

_DEPLOY = struct.Struct("<II")
CALL_BYTES_MAX = 1 + ARGUMENTS_BYTES_MAX
DEPLOY_BYTES_MAX = _DEPLOY.size + PROGRAM_BYTES_MAX + SOURCE_BYTES_MAX + ARGUMENTS_BYTES_MAX
PAYLOAD_BYTES_MAX_OF = {
    KIND_TRANSFER: PAYLOAD_BYTES_MAX,
    KIND_DEPLOY: DEPLOY_BYTES_MAX,
    KIND_CALL: CALL_BYTES_MAX,
    KIND_GOVERNED: GOVERNED_BYTES_MAX,
}
"""By kind: what a row may carry at most that a client submits."""
ROW_PAYLOAD_BYTES_MAX = max(PAYLOAD_BYTES_MAX_OF.values())
"""Of any of these."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """program: as encoding.py has it. source: UTF-8, of which it was compiled. arguments: of its INIT."""

    program: bytes
    source: bytes
    arguments: bytes = b""

    def encode(self) -> bytes:
        """The payload."""
        return _DEPLOY.pack(len(self.program), len(self.source)) + self.program + self.source + self.arguments


def decode_deployment(payload: bytes) -> Deployment | None:
    """Inverse of `Deployment.encode`; None if it is none, or a part exceeds its bound."""
    if not _DEPLOY.size <= len(payload) <= DEPLOY_BYTES_MAX:
        return None
    program_bytes, source_bytes = _DEPLOY.unpack_from(payload)
    arguments_bytes = len(payload) - _DEPLOY.size - program_bytes - source_bytes
    within = (
        0 < program_bytes <= PROGRAM_BYTES_MAX
        and source_bytes <= SOURCE_BYTES_MAX
        and 0 <= arguments_bytes <= ARGUMENTS_BYTES_MAX
    )
    if not within:
        return None
    ends = _DEPLOY.size, _DEPLOY.size + program_bytes, _DEPLOY.size + program_bytes + source_bytes
    return Deployment(payload[ends[0] : ends[1]], payload[ends[1] : ends[2]], payload[ends[2] :])


def encode_call(function: int, arguments: bytes) -> bytes:
    """The payload of a call."""
    return bytes((function,)) + arguments


def contract_address(deployer: bytes, nonce: int) -> bytes:
    """Where the contract lives that this transaction deploys."""
    return sha256(b"raychain/contract" + deployer + nonce.to_bytes(8, "little"))


DEPOSITS_KEY = sha256(b"raychain/deposits")
"""The account in which the deposits of all entries wait."""
