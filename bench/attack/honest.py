"""An honest client, as a process: at a steady rate one transfer from a key of its own that is idle.

    python -m bench.attack.honest < HonestPlan as JSON      one JSON line a transfer on standard output

Open loop: a transfer's latency counts from when it was due, so one that waited for a free key is late, too.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from typing import Any

import msgspec

from actors.ledger.signing import Signer, Transfer, development_signer, sign_transfer
from actors.sdk.answers import ApiError
from actors.sdk.client import AsyncClient

TIMEOUT_S = 20.0


class HonestPlan(msgspec.Struct, frozen=True):
    """Development keys `first` to `first + keys - 1` of the network pay over the gateways in turn."""

    urls: list[str]
    network: str
    chain_tag: int
    fee: int
    first: int
    keys: int
    rate_tps: float


class Payment(msgspec.Struct, frozen=True, gc=False):
    """When it was due, by CLOCK_MONOTONIC, how long it took to be committed, and what went wrong."""

    due_s: float
    latency_ms: float
    error: str = ""


class _Key:
    """A key and its next nonce, unknown at first and after a failure."""

    def __init__(self, signer: Signer, client: AsyncClient) -> None:
        self.signer, self.client = signer, client
        self.nonce: int | None = None


async def pay(plan: HonestPlan) -> None:
    """Pay until the process is ended."""
    clients = [AsyncClient(url, timeout_s=TIMEOUT_S) for url in plan.urls]
    signers = [development_signer(plan.network, plan.first + n) for n in range(plan.keys)]
    idle = deque(_Key(signer, clients[n % len(clients)]) for n, signer in enumerate(signers))
    due_s, under_way = time.monotonic(), set[asyncio.Task[None]]()
    while True:
        due_s += 1 / plan.rate_tps
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        while not idle:
            await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.create_task(_pay_once(plan, idle.popleft(), signers, due_s, idle))
        under_way.add(task)
        task.add_done_callback(under_way.discard)


async def _pay_once(
    plan: HonestPlan, key: _Key, signers: list[Signer], due_s: float, idle: deque[_Key]
) -> None:
    error = ""
    try:
        if key.nonce is None:
            key.nonce = int((await key.client.account(key.signer.public_key))["nonce"])
        transfer = Transfer(signers[0].public_key, amount=1, nonce=key.nonce, fee=plan.fee)
        receipt = await key.client.submit(sign_transfer(key.signer, plan.chain_tag, transfer), "committed")
        key.nonce = key.nonce + 1 if receipt.accepted else None
        error = "" if receipt.accepted else f"refused: {receipt.rejected[0].verdict}"
    except (ApiError, OSError) as failure:
        key.nonce, error = None, f"{type(failure).__name__}: {failure}"[:300]
    _say(Payment(due_s, (time.monotonic() - due_s) * 1000, error))
    idle.append(key)


def _say(payment: Any) -> None:
    sys.stdout.write(msgspec.json.encode(payment).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(pay(msgspec.json.decode(sys.stdin.buffer.read(), type=HonestPlan)))
