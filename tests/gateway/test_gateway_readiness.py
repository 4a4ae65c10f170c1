"""Readiness says what is true, with the reason, and asks nobody again for each who asks."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from actors.gateway import readiness as readiness_module
from actors.gateway.api import create_app
from actors.gateway.backend import UnavailableError
from actors.gateway.readiness import PATIENCE_S, Readiness
from actors.ledger.membership import MemberStanding
from tests.gateway.gateway_fake_node import FakeNode, until

LEADER = {"role": "leader", "leader": "aa", "identity": "aa", "halted": ""}
FOLLOWER = {"role": "follower", "leader": "bb", "identity": "aa", "halted": ""}
OBSERVER = {"role": "observer", "leader": "", "identity": "aa", "halted": ""}
STORAGE = {"read_only": "", "background_error": ""}
PEER = {"peers": 2, "halted": ""}
AA, BB = (MemberStanding(0, who, who, "", "voter", False, "named") for who in ("aa", "bb"))
REMOVED, STAYS = [replace(AA, role="out"), BB], [AA, replace(BB, role="out")]


class Parts:
    """What each part says; None does not answer."""

    def __init__(self) -> None:
        self.says: dict[str, Any] = {"status": LEADER, "storage": STORAGE, "peer": PEER, "members": STAYS}
        self.now_s = 0.0
        self.readiness = Readiness(
            self._asking("status"),
            self._asking("storage"),
            self._asking("peer"),
            self._asking("members"),
            clock=lambda: self.now_s,
        )

    def _asking(self, name: str) -> Any:
        async def ask() -> Any:
            if self.says[name] is None:
                raise UnavailableError(name)
            return self.says[name]

        return ask

    def look(self, later_s: float = 0.0, **says: Any) -> tuple[str, ...]:
        self.says |= says
        self.now_s += later_s
        asyncio.run(self.readiness.look())
        return self.readiness.reasons


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ({"status": None}, "consensus does not answer"),
        ({"storage": None}, "storage does not answer"),
        ({"status": {**LEADER, "halted": "root differs"}}, "halted: root differs"),
        ({"status": {**FOLLOWER, "standing": "it does not vote yet"}}, "it does not vote yet"),
        ({"status": {**FOLLOWER, "role": "starting"}}, "starting"),
        ({"status": {**FOLLOWER, "leader": ""}, "members": REMOVED}, "not a member of the network any more"),
        ({"storage": {**STORAGE, "read_only": "1 MB free"}}, "the disk is full: 1 MB free"),
        ({"storage": {**STORAGE, "background_error": "bad block"}}, "bad block"),
        ({"status": OBSERVER, "peer": {**PEER, "halted": "a false root"}}, "does not follow any more"),
    ],
)
def test_what_stops_a_node_is_a_reason_at_once(says: dict[str, Any], words: str) -> None:
    parts = Parts()
    assert parts.look() == ()
    (reason,) = parts.look(**says)
    assert words in reason
    assert parts.readiness.stale == reason
    assert parts.look(status=LEADER, storage=STORAGE, peer=PEER, members=STAYS) == ()


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ({"status": {**FOLLOWER, "role": "candidate", "leader": ""}}, "no leader is known"),
        ({"status": {**FOLLOWER, "leader": ""}, "members": None}, "no leader is known"),
        ({"status": OBSERVER, "peer": {**PEER, "peers": 0}}, "no peer is connected"),
        ({"status": OBSERVER, "peer": None}, "peer does not answer"),
    ],
)
def test_what_passes_is_a_reason_only_when_it_lasts(says: dict[str, Any], words: str) -> None:
    parts = Parts()
    assert parts.look(**says) == ()
    assert parts.look(PATIENCE_S / 2) == ()
    assert parts.look(status=FOLLOWER, peer=PEER) == (), "an election ends, a peer comes back"
    assert parts.look(PATIENCE_S, **says) == ()
    assert words in parts.look(PATIENCE_S)[0]


def test_an_observer_that_does_not_reach_the_known_head_is_not_ready() -> None:
    parts = Parts()

    def at(height: int, known: int) -> dict[str, Any]:
        return {"status": {**OBSERVER, "height": height}, "peer": {**PEER, "known_head": known}}

    assert parts.look(**at(10, 10)) == ()
    for step in range(1, 100):  # always a block behind, as who follows is
        assert parts.look(1.0, **at(10 + step, 11 + step)) == ()
    assert parts.look(10.0, **at(110, 120)) == ()
    assert parts.look(15.0, **at(112, 140)) == ()
    (reason,) = parts.look(15.0, **at(115, 150))
    assert "height 115, 35 blocks behind the members' 150" in reason
    assert parts.readiness.stale == reason
    assert parts.look(1.0, **at(150, 151)) == ()
    assert parts.look(1.0, **at(151, 50_000)) == ()
    assert "49849 blocks behind" in parts.look(PATIENCE_S, **at(151, 50_000))[0], "much is missing"
    assert parts.look(1.0, **at(50_000, 50_000)) == ()
    assert parts.look(100.0, **at(50_000, 0)) == (), "nobody says a height"


def test_a_node_that_was_never_looked_at_is_not_ready() -> None:
    readiness = Parts().readiness
    assert readiness.reasons
    assert not readiness.stale


def test_reads_of_a_node_that_is_cut_off_say_so() -> None:
    async def scenario() -> None:
        node = FakeNode()
        node.commit_one()
        api = create_app(node.service, lambda what, error: pytest.fail(f"{what}: {error!r}"))
        transport = httpx.ASGITransport(api)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            assert "x-raychain-stale" not in (await http.get("/v1/blocks/1")).headers
            await node.service.readiness.look()
            node.service.readiness.reasons = ("no leader is known", "odd\r\ntext \x7f…")
            for path in ("/v1/blocks/1", "/v1/status", f"/v1/accounts/{'0' * 64}", "/v1/nothing"):
                answer = await http.get(path)
                assert answer.headers["x-raychain-stale"].startswith("no leader is known; odd"), path
            status = (await http.get("/v1/status")).json()["gateway"]
            assert (status["ready"], len(status["unready_reasons"])) == (False, 2)

    asyncio.run(scenario())


def test_while_somebody_watches_nobody_who_asks_for_readiness_asks_the_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readiness_module, "LOOK_S", 1_000.0)

    async def scenario() -> None:
        node = FakeNode()
        api = create_app(node.service, lambda what, error: pytest.fail(f"{what}: {error!r}"))
        watch = asyncio.ensure_future(node.service.readiness.watch())
        await until(lambda: not node.service.readiness.reasons)
        reads = node.reads
        transport = httpx.ASGITransport(api)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            for _ in range(50):
                assert (await http.get("/v1/ready")).json()["ready"]
        assert node.reads == reads
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch

    asyncio.run(scenario())
