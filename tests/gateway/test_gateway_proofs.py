"""State proofs over HTTP, and the light client: whatever is wrong fails at the check that has its name."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from actors.cli.chain import app
from actors.contracts.limits import ENTRY_TAG
from actors.gateway.api import create_app
from actors.ledger import ics23, smt
from actors.ledger.block import Block, Certificate, sign_proposal, sign_vote
from actors.ledger.contract_state import head_key
from actors.ledger.hashing import sha256
from actors.ledger.ics23 import Absence, Existence
from actors.ledger.rows import encode_batch
from actors.ledger.signing import Signer
from actors.sdk import light_client
from actors.sdk.answers import ApiError
from actors.sdk.client import Client
from actors.sdk.inclusion_proof import ProofError
from actors.sdk.receipt_proof import ReceiptDocument, proven_receipt
from actors.storage.interface import AccountProof, RetainedHeights
from tests.gateway.gateway_contracts import call, deploy
from tests.gateway.gateway_fake_node import PROPOSER, SENDERS, FakeNode
from tests.gateway.gateway_served import Served
from tests.gateway.test_gateway_schema import check
from tests.ledger.contract_transactions import example

ROOT = Path(__file__).parents[2]
KEY, NOBODY = SENDERS[1].public_key, sha256(b"nobody")
STRANGER = Signer(b"s" * 32)


class ProvingNode(FakeNode):
    """A node that proves the last two heights with the plain tree."""

    def __init__(self) -> None:
        super().__init__()
        self.states = self.history

    def grow(self, blocks: int) -> None:
        for _ in range(blocks):
            batch = self.transfer(0, self.height)
            self.shards[0].pending = [batch]
            self.commit()

    async def state_proof(self, key: bytes, height: int | None) -> AccountProof | RetainedHeights:
        self._read()
        at = self.height if height is None else height
        if not max(0, self.height - 2) <= at <= self.height:
            return RetainedHeights(max(0, self.height - 2), self.height)
        return self.proof_of(key, at)

    def proof_of(self, key: bytes, at: int) -> AccountProof:
        state = self.states[at]
        proof, value = smt.prove(state, key), state.get(key)

        def existence(of: bytes | None) -> Existence | None:
            return None if of not in state else Existence(of, state[of], smt.prove(state, of).siblings)

        shown = existence(key) or Absence(*map(existence, smt.neighbours(state, key)))
        block = self.blocks.get(at)
        return AccountProof(
            key=key,
            height=at,
            value=value,
            nonce=int.from_bytes((value or b"")[:8], "little"),
            balance=int.from_bytes((value or b"")[8:], "little"),
            siblings=proof.siblings,
            leaf_path=proof.leaf_path,
            leaf_value_hash=proof.leaf_value_hash,
            ics23=ics23.encode(shown),
            header=block.header.encode() if block else b"",
            signature=block.signature if block else b"",
            certificate=self.votes.get(at, b""),
        )

    def sealed(self, height: int) -> bytes:
        block = self.blocks[height]
        return block.header.encode() + block.signature + self.votes[height]

    def document(self, key: bytes, height: int) -> bytes:
        from actors.gateway.render import plain

        return json.dumps(plain(self.proof_of(key, height))).encode()


@pytest.fixture
def node() -> ProvingNode:
    async def make() -> ProvingNode:
        made = ProvingNode()
        made.grow(4)
        return made

    return asyncio.run(make())


def node_of(served: Served) -> ProvingNode:
    """The node behind it."""
    assert isinstance(served.node, ProvingNode)
    return served.node


@pytest.fixture
def served() -> Iterator[Served]:
    running = Served(ProvingNode())

    async def grow() -> None:
        node_of(running).grow(4)

    running.call(grow)
    yield running
    running.stop()
    assert running.faults == []


def test_an_account_is_read_at_a_retained_height() -> None:
    async def scenario(http: httpx.AsyncClient, node: ProvingNode) -> None:
        path = f"/v1/accounts/{KEY.hex()}"
        for height in (2, 3, 4):
            answer = (await http.get(path, params={"height": height})).json()
            nonce, balance = node.states[height][KEY][:8], node.states[height][KEY][8:]
            assert answer == {
                "key": KEY.hex(),
                "nonce": int.from_bytes(nonce, "little"),
                "balance": int.from_bytes(balance, "little"),
                "height": height,
            }
        problem = await http.get(path, params={"height": 1})
        assert (problem.status_code, problem.json()["limit"]) == (404, "2 to 4")

    talk(scenario)


def talk(scenario: Callable[[httpx.AsyncClient, ProvingNode], Awaitable[None]]) -> None:
    async def run() -> None:
        node, faults = ProvingNode(), []
        node.grow(4)
        app = create_app(node.service, lambda _what, error: faults.append(error))
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            await scenario(http, node)
        assert faults == []

    asyncio.run(run())


def test_entries_of_contracts_are_proven_as_accounts_are() -> None:
    async def scenario(http: httpx.AsyncClient, node: ProvingNode) -> None:
        document = (await http.get("/v1/openapi.json")).json()
        counter = deploy(node, 1, "counter")
        call(node, 2, "counter", counter, "add", 7)
        path, head = "/v1/entries/{key}/proof", head_key(counter)
        (total,) = example("counter")[2].tables[0].entry_keys(counter, [])
        for key, height in ((head, 5), (head, 6), (total, 6), (total, 5), (ENTRY_TAG + bytes(24), 6)):
            answer = await http.get(path.format(key=key.hex()), params={"height": height})
            check(document, path, "get", answer)
            proven, value = answer.json(), node.states[height].get(key)
            assert (proven["height"], proven["value"]) == (height, None if value is None else value.hex())
            nodes = tuple(bytes.fromhex(each) for each in proven["siblings"])
            leaf = [each and bytes.fromhex(each) for each in (proven["leaf_path"], proven["leaf_value_hash"])]
            root = node.blocks[height].header.state_root
            assert smt.verify(root, key, value, smt.StateProof(nodes, *leaf))
            assert bytes.fromhex(proven["header"]) == node.blocks[height].header.encode()
        assert node.states[6][total] == (7).to_bytes(8, "little")
        raw = await http.get(path.format(key=total.hex().upper()), params={"format": "ics23"})
        root = node.blocks[6].header.state_root
        assert ics23.verify_presence(root, total, node.states[6][total], raw.content)
        for key, height, status in ((KEY, 6, 422), (bytes(32), 6, 422), (total, 1, 404), (total, 7, 404)):
            answer = await http.get(path.format(key=key.hex()), params={"height": height})
            check(document, path, "get", answer)
            assert answer.status_code == status

    talk(scenario)


def test_routes_answer_as_the_document_says_and_name_the_heights_that_are_kept() -> None:
    async def scenario(http: httpx.AsyncClient, node: ProvingNode) -> None:
        document = (await http.get("/v1/openapi.json")).json()
        path = "/v1/accounts/{key}/proof"
        for key in (KEY, NOBODY):
            for height in ("2", "4", "latest", "1", "5", "99999999999999999999", "x", "-1"):
                answer = await http.get(path.format(key=key.hex()), params={"height": height})
                check(document, path, "get", answer)
                assert answer.status_code == {"2": 200, "4": 200, "latest": 200, "x": 422, "-1": 422}.get(
                    height, 404
                )
        gone = (await http.get(path.format(key=KEY.hex()), params={"height": "1"})).json()
        assert (gone["field"], gone["limit"]) == ("height", "2 to 4")
        raw = await http.get(path.format(key=KEY.hex()), params={"format": "ics23"})
        assert raw.headers["content-type"] == "application/octet-stream"
        root = node.blocks[4].header.state_root
        assert ics23.verify_presence(root, KEY, node.states[4][KEY], raw.content)
        sealed = await http.get("/v1/blocks/latest/header")
        assert sealed.content == node.sealed(4)
        for height in ("0", "5", "x"):
            answer = await http.get(f"/v1/blocks/{height}/header")
            check(document, "/v1/blocks/{height}/header", "get", answer)
        node.away = True
        check(document, path, "get", await http.get(path.format(key=KEY.hex())))

    talk(scenario)


def test_json_proofs_verify_alone_and_with_every_kind_of_block_file(node: ProvingNode) -> None:
    block = node.blocks[3]
    raw = block.encode()
    sealed = node.sealed(3)
    own: tuple[list[bytes], ...] = [], [sealed], [raw], [raw + node.votes[3]], [node.sealed(2), sealed]
    for key, proves in ((KEY, "presence"), (NOBODY, "absence")):
        for files in own:
            result = light_client.verify(node.genesis, files, node.document(key, 3), None)
            assert (result["verified"], result["proves"], result["height"]) == (True, proves, 3)
            assert result["block"] == block.header.hash().hex()
    assert result["balance"] == 0
    shown = light_client.verify(node.genesis, [], node.document(SENDERS[0].public_key, 3), None)
    assert shown["nonce"] == 3
    ancestors = [node.blocks[h].encode() for h in (1, 2, 3)] + [node.sealed(4)]
    assert light_client.verify(node.genesis, ancestors, node.document(KEY, 2), KEY)["height"] == 2
    assert light_client.verify(node.genesis, [], node.document(KEY, 0), None)["height"] == 0


def test_ics23_proofs_need_a_block_and_absence_an_account(node: ProvingNode) -> None:
    sealed = [node.sealed(4)]
    there, missing = (node.proof_of(key, 4).ics23 for key in (KEY, NOBODY))
    assert light_client.verify(node.genesis, sealed, there, None)["account"] == KEY.hex()
    assert light_client.verify(node.genesis, sealed, missing, NOBODY)["proves"] == "absence"
    for files, proof, account, named in (
        ([], there, None, "block"),
        (sealed, there, NOBODY, "key"),
        (sealed, missing, None, "key"),
        (sealed, missing, KEY, "proof"),
        (sealed, b"", NOBODY, "proof"),
    ):
        with pytest.raises(ProofError) as caught:
            light_client.verify(node.genesis, files, proof, account)
        assert caught.value.check == named
    for bit in range(8 * len(there)):
        flipped = (int.from_bytes(there, "big") ^ 1 << bit).to_bytes(len(there), "big")
        with pytest.raises(ProofError):
            light_client.verify(node.genesis, sealed, flipped, None)


def forged_block(
    node: ProvingNode, block: Block, signer: Signer, voter: Signer, vote_term: int = 0, **changes: Any
) -> bytes:
    header, network = replace(block.header, **changes), node.genesis.hash()
    term = vote_term or header.term
    vote = Certificate(term, ((voter.public_key, sign_vote(voter, network, header, term)),)).encode()
    return header.encode() + sign_proposal(signer, network, header.hash()) + vote


def test_every_forgery_fails_at_the_check_that_it_breaks(node: ProvingNode) -> None:
    document, block, sealed = node.document(KEY, 4), node.blocks[4], node.sealed(4)
    other_body = block.header.encode() + block.signature + encode_batch(node.blocks[3].batch)
    cases: list[tuple[str, list[bytes], bytes]] = [
        ("chain", [node.sealed(2), sealed], document),
        ("chain", [sealed, node.sealed(3)], document),
        ("chain", [forged_block(node, node.blocks[3], PROPOSER, PROPOSER, time_ms=7), sealed], document),
        ("chain", [forged_block(node, node.blocks[1], PROPOSER, PROPOSER, parent_hash=bytes(32))], document),
        ("chain", [node.sealed(3), forged_block(node, block, PROPOSER, PROPOSER, time_ms=7)], document),
        ("signature", [forged_block(node, block, STRANGER, PROPOSER)], document),
        (
            "signature",
            [forged_block(node, block, STRANGER, PROPOSER, proposer=STRANGER.public_key)],
            document,
        ),
        ("certificate", [forged_block(node, block, PROPOSER, STRANGER)], document),
        ("certificate", [forged_block(node, block, PROPOSER, PROPOSER, vote_term=8, term=9)], document),
        ("certificate", [forged_block(node, block, PROPOSER, PROPOSER, term=9)[:264]], document),
        ("certificate", [block.header.encode() + block.signature + bytes(2)], document),
        ("body", [other_body + node.votes[4]], document),
        ("height", [node.sealed(3)], document),
        ("proof", [sealed], node.document(KEY, 3).replace(b'"height": 3', b'"height": 4')),
        ("header", [bytes(264)], document),
        ("block", [sealed[:100]], document),
        ("proof", [sealed], b'{"siblings": 3}'),
        ("proof", [sealed], b'{"height": 4'),
        ("siblings", [sealed], document.replace(b'"siblings": ["', b'"siblings": ["zz')),
        ("proof", [sealed], node.document(NOBODY, 4).replace(NOBODY.hex().encode(), KEY.hex().encode())),
    ]
    for named, files, proof in cases:
        with pytest.raises(ProofError) as caught:
            light_client.verify(node.genesis, files, proof, None)
        assert caught.value.check.split(".")[0] == named, str(caught.value)


def test_clients_verify_accounts(served: Served) -> None:
    node = node_of(served)
    with Client(served.url, timeout_s=20) as unpinned:
        assert unpinned.verified_account(SENDERS[0].public_key, node.genesis)["nonce"] == 4
        with pytest.raises(ProofError, match="pinned"):
            unpinned.verified_account(NOBODY)
    with Client(served.url, timeout_s=20, genesis=node.genesis.hash()) as client:
        assert client.verified_account(NOBODY)["proves"] == "absence"
        assert client.sealed_header(4) == node.sealed(4)
        assert client.sealed_header(9) is None
        with pytest.raises(ApiError, match="2 to 4"):
            client.state_proof(KEY, 1)
        node.states[4][KEY] = bytes(16)
        with pytest.raises(ProofError):
            client.verified_account(KEY)


def test_clients_verify_what_a_call_did_and_told(served: Served) -> None:
    node = node_of(served)

    async def act() -> tuple[bytes, bytes]:
        counter = deploy(node, 0, "counter")
        return counter, bytes.fromhex(call(node, 1, "counter", counter, "add", 5))

    counter, called = served.call(act)
    with Client(served.url) as client:
        proven = client.verified_receipt(called, node.genesis)
        assert proven.output is not None
        told = SENDERS[1].public_key + (5).to_bytes(8, "little")
        assert proven.output.events == ((counter, 0, told),)
        plain = client.verified_receipt(node.blocks[1].batch.ids()[0].tobytes(), node.genesis)
        assert plain.output is None
        with pytest.raises(ProofError, match="knows no committed transaction"):
            client.verified_receipt(bytes(32), node.genesis)
    other = called[:31] + bytes([called[31] ^ 1])
    for check_name, forged in (
        ("receipt", msgspec.structs.replace(proven, receipt=bytes(32))),
        ("receipt", msgspec.structs.replace(proven, output=None)),
        ("receipt", msgspec.structs.replace(proven, proof=[*proven.proof, bytes(32)])),
        ("leaf", msgspec.structs.replace(proven, transaction=plain.transaction)),
    ):
        with pytest.raises(ProofError, match=rf"^{check_name}:"):
            proven_receipt(node.genesis, called, forged)
    with pytest.raises(ProofError, match=r"^leaf:"):
        proven_receipt(node.genesis, other, proven)


@given(st.binary(max_size=40), st.integers(0, 2**70), st.sampled_from(["contract", "data", "results"]))
def test_a_receipt_document_is_decoded_or_refused_by_name(noise: bytes, number: int, where: str) -> None:
    inclusion = {"height": 1, "index": 0, "size": 1, "leaf": "", "proof": []}
    inclusion |= dict.fromkeys(("header", "signature", "certificate"), "")
    event = {"contract": "00" * 32, "number": number % 300, "data": ""}
    output: dict[str, Any] = {"gas": number, "results": "", "events": [event]}
    (output if where == "results" else event)[where] = noise.decode("latin-1")
    document = {"transaction": inclusion, "receipt": "", "output": output, "proof": []}
    with contextlib.suppress(ProofError):
        proof = msgspec.convert(document, ReceiptDocument).decoded()
        assert not proof.leads_to(bytes(32))


def test_proof_and_verify_as_commands(served: Served, tmp_path: Path) -> None:
    node, runner = served.node, CliRunner()
    genesis, out, block = tmp_path / "genesis.json", tmp_path / "proof", tmp_path / "block"
    genesis.write_bytes(node.genesis.encode())
    address = ["--url", served.url, "--json"]

    def run(*arguments: str, code: int = 0) -> dict[str, Any]:
        done = runner.invoke(app, list(arguments))
        assert done.exit_code == code, done.output
        lines = [line for line in done.output.splitlines() if line.startswith("{")]
        return json.loads(lines[-1]) if lines else {}

    trusted = ["--genesis", str(genesis), "--proof", str(out), "--json"]
    fetch = ["proof", "--out", str(out), "--block-out", str(block), *address]
    for key, proves in ((KEY, "presence"), (NOBODY, "absence")):
        about = ["--account", key.hex()]
        for form in ("json", "ics23"):
            shown = run(*fetch, *about, "--height", "3", "--format", form)
            assert (shown["proves"], shown["height"]) == (proves, 3)
            verdict = run("verify", *trusted, "--block", str(block), *about)
            assert (verdict["verified"], verdict["height"]) == (True, 3)
    assert run(*fetch, "--account", "development:0", "--height", "latest")["proves"] == "presence"
    tx_id = node.blocks[2].batch.ids()[0].tobytes().hex()
    run(*fetch, "--tx", tx_id)
    assert run("verify", *trusted, "--block", str(block))["id"] == tx_id
    out.write_bytes(out.read_bytes().replace(b'"index":0', b'"index":1'))
    refused = run("verify", *trusted, code=1)
    assert (refused["verified"], refused["check"]) == (False, "proof")
    for wrong in (
        [*fetch],
        [*fetch, "--account", "zz"],
        [*fetch, "--tx", "12"],
        [*fetch, "--tx", "0" * 64],
        [*fetch, "--tx", tx_id, "--format", "ics23"],
        [*fetch, "--account", KEY.hex(), "--height", "1"],
        [*fetch, "--account", KEY.hex(), "--height", "high"],
        ["verify", "--genesis", str(tmp_path / "none"), "--proof", str(out)],
        ["verify", *trusted, "--account", "12"],
    ):
        run(*wrong, code=2)


def test_verify_loads_neither_ray_nor_the_database_nor_a_compiler(node: ProvingNode, tmp_path: Path) -> None:
    (tmp_path / "genesis.json").write_bytes(node.genesis.encode())
    (tmp_path / "block").write_bytes(node.sealed(4))
    (tmp_path / "proof").write_bytes(node.proof_of(KEY, 4).ics23)
    code = (
        "import sys, node\n"
        f"sys.argv = ['node.py', 'verify', '--genesis', '{tmp_path}/genesis.json', '--block',"
        f" '{tmp_path}/block', '--proof', '{tmp_path}/proof', '--json']\n"
        "try: node.main()\n"
        "except SystemExit as done: assert not done.code, done.code\n"
        "heavy = {'ray', 'rocksdict', 'numba', 'llvmlite', 'fastapi', 'uvicorn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["account"] == KEY.hex()
