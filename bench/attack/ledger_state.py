"""Attacks on what the ledger keeps: state that costs nothing, and keys aimed at one place of a hash table."""

from __future__ import annotations

import secrets
import time

import numpy as np
from numpy.typing import NDArray

from actors.ledger.genesis import Genesis
from actors.ledger.rows import KIND_TRANSFER, NEVER_EXPIRES_HEIGHT, ROW_DTYPE, ROW_VERSION, Batch
from actors.ledger.signing import Signer, development_signer, sign_rows
from actors.sdk.answers import ApiError
from actors.sdk.client import Client
from bench.attack.registry import AttackOutcome, AttackTarget, attack

_BATCH_ROWS = 2_000
_SIGNERS = 500
_SAMPLE = 40
_AIMED_FREE_BITS = 12


@attack("free-state", "state")
def free_state(target: AttackTarget) -> AttackOutcome:
    """Transfers of nothing from keys without funds, and from funded ones to new keys, to grow the state."""
    with Client(target.urls[0]) as client:
        genesis = client.genesis()
        offered = accepted = 0
        seen: list[bytes] = []
        until_s = time.monotonic() + target.seconds
        while time.monotonic() < until_s:
            penniless = [Signer(secrets.token_bytes(32)) for _ in range(_SIGNERS)]
            for batch in (
                _transfers(genesis, penniless, _random_keys(_BATCH_ROWS), 0, 0, 0),
                _transfers(genesis, penniless, _random_keys(_BATCH_ROWS), 0, 1, 0),
            ):
                offered += len(batch)
                accepted += _offer(client, batch)
                seen += [batch.rows[place][0].tobytes() for place in ("sender", "recipient")]
        funded = [development_signer(genesis.network, number) for number in target.development]
        nonce = int(client.account(funded[0].public_key)["nonce"])
        nothing = _transfers(genesis, funded[:1], _random_keys(1), 0, max(genesis.fee_min, 1), nonce)
        _offer(client, nothing)
        seen.append(nothing.rows["recipient"][0].tobytes())
        _await_blocks(client, 3)
        made = sum(_exists(client, key) for key in seen[-_SAMPLE:])
    held = accepted == 0 and made == 0
    return AttackOutcome(
        held, f"{offered:,} transfers of nothing: {accepted:,} accepted, {made} accounts made"
    )


@attack("aimed-keys", "tables")
def aimed_keys(target: AttackTarget) -> AttackOutcome:
    """Payments to recipients that met in one place of the account index while its hash had no key."""
    with Client(target.urls[0]) as client:
        genesis = client.genesis()
        signers = [development_signer(genesis.network, number) for number in target.development]
        recipients = _aimed(1 << _AIMED_FREE_BITS)
        nonces = [int(client.account(signer.public_key)["nonce"]) for signer in signers]
        offered = accepted = turn = 0
        until_s = time.monotonic() + target.seconds
        while time.monotonic() < until_s and offered < len(recipients):
            chosen = recipients[offered : offered + len(signers)]
            batch = _transfers(
                genesis, signers[: len(chosen)], chosen, genesis.balance_min, max(genesis.fee_min, 1),
                np.array(nonces[: len(chosen)], dtype=np.uint64) + np.uint64(turn),
            )  # fmt: skip
            accepted += _offer(client, batch)
            offered, turn = offered + len(chosen), turn + 1
    return AttackOutcome(accepted > 0, f"{accepted:,} of {offered:,} payments to aimed keys accepted")


def _aimed(count: int) -> NDArray[np.uint8]:
    """(count, 32) keys that differ in the upper bits of their last word, which that hash did not look at."""
    words = np.zeros((count, 4), dtype=np.uint64)
    words[:, 0] = np.uint64(secrets.randbits(64))
    words[:, 3] = np.arange(count, dtype=np.uint64) << np.uint64(64 - _AIMED_FREE_BITS)
    return words.view(np.uint8).reshape(-1, 32)


def _random_keys(count: int) -> NDArray[np.uint8]:
    return np.frombuffer(secrets.token_bytes(32 * count), dtype=np.uint8).reshape(-1, 32)


def _transfers(
    genesis: Genesis,
    signers: list[Signer],
    recipients: NDArray[np.uint8],
    amount: int,
    fee: int,
    nonce: int | NDArray[np.uint64],
) -> Batch:
    who = np.arange(len(recipients)) % len(signers)
    rows = np.zeros(len(recipients), dtype=ROW_DTYPE)
    rows["version"], rows["kind"], rows["chain_tag"] = ROW_VERSION, KIND_TRANSFER, genesis.chain_tag
    rows["nonce"], rows["amount"], rows["fee"], rows["expiry_height"] = (
        nonce,
        amount,
        fee,
        NEVER_EXPIRES_HEIGHT,
    )
    keys = np.frombuffer(b"".join(signer.public_key for signer in signers), dtype=np.uint8).reshape(-1, 32)
    rows["sender"], rows["recipient"] = keys[who], recipients
    sign_rows(rows, signers, who)
    return Batch(rows, np.empty(0, dtype=np.uint8))


def _offer(client: Client, batch: Batch) -> int:
    """How many rows a mempool took; none when the node would not look at them."""
    try:
        return client.submit(batch, "accepted").accepted
    except ApiError:
        return 0


def _exists(client: Client, key: bytes) -> bool:
    account = client.account(key)
    return bool(account["nonce"] or account["balance"])


def _await_blocks(client: Client, blocks: int) -> None:
    """Until so many blocks have passed, or ten seconds."""
    start, until_s = _height(client), time.monotonic() + 10.0
    while _height(client) < start + blocks and time.monotonic() < until_s:
        time.sleep(0.1)


def _height(client: Client) -> int:
    return int(client.account(bytes(32))["height"])
