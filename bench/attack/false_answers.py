"""Answers that are not the network's: by a proxy before it, and by a node with a genesis of its own."""

from __future__ import annotations

import time
from contextlib import suppress

import msgspec

from actors.ledger.block import Certificate, Header, sign_proposal, sign_vote
from actors.ledger.genesis import Genesis, Member
from actors.ledger.merkle import root
from actors.ledger.rows import Batch
from actors.ledger.signing import Signer, Transfer, development_signer, sign_transfer
from actors.sdk.answers import NETWORK_HEADER, ApiError, network_mark
from actors.sdk.client import Client
from actors.sdk.delivery import deliver
from actors.sdk.inclusion_proof import ProofError
from actors.sdk.trust import read_genesis
from bench.attack.between import Answers, Asked, Between, http_answer
from bench.attack.registry import AttackOutcome, AttackTarget, attack

_HTML = b"<html><body>Welcome to the guest network</body></html>"
_FOREIGN = b"\x5a" * 8


def _posts_only(answer: bytes) -> Answers:
    """Submissions are answered by the proxy itself and reach nobody; everything else is passed on."""
    return lambda asked: answer if asked.method == "POST" else None


@attack("proxy-lies", "clients")
def proxy_lies(target: AttackTarget) -> AttackOutcome:
    """A proxy answers submissions itself: 504, HTML with 200, half a document, another network's success."""
    genesis = read_genesis(target.genesis_path)
    signer, other = (development_signer(genesis.network, number) for number in target.development[:2])
    committed = b'{"id": "%s", "status": "committed", "height": 1}'
    tried, wrong = 0, []
    until = time.monotonic() + target.seconds
    with Between(target.urls[0]) as proxy, Client(proxy.url, genesis=genesis) as client:
        nonce = int(client.account(signer.public_key)["nonce"])
        batch = sign_transfer(signer, genesis.chain_tag, Transfer(other.public_key, 1, nonce, fee=1))
        said = committed % batch.ids()[0].tobytes().hex().encode()
        for name, answer in _lies(said, network_mark(genesis)):
            proxy.answers = _posts_only(answer)
            outcome = deliver(client, batch, within_s=max(0.1, (until - time.monotonic()) / 8))
            tried += 1
            if outcome.status in ("committed", "accepted", "durable"):
                wrong.append(f"{name}: {outcome.status}")
        proxy.answers = lambda _asked: None
        final = deliver(client, batch, within_s=20.0)
    if final.status != "committed":
        wrong.append(f"without lies: {final.status} ({final.detail})")
    return AttackOutcome(not wrong, f"{tried} lies; " + ("; ".join(wrong) or "nothing false was believed"))


def _lies(said: bytes, mark: str) -> list[tuple[str, bytes]]:
    own, other = {NETWORK_HEADER: mark}, {NETWORK_HEADER: _FOREIGN.hex()}
    return [
        ("504", http_answer(504, "text/html", _HTML)),
        ("200 with HTML", http_answer(200, "text/html", _HTML)),
        ("a redirect", http_answer(302, "text/html", b"", location="http://127.0.0.1:9/")),
        ("success without a name", http_answer(200, "application/json", said)),
        ("another network's success", http_answer(200, "application/json", said, **other)),
        ("half a success", http_answer(200, "application/json", said[:-9], **own)),
        ("a forged success", http_answer(200, "application/json", said, **own)),
    ]


@attack("foreign-genesis", "clients")
def foreign_genesis(target: AttackTarget) -> AttackOutcome:
    """A node serves a genesis of its own making, and proofs of a payment that hold against it."""
    genesis = read_genesis(target.genesis_path)
    forger = Signer(b"\x66" * 32)
    false = msgspec.structs.replace(genesis, members=[Member("node-1", forger.public_key.hex())])
    batch = sign_transfer(forger, genesis.chain_tag, Transfer(forger.public_key, 10**6, 0, fee=1))
    tx_id, believed = batch.ids()[0].tobytes(), []
    with Between(target.urls[0]) as liar:
        for name, mark in (("its own", network_mark(false)), ("the network's", network_mark(genesis))):
            liar.answers = _story(false, forger, batch, mark)
            with Client(liar.url) as naive:
                if mark == network_mark(false):
                    naive.verified_proof(tx_id, naive.genesis())  # the story holds together
            with Client(liar.url, genesis=genesis) as pinned, suppress(ApiError, ProofError):
                pinned.verified_proof(tx_id)
                believed.append(f"a proof under {name} mark")
            with Client(liar.url, genesis=genesis.hash()) as by_hash, suppress(ApiError, ProofError):
                by_hash.verified_proof(tx_id)
                believed.append(f"a genesis with another hash under {name} mark")
    return AttackOutcome(
        not believed, "; ".join(believed) or "pinned clients believed none of a consistent story"
    )


def _story(genesis: Genesis, forger: Signer, batch: Batch, mark: str) -> Answers:
    """A block with one transaction, made final by the only member of a genesis, as the API proves it."""
    header = Header(
        1, 1, genesis.created_ms, len(batch), 0, genesis.hash(), root(batch.ids()), bytes(32), bytes(32),
        forger.public_key,
    )  # fmt: skip
    vote = forger.public_key, sign_vote(forger, genesis.hash(), header, header.term)
    tx_id = batch.ids()[0].tobytes().hex()
    proof = {
        "id": tx_id,
        "height": 1,
        "index": 0,
        "size": 1,
        "leaf": tx_id,
        "proof": [],
        "header": header.encode().hex(),
        "signature": sign_proposal(forger, genesis.hash(), header.hash()).hex(),
        "certificate": Certificate(header.term, (vote,)).encode().hex(),
    }
    documents = {
        "/v1/genesis": genesis.encode(),
        f"/v1/transactions/{tx_id}/proof": msgspec.json.encode(proof),
        f"/v1/transactions/{tx_id}": msgspec.json.encode({"id": tx_id, "height": 1}),
    }

    def answers(asked: Asked) -> bytes | None:
        document = documents.get(asked.path)
        if document is None:
            return None
        return http_answer(200, "application/json", document, **{NETWORK_HEADER: mark})

    return answers
