"""The HTTP face on Ray: a Gateway and a MempoolShard as a node has them, around a chain that only counts.

The shard's signature checks are switched off (its verifier accepts everything), and one more actor stands for
Storage and Consensus: it draws blocks from the shard and tells it what they changed, but neither executes nor
stores them. So what is measured is the way from HTTP into a mempool, the hop over Ray included.
"""

from __future__ import annotations

import asyncio
import tempfile
from typing import TYPE_CHECKING, Any

from actors.ledger.delta import NO_IDS, AccountStates, ChainHead, Delta
from actors.ledger.hashing import prefixes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from actors.ledger.genesis import Genesis
    from bench.submissions import Submitter

BLOCK_ROWS, BLOCK_S = 50_000, 0.05
WARM_S = 1.0
ACTORS = ("gateway", "mempool")


class Unchecked:
    """A `Verifier` that takes every signature for valid."""

    async def verify(self, rows: NDArray[Any], *, flow: str = "") -> NDArray[Any]:  # noqa: ARG002 -- as there
        """(n,) bool, all true."""
        import numpy as np

        return np.ones(len(rows), dtype=np.bool_)

    def set_workers(self, workers: list[Any]) -> None:
        """There are none."""

    def statistics(self) -> dict[str, float]:
        """There are none."""
        return {}


class Counting:
    """Storage and Consensus of one shard's senders: each holds `balance`, and what is drawn is committed."""

    def __init__(self, senders: NDArray[Any], balance: int) -> None:
        import numpy as np

        order = np.argsort(prefixes(senders))
        self._keys = np.ascontiguousarray(senders[order])
        self._prefixes = prefixes(self._keys)
        self._nonces = np.zeros(len(senders), dtype=np.uint64)
        self._balances = np.full(len(senders), balance, dtype=np.uint64)
        self._height = 0
        self._work: asyncio.Task[None] | None = None

    async def shard_accounts(self, _shard: int, _shards: int) -> AccountStates:
        """All accounts, at the height of the last block."""
        return AccountStates(self._height, self._keys, self._nonces, self._balances)

    async def head(self) -> ChainHead:
        """The last block."""
        return ChainHead(self._height, bytes(32), bytes(32), 0)

    async def status(self) -> dict[str, Any]:
        """What Consensus says, as far as the benchmark asks."""
        return {"height": self._height}

    async def peers(self) -> list[dict[str, Any]]:
        """Nobody."""
        return []

    async def begin(self, shard: Any) -> None:
        """Draw blocks from now on."""
        self._work = asyncio.create_task(self._blocks(shard))

    async def _blocks(self, shard: Any) -> None:
        import numpy as np

        while True:
            await asyncio.sleep(BLOCK_S)
            told, rows, _ = await asyncio.gather(*shard.draw.remote(BLOCK_ROWS, 0, self._height + 1))
            if not told.count:
                continue
            at = np.searchsorted(self._prefixes, prefixes(rows["sender"]))
            np.maximum.at(self._nonces, at, rows["nonce"] + np.uint64(1))
            changed = np.unique(at)
            self._height += 1
            columns = (self._keys[changed], self._nonces[changed], self._balances[changed])
            accounts = AccountStates(self._height, *columns)
            await shard.settle.remote(Delta.of_accounts(accounts, 0, b"", b"", NO_IDS))


async def _load(actors: list[Any], submitter: Submitter, seconds: float) -> tuple[int, float, list[float]]:
    """Rows taken in, the seconds it took, and the CPU seconds of each actor's process."""
    import psutil

    from bench.submissions import cpu_s

    processes = [psutil.Process((await actor.health.remote())["pid"]) for actor in actors]
    await submitter.run(WARM_S)
    before = [cpu_s(process) for process in processes]
    rows, spent_s = await submitter.run(seconds)
    return rows, spent_s, [cpu_s(process) - was for process, was in zip(processes, before, strict=True)]


def measure(genesis: Genesis, senders: NDArray[Any], balance: int, seconds: float) -> dict[str, object]:
    """binary_submit_real_tps, and CPU microseconds a transaction of both actors' processes."""
    import ray

    from actors.cluster.actor import RayCluster
    from actors.gateway import actor as gateway
    from actors.mempool import actor as mempool
    from actors.settings import GatewaySettings, MempoolSettings
    from actors.shell import ActorContext
    from bench.submissions import BATCH_ROWS, Submitter
    from config.effective import load

    settings = load("bench", []).settings
    cluster = RayCluster(settings)
    try:
        with tempfile.TemporaryDirectory() as folder:

            def actor(room: Any, kind: type, name: str, *arguments: Any) -> Any:
                context = ActorContext("bench", name, folder, settings.log)
                return ray.remote(num_cpus=0, **room.OPTIONS)(kind).remote(context, *arguments)

            chain = ray.remote(num_cpus=0)(Counting).remote(senders, balance)
            bounds = MempoolSettings(capacity_rows=40 * BATCH_ROWS)
            place = (0, 1, genesis, chain, Unchecked())
            shard = actor(mempool, mempool.MempoolShard, "mempool-0", bounds, *place)
            face = GatewaySettings(port=0, client_rate_max=0, batch_rows_max=BATCH_ROWS)
            told = (genesis, 0, [shard], chain, chain, chain)
            front = actor(gateway, gateway.Gateway, "gateway-0", face, *told)
            ray.get([shard.start.remote(), chain.begin.remote(shard)])
            url = ray.get(front.start.remote())["url"]
            submitter = Submitter(url, genesis.chain_tag)
            rows, spent_s, cpu = asyncio.run(_load([front, shard], submitter, seconds))
            ray.get([front.stop.remote(), shard.stop.remote()])
    finally:
        cluster.close()
    us = {name: round(1e6 * spent / rows, 3) for name, spent in zip(ACTORS, cpu, strict=True)}
    return {
        "binary_submit_real_tps": round(rows / spent_s),
        "binary_submit_real_into": "a MempoolShard actor that blocks are drawn from, no signature checks",
        "binary_submit_real_cpu_us_per_tx": us,
    }
