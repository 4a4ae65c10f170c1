"""RFC 9162 Merkle trees: roots, inclusion and consistency proofs, and their verification.

Rules (RFC 9162, section 2.1): a leaf is SHA-256(0x00 ‖ entry), an inner node SHA-256(0x01 ‖ left ‖ right),
the left subtree of n entries holds the largest power of two below n, the empty tree is SHA-256("").
Hashing level by level with an odd last node carried up unchanged gives the same tree.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from actors.ledger.hashing import DIGEST_BYTES, Hasher, sha256, sha256_rows

NODE_PREFIX = b"\x01"
EMPTY_ROOT = sha256(b"")
PROOF_NODES_MAX = 64


def _parent(left: bytes, right: bytes) -> bytes:
    return sha256(NODE_PREFIX + left + right)


def levels(leaves: NDArray[np.uint8], hash_rows: Hasher = sha256_rows) -> list[NDArray[np.uint8]]:
    """All levels of the tree, leaves first, root last: (n, 32), (ceil(n / 2), 32), ..., (1, 32)."""
    out = [leaves]
    while len(out[-1]) > 1:
        below = np.ascontiguousarray(out[-1])
        pairs = len(below) // 2
        above = hash_rows(below[: 2 * pairs].reshape(pairs, 2 * DIGEST_BYTES), NODE_PREFIX)
        out.append(np.concatenate((above, below[2 * pairs :])) if len(below) % 2 else above)
    return out


def root(leaves: NDArray[np.uint8], hash_rows: Hasher = sha256_rows) -> bytes:
    """Root of the tree over (n, 32) leaf hashes."""
    if len(leaves) == 0:
        return EMPTY_ROOT
    return levels(leaves, hash_rows)[-1].tobytes()


def inclusion_proof(leaves: NDArray[np.uint8], index: int, hash_rows: Hasher = sha256_rows) -> list[bytes]:
    """Sibling hashes from the leaf to the root. Raises IndexError when there is no such leaf."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of a tree of {len(leaves)}")
    path = []
    for level in levels(leaves, hash_rows)[:-1]:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling].tobytes())
        index >>= 1
    return path


def verify_inclusion(leaf: bytes, index: int, size: int, proof: list[bytes], tree_root: bytes) -> bool:
    """RFC 9162, section 2.1.3.2. Checks every length and index; never raises for a wrong proof."""
    if not 0 <= index < size or len(proof) > PROOF_NODES_MAX or not _all_digests([leaf, tree_root, *proof]):
        return False
    fn, sn, node = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            node = _parent(sibling, node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = _parent(node, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and node == tree_root


def _all_digests(values: list[bytes]) -> bool:
    return all(len(value) == DIGEST_BYTES for value in values)
