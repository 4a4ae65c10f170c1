"""States known from published deltas: equal to a plain dictionary of every height, and bounded."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from actors.gateway.api import create_app
from actors.gateway.backend import UnavailableError
from actors.gateway.head_state import HeadState
from actors.ledger.delta import AccountState, AccountStates
from tests.gateway.gateway_fake_node import SENDERS, FakeNode

NAMES = tuple(bytes([1]) * 8 + bytes([n]) * 24 for n in range(3)) + tuple(
    bytes([n]) * 32 for n in range(2, 5)
)
NEW = dict.fromkeys(NAMES, (0, 0))


def publish(state: HeadState, height: int, changes: dict[bytes, tuple[int, int]]) -> None:
    keys = np.frombuffer(b"".join(changes), dtype=np.uint8).reshape(-1, 32)
    values = np.array(list(changes.values()), dtype=np.uint64).reshape(-1, 2)
    state.published(AccountStates(height, keys, values[:, 0], values[:, 1]))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["block", "block", "lost", "twice", "read", "late"]),
            st.dictionaries(
                st.sampled_from(NAMES), st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=4
            ),
            st.sampled_from(NAMES),
        ),
        max_size=40,
    ),
    st.integers(1, 4),
)
def test_what_is_known_is_what_the_chain_says(steps: list[Any], run_max: int) -> None:
    """Whatever is answered for a height is the state at that height, and never older than the top."""
    chain = [NEW]
    state = HeadState(1, run_max=run_max, rows_max=12, known_max=4)
    last: dict[bytes, tuple[int, int]] = {}
    for what, changes, name in steps:
        if what in ("block", "lost"):
            there = {each: pair if pair[1] else (0, 0) for each, pair in changes.items()}
            chain.append({**chain[-1], **there})
            if what == "block":
                publish(state, len(chain) - 1, last := changes)
        elif what == "twice" and state.top is not None:
            publish(state, state.top, last)
        elif what in ("read", "late"):
            height = len(chain) - 1 if what == "read" else max(0, len(chain) - 3)
            state.read_from_storage(name, AccountState(*chain[height][name], height))
        for key in NAMES:
            found = state._find(key)
            if found is not None:
                assert (found.nonce, found.balance) == chain[found.height][key]
                assert state.top is not None
                assert found.height >= state.top


def test_what_a_delta_names_is_known_without_a_read_and_what_it_does_not_name_is_not() -> None:
    state = HeadState(1)
    assert state.get(NAMES[0]) is None
    publish(state, 7, {NAMES[0]: (1, 2), NAMES[1]: (3, 4)})
    publish(state, 8, {NAMES[1]: (5, 6)})
    assert state.get(NAMES[0]) == AccountState(1, 2, 8)
    assert state.get(NAMES[1]) == AccountState(5, 6, 8)
    assert state.get(NAMES[2]) is None
    state.read_from_storage(NAMES[2], AccountState(9, 9, 6))
    assert state.get(NAMES[2]) == AccountState(9, 9, 8)
    publish(state, 10, {})
    assert [state.get(name) for name in NAMES[:3]] == [None, None, None]
    assert (state.hits, state.misses) == (3, 5)


def test_deltas_and_states_are_bounded() -> None:
    state = HeadState(1, run_max=3, rows_max=100, known_max=2)
    for height in range(1, 10):
        publish(state, height, {NAMES[0]: (height, 0)})
        for name in NAMES:
            state.read_from_storage(name, AccountState(0, 0, height))
    assert len(state._run) == 3
    assert len(state._known) == 2
    publish(state, 10, {bytes([n]) * 32: (1, 1) for n in range(200)})
    assert len(state._run) == 0
    assert state.get(bytes(32)) is None


def talk(scenario: Any, **settings: Any) -> None:
    async def run() -> None:
        node = FakeNode(**settings)
        app = create_app(node.service, lambda *_: None, node.settings)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
            await scenario(http, node)

    asyncio.run(run())


async def account(http: httpx.AsyncClient, who: int, **query: str) -> dict[str, Any]:
    answer = await http.get(f"/v1/accounts/{SENDERS[who].public_key.hex()}", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_accounts_are_answered_from_deltas_at_the_height_they_say() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        node.shards[0].pending = [node.transfer(0, 0)]
        node.commit()
        before = node.reads
        assert [(a["nonce"], a["height"]) for a in [await account(http, 0)]] == [(1, 1)]
        assert node.reads == before
        assert (await account(http, 5))["nonce"] == 0  # in no delta: read once
        node.commit()
        assert (await account(http, 5))["height"] == 2
        assert node.reads == before + 1
        node.shards[0].pending = [node.transfer(5, 0)]
        node.commit(publish=False)
        assert (await account(http, 5))["height"] == 2
        node.shards[0].pending = [node.transfer(5, 1)]
        node.commit()  # the delta of height 3 got lost
        assert [(a["nonce"], a["height"]) for a in [await account(http, 5)]] == [(2, 4)]

    talk(scenario)


def test_a_head_that_may_be_too_old_is_asked_again() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        node.shards[0].pending = [node.transfer(0, 0)]
        node.commit()
        before = node.reads
        await account(http, 0)
        await account(http, 0)
        assert node.reads == before + 2

    talk(scenario, staleness_max_ms=0)


def test_an_old_delta_that_comes_late_makes_no_head_current() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        now_s = [100.0]
        node.service._clock = lambda: now_s[0]
        node.shards[0].pending = [node.transfer(0, 0)]
        node.commit()
        node.commit()
        before = node.reads
        await account(http, 0)
        now_s[0] += 5.0
        node.publish(1)
        assert node.reads == before
        await account(http, 0)
        assert node.reads == before + 1
        await account(http, 0)  # Storage has said that nothing is missing
        assert node.reads == before + 1

    talk(scenario)


def test_linearizable_reads_ask_consensus_and_wait_for_storage() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        node.commit()
        behind = [node.height, node.height, node.height + 1]

        async def read_index() -> int:
            return node.height + 1

        async def late(key: bytes) -> AccountState:
            return AccountState(4, 5, behind.pop(0))

        node.service._read_index = read_index
        node.service._storage.account = late  # type: ignore[method-assign]
        answer = await account(http, 0, consistency="linearizable")
        assert (answer["nonce"], answer["height"], behind) == (4, 2, [])

        async def away() -> int:
            raise UnavailableError("consensus")

        node.service._read_index = away
        path = f"/v1/accounts/{SENDERS[0].public_key.hex()}"
        refused = await http.get(path, params={"consistency": "linearizable"})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert (await http.get(path, params={"consistency": "strong"})).status_code == 422

    talk(scenario)


def test_receipts_of_a_block_come_in_pages() -> None:
    async def scenario(http: httpx.AsyncClient, node: FakeNode) -> None:
        node.shards[0].pending = [node.transfer(who, 0) for who in range(5)]
        node.commit()
        page = (await http.get("/v1/blocks/1/receipts", params={"offset": 1, "limit": 2})).json()
        assert (page["height"], page["total"], page["offset"], len(page["receipts"])) == (1, 5, 1, 2)
        tx_id = node.blocks[1].batch.ids()[2].tobytes().hex()
        assert page["receipts"][1] == (await http.get(f"/v1/transactions/{tx_id}/receipt")).json()
        assert (await http.get("/v1/blocks/1/receipts")).headers["cache-control"].endswith("immutable")
        assert (await http.get("/v1/blocks/2/receipts")).status_code == 404
        assert (await http.get("/v1/blocks/0/receipts")).status_code == 404

    talk(scenario)
