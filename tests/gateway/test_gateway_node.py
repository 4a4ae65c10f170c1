"""Routes that list: blocks a page at a time, members, actors, the mempool, peers, validators."""

from __future__ import annotations

import httpx

from tests.gateway.gateway_fake_node import FakeNode
from tests.gateway.test_gateway_api import problem_of, talk


def test_blocks_are_listed_in_pages_that_meet_without_gap_or_overlap() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        assert (await http.get("/v1/blocks")).json() == {"blocks": [], "next": None}
        for nonce in range(7):
            node.shards[0].pending = [node.transfer(0, nonce)]
            node.commit()
        seen, before = [], None
        while True:
            query = {"limit": 3} if before is None else {"limit": 3, "before": before}
            page = (await http.get("/v1/blocks", params=query)).json()
            seen += page["blocks"]
            before = page["next"]
            if before is None:
                break
        assert [header["height"] for header in seen] == [7, 6, 5, 4, 3, 2, 1]
        assert seen[0]["hash"] == node.blocks[7].header.hash().hex()
        assert (await http.get("/v1/blocks", params={"before": 0})).json()["blocks"] == []
        for query in ({"limit": 0}, {"limit": 101}, {"before": -1}, {"before": 2**63}):
            problem_of(await http.get("/v1/blocks", params=query), 422)

    talk(scenario)


def test_what_the_node_says_of_itself() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        node.shards[0].pending = [node.transfer(0, 0)]
        mempool = (await http.get("/v1/mempool")).json()
        assert (mempool["depth"], mempool["capacity"], len(mempool["shards"])) == (1, 200, 2)
        assert (await http.get("/v1/peers")).json()["peers"][0]["state"] == "active"
        actors = (await http.get("/v1/actors")).json()["actors"]
        assert actors["storage"]["rss_mb"] == 80.5
        node.shards[1].away = node.away = True
        mempool = (await http.get("/v1/mempool")).json()
        assert (mempool["depth"], mempool["shards"][1]["depth"]) == (1, None)
        assert (await http.get("/v1/actors")).json()["actors"]["storage"] is None
        problem_of(await http.get("/v1/peers"), 503)

    talk(scenario)


def test_administrators_have_a_snapshot_or_a_copy_made() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        snapshot, copy = {"action": "snapshot"}, {"action": "copy"}
        assert "no block yet" in problem_of(await http.post("/v1/maintenance", json=snapshot), 404)["detail"]
        node.shards[0].pending = [node.transfer(0, 0)]
        node.commit()
        made = (await http.post("/v1/maintenance", json=snapshot)).json()
        assert (made["action"], made["snapshot"]["height"]) == ("snapshot", 1)
        assert (await http.post("/v1/maintenance", json=copy)).json() == {
            "action": "copy",
            "folder": "db.copy",
        }
        problem_of(await http.post("/v1/maintenance", json={"action": "erase"}), 422)
        node.away = True
        problem_of(await http.post("/v1/maintenance", json=copy), 503)

    talk(scenario)
