"""Discovery, gossip and broadcast on real loopback sockets."""

import asyncio
import itertools
from dataclasses import replace

from actors.peer.discovery import Discovery
from actors.peer.gossip import GossipItem, ItemVerdict
from actors.peer.kademlia.records import node_id
from actors.peer.network import Network
from actors.peer.spread import BLOCKS, TRANSACTIONS, Spread
from tests.peer.nodes import config_of, eventually, joined, running


def test_nodes_find_each_other_from_one_seed() -> None:
    async def scenario() -> None:
        found: list[Discovery] = []

        def discover(network: Network) -> None:
            found.append(Discovery(network))

        async with running(config_of(0, 3), before=Discovery) as (seed,):
            configs = [config_of(index, 3, seeds=(str(seed.address),)) for index in (1, 2, 3)]
            async with running(*configs, before=discover) as others:
                everyone = {network.identity for network in (seed, *others)}
                for network in (seed, *others):
                    await eventually(
                        lambda network=network: set(network.connected()) == everyone - {network.identity}
                    )
                lookup = await found[2].find(node_id(others[0].identity), wanted=others[0].identity)
                assert lookup.found is not None
                assert lookup.found.address == others[0].address
                for discovery, network in zip(found, others, strict=True):
                    await eventually(lambda discovery=discovery: len(discovery.table) == 3)
                    assert network.links.greylist.offences.total() == 0

    asyncio.run(scenario())


def test_lost_peers_leave_the_routing_table() -> None:
    async def scenario() -> None:
        async with running(config_of(0), config_of(1)) as (a, b):
            discovery = Discovery(a)
            await joined(a, b)
            assert [record.identity for record in discovery.table.contacts()] == [b.identity]
            await b.stop()
            await eventually(lambda: not len(discovery.table))

    asyncio.run(scenario())


def collect(
    network: Network, into: dict[bytes, list[bytes]], verdict: ItemVerdict = ItemVerdict.ACCEPT
) -> Spread:
    spread = Spread(network)

    async def judge(batch: list[GossipItem]) -> list[ItemVerdict]:
        into.setdefault(network.identity, []).extend(delivery.body for delivery in batch)
        return [verdict] * len(batch)

    spread.register_judge(TRANSACTIONS, judge)
    spread.register_judge(BLOCKS, judge)
    return spread


def test_gossip_crosses_a_line_of_nodes_once_each() -> None:
    async def scenario() -> None:
        async with running(*(config_of(index) for index in range(4))) as nodes:
            got: dict[bytes, list[bytes]] = {}
            spreads = [collect(network, got) for network in nodes]
            for left, right in itertools.pairwise(nodes):
                await joined(left, right)
            batches = [b"batch %d" % index for index in range(50)]
            spreads[0].publish(TRANSACTIONS, batches)
            spreads[0].publish(BLOCKS, [b"header"])
            for network in nodes[1:]:
                await eventually(lambda network=network: len(got.get(network.identity, [])) == 51)
                assert sorted(got[network.identity]) == sorted([*batches, b"header"])
            assert nodes[0].identity not in got

    asyncio.run(scenario())


def test_rejected_gossip_stops_at_the_first_hop_and_greylists_its_sender() -> None:
    async def scenario() -> None:
        async with running(*(config_of(index) for index in range(3))) as (bad, middle, far):
            got: dict[bytes, list[bytes]] = {}
            source = collect(bad, got)
            collect(middle, got, ItemVerdict.REJECT)
            collect(far, got)
            await joined(bad, middle)
            await joined(middle, far)
            source.publish(TRANSACTIONS, [b"forged"])
            await eventually(lambda: bad.identity not in middle.connected())
            assert got == {middle.identity: [b"forged"]}
            assert middle.links.greylist.is_listed(bad.identity, middle.links.now_s())

    asyncio.run(scenario())


def test_broadcast_block_waits_for_all_and_reports_each() -> None:
    async def scenario() -> None:
        async with running(*(config_of(index, 4) for index in range(4))) as (sender, good, slow, mute):
            spread = Spread(sender)
            await joined(sender, good, slow, mute)
            block = bytes(range(256)) * 8192
            got: list[bytes] = []

            async def accept(_peer: bytes, body: bytes) -> bytes:
                got.append(body)
                return b""

            async def hang(_peer: bytes, _body: bytes) -> bytes:
                await asyncio.Event().wait()
                return b""

            good.register_method("block", accept, members_only=True)
            slow.register_method("block", hang)
            receipts = await spread.broadcast_block(block, [*sender.connected(), bytes(32)], deadline_s=0.5)
            assert [(r.identity, r.error) for r in receipts] == [
                (good.identity, ""),
                (slow.identity, "deadline"),
                (mute.identity, "unknown_method"),
                (bytes(32), "not_connected"),
            ]
            assert got == [block]

    asyncio.run(scenario())


def test_inbound_record_that_names_another_host_is_not_relayed() -> None:
    async def scenario() -> None:
        liar = replace(config_of(1), advertise_address="192.0.2.1:9000")
        async with running(config_of(0), liar) as (node, client):
            discovery = Discovery(node)
            await client.links.dial(str(node.address))
            await eventually(lambda: node.connected() == [client.identity])
            assert len(discovery.table) == 0

    asyncio.run(scenario())
