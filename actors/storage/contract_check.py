"""What a check asks of contracts besides the roots: are the programs there that were deployed?"""

from __future__ import annotations

import numpy as np

from actors.contracts.encoding import decode_program, program_hash
from actors.contracts.errors import ProgramError
from actors.contracts.gas import Weights
from actors.contracts.verifier import verify
from actors.ledger.contract_state import head_key, read_program
from actors.ledger.hashing import DIGEST_BYTES
from actors.ledger.receipt_columns import ReceiptColumns
from actors.ledger.rows import KIND_DEPLOY, Batch
from actors.storage.accounts import Accounts


def deployed(batch: Batch, receipts: ReceiptColumns) -> list[bytes]:
    """Addresses of the contracts that a block with these receipts has made."""
    rows = np.flatnonzero(batch.rows["kind"] == KIND_DEPLOY)
    failed = receipts.rows[rows, :8].any(axis=1)
    return [key.tobytes() for key in batch.rows["recipient"][rows[~failed]]]


def program_fault(accounts: Accounts, address: bytes, weights: Weights) -> str:
    """Why the contract at an address could not run, or nothing."""

    def read(key: bytes) -> bytes:
        slot = accounts.find(key)
        return b"" if slot < 0 else accounts.columns(slot, slot + 1).values.tobytes()

    program, head = read_program(address, read), read(head_key(address))
    if program is None:
        return "its program is missing"
    if program_hash(program) != head[:DIGEST_BYTES]:
        return f"its program hashes to {program_hash(program).hex()}, not {head[:DIGEST_BYTES].hex()}"
    try:
        verify(decode_program(program), weights)
    except ProgramError as error:
        return f"its program is none: {error}"
    return ""
