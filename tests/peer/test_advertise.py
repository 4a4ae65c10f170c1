"""Addresses that a node publishes: behind NAT, in a container, on all interfaces, and on the loopback."""

import asyncio
from dataclasses import replace

import pytest

from actors.peer.advertise import advertised_address, is_published_to, with_port
from actors.peer.config import KnownMember, PeerConfig
from actors.peer.discovery import Discovery
from actors.peer.errors import ConfigError
from actors.peer.kademlia.records import decode_record, sign_record
from actors.peer.messages import FindNode, decode_nodes, encode
from actors.peer.network import Network
from actors.settings import PeerSettings
from tests.peer.nodes import GENESIS, config_of, eventually, identity_of, joined, running


@pytest.mark.parametrize(
    ("advertise", "bound", "genesis", "published"),
    [
        (None, ("127.0.0.1", 7000), None, "127.0.0.1:7000"),
        (None, ("10.0.0.5", 7000), "node.example:1", "10.0.0.5:7000"),
        (None, ("0.0.0.0", 7000), None, None),
        (None, ("::", 7000), None, None),
        (None, ("0.0.0.0", 7000), "node.example:1", "node.example:1"),
        ("node.example", ("0.0.0.0", 7000), "other:1", "node.example:7000"),
        ("203.0.113.9:9000", ("172.17.0.2", 7000), None, "203.0.113.9:9000"),
        ("[2001:db8::1]", ("::", 7000), None, "[2001:db8::1]:7000"),
        ("[2001:db8::1]:9", ("::", 7000), None, "[2001:db8::1]:9"),
    ],
)
def test_what_is_published(
    advertise: str | None, bound: tuple[str, int], genesis: str | None, published: str | None
) -> None:
    members = (KnownMember(identity_of(0), genesis), KnownMember(identity_of(1), "elsewhere:2"))
    config = replace(config_of(0), members=members, advertise_address=advertise)
    assert advertised_address(config, identity_of(0), *bound) == published


@pytest.mark.parametrize("address", ["0.0.0.0", "0.0.0.0:9", "[::]", "a:0", "a:b", ":9", "2001:db8::1"])
def test_what_cannot_be_dialled_cannot_be_advertised(address: str) -> None:
    with pytest.raises(ConfigError):
        with_port(address, 7000)
    with pytest.raises(ConfigError):
        Network(config_of(0, advertise_address=address))
    with pytest.raises(ValueError, match="advertise"):
        PeerSettings(advertise=address)


@pytest.mark.parametrize(
    ("record", "peer", "published"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "10.0.0.1", False),
        ("::1", "10.0.0.1", False),
        ("localhost", "10.0.0.1", False),
        ("::ffff:127.0.0.1", "10.0.0.1", False),
        ("127.0.0.1", "127.9.0.1", True),
        ("10.0.0.2", "127.0.0.1", True),
        ("node.example", "10.0.0.1", True),
    ],
)
def test_loopback_addresses_stay_on_the_loopback(record: str, peer: str, published: bool) -> None:
    assert is_published_to(record, peer) is published


def test_a_node_on_all_interfaces_shows_no_record_and_says_so() -> None:
    async def scenario() -> None:
        async with running(config_of(0, listen_host="0.0.0.0"), config_of(1)) as (node, other):
            assert node.advertised is None
            discovery = Discovery(other)
            await node.links.dial(str(other.address))
            await eventually(lambda: other.connected() == [node.identity])
            assert len(discovery.table) == 0

    asyncio.run(scenario())


def test_an_advertised_address_is_what_others_learn_and_the_bound_one_is_kept() -> None:
    async def scenario() -> None:
        async with running(config_of(0, advertise_address="node.example"), config_of(1)) as (node, other):
            port = str(node.address).rpartition(":")[2]
            assert str(node.address) == f"127.0.0.1:{port}"
            discovery = Discovery(other)
            await joined(other, node)
            (record,) = discovery.table.contacts()
            assert record.address == f"node.example:{port}"

    asyncio.run(scenario())


def test_a_peer_elsewhere_is_told_no_loopback_address_and_believed_none() -> None:
    async def scenario() -> None:
        async with running(config_of(0), config_of(1), config_of(2)) as (node, near, far):
            discovery = Discovery(node)
            node.on_tick.clear()  # no lookups: the others would fail them, and leave the table for it
            await joined(near, node)
            await eventually(lambda: len(discovery.table) == 1)
            await joined(far, node)
            asked = encode(FindNode(bytes(32)))
            link = node.links.table.get(far.identity)
            assert link is not None
            link.host = "10.0.0.9"
            assert decode_nodes(await far.request(node.identity, "find_node", asked)).records == []
            shown = decode_nodes(await near.request(node.identity, "find_node", asked)).records
            assert len(shown) == 2
            assert discovery._published(far.identity, [decode_record(data, GENESIS) for data in shown]) == []

    asyncio.run(scenario())


def test_an_old_record_of_a_member_does_not_stand_in_the_way_of_a_new_one() -> None:
    async def scenario() -> None:
        async with running(config_of(0, 2)) as (node,):
            discovery = Discovery(node)
            member = Network(config_of(1, 2)).local
            for sequence, port in ((5, 1), (7, 2), (6, 3)):
                discovery._want_members([sign_record(member, sequence, "127.0.0.1", port)])
            assert [target.address for target in node.links.plan.targets()] == ["127.0.0.1:2"]

    asyncio.run(scenario())


def test_a_configured_address_is_kept_beside_the_learned_one() -> None:
    config: PeerConfig = config_of(0)
    members = (KnownMember(identity_of(0)), KnownMember(identity_of(1), "127.0.0.1:9"))

    async def scenario() -> None:
        async with running(replace(config, members=members)) as (node,):
            record = sign_record(Network(config_of(1, 2)).local, 1, "127.0.0.1", 8)
            Discovery(node)._want_members([record])
            assert {target.address for target in node.links.plan.targets()} == {"127.0.0.1:9", "127.0.0.1:8"}

    asyncio.run(scenario())
