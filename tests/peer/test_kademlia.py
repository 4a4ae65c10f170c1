"""Routing table and lookup: who stays, who waits, who is asked."""

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.peer.kademlia.buckets import K, RoutingTable, Seen
from actors.peer.kademlia.lookup import QUERIES_MAX, Lookup
from actors.peer.kademlia.records import EndpointRecord, node_id


def record(number: int, host: str | None = None, sequence: int = 1) -> EndpointRecord:
    identity = hashlib.sha256(b"%d" % number).digest()
    return EndpointRecord(identity, sequence, host or f"10.{number >> 8 & 255}.{number & 255}.1", 9000)


def in_bucket(table: RoutingTable, number: int, count: int) -> list[EndpointRecord]:
    found = (record(index) for index in range(1_000_000))
    return [
        r for r, _ in zip((r for r in found if table.bucket_of(r.id) == number), range(count), strict=False)
    ]


def test_answering_contacts_are_never_displaced() -> None:
    table = RoutingTable(0)
    old = in_bucket(table, 255, 3 * K)
    for contact in old[:K]:
        assert table.seen(contact, 0.0).seen is Seen.ADDED
    for contact in old[K:]:
        outcome = table.seen(contact, 1.0)
        assert outcome.seen is Seen.WAITING
        assert outcome.check == old[0]
    assert table.contacts() == old[:K]
    assert len(table) == K


def test_failed_contact_gives_way_to_the_latest_newcomer() -> None:
    table = RoutingTable(0)
    old = in_bucket(table, 255, K + 2)
    for contact in old:
        table.seen(contact, 0.0)
    assert table.seen(old[0], 1.0).seen is Seen.UPDATED
    assert table.seen(old[K + 1], 1.0).check is None
    assert table.failed(old[1].id, old[1].identity) == old[K + 1]
    assert table.failed(old[1].id, old[1].identity) is None
    assert table.failed(old[K].id, old[K].identity) is None
    assert table.failed(old[2].id, old[2].identity) is None
    assert table.contacts() == [*old[3:K], old[0], old[K + 1]]
    assert len(table) == K - 1


def test_subnets_are_limited_in_bucket_and_table() -> None:
    table = RoutingTable(0, subnet_per_bucket=2, subnet_per_table=5)
    admitted = [table.seen(record(index, host="192.0.2.7"), 0.0).seen is Seen.ADDED for index in range(200)]
    assert sum(admitted) == 5
    unlimited = RoutingTable(0, subnet_per_bucket=0, subnet_per_table=0)
    for index in range(10):
        assert unlimited.seen(record(index, host="127.0.0.1"), 0.0).seen is Seen.ADDED
    gone = next(iter(table.contacts()))
    table.failed(gone.id, gone.identity)
    assert (
        sum(table.seen(record(index, host="192.0.2.8"), 0.0).seen is Seen.ADDED for index in range(200)) == 1
    )


def test_higher_sequence_replaces_and_lower_does_not() -> None:
    table = RoutingTable(0)
    table.seen(record(1, sequence=5), 0.0)
    table.seen(record(1, host="10.9.9.9", sequence=4), 0.0)
    assert table.contacts()[0].host != "10.9.9.9"
    table.seen(record(1, host="10.9.9.9", sequence=6), 0.0)
    assert table.contacts()[0].host == "10.9.9.9"
    assert len(table) == 1


def test_own_record_is_refused() -> None:
    own = record(1)
    assert RoutingTable(own.id).seen(own, 0.0).seen is Seen.REFUSED


@given(local=st.integers(0, 2**256 - 1), number=st.integers(0, 255), bits=st.integers(0, 2**256 - 1))
def test_refresh_target_falls_into_its_bucket(local: int, number: int, bits: int) -> None:
    table = RoutingTable(local)
    assert table.bucket_of(table.target_in(number, bits)) == number


def test_stale_buckets_are_named_once() -> None:
    table = RoutingTable(0)
    table.seen(record(1), 0.0)
    number = table.bucket_of(record(1).id)
    assert table.stale(599.0, 600.0) == []
    assert table.stale(600.0, 600.0) == [number]
    assert table.stale(601.0, 600.0) == []


@given(st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=200))
@settings(max_examples=40, deadline=None)
def test_counts_hold_under_any_sequence(steps: list[tuple[int, bool]]) -> None:
    table = RoutingTable(node_id(b"me"), k=3, subnet_per_table=4)
    for number, alive in steps:
        contact = record(number, host=f"10.0.{number % 5}.1")
        if alive:
            table.seen(contact, 0.0)
        else:
            table.failed(contact.id, contact.identity)
    contacts = table.contacts()
    assert len(table) == len(contacts) == len({c.identity for c in contacts})
    for index in range(5):
        assert sum(c.subnet == f"10.0.{index}.0/24" for c in contacts) <= 4
    target = node_id(b"t")
    assert table.closest(target, 5) == sorted(contacts, key=lambda c: c.id ^ target)[:5]


def run(
    lookup: Lookup, tables: dict[bytes, list[EndpointRecord]], dead: frozenset[bytes] = frozenset()
) -> set[bytes]:
    asked: set[bytes] = set()
    while not lookup.finished:
        queries = lookup.next_queries()
        assert queries
        for query in queries:
            assert query.identity not in asked
            asked.add(query.identity)
            if query.identity in dead:
                lookup.failed(query.identity)
            else:
                known = sorted(tables[query.identity], key=lambda r: r.id ^ lookup.target)
                lookup.answered(query.identity, known[:K])
    return asked


@pytest.mark.parametrize("paths", [1, 3])
def test_lookup_finds_the_nearest_in_a_full_mesh(paths: int) -> None:
    records = [record(index) for index in range(100)]
    tables = {r.identity: records for r in records}
    target = node_id(b"anywhere")
    lookup = Lookup(target, records[:5], paths=paths)
    run(lookup, tables)
    nearest = sorted(records, key=lambda r: r.id ^ target)
    assert lookup.nearest()[:K] == nearest[:K]


def test_lookup_of_an_identity_ends_at_its_record() -> None:
    records = [record(index) for index in range(100)]
    tables = {r.identity: records for r in records}
    wanted = records[77]
    lookup = Lookup(wanted.id, records[:3], wanted=wanted.identity)
    asked = run(lookup, tables)
    assert lookup.found == wanted
    assert lookup.hops == 1
    assert len(asked) <= 3
    assert lookup.next_queries() == []


def test_disjoint_paths_survive_liars_on_one() -> None:
    """Two of three first contacts know only each other's liars; the third path still finds the record."""
    generator = random.Random(7)
    honest, liars = [record(index) for index in range(100)], [record(1000 + index) for index in range(60)]
    tables = {r.identity: generator.sample(honest, 40) for r in honest}
    tables |= {r.identity: liars for r in liars}
    wanted = honest[50]
    tables[honest[1].identity].append(wanted)
    found = Lookup(wanted.id, [liars[0], liars[1], honest[1]], wanted=wanted.identity)
    run(found, tables)
    assert found.found == wanted


def test_everything_is_bounded_when_answers_never_end() -> None:
    lookup, number = Lookup(0, [record(0)]), 1
    while not lookup.finished:
        for query in lookup.next_queries():
            lookup.answered(query.identity, [record(number + step) for step in range(100)])
            number += 100
    assert lookup.queries <= QUERIES_MAX


def test_unasked_answers_change_nothing() -> None:
    lookup = Lookup(0, [record(0)])
    lookup.answered(record(5).identity, [record(6)])
    lookup.failed(record(5).identity)
    assert lookup.next_queries() == [record(0)]
    lookup.failed(record(0).identity)
    lookup.answered(record(0).identity, [record(6)])
    assert lookup.finished
    assert lookup.nearest() == []
