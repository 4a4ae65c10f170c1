"""The wire's own faults: decided by the seed, off unless asked for, and seen by both ends of a link."""

from __future__ import annotations

import asyncio

import pytest

from actors.peer.errors import RequestError
from actors.peer.faults import FaultRule, FaultTable, read_faults
from actors.peer.wire.frames import Priority
from tests.peer.nodes import config_of, eventually, joined, running

PEER = bytes(31) + b"\x01"


def test_decisions_come_from_the_seed() -> None:
    rule = FaultRule(loss=0.3, duplication=0.3, delay_ms=5, jitter_ms=20)
    tables = [FaultTable(seed, {PEER: rule}) for seed in (1, 1, 2)]
    one, same, other = ([table.deliveries_s(PEER) for _ in range(400)] for table in tables)
    assert one == same != other
    assert tables[0].lost == sum(not copies for copies in one)
    assert 60 < tables[0].lost < 180
    assert tables[0].duplicated == sum(len(copies) == 2 for copies in one) > 40
    late = [after_s for copies in one for after_s in copies]
    assert 0.005 <= min(late) <= max(late) <= 0.025


def test_a_rule_of_a_peer_goes_before_the_rule_of_all() -> None:
    table = FaultTable(0, {PEER: FaultRule(), b"": FaultRule(loss=1)})
    assert table.deliveries_s(PEER) == (0.0,)
    assert table.deliveries_s(bytes(32)) == ()


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"rules": {"": {"loss": 2}}}, "loss"),
        ({"rules": {"": {"delay_ms": -1}}}, "delay_ms"),
        ({"rules": {"": {"colour": 1}}}, "colour"),
        ({"rules": {"xyz": {}}}, "hex"),
        ({"colour": 1}, "colour"),
        ({"ballast_mb": 10**9}, "ballast"),
    ],
)
def test_a_wrong_document_is_refused_with_its_field(document: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        read_faults(document)
    assert read_faults({}) is None


def test_loss_late_copies_and_order_are_seen_at_the_far_end() -> None:
    async def scenario() -> None:
        async with running(config_of(0, 2), config_of(1, 2)) as (a, b):
            await joined(a, b)
            got: list[bytes] = []

            async def on_batch(batch: list[tuple[bytes, bytes]]) -> None:
                got.extend(body for _, body in batch)

            async def echo(_peer: bytes, body: bytes) -> bytes:
                return body

            b.register_channel("votes", on_batch)
            b.register_method("echo", echo)
            bodies = [bytes([n]) * 100 for n in range(50)]

            def offer() -> None:
                assert all(a.offer(b.identity, "votes", body, Priority.CONSENSUS) for body in bodies)

            b.links.faults = read_faults({"rules": {a.identity.hex(): {"duplication": 1, "jitter_ms": 40}}})
            offer()
            await eventually(lambda: len(got) == 100)
            assert sorted(got) == sorted(bodies * 2)
            assert got != sorted(got)

            got.clear()
            b.links.faults = read_faults({"rules": {"": {"loss": 1}}})
            offer()
            with pytest.raises(RequestError, match="deadline"):
                await a.request(b.identity, "echo", b"x", deadline_s=0.2)
            assert b.links.faults is not None
            assert b.links.faults.lost > 50
            for _ in range(40):
                await a.send(b.identity, "votes", bytes(1 << 18), Priority.TRANSACTIONS)
            await eventually(lambda: b.links.faults is not None and b.links.faults.lost > 90)
            b.links.faults = None
            assert await a.request(b.identity, "echo", b"y") == b"y"
            assert got == []

    asyncio.run(scenario())
