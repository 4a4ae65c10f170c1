"""What a load consists of: seeded, signed pools on disk, of transfers in the shapes that real traffic has, or
of calls of contracts.

    uniform   senders in turn, recipients at random
    zipf      senders and recipients by Zipf's law (exponent 1): a few accounts are in most transfers
    hot       senders in turn, one recipient for all: every transfer conflicts with every other
    chains    each transfer's recipient is the next one's sender

A pool is one long sequence: whoever offers its rows from the first to the last meets no nonce gap. Beside the
valid rows there may be rows with a false signature, of an account that sends nothing else, and repetitions of
earlier rows. PATH.npy holds the rows, PATH.payloads.npy the payloads, PATH.kinds.npy a byte a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.ledger.hashing import sha256
from actors.ledger.rows import KIND_TRANSFER, NEVER_EXPIRES_HEIGHT, ROW_DTYPE, ROW_VERSION
from actors.ledger.signing import development_signer, sign_rows

Shape = Literal["uniform", "zipf", "hot", "chains"]
SHAPES: tuple[Shape, ...] = ("uniform", "zipf", "hot", "chains")
VALID, FALSE_SIGNATURE, REPETITION = 0, 1, 2
REPEATED_WITHIN_ROWS = 5_000
_FEES = 5


class CallsPlan(msgspec.Struct, frozen=True):
    """Calls of the examples that this development account has deployed, on a network with these prices.

    deploy_share: of the rows, how many deploy something themselves.
    """

    deployer: int
    fee_min: int
    gas_per_unit: int
    entry_deposit: int
    deploy_share: float = 0.0


class PoolPlan(msgspec.Struct, tag="pool", frozen=True):
    """`count` rows of development accounts first_account .. first_account + accounts - 1 into `path`.

    payload_bytes: sizes that rows take at random. The shares are of all rows. calls: valid rows are calls of
    contracts instead of transfers, between the same accounts.
    """

    path: str
    network: str
    chain_tag: int
    accounts: int
    count: int
    first_account: int = 0
    shape: Shape = "uniform"
    seed: int = 0
    payload_bytes: tuple[int, ...] = (0,)
    invalid_share: float = 0.0
    duplicate_share: float = 0.0
    calls: CallsPlan | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SignedPool:
    """rows: (n,) ROW_DTYPE. payloads: uint8 in row order. kinds: (n,) VALID, FALSE_SIGNATURE, REPETITION."""

    rows: NDArray[Any]
    payloads: NDArray[np.uint8]
    kinds: NDArray[np.uint8]

    def save(self, path: str) -> None:
        """Write the three files."""
        np.save(path, self.rows)
        np.save(_beside(path, "payloads"), self.payloads)
        np.save(_beside(path, "kinds"), self.kinds)


def open_pool(path: str) -> SignedPool:
    """A pool on disk, mapped; rows alone (a plain .npy of rows) are all valid and have no payloads."""
    rows = np.load(path, mmap_mode="r")
    if not Path(_beside(path, "kinds")).exists():
        return SignedPool(rows, np.empty(0, dtype=np.uint8), np.zeros(len(rows), dtype=np.uint8))
    payloads = _beside(path, "payloads")
    blob = np.load(payloads, mmap_mode="r") if Path(payloads).stat().st_size > 128 else np.load(payloads)
    return SignedPool(rows, blob, np.load(_beside(path, "kinds")))


def _beside(path: str, what: str) -> str:
    return f"{path.removesuffix('.npy')}.{what}.npy"


def build_pool(plan: PoolPlan) -> SignedPool:
    """The pool of a plan, deterministic in it. Raises ValueError for too few accounts or odd shares."""
    senders_count = plan.accounts - (plan.invalid_share > 0)
    if senders_count < 2:
        raise ValueError("a pool needs 2 accounts, and one more for false signatures")
    if not 0 <= plan.invalid_share + plan.duplicate_share < 1:
        raise ValueError("the shares of invalid and repeated rows must leave valid ones")
    chance = np.random.default_rng(plan.seed)
    kinds = _kinds(plan, chance)
    valid = np.flatnonzero(kinds == VALID)
    sender, recipient = _parties(plan.shape, len(valid), senders_count, chance)
    signers = [development_signer(plan.network, plan.first_account + i) for i in range(plan.accounts)]
    keys = np.frombuffer(b"".join(s.public_key for s in signers), dtype=np.uint8).reshape(-1, 32)
    rows = np.zeros(plan.count, dtype=ROW_DTYPE)
    rows["version"], rows["kind"], rows["chain_tag"] = ROW_VERSION, KIND_TRANSFER, plan.chain_tag
    rows["expiry_height"] = NEVER_EXPIRES_HEIGHT
    rows["amount"] = 1 + chance.integers(97, size=plan.count)
    rows["fee"] = 1 + chance.integers(_FEES, size=plan.count)
    signer = np.full(plan.count, plan.accounts - 1, dtype=np.int64)
    signer[valid] = sender
    rows["recipient"] = keys[0]
    rows["recipient"][valid] = keys[recipient]
    rows["sender"] = keys[signer]
    rows["nonce"][valid] = occurrence(sender)
    if plan.calls is None:
        payloads = _payloads(rows, plan.payload_bytes, chance)
    else:
        payloads = _calls(rows, valid, plan.network, plan.calls, keys, chance)
    sign_rows(rows, signers, signer)
    false = np.flatnonzero(kinds == FALSE_SIGNATURE)
    rows["signature"][false, :32] = chance.integers(256, size=(len(false), 32), dtype=np.uint8)
    return SignedPool(*_with_repetitions(rows, payloads, kinds, chance), kinds)


def occurrence(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) how often a value occurred before its place: a sender's nonces in order."""
    if not len(values):
        return np.empty(0, dtype=np.int64)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[starts, len(values)])
    before = np.empty(len(values), dtype=np.int64)
    before[order] = np.arange(len(values)) - np.repeat(starts, lengths)
    return before


def _kinds(plan: PoolPlan, chance: np.random.Generator) -> NDArray[np.uint8]:
    drawn = chance.random(plan.count)
    kinds = np.zeros(plan.count, dtype=np.uint8)
    kinds[drawn < plan.invalid_share + plan.duplicate_share] = REPETITION
    kinds[drawn < plan.invalid_share] = FALSE_SIGNATURE
    if plan.count:
        kinds[0] = VALID
    return kinds


def _parties(
    shape: Shape, count: int, accounts: int, chance: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sender and recipient, as account numbers, of each valid row."""
    in_turn = np.arange(count) % accounts
    if shape == "chains":
        return in_turn, (in_turn + 1) % accounts
    if shape == "hot":
        return in_turn, np.zeros(count, dtype=np.int64)
    if shape == "uniform":
        return in_turn, chance.integers(accounts, size=count)
    mass = np.cumsum(1.0 / np.arange(1, accounts + 1))
    ranks = [np.searchsorted(mass, chance.random(count) * mass[-1]) for _ in range(2)]
    return ranks[0], ranks[1]


def _payloads(rows: NDArray[Any], sizes: tuple[int, ...], chance: np.random.Generator) -> NDArray[np.uint8]:
    """Fill size and hash of each row's payload; the payloads, joined."""
    rows["payload_bytes"] = np.array(sizes, dtype=np.uint32)[chance.integers(len(sizes), size=len(rows))]
    blob = chance.integers(256, size=int(rows["payload_bytes"].sum(dtype=np.uint64)), dtype=np.uint8)
    ends = np.cumsum(rows["payload_bytes"], dtype=np.int64)
    for row in np.flatnonzero(rows["payload_bytes"]):
        start = int(ends[row]) - int(rows["payload_bytes"][row])
        digest = sha256(blob[start : int(ends[row])].tobytes())
        rows["payload_hash"][row] = np.frombuffer(digest, dtype=np.uint8)
    return blob


def _calls(
    rows: NDArray[Any],
    valid: NDArray[np.int64],
    network: str,
    plan: CallsPlan,
    keys: NDArray[np.uint8],
    chance: np.random.Generator,
) -> NDArray[np.uint8]:
    """Make calls of the valid rows; the payloads, joined."""
    from actors.ledger.prices import Prices
    from bench.contract_calls import CallFiller
    from bench.contract_examples import Catalog

    prices = Prices(plan.fee_min, 1, plan.gas_per_unit, plan.entry_deposit)
    catalog = Catalog(development_signer(network, plan.deployer).public_key, prices)
    part = rows[valid]
    payloads = CallFiller(catalog, keys, chance, plan.deploy_share).fill(part)
    rows[valid] = part
    return payloads


def _with_repetitions(
    rows: NDArray[Any], payloads: NDArray[np.uint8], kinds: NDArray[np.uint8], chance: np.random.Generator
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Replace the rows marked as repetitions by valid rows that come not long before them."""
    repeated = np.flatnonzero(kinds == REPETITION)
    if not len(repeated):
        return rows, payloads
    valid = np.flatnonzero(kinds == VALID)
    before = np.searchsorted(valid, repeated)
    back = 1 + chance.integers(np.minimum(before, REPEATED_WITHIN_ROWS))
    source = np.arange(len(rows))
    source[repeated] = valid[before - back]
    ends = np.cumsum(rows["payload_bytes"], dtype=np.int64)
    starts = ends - rows["payload_bytes"]
    pieces = [payloads[starts[i] : ends[i]] for i in source] if len(payloads) else []
    return np.ascontiguousarray(rows[source]), np.concatenate(pieces) if pieces else payloads
