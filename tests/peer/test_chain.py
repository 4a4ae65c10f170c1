"""The chain as the peer room serves and takes it: what proves itself passes, nothing else does."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from actors.ledger import merkle
from actors.ledger.block import (
    BlockOutcome,
    BlockRefused,
    Certificate,
    Header,
    SealedHeader,
    sign_proposal,
    sign_vote,
)
from actors.ledger.delta import ChainHead
from actors.ledger.genesis import GENESIS_VERSION, Genesis, Member
from actors.ledger.hashing import sha256_rows
from actors.ledger.rows import Batch, encode_batch
from actors.ledger.signing import Signer, Transfer, sign_transfer
from actors.peer.chain import ChainRefusedError, NodeChain
from actors.peer.errors import ProtocolError
from actors.peer.sync import VerifiedHeader as Known

MEMBERS = [Signer(bytes([n]) * 32) for n in (1, 2, 3)]
GENESIS = Genesis(
    version=GENESIS_VERSION,
    network="test",
    created_ms=1,
    members=[Member(f"node-{n}", signer.public_key.hex()) for n, signer in enumerate(MEMBERS)],
    accounts=0,
    supply=0,
    state_root="00" * 32,
    block_transactions_max=10,
    block_payload_bytes_max=100,
    fee_min=0,
    balance_min=1,
)
BODY = sign_transfer(MEMBERS[0], GENESIS.chain_tag, Transfer(bytes(32), 1, 0, payload=b"memo"))


def sealed(
    height: int = 1, voters: int = 2, parent: bytes | None = None, body: Batch = BODY, time_ms: int = 1
) -> SealedHeader:
    header = Header(
        height=height,
        term=1,
        time_ms=time_ms,
        transaction_count=len(body),
        payload_bytes=len(body.payloads),
        parent_hash=GENESIS.hash() if parent is None else parent,
        transaction_root=merkle.root(body.ids()),
        state_root=bytes(32),
        receipts_root=bytes(32),
        proposer=MEMBERS[0].public_key,
    )
    network = GENESIS.hash()
    votes = sorted((signer.public_key, sign_vote(signer, network, header, 1)) for signer in MEMBERS[:voters])
    proposal = sign_proposal(MEMBERS[0], network, header.hash())
    return SealedHeader(header, proposal, Certificate(1, tuple(votes)))


def chain(answers: list[BlockOutcome] | None = None, taken: list[Any] | None = None) -> NodeChain:
    async def head() -> ChainHead:
        return ChainHead(0, GENESIS.hash(), bytes(32), GENESIS.created_ms)

    async def nothing(*_: int) -> list[bytes]:
        return []

    async def append(blocks: list[tuple[SealedHeader, Batch]]) -> list[BlockOutcome]:
        if taken is not None:
            taken.extend(blocks)
        return answers or []

    storage: Any = SimpleNamespace(head=head, sealed_headers=nothing, bodies=nothing)
    return NodeChain(GENESIS, storage, append, sha256_rows)


def test_a_proven_header_that_follows_is_taken() -> None:
    source = chain()
    tip = asyncio.run(source.tip())
    first = source.verify_header(tip, sealed().encode())
    second = sealed(2, parent=first.hash)
    assert source.verify_header(first, second.encode()).height == 2


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (sealed(voters=1), "header_certificate"),
        (sealed(height=2), "header_succession"),
        (sealed(parent=bytes(32)), "header_succession"),
        (sealed(time_ms=0), "header_succession"),
        (SealedHeader(sealed().header, bytes(64), sealed().certificate), "header_signature"),
    ],
)
def test_a_header_that_does_not_prove_itself_is_refused(header: SealedHeader, reason: str) -> None:
    tip = Known(0, GENESIS.hash(), b"", b"", GENESIS.created_ms)
    with pytest.raises(ProtocolError) as raised:
        chain().verify_header(tip, header.encode())
    assert raised.value.reason == reason


def test_noise_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="header_form"):
        chain().proven(b"\x01" * 300)


def test_only_the_body_of_the_header_is_its_body() -> None:
    source = chain()
    header = source.verify_header(Known(0, GENESIS.hash(), b"", b""), sealed().encode())
    other = sign_transfer(MEMBERS[0], GENESIS.chain_tag, Transfer(bytes(32), 2, 0, payload=b"memo"))
    empty = Batch(BODY.rows[:0], np.empty(0, dtype=np.uint8))
    assert source.verify_body(header, encode_batch(BODY))
    assert not source.verify_body(header, encode_batch(other))
    assert not source.verify_body(header, encode_batch(empty))
    assert not source.verify_body(header, encode_batch(BODY)[:-1])


def test_blocks_are_handed_on_and_a_refusal_is_loud() -> None:
    taken: list[Any] = []
    header = chain().verify_header(Known(0, GENESIS.hash(), b"", b""), sealed().encode())
    asyncio.run(chain([sealed().header], taken).append([(header, encode_batch(BODY))]))
    assert taken[0][0] == sealed()
    assert taken[0][1].rows.tobytes() == BODY.rows.tobytes()
    with pytest.raises(ChainRefusedError, match="block 1: state_root"):
        asyncio.run(chain([BlockRefused(1, "state_root")]).append([(header, encode_batch(BODY))]))


def test_an_announcement_is_news_once_and_only_upwards() -> None:
    """What was true long ago, or is proven by other votes, is not relayed again and costs no verification."""
    node = chain()
    assert node.is_news(sealed(height=5).encode())
    assert not node.is_news(sealed(height=5).encode())
    assert not node.is_news(sealed(height=4).encode())
    assert not node.is_news(sealed(height=3, voters=0).encode())
    with pytest.raises(ProtocolError):
        node.is_news(sealed(height=9, voters=0).encode())
    assert node.is_news(sealed(height=6).encode())
    with pytest.raises(ProtocolError, match="header_form"):
        node.is_news(b"junk")
