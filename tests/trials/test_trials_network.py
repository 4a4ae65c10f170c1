"""A network of two, asked for what can never be, for blocks of the far future, and while it has no leader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from actors.ledger.genesis import Genesis
from actors.ledger.rows import encode_batch
from actors.ledger.signing import Transfer, development_signer, sign_transfer
from actors.sdk.client import Client
from tests.cluster.conftest import Up, eventually

PAYEE = bytes(31) + b"\x07"
BLOCK_PAYLOAD_BYTES = 2_000
SETTINGS = {
    "network.development_accounts": 10,
    "network.block_payload_bytes_max": BLOCK_PAYLOAD_BYTES,
    "node.validators": 1,
    "peer.host": "0.0.0.0",
    "peer.advertise": "127.0.0.1",
}


class Two:
    """Both members, in one `up`."""

    def __init__(self, up: Up) -> None:
        self.up = up
        self.url = up.url()
        with Client(self.url) as client:
            self.genesis: Genesis = client.genesis()

    def pay(self, account: int, nonce: int, payload: bytes = b"") -> dict[str, Any]:
        """Submit and wait until it is committed, or known not to be."""
        signer = development_signer(self.genesis.network, account)
        transfer = Transfer(PAYEE, amount=10, nonce=nonce, fee=1, payload=payload)
        body = encode_batch(sign_transfer(signer, self.genesis.chain_tag, transfer))
        answer = httpx.post(
            f"{self.url}/v1/transactions/batch?wait=committed",
            content=body,
            headers={"content-type": "application/octet-stream"},
            timeout=120,
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=60, trust_env=False)

    def listen(self, query: str) -> ClientConnection:
        return connect(f"{self.url.replace('http', 'ws')}/v1/events?topic=blocks{query}", proxy=None)


pytestmark = pytest.mark.slow_trial


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    options = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    up = Up(tmp_path_factory.mktemp("two") / "data", "--nodes", "2", *options)
    try:
        yield Two(up)
    finally:
        up.interrupt()


def test_what_can_never_be_committed_is_refused_and_blocks_nothing_behind_it(two: Two) -> None:
    (refused,) = two.pay(0, 0, payload=bytes(BLOCK_PAYLOAD_BYTES + 1))["rejected"]
    assert refused["verdict"] == "PAYLOAD_LIMIT"
    assert two.pay(0, 0)["rejected"] == []
    (behind_a_gap,) = two.pay(0, 5)["rejected"]
    assert behind_a_gap["verdict"] in ("PARKED", "NONCE_GAP"), "it says what it waits for, before the timeout"
    (late,) = two.pay(0, 0, payload=b"another")["rejected"]
    assert late["verdict"] == "NONCE_REUSED"


def test_a_subscriber_who_asks_for_the_far_future_silences_nobody(two: Two) -> None:
    with two.listen("") as honest, two.listen("&from_height=999999999999999999") as greedy:
        assert json.loads(honest.recv(timeout=60))["type"] == "hello"
        greedy.recv(timeout=60)
        with pytest.raises(ConnectionClosed) as closed:
            greedy.recv(timeout=60)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, "from_height" in closed.value.rcvd.reason) == (1013, True)
        assert two.pay(1, 0)["rejected"] == []
        assert json.loads(honest.recv(timeout=60))["type"] == "block"


def test_an_address_is_published_for_a_node_that_listens_everywhere(two: Two) -> None:
    peer = two.get("/v1/actors").json()["actors"]["peer"]
    assert peer["address"].startswith("0.0.0.0:")
    assert peer["advertised"] == peer["address"].replace("0.0.0.0", "127.0.0.1")
    assert peer["peers"] == 1


def test_a_node_without_a_leader_says_so_and_is_ready_again_with_one(two: Two) -> None:
    """The other member's process stands still: one of two is no majority."""
    eventually(lambda: two.get("/v1/ready").status_code == 200, "it is ready")
    mine = two.get("/v1/actors").json()["actors"]["consensus"]["pid"]
    family = psutil.Process(two.up.process.pid).children(recursive=True)
    others = [each for each in family if is_consensus(each) and each.pid != mine]
    assert len(others) == 1
    others[0].suspend()
    try:
        answer = eventually(lambda: unready(two), "it says that there is no leader")
        assert "no leader is known" in str(answer.json())
        assert "no leader is known" in two.get("/v1/blocks/latest").headers["x-raychain-stale"]
    finally:
        others[0].resume()
    eventually(lambda: two.get("/v1/ready").status_code == 200, "it is ready again")
    assert two.pay(2, 0)["rejected"] == []


def unready(two: Two) -> httpx.Response | None:
    answer = two.get("/v1/ready")
    return answer if answer.status_code == 503 and "leader" in answer.text else None


def is_consensus(process: psutil.Process) -> bool:
    return "".join(process.cmdline()[:1]).startswith("ray::Consensus")
