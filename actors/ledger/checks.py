"""Static checks of rows, all rows at once: what can be said of a transaction without knowing the state.

The plain twin is `rules.static_verdict`; the order of the checks is part of the contract, since the first
that fails names the verdict.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from actors.contracts.limits import ENTRY_TAG
from actors.ledger.accounts import unpack
from actors.ledger.governed_payloads import NO_GOVERNORS, Governors, is_approved
from actors.ledger.hashing import Hasher, sha256, sha256_rows
from actors.ledger.kinds import KINDS
from actors.ledger.prices import Prices
from actors.ledger.rows import (
    KIND_TRANSFER,
    ROW_VERSION,
    WORD_AMOUNT,
    WORD_EXPIRY,
    WORD_FEE,
    WORD_NONCE,
    WORD_PAYLOAD_HASH,
    WORD_RECIPIENT,
    WORD_SENDER,
    WORD_TAG,
    Batch,
)
from actors.ledger.verdict import Verdict

ENTRY_WORD = np.uint64(int.from_bytes(ENTRY_TAG, "little"))
_HASHED_TOGETHER_MIN = 8
_U64_MAX = np.uint64(2**64 - 1)
_PLAIN_HEAD = np.uint64(ROW_VERSION | KIND_TRANSFER << 8)
"""Word 0 of a transfer without flags and without payload."""


@njit(cache=True, nogil=True)
def _all_plain(words, chain_tag, height, fee_min):  # type: ignore[no-untyped-def]
    """Whether every row is a transfer without a payload that passes: what most batches are, in one pass."""
    for i in range(len(words)):
        payload_hash = np.uint64(0)
        for w in range(4):
            payload_hash |= words[i, WORD_PAYLOAD_HASH + w]
        if (
            words[i, 0] != _PLAIN_HEAD
            or words[i, WORD_TAG] != chain_tag
            or words[i, WORD_EXPIRY] < height
            or words[i, WORD_AMOUNT] > _U64_MAX - words[i, WORD_FEE]
            or words[i, WORD_FEE] < fee_min
            or words[i, WORD_NONCE] == _U64_MAX
            or payload_hash != np.uint64(0)
            or words[i, WORD_SENDER] == ENTRY_WORD
            or words[i, WORD_RECIPIENT] == ENTRY_WORD
        ):
            return False
    return True


def static_verdicts(
    batch: Batch,
    chain_tag: int,
    height: int,
    prices: Prices,
    hash_rows: Hasher = sha256_rows,
    governors: Governors = NO_GOVERNORS,
) -> NDArray[np.uint8]:
    """(n,) uint8 verdicts of rows for inclusion in the block at `height`, the rows' own signatures and the
    state aside.

    hash_rows: of payloads of one length, where there are several.
    """
    rows = batch.rows
    fee_min = np.uint64(prices.fee_min)
    if _all_plain(batch.words, np.uint64(chain_tag), np.uint64(height), fee_min):
        return np.zeros(len(rows), dtype=np.uint8)
    known, least, longest, own = _of_kinds(batch, prices)
    failed = (
        (Verdict.BAD_VERSION, rows["version"] != ROW_VERSION),
        (Verdict.UNKNOWN_KIND, ~known),
        (Verdict.BAD_FLAGS, rows["flags"] != 0),
        (Verdict.WRONG_CHAIN, rows["chain_tag"] != np.uint64(chain_tag)),
        (Verdict.EXPIRED, rows["expiry_height"] < np.uint64(height)),
        (Verdict.AMOUNT_OVERFLOW, rows["amount"] > _U64_MAX - rows["fee"]),
        (Verdict.FEE_BELOW_MINIMUM, rows["fee"] < least),
        (Verdict.NONCE_LIMIT, rows["nonce"] == _U64_MAX),
        (Verdict.BAD_PAYLOAD, _payload_wrong(batch, longest, hash_rows)),
        (Verdict.RESERVED_KEY, _reserved(batch)),
    )
    verdicts = own
    for code, mask in reversed(failed):
        verdicts[mask] = code
    return _with_approvals(batch, verdicts, governors)


def _with_approvals(batch: Batch, verdicts: NDArray[np.uint8], governors: Governors) -> NDArray[np.uint8]:
    """Last, since it costs most: rows of governed kinds without their approvals."""
    governed = [kind.number for kind in KINDS.values() if kind.governed]
    asking = np.isin(batch.rows["kind"], governed) & (verdicts == Verdict.OK)
    if asking.any():
        approved = [is_approved(tx, governors) for tx in unpack(batch.take(asking))]
        verdicts[asking] = np.where(approved, Verdict.OK, Verdict.NOT_APPROVED)
    return verdicts


def _of_kinds(
    batch: Batch, prices: Prices
) -> tuple[NDArray[np.bool_], NDArray[np.uint64], NDArray[np.uint32], NDArray[np.uint8]]:
    """Of each row, by its kind: whether that is known, the least fee, the bytes that its payload may have,
    and what its own checks say."""
    rows = len(batch)
    known, least = np.zeros(rows, dtype=np.bool_), np.zeros(rows, dtype=np.uint64)
    longest = np.zeros(rows, dtype=np.uint32)
    own = np.zeros(rows, dtype=np.uint8)
    for kind in KINDS.values():
        mine = batch.rows["kind"] == kind.number
        if mine.any():
            part = batch.take(mine)
            known[mine], least[mine] = True, kind.fee_min_rows(part, prices)
            longest[mine] = kind.payload_bytes_max
            own[mine] = kind.check_rows(part)
    return known, least, longest, own


def _reserved(batch: Batch) -> NDArray[np.bool_]:
    words = batch.words
    mask: NDArray[np.bool_] = (words[:, [WORD_SENDER, WORD_RECIPIENT]] == ENTRY_WORD).any(axis=1)
    return mask


def _payload_wrong(batch: Batch, longest: NDArray[np.uint32], hash_rows: Hasher) -> NDArray[np.bool_]:
    sizes = batch.rows["payload_bytes"]
    hashes = np.ascontiguousarray(batch.rows["payload_hash"])
    wrong: NDArray[np.bool_] = (sizes == 0) & (hashes.view(np.uint64) != 0).any(axis=1)
    wrong |= sizes > longest
    loaded = np.flatnonzero((sizes > 0) & ~wrong)
    if len(loaded):
        starts = batch.payload_offsets[:-1]
        lengths, counts = np.unique(sizes[loaded], return_counts=True)
        for length in lengths[counts >= _HASHED_TOGETHER_MIN].tolist():
            some = loaded[sizes[loaded] == length]
            payloads = batch.payloads[starts[some][:, None] + np.arange(length)]
            wrong[some] = (hash_rows(payloads) != hashes[some]).any(axis=1)
        for i in loaded[np.isin(sizes[loaded], lengths[counts < _HASHED_TOGETHER_MIN])]:
            payload = batch.payloads[starts[i] : starts[i] + sizes[i]].tobytes()
            wrong[i] = sha256(payload) != hashes[i].tobytes()
    return wrong
