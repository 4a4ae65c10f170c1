"""Headers, certificates, blocks and genesis: round trips, fuzz, and what each refuses."""

from __future__ import annotations

import struct
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.contracts.gas import Weights
from actors.ledger.block import (
    HEADER_BYTES,
    Block,
    Certificate,
    Header,
    SealedHeader,
    decode_block,
    decode_certificate,
    decode_header,
    decode_sealed_header,
    sign_proposal,
    sign_vote,
    verify_proposal,
    verify_vote,
)
from actors.ledger.genesis import Allocation, Genesis, Member, decode_allocation, decode_genesis, exact_sum
from actors.ledger.governed_payloads import Governors
from actors.ledger.rows import FormatError, empty_batch
from actors.ledger.signing import Signer

SIGNERS = sorted((Signer(bytes([n]) * 32) for n in range(1, 6)), key=lambda signer: signer.public_key)
NETWORK = b"\x09" * 32
U64 = st.integers(0, 2**64 - 1)
DIGEST = st.binary(min_size=32, max_size=32)
headers = st.builds(
    Header, U64, U64, U64, st.integers(0, 2**32 - 1), U64, DIGEST, DIGEST, DIGEST, DIGEST, DIGEST
)
EMPTY_HEADER = Header(1, 1, 0, 0, 0, bytes(32), bytes(32), bytes(32), bytes(32), SIGNERS[0].public_key)


@given(headers)
def test_headers_survive_the_round_trip(header: Header) -> None:
    encoded = header.encode()
    assert len(encoded) == HEADER_BYTES
    assert decode_header(encoded) == header
    assert decode_header(encoded).hash() == header.hash()


@given(st.binary(max_size=2 * HEADER_BYTES))
def test_any_bytes_are_a_header_or_a_format_error(data: bytes) -> None:
    try:
        decoded = decode_header(data)
    except FormatError:
        return
    assert decoded.encode() == data


def test_a_proposal_is_bound_to_proposer_network_and_header() -> None:
    digest = EMPTY_HEADER.hash()
    signature = sign_proposal(SIGNERS[0], NETWORK, digest)
    assert verify_proposal(NETWORK, EMPTY_HEADER, signature)
    assert not verify_proposal(bytes(32), EMPTY_HEADER, signature)
    assert not verify_proposal(NETWORK, EMPTY_HEADER, sign_proposal(SIGNERS[1], NETWORK, digest))
    assert not verify_proposal(NETWORK, EMPTY_HEADER, sign_vote(SIGNERS[0], NETWORK, EMPTY_HEADER, 1))
    assert not verify_proposal(NETWORK, EMPTY_HEADER, signature[:-1])


def test_a_vote_is_bound_to_network_height_term_and_header() -> None:
    key, signature = SIGNERS[0].public_key, sign_vote(SIGNERS[0], NETWORK, EMPTY_HEADER, 7)
    assert verify_vote(key, NETWORK, EMPTY_HEADER, 7, signature)
    assert not verify_vote(key, bytes(32), EMPTY_HEADER, 7, signature)
    assert not verify_vote(key, NETWORK, EMPTY_HEADER, 8, signature)
    assert not verify_vote(key, NETWORK, replace(EMPTY_HEADER, time_ms=9), 7, signature)
    message = b"raychain/vote/2" + NETWORK + struct.pack("<QQ", EMPTY_HEADER.height, 7) + EMPTY_HEADER.hash()
    assert signature == SIGNERS[0].sign(message)


def votes(count: int, term: int = 9, header: Header = EMPTY_HEADER) -> Certificate:
    return Certificate(
        term, tuple((s.public_key, sign_vote(s, NETWORK, header, term)) for s in SIGNERS[:count])
    )


def test_a_certificate_needs_a_true_majority_of_distinct_members_in_one_term() -> None:
    header, members = EMPTY_HEADER, [signer.public_key for signer in SIGNERS]
    three = votes(3)
    assert three.verify(NETWORK, header, members)
    assert not votes(2).verify(NETWORK, header, members)
    assert not three.verify(bytes(32), header, members)
    assert not three.verify(NETWORK, replace(header, height=header.height + 1), members)
    assert not Certificate(9, three.votes[:1] * 3).verify(NETWORK, header, members)
    assert not Certificate(9, three.votes[::-1]).verify(NETWORK, header, members)
    assert not three.verify(NETWORK, header, members[1:])
    forged = (*three.votes[:2], (three.votes[2][0], bytes(64)))
    assert not Certificate(9, forged).verify(NETWORK, header, members)
    assert not votes(2).verify(NETWORK, header, members[:4])
    mixed = (*three.votes[:2], votes(3, term=10).votes[2])
    assert not Certificate(9, mixed).verify(NETWORK, header, members)
    assert not Certificate(10, mixed).verify(NETWORK, header, members)
    later = replace(header, term=10)
    assert votes(3, 10, later).verify(NETWORK, later, members)
    assert not votes(3, 9, later).verify(NETWORK, later, members), "a term before the header's"


def test_the_length_of_a_certificate_is_compared_before_its_votes_are_read() -> None:
    body = votes(3).encode()
    for data, field in (
        (b"\x01" + body[1:], "certificate.version"),
        (body[:2] + b"\xff\xff" + body[4:], "certificate.count"),
        (body[:-1], "certificate"),
        (body[:11], "certificate"),
    ):
        with pytest.raises(FormatError) as caught:
            decode_certificate(data)
        assert caught.value.field == field


@given(st.binary(max_size=400))
def test_any_bytes_are_a_certificate_or_a_format_error(data: bytes) -> None:
    try:
        decoded = decode_certificate(data)
    except FormatError:
        return
    assert decoded.encode() == data


def test_certificates_survive_the_round_trip() -> None:
    certificate = votes(4)
    assert decode_certificate(certificate.encode()) == certificate


def test_a_sealed_header_proves_itself_to_the_members() -> None:
    digest, members = EMPTY_HEADER.hash(), [signer.public_key for signer in SIGNERS]
    sealed = SealedHeader(EMPTY_HEADER, sign_proposal(SIGNERS[0], NETWORK, digest), votes(3))
    assert decode_sealed_header(sealed.encode()) == sealed
    assert sealed.verify(NETWORK, members) == ""
    assert sealed.verify(bytes(32), members) == "signature"
    assert sealed.verify(NETWORK, members[1:]) == "proposer"
    assert SealedHeader(EMPTY_HEADER, bytes(64), sealed.certificate).verify(NETWORK, members) == "signature"
    assert SealedHeader(EMPTY_HEADER, sealed.signature, votes(2)).verify(NETWORK, members) == "certificate"


@given(st.binary(max_size=700))
def test_any_bytes_are_a_sealed_header_or_a_format_error(data: bytes) -> None:
    try:
        decoded = decode_sealed_header(data)
    except FormatError:
        return
    assert decoded.encode() == data


@given(st.binary(max_size=700))
def test_any_bytes_are_a_block_or_a_format_error(data: bytes) -> None:
    try:
        decoded = decode_block(data, 100, 1_000)
    except FormatError:
        return
    assert decoded.encode() == data


def test_a_block_whose_counts_disagree_with_its_body_is_refused() -> None:
    good = Block(EMPTY_HEADER, bytes(64), empty_batch())
    assert decode_block(good.encode(), 10, 10).header == EMPTY_HEADER
    for field in ("transaction_count", "payload_bytes"):
        wrong = Header(**{name: getattr(EMPTY_HEADER, name) for name in Header.__slots__} | {field: 1})
        with pytest.raises(FormatError, match=field):
            decode_block(Block(wrong, bytes(64), empty_batch()).encode(), 10, 10)


def genesis(**changes: object) -> Genesis:
    values: dict[str, object] = {
        "version": 3,
        "network": "test",
        "created_ms": 1,
        "members": [Member("node-1", SIGNERS[0].public_key.hex())],
        "accounts": 0,
        "supply": 0,
        "state_root": "00" * 32,
        "block_transactions_max": 10,
        "block_payload_bytes_max": 10,
        "fee_min": 0,
        "balance_min": 1,
    }
    return Genesis(**(values | changes))  # type: ignore[arg-type]


def test_genesis_survives_the_round_trip_and_its_hash_covers_every_field() -> None:
    document = genesis()
    assert decode_genesis(document.encode()) == document
    assert decode_genesis(msgspec.json.format(document.encode())).hash() == document.hash()
    changed = [
        genesis(network="x"),
        genesis(created_ms=2),
        genesis(supply=1),
        genesis(block_transactions_max=11),
        genesis(fee_min=1),
        genesis(balance_min=2),
        genesis(gas_per_unit=2),
        genesis(entry_deposit=2),
        genesis(block_gas_max=2),
        genesis(weights=Weights(read=2)),
    ]
    assert len({document.hash(), *(other.hash() for other in changed)}) == 11
    # Governors came later: networks without them are named as they were before.
    assert document.hash().hex() == "b5628043303a78954679a17a5aca260c17d770c5b25c23fce5bfe98bd88711ff"
    assert document.chain_tag == int.from_bytes(document.hash()[:8], "little")


def test_governors_are_part_of_the_genesis() -> None:
    governed = genesis(governors=["11" * 32, "22" * 32, "33" * 32], governors_needed=2)
    assert decode_genesis(governed.encode()) == governed
    assert governed.governed_by == Governors((b"\x11" * 32, b"\x22" * 32, b"\x33" * 32), 2)
    fewer = msgspec.structs.replace(governed, governors_needed=1)
    assert len({genesis().hash(), governed.hash(), fewer.hash()}) == 3


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        (
            {"governors": ["11" * 32], "governors_needed": 2},
            r"genesis\.governors_needed: got 2, expected 1 to 1",
        ),
        ({"governors": ["11" * 32]}, r"genesis\.governors_needed"),
        ({"governors": ["11"], "governors_needed": 1}, r"genesis\.governors\[0\]"),
        ({"governors": ["11" * 32] * 2, "governors_needed": 1}, r"genesis\.governors.*twice"),
        ({"governors": [f"{n:064x}" for n in range(17)], "governors_needed": 1}, "0 to 16"),
        ({"version": 2}, r"genesis\.version: got 2, expected 3"),
        ({"fee_min": -1}, r"genesis\.fee_min"),
        ({"balance_min": 0}, r"genesis\.balance_min"),
        ({"gas_per_unit": 0}, r"genesis\.gas_per_unit"),
        ({"entry_deposit": -1}, r"genesis\.entry_deposit"),
        ({"block_gas_max": 0}, r"genesis\.block_gas_max"),
        ({"weights": {"read": -1}}, "the weight read is -1"),
        ({"weights": {"reed": 1}}, "reed"),
        ({"block_transactions_max": 2**19 + 1}, r"genesis\.block_transactions_max"),
        ({"members": []}, r"genesis\.members"),
        ({"members": [Member("a", "00")]}, "identity"),
        ({"members": [Member("a", "00" * 32), Member("b", "00" * 32)]}, "twice"),
        ({"state_root": "zz" * 32}, r"genesis\.state_root"),
        ({"supply": 2**64}, "genesis"),
    ],
)
def test_genesis_names_what_is_wrong(changes: dict[str, object], field: str) -> None:
    with pytest.raises(FormatError, match=field):
        decode_genesis(msgspec.json.encode(genesis(**changes)))


def test_a_document_of_an_earlier_release_is_refused_in_one_sentence_that_says_what_to_do() -> None:
    """It lacks fields of today's, and still its version is what is said to be wrong."""
    document = msgspec.json.decode(genesis(version=1).encode())
    del document["fee_min"], document["balance_min"]
    with pytest.raises(
        FormatError, match=r"keep running that network with the release .* empty --data-dir"
    ) as told:
        decode_genesis(msgspec.json.encode(document))
    assert (told.value.field, told.value.got) == ("genesis.version", 1)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_genesis_or_a_format_error(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode_genesis(data)


def test_allocations_survive_the_round_trip_and_refuse_what_cannot_be() -> None:
    keys = np.arange(96, dtype=np.uint8).reshape(3, 32)
    balances = np.array([1, 2, 2**63], dtype=np.uint64)
    encoded = Allocation(keys, balances).encode()
    again = decode_allocation(encoded)
    assert (again.keys == keys).all()
    assert again.supply() == 2**63 + 3
    twice = Allocation(keys[[0, 0, 1]], balances)
    for data, word in (
        (encoded[:-1], "bytes"),
        (encoded[:4], "bytes"),
        (b"XXXX" + encoded[4:], "magic"),
        (encoded[:4] + b"\xff\xff\xff\xff" + encoded[8:], "count"),
        (twice.encode(), "twice"),
        (Allocation(keys, balances * np.uint64(0)).encode(), "balances"),
        (encoded[:8] + bytes(8) + encoded[16:], "supply"),
    ):
        with pytest.raises(FormatError, match=word):
            decode_allocation(data)
    with pytest.raises(FormatError, match="supply"):
        Allocation(keys, np.full(3, 2**63, dtype=np.uint64)).encode()


@given(st.lists(U64, max_size=20))
def test_exact_sums_do_not_wrap(values: list[int]) -> None:
    assert exact_sum(np.array(values, dtype=np.uint64)) == sum(values)
