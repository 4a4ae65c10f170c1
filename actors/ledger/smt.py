"""The state tree, plainly: the sparse Merkle tree of ICS-23's `smtSpec`, recomputed from a dictionary.

Rules: the path of a key is SHA-256(key), walked from its most significant bit. A leaf is
SHA-256(0x00 ‖ SHA-256(key) ‖ SHA-256(value)), an inner node SHA-256(0x01 ‖ left ‖ right), an empty subtree
32 zero bytes, and a subtree that holds one leaf is that leaf. Storage keeps the fast twin.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.ledger.hashing import DIGEST_BYTES, sha256

EMPTY = bytes(DIGEST_BYTES)
LEAF_PREFIX, NODE_PREFIX = b"\x00", b"\x01"
DEPTH_MAX = 256


def leaf_hash(key: bytes, value: bytes) -> bytes:
    """Hash of the leaf of one key and value."""
    return sha256(LEAF_PREFIX + sha256(key) + sha256(value))


def path_bit(path: bytes, depth: int) -> int:
    """Bit `depth` of a path; bit 0 is the most significant bit of the first byte."""
    return path[depth >> 3] >> (7 - (depth & 7)) & 1


def root(state: dict[bytes, bytes]) -> bytes:
    """Root of the tree over all keys and values."""
    leaves = sorted((sha256(key), leaf_hash(key, value)) for key, value in state.items())
    return _subtree(leaves, 0)


def _subtree(leaves: list[tuple[bytes, bytes]], depth: int) -> bytes:
    if not leaves:
        return EMPTY
    if len(leaves) == 1:
        return leaves[0][1]
    split = next((i for i, (path, _) in enumerate(leaves) if path_bit(path, depth)), len(leaves))
    return sha256(NODE_PREFIX + _subtree(leaves[:split], depth + 1) + _subtree(leaves[split:], depth + 1))


@dataclass(frozen=True, slots=True)
class StateProof:
    """Siblings from the root down to where the path of a key ends, and the leaf that stands there.

    For a present key the leaf is its own. For an absent one it is another key's (path and value hash), or
    there is none and the place is empty.
    """

    siblings: tuple[bytes, ...]
    leaf_path: bytes | None
    leaf_value_hash: bytes | None


def prove(state: dict[bytes, bytes], key: bytes) -> StateProof:
    """Existence or absence proof of `key`."""
    leaves = sorted((sha256(k), leaf_hash(k, v)) for k, v in state.items())
    value_hashes = {sha256(k): sha256(v) for k, v in state.items()}
    path, siblings, depth = sha256(key), [], 0
    while len(leaves) > 1:
        halves = (
            [leaf for leaf in leaves if not path_bit(leaf[0], depth)],
            [leaf for leaf in leaves if path_bit(leaf[0], depth)],
        )
        side = path_bit(path, depth)
        siblings.append(_subtree(halves[1 - side], depth + 1))
        leaves, depth = halves[side], depth + 1
    if not leaves:
        return StateProof(tuple(siblings), None, None)
    return StateProof(tuple(siblings), leaves[0][0], value_hashes[leaves[0][0]])


def verify(state_root: bytes, key: bytes, value: bytes | None, proof: StateProof) -> bool:
    """True if the proof shows that `key` has `value`, or for None that it is absent. Never raises."""
    path = sha256(key)
    if len(proof.siblings) > DEPTH_MAX or any(len(s) != DIGEST_BYTES for s in proof.siblings):
        return False
    if proof.leaf_path is None or proof.leaf_value_hash is None:
        if value is not None or proof.leaf_path is not proof.leaf_value_hash:
            return False
        node = EMPTY
    else:
        if len(proof.leaf_path) != DIGEST_BYTES or len(proof.leaf_value_hash) != DIGEST_BYTES:
            return False
        if (value is None) == (proof.leaf_path == path):
            return False
        if value is not None and sha256(value) != proof.leaf_value_hash:
            return False
        if any(path_bit(path, d) != path_bit(proof.leaf_path, d) for d in range(len(proof.siblings))):
            return False
        node = sha256(LEAF_PREFIX + proof.leaf_path + proof.leaf_value_hash)
    for depth in range(len(proof.siblings) - 1, -1, -1):
        sibling = proof.siblings[depth]
        pair = sibling + node if path_bit(path, depth) else node + sibling
        node = sha256(NODE_PREFIX + pair)
    return node == state_root


def neighbours(state: dict[bytes, bytes], key: bytes) -> tuple[bytes | None, bytes | None]:
    """The keys whose paths are next below and next above that of `key`; None where there is none."""
    path = sha256(key)
    paths = {sha256(other): other for other in state}
    left = max((other for other in paths if other < path), default=None)
    right = min((other for other in paths if other > path), default=None)
    return None if left is None else paths[left], None if right is None else paths[right]
