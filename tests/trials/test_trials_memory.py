"""A member that lost its memory has no say until those that remember have taken it back."""

from __future__ import annotations

import contextlib
import shutil
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from actors.directory import join_network, open_network
from actors.ledger.signing import Signer, Transfer, development_signer, sign_transfer
from actors.sdk.answers import ApiError
from actors.sdk.client import Client
from actors.sdk.requests import WaitLevel
from config.effective import load
from tests.cluster.conftest import Up, eventually

NAMES = ("node-1", "node-2", "node-3")
SMALL = {
    "network.development_accounts": 10,
    "node.validators": 1,
    "node.mempool_shards": 1,
    "node.check_memory": "false",
}
FIRST, SECOND = bytes(31) + b"\x07", bytes(31) + b"\x08"


class Members:
    """Three members, each in a data directory and a process of its own."""

    def __init__(self, path: Path) -> None:
        self.path, self.ups = path, dict[str, Up]()
        overrides = [f"{name}={value}" for name, value in SMALL.items()]
        self.options = [word for override in overrides for word in ("--set", override)]
        network = load("local", overrides).settings.network
        founded = open_network(path / "founded", network, len(NAMES), lambda _text: None)
        self.genesis = founded.genesis
        self.ports = dict(zip(NAMES, free_ports(len(NAMES)), strict=True))
        for name in NAMES:
            (path / name / name).mkdir(parents=True)
            shutil.copy(path / "founded" / name / "node.key", path / name / name / "node.key")
            join_network(path / name, path / "founded", name)

    def start(self, *names: str) -> None:
        for name in names:
            seed = NAMES[0] if name != NAMES[0] else NAMES[1]
            own = ("--node", name, "--join", f"127.0.0.1:{self.ports[seed]}", "--set")
            place = (f"peer.port={self.ports[name]}", "--genesis", str(self.path / "founded"))
            self.ups[name] = Up(self.path / name, *own, *place, *self.options)
        for name in names:
            self.ups[name].url()

    def stop(self, *names: str) -> None:
        for name in names:
            self.ups.pop(name).interrupt()

    def empty(self, name: str) -> None:
        """All of its folder but its key."""
        for path in (self.path / name / name).iterdir():
            if path.name != "node.key":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def client(self, name: str) -> Client:
        return Client(self.ups[name].url(), genesis=self.genesis)

    def status(self, name: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.ups[name].url()}/v1/status", timeout=60, trust_env=False)
        found: dict[str, Any] = answer.json()["node"]
        return found

    def unready(self, name: str) -> str:
        return httpx.get(f"{self.ups[name].url()}/v1/ready", timeout=60, trust_env=False).text

    def pay(self, name: str, recipient: bytes, wait: WaitLevel) -> bytes:
        """Spend the first nonce of the first development account through a member; the transaction's id."""
        signer: Signer = development_signer(self.genesis.network, 0)
        batch = sign_transfer(
            signer, self.genesis.chain_tag, Transfer(recipient, amount=1_000_000, nonce=0, fee=1)
        )
        with self.client(name) as client:
            receipt = client.submit(batch, wait=wait)
        return bytes(receipt.ids[0])


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@pytest.mark.slow_trial
def test_a_voter_that_lost_its_memory_cannot_make_a_second_history(tmp_path: Path) -> None:
    members = Members(tmp_path)
    try:
        members.start(*NAMES)
        eventually(lambda: not members.status("node-1").get("standing"), "the network is founded")
        members.stop("node-3")
        paid = members.pay("node-1", FIRST, "committed")
        with members.client("node-1") as client:
            height = client.verified_proof(paid).height
        members.stop("node-1", "node-2")

        members.empty("node-2")
        members.start("node-2", "node-3")
        eventually(lambda: "disk is new" in str(members.status("node-2")["standing"]), "node-2 says so")
        with contextlib.suppress(ApiError):
            members.pay("node-3", SECOND, "accepted")
        eventually(lambda: "no leader is known" in members.unready("node-3"), "node-3 says that nobody leads")
        assert [members.status(name)["height"] < height for name in ("node-2", "node-3")] == [True, True]

        members.start("node-1")
        eventually(lambda: {members.status(n)["height"] >= height for n in NAMES} == {True}, "all have it")
        blocks = set()
        for name in NAMES:
            with members.client(name) as client:
                header = client.verified_proof(paid)
            assert header.height == height
            blocks.add(header.hash())
        assert len(blocks) == 1
        eventually(lambda: is_back(members, "node-2"), "node-2 votes again")
        assert [members.status(name)["halted"] for name in NAMES] == ["", "", ""]
    finally:
        for up in members.ups.values():
            up.kill()


def is_back(members: Members, name: str) -> bool:
    with members.client("node-1") as client:
        rows = {row["name"]: (row["role"], row["disk"]) for row in client.members()["members"]}
    return rows[name] == ("voter", "named") and not members.status(name)["standing"]
