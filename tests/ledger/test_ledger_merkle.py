"""RFC 9162 trees against the RFC's own recursive definition, and the sparse tree of ICS-23."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.ledger import merkle, smt


def digests(count: int) -> np.ndarray:
    raw = b"".join(hashlib.sha256(b"\x00" + bytes([i & 255, i >> 8])).digest() for i in range(count))
    return np.frombuffer(raw, dtype=np.uint8).reshape(count, 32)


def by_definition(leaves: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + by_definition(leaves[:k]) + by_definition(leaves[k:])).digest()


def test_certificate_transparency_vectors() -> None:
    """Leaves and roots of the reference tests of certificate-transparency-go (RFC 6962 trees)."""
    inputs = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
    roots = {
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    raw = [hashlib.sha256(b"\x00" + bytes.fromhex(text)).digest() for text in inputs]
    leaves = np.frombuffer(b"".join(raw), dtype=np.uint8).reshape(-1, 32)
    for size, expected in roots.items():
        assert merkle.root(leaves[:size]).hex() == expected


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7, 8, 9, 33, 100])
def test_roots_equal_the_definition(size: int) -> None:
    leaves = digests(size)
    assert merkle.root(leaves) == by_definition([leaf.tobytes() for leaf in leaves])


@given(st.integers(1, 70), st.data())
def test_inclusion_proofs_hold_and_nothing_else_does(size: int, data: st.DataObject) -> None:
    leaves = digests(size)
    index = data.draw(st.integers(0, size - 1))
    proof, root, leaf = merkle.inclusion_proof(leaves, index), merkle.root(leaves), leaves[index].tobytes()
    assert merkle.verify_inclusion(leaf, index, size, proof, root)
    assert not merkle.verify_inclusion(leaf, index, size, [*proof, bytes(32)], root)
    assert not merkle.verify_inclusion(bytes(32), index, size, proof, root)
    assert not merkle.verify_inclusion(leaf, size, size, proof, root)
    assert not merkle.verify_inclusion(leaf, -1, size, proof, root)
    if proof:
        assert not merkle.verify_inclusion(leaf, index, size, proof[:-1], root)
        flipped = data.draw(st.integers(0, len(proof) * 256 - 1))
        damaged = [bytearray(node) for node in proof]
        damaged[flipped // 256][flipped % 256 // 8] ^= 1 << flipped % 8
        assert not merkle.verify_inclusion(leaf, index, size, [bytes(node) for node in damaged], root)
        assert not merkle.verify_inclusion(leaf, index, size, [node[:-1] for node in proof], root)


def test_proofs_of_places_that_do_not_exist_raise() -> None:
    with pytest.raises(IndexError):
        merkle.inclusion_proof(digests(3), 3)


states = st.dictionaries(st.binary(min_size=1, max_size=3), st.binary(max_size=4), max_size=24)


@given(states, st.binary(min_size=1, max_size=3), st.binary(max_size=4))
def test_state_proofs_show_presence_and_absence_and_nothing_else(
    state: dict[bytes, bytes], key: bytes, other: bytes
) -> None:
    root, proof = smt.root(state), smt.prove(state, key)
    held = state.get(key)
    assert smt.verify(root, key, held, proof)
    if other != held:
        assert not smt.verify(root, key, other, proof)
    assert not smt.verify(root, key, other if held is None else None, proof)
    if state:
        assert not smt.verify(bytes(32), key, held, proof)
    if proof.siblings:
        short = smt.StateProof(proof.siblings[:-1], proof.leaf_path, proof.leaf_value_hash)
        assert not smt.verify(root, key, held, short)


@given(states, st.randoms())
def test_the_state_root_does_not_depend_on_order(state: dict[bytes, bytes], random: object) -> None:
    keys = list(state)
    random.shuffle(keys)  # type: ignore[attr-defined]
    assert smt.root({key: state[key] for key in keys}) == smt.root(state)


def test_small_state_trees_by_hand() -> None:
    assert smt.root({}) == bytes(32)
    assert smt.root({b"a": b"1"}) == smt.leaf_hash(b"a", b"1")
    pair = {b"a": b"1", b"d": b"2"}
    paths = {key: hashlib.sha256(key).digest() for key in pair}
    depth = next(d for d in range(256) if smt.path_bit(paths[b"a"], d) != smt.path_bit(paths[b"d"], d))
    left, right = sorted(pair, key=lambda key: paths[key])
    node = smt.leaf_hash(left, pair[left]) + smt.leaf_hash(right, pair[right])
    node = hashlib.sha256(b"\x01" + node).digest()
    for d in range(depth - 1, -1, -1):
        sides = (bytes(32), node) if smt.path_bit(paths[b"a"], d) else (node, bytes(32))
        node = hashlib.sha256(b"\x01" + b"".join(sides)).digest()
    assert smt.root(pair) == node
