"""One client that sends more than its share: rows behind gaps, forged rows, the same rows again and again.

The attacker has an address of its own, as it would in life: any in 127.0.0.0/8 is this machine. It presses if
half of its connections are answered, be it by a refusal: an attack that nobody answered has shown nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from actors.ledger.genesis import Genesis, decode_genesis
from actors.ledger.rows import (
    KIND_TRANSFER,
    NEVER_EXPIRES_HEIGHT,
    ROW_DTYPE,
    ROW_VERSION,
    Batch,
    encode_batch,
)
from actors.ledger.signing import Signer, Transfer, development_signer, sign_rows, sign_transfer
from actors.ledger.verdict import Verdict
from bench.attack.registry import AttackOutcome, AttackTarget, attack

if TYPE_CHECKING:
    from numpy.typing import NDArray

ATTACKER, PROBE = "127.0.0.66", "127.0.0.67"
KEYS, BATCH_ROWS, CONNECTIONS, FEE = 64, 1_000, 48, 1_000
# Each attack has senders of its own: what one left in a mempool would answer the rows of the next.
GAPS, FORGED, DUPLICATES, PROBES, BUSY = (slice(KEYS * n, KEYS * (n + 1)) for n in range(5))
BUSY_CONNECTIONS = 16  # as `demo` has
ANSWER_S_MAX = 15.0  # after the attack's end: longer than a gateway waits for its mempool
_BINARY = "application/octet-stream"
_ANSWERED = "answers "
_REFUSED_SHARE_MAX = 0.1


@attack("gap-rows", "submission")
def gap_rows(target: AttackTarget) -> AttackOutcome:
    """Rows whose first nonce is missing, waited for until they commit, again and again."""
    return asyncio.run(_flood(target, GAPS, 30, gap=1, wait="committed"))


@attack("forged-rows", "submission")
def forged_rows(target: AttackTarget) -> AttackOutcome:
    """Rows that could be next, with false signatures: each costs a check."""
    return asyncio.run(_flood(target, FORGED, 10, gap=0, wait="accepted", forged=True))


@attack("duplicate-rows", "submission")
def duplicate_rows(target: AttackTarget) -> AttackOutcome:
    """Five batches of good rows, handed in over and over, before and after they are committed."""
    return asyncio.run(_flood(target, DUPLICATES, 5, gap=0, wait="committed"))


def be_busy(target: AttackTarget) -> AttackOutcome:
    """No attack: a client with much to pay, who sends good rows on a few connections, as they are taken."""
    return asyncio.run(_pay(target))


async def _pay(target: AttackTarget) -> AttackOutcome:
    genesis = decode_genesis(target.genesis_path.read_bytes())
    payers = [development_signer(genesis.network, number) for number in target.development[BUSY]]
    seen, rows, until_s = Counter[str](), Counter[str](), time.monotonic() + target.seconds
    async with _client(ATTACKER) as client:

        async def pay(number: int) -> None:
            url = f"{target.urls[number % len(target.urls)]}/v1/transactions/batch?wait=committed"
            signers = payers[number::BUSY_CONNECTIONS]
            nonces, turn = await _nonces(client, target, signers), 0
            while time.monotonic() < until_s:
                body = _body(genesis, signers, nonces, turn, 0, False)
                await _send(client, url, body, seen, rows, until_s)
                turn += 1

        await asyncio.gather(*(pay(number) for number in range(BUSY_CONNECTIONS)))
    return AttackOutcome(True, f"{rows['rows OK']:,} rows of a busy client committed")


async def _flood(
    target: AttackTarget, keys: slice, batches: int, gap: int, wait: str, forged: bool = False
) -> AttackOutcome:
    genesis = decode_genesis(target.genesis_path.read_bytes())
    signers = [development_signer(genesis.network, number) for number in target.development[keys]]
    seen, rows = Counter[str](), Counter[str]()
    async with _client(ATTACKER) as attacker, _client(PROBE) as probe:
        nonces = await _nonces(attacker, target, signers)
        bodies = [_body(genesis, signers, nonces, number, gap, forged) for number in range(batches)]
        until_s = time.monotonic() + target.seconds
        probing = asyncio.create_task(_probe(probe, target, genesis, until_s))

        async def again(number: int) -> None:
            url = f"{target.urls[number % len(target.urls)]}/v1/transactions/batch?wait={wait}"
            while time.monotonic() < until_s:
                body = bodies[number % len(bodies)]
                number += CONNECTIONS
                await _send(attacker, url, body, seen, rows, until_s)

        await asyncio.gather(*(again(number) for number in range(CONNECTIONS)))
        asked, refused = await probing
    told = ", ".join(f"{count:,} {what}" for what, count in (*seen.most_common(5), *rows.most_common(5)))
    answered = sum(count for what, count in seen.items() if what.startswith(_ANSWERED))
    pressed = (
        "" if answered >= CONNECTIONS // 2 else "; the attacker was hardly answered, and has not pressed"
    )
    held = asked > 0 and refused <= _REFUSED_SHARE_MAX * asked and not pressed
    return AttackOutcome(held, f"{told}; another client was refused {refused} of {asked} times{pressed}")


def _client(address: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=CONNECTIONS + 4)
    transport = httpx.AsyncHTTPTransport(local_address=address, limits=limits)
    return httpx.AsyncClient(transport=transport, timeout=httpx.Timeout(40.0), trust_env=False)


async def _nonces(
    client: httpx.AsyncClient, target: AttackTarget, signers: list[Signer]
) -> NDArray[np.uint64]:
    """(n,) next nonces of the attacker's accounts."""
    found = []
    for signer in signers:
        url = f"{target.urls[0]}/v1/accounts/{signer.public_key.hex()}"
        found.append((await client.get(url)).json()["nonce"])
    return np.array(found, dtype=np.uint64)


def _body(
    genesis: Genesis, signers: list[Signer], nonces: NDArray[np.uint64], number: int, gap: int, forged: bool
) -> bytes:
    """The batch that has this number: nonces of all signers go on from batch to batch, after a gap."""
    keys = np.frombuffer(b"".join(each.public_key for each in signers), dtype=np.uint8).reshape(-1, 32)
    index = np.arange(BATCH_ROWS) + number * BATCH_ROWS
    sender = index % len(signers)
    rows = np.zeros(BATCH_ROWS, dtype=ROW_DTYPE)
    rows["version"], rows["kind"], rows["chain_tag"] = ROW_VERSION, KIND_TRANSFER, genesis.chain_tag
    rows["nonce"] = nonces[sender] + (gap + index // len(signers)).astype(np.uint64)
    rows["amount"], rows["fee"], rows["expiry_height"] = 1, FEE, NEVER_EXPIRES_HEIGHT
    rows["sender"], rows["recipient"] = keys[sender], keys[(sender + 1) % len(keys)]
    if forged:
        rows["signature"] = np.random.default_rng(number).integers(1, 255, (BATCH_ROWS, 64), dtype=np.uint8)
    else:
        sign_rows(rows, signers, sender)
    return encode_batch(Batch(rows, np.empty(0, dtype=np.uint8)))


async def _send(
    client: httpx.AsyncClient,
    url: str,
    body: bytes,
    seen: Counter[str],
    rows: Counter[str],
    until_s: float,
) -> None:
    """One request, by what became of it and of its rows; one under way at the end may still be answered."""
    headers = {"content-type": _BINARY, "accept": _BINARY}
    try:
        async with asyncio.timeout(max(until_s - time.monotonic(), 0.0) + ANSWER_S_MAX):
            answer = await client.post(url, content=body, headers=headers)
    except (httpx.HTTPError, TimeoutError) as error:
        seen[type(error).__name__] += 1
        return
    seen[f"{_ANSWERED}{answer.status_code}"] += 1
    if answer.status_code != 200:
        await asyncio.sleep(0.01)
        return
    codes, counts = np.unique(np.frombuffer(answer.content, dtype=np.uint8), return_counts=True)
    rows.update({f"rows {Verdict(int(code)).name}": int(n) for code, n in zip(codes, counts, strict=True)})


async def _probe(
    client: httpx.AsyncClient, target: AttackTarget, genesis: Genesis, until_s: float
) -> tuple[int, int]:
    """(asked, refused): good single rows of another client, which were refused for lack of room or turns."""
    signer = development_signer(genesis.network, target.development[PROBES][0])
    url = target.urls[0]
    nonce = int((await client.get(f"{url}/v1/accounts/{signer.public_key.hex()}")).json()["nonce"])
    asked = refused = 0
    while time.monotonic() < until_s:
        row = sign_transfer(signer, genesis.chain_tag, Transfer(signer.public_key, 1, nonce, FEE))
        asked += 1
        try:
            answer = await client.post(
                f"{url}/v1/transactions/batch", content=encode_batch(row), headers=_headers(), timeout=5.0
            )
            taken = answer.status_code == 200 and answer.content in (b"\0", bytes([Verdict.DUPLICATE]))
        except httpx.HTTPError:
            taken = False
        refused += not taken
        nonce += taken
        await asyncio.sleep(0.1)
    return asked, refused


def _headers() -> dict[str, Any]:
    return {"content-type": _BINARY, "accept": _BINARY}
