"""A member that loses its memory while the network is being founded holds nobody up for good."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from tests.consensus.consensus_network import FakeNetwork

MOMENTS: dict[str, Callable[[FakeNetwork], bool]] = {
    "elected": lambda network: any(m.leads for m in network.members),
    "entry written": lambda network: any(m.disk.entries for m in network.members),
    "entry everywhere": lambda network: all(m.disk.entries for m in network.members),
    "first block": lambda network: any(m.disk.height for m in network.members),
}


@pytest.mark.parametrize("victim", ["leader", "follower"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_member_emptied_while_the_network_is_founded_holds_nobody_up(moment: str, victim: str) -> None:
    async def scenario(seed: int) -> None:
        network = FakeNetwork(seed, disks=True)
        try:
            await network.until(lambda: MOMENTS[moment](network), moment)
            await asyncio.sleep(random.Random(seed).choice((0, 0.01, 0.05)))
            chosen = [m for m in network.members if m.leads == (victim == "leader")] or network.members
            emptied = chosen[seed % len(chosen)]
            await emptied.wipe()
            await network.until(lambda: all(m.disk.height >= 3 for m in network.members), "blocks")
            await network.until(lambda: not emptied.part.trouble()["standing"], "it votes again")
            network.assert_agreement()
        finally:
            await network.close()

    for seed in range(2):
        asyncio.run(scenario(seed))
