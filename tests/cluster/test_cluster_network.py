"""Three members in one Ray cluster: they agree, hand over leadership, and survive a whole node's kill."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from actors.directory import open_network
from actors.ledger.block import decode_sealed_header
from actors.ledger.rows import Batch
from actors.sdk.answers import ApiError
from actors.sdk.client import Client
from actors.topology import Node, started_nodes
from bench.demo import agree, await_leader
from bench.transfers import SignPlan, build_transfers
from config.effective import load
from tests.cluster.conftest import Running, eventually
from tests.cluster.test_cluster_kills import Load

OVERRIDES = [
    "gateway.port=0",
    "node.validators=1",
    "network.name=three",
    "network.development_accounts=400",
    "consensus.block_interval_ms=20",
]
ACCOUNTS = 40


class Network:
    """Three nodes; `accounts` hands out development accounts that no other test uses."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    def status(self, node: Node) -> dict[str, Any]:
        status: dict[str, Any] = node.call("consensus", "status")
        return status

    def names(self) -> list[str]:
        return [node.folder.name for node in self.nodes]


@pytest.fixture(scope="module")
def network(only_node: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """In the Ray cluster of all cluster tests, beside their node."""
    settings = load("local", OVERRIDES).settings
    directory = open_network(tmp_path_factory.mktemp("three"), settings.network, 3, lambda _: None)
    with started_nodes(settings, directory, lambda _: None) as nodes:
        yield Network(nodes)


def committed(client: Client, network: Network, first_account: int) -> list[bytes]:
    genesis = network.nodes[0].directory.genesis
    plan = SignPlan(
        "", genesis.network, genesis.chain_tag, ACCOUNTS, 0, ACCOUNTS, first_account=first_account
    )
    batch = Batch(build_transfers(plan), np.empty(0, dtype=np.uint8))
    eventually(lambda: client.submit(batch, wait="accepted"), "the batch is taken")
    ids = [row.tobytes() for row in batch.ids()]
    eventually(lambda: all(client.transaction(tx_id) for tx_id in ids), "every transfer is committed")
    return ids


def ask(leader: Node, action: str, member: Node) -> None:
    """What is refused (a change is under way, another leads by now) is asked again by who waits for it."""
    with Client(leader.url) as client, contextlib.suppress(ApiError):
        client.change_member(action, member.folder.name)


def test_three_members_commit_one_chain_that_anyone_can_check(network: Network) -> None:
    leader = await_leader(network.nodes)
    with Client(leader.url, timeout_s=120) as client:
        ids = committed(client, network, 0)
    final = agree(network.nodes)
    assert final["agree"], final
    genesis = leader.directory.genesis
    for node in network.nodes:
        with Client(node.url) as client:
            assert client.verified_proof(ids[0], genesis).height <= final["height"]
            sealed = client.sealed_header(final["height"])
            assert sealed is not None
            assert decode_sealed_header(sealed).verify(genesis.hash(), genesis.member_keys) == ""


def test_what_followers_take_in_reaches_the_leader_and_is_committed(network: Network) -> None:
    leader = await_leader(network.nodes)
    followers = [node for node in network.nodes if node is not leader]
    for number, node in enumerate(followers):
        with Client(node.url, timeout_s=120) as client:
            committed(client, network, (8 + number) * ACCOUNTS)


def test_leadership_is_handed_over_and_members_leave_and_return(network: Network) -> None:
    leader = await_leader(network.nodes)
    heir = next(node for node in network.nodes if node is not leader)

    def hand_over() -> bool:
        if await_leader(network.nodes) is heir:
            return True
        ask(await_leader(network.nodes), "transfer", heir)
        return bool(network.status(heir)["role"] == "leader")

    eventually(hand_over, "leadership has moved")
    third = next(node for node in network.nodes if node is not heir and node is not leader)
    for action, role in (("remove", "out"), ("add", "learner"), ("promote", "voter")):

        def changed(action: str = action, role: str = role) -> bool:
            now = await_leader([node for node in network.nodes if node is not third])
            with Client(now.url) as client:
                rows = {row["name"]: row for row in client.members()["members"]}
            if rows[third.folder.name]["role"] == role:
                return True
            ask(now, action, third)
            return False

        eventually(changed, f"{action} is done")
    with Client(await_leader(network.nodes).url, timeout_s=120) as client:
        committed(client, network, ACCOUNTS)
    assert agree(network.nodes)["agree"]


def test_the_kill_of_the_leaders_node_loses_nothing(network: Network) -> None:
    leader = await_leader(network.nodes)
    others = [node for node in network.nodes if node is not leader]
    with Load(others[0], 3 * ACCOUNTS) as load:
        eventually(lambda: load.acknowledged or load.error, "load is committed")
        leader.kill()
        await_leader(others)
        seen = len(load.acknowledged)
        eventually(lambda: len(load.acknowledged) > seen or load.error, "commits after the kill")
    final = agree(network.nodes, deadline_s=180)
    assert final["agree"], final
    found: dict[bytes, int] = {}
    with Client(leader.url, timeout_s=60) as client:
        for height in range(1, final["height"] + 1):
            block = eventually(lambda height=height: client.raw_block(height), "the returned node serves")
            for row in block.batch.ids():
                found[row.tobytes()] = found.get(row.tobytes(), 0) + 1
    assert load.acknowledged
    assert [tx_id for tx_id in load.acknowledged if found.get(tx_id) != 1] == []
    assert max(found.values()) == 1
