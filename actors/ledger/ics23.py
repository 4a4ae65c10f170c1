"""ICS-23 commitment proofs of the state tree: bytes that verifiers of other people accept.

Source: ICS-23 vector commitments, `CommitmentProof` of proofs.proto (cosmos.ics23.v1) under `smtSpec`.

Rules
- A presence proof is one ExistenceProof: key, value, how the leaf is hashed, and one InnerOp a level from the
  leaf up. An InnerOp holds what is hashed before the child (`prefix`) and after it (`suffix`).
- An absence proof is a NonExistenceProof: presence proofs of the next leaf on either side, by order of hashed
  keys. They must be neighbours: below the level where their paths part, the left one turns right, and the
  right one left, at every level, unless the other side is the empty child (32 zero bytes). Where there is no
  leaf on one side, the other one is the last or first of the whole tree by the same rule.
- NonExistenceProof.key is left out: no verifier reads it, as it proves a range, and so every bit that is
  written bears on the outcome.
- A tree without leaves has no absence proof in ICS-23.

The verifier here is the plain one: it accepts what encoders of `smtSpec` trees with 32-byte keys can write,
which is less than the protobuf wire format allows (fields in ascending order, no unknown fields).
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.ledger.hashing import DIGEST_BYTES, sha256
from actors.ledger.rows import FormatError
from actors.ledger.smt import DEPTH_MAX, EMPTY, NODE_PREFIX, leaf_hash, path_bit

VALUE_BYTES_MAX = 1 << 16
PROOF_BYTES_MAX = 2 * (VALUE_BYTES_MAX + 256 * 80)
_BYTES = 2  # wire type of length-delimited fields
# LeafOp: hash, prehash_key, prehash_value are SHA256 (1), length is NO_PREFIX (0, not written), prefix 0x00.
_LEAF_OP = bytes((0x08, 1, 0x10, 1, 0x18, 1, 0x2A, 1, 0))
_INNER_HASH = bytes((0x08, 1))


@dataclass(frozen=True, slots=True)
class Existence:
    """That `key` has `value`. siblings: from the root down, as in `smt.StateProof`."""

    key: bytes
    value: bytes
    siblings: tuple[bytes, ...]

    @property
    def path(self) -> bytes:
        """SHA-256 of the key."""
        return sha256(self.key)

    def root(self) -> bytes:
        """Root of the tree that this is a proof in."""
        path, node = self.path, leaf_hash(self.key, self.value)
        for depth in range(len(self.siblings) - 1, -1, -1):
            sibling = self.siblings[depth]
            node = sha256(NODE_PREFIX + (sibling + node if path_bit(path, depth) else node + sibling))
        return node


@dataclass(frozen=True, slots=True)
class Absence:
    """That no key is between two neighbours, of which one may be missing at an end of the tree."""

    left: Existence | None
    right: Existence | None


def encode(proof: Existence | Absence) -> bytes:
    """`CommitmentProof` bytes. Raises FormatError for an absence without any neighbour."""
    if isinstance(proof, Existence):
        return _field(1, _encode_existence(proof))
    if proof.left is None and proof.right is None:
        raise FormatError("proof", "a tree without leaves", "at least one leaf for an ICS-23 absence proof")
    sides = ((2, proof.left), (3, proof.right))
    return _field(2, b"".join(_field(n, _encode_existence(side)) for n, side in sides if side is not None))


def _encode_existence(proof: Existence) -> bytes:
    path, fields = proof.path, [_field(1, proof.key), _field(2, proof.value), _field(3, _LEAF_OP)]
    for depth in range(len(proof.siblings) - 1, -1, -1):
        sibling = proof.siblings[depth]
        if path_bit(path, depth):
            step = _INNER_HASH + _field(2, NODE_PREFIX + sibling)
        else:
            step = _INNER_HASH + _field(2, NODE_PREFIX) + _field(3, sibling)
        fields.append(_field(4, step))
    return b"".join(fields)


def _field(number: int, data: bytes) -> bytes:
    return bytes((number << 3 | _BYTES,)) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(data: bytes) -> Existence | Absence:
    """Inverse of `encode`. Raises FormatError naming the field; never allocates by what a length claims."""
    if len(data) > PROOF_BYTES_MAX:
        raise FormatError("proof", f"{len(data)} bytes", f"at most {PROOF_BYTES_MAX} bytes")
    fields = _fields("proof", data)
    if [number for number, _ in fields] == [1]:
        return _decode_existence("proof.exist", fields[0][1])
    if [number for number, _ in fields] != [2]:
        raise FormatError("proof", "other fields", "exist (1) or nonexist (2)")
    sides = _fields("proof.nonexist", fields[0][1])
    numbers = [number for number, _ in sides]
    if numbers not in ([2], [3], [2, 3]):
        raise FormatError("proof.nonexist", f"fields {numbers}", "left (2), right (3) or both")
    found = {number: _decode_existence("proof.nonexist", side) for number, side in sides}
    return Absence(found.get(2), found.get(3))


def _decode_existence(name: str, data: bytes) -> Existence:
    fields = _fields(name, data)
    depth = len(fields) - 3
    if [number for number, _ in fields] != [1, 2, 3, *[4] * depth] or depth > DEPTH_MAX:
        raise FormatError(name, "other fields", f"key, value, leaf and up to {DEPTH_MAX} steps")
    key, value, leaf = (body for _, body in fields[:3])
    if len(key) != DIGEST_BYTES:
        raise FormatError(f"{name}.key", f"{len(key)} bytes", f"{DIGEST_BYTES} bytes")
    if not 0 < len(value) <= VALUE_BYTES_MAX:
        raise FormatError(f"{name}.value", f"{len(value)} bytes", f"1 to {VALUE_BYTES_MAX} bytes")
    if leaf != _LEAF_OP:
        raise FormatError(f"{name}.leaf", leaf.hex(), f"{_LEAF_OP.hex()} as smtSpec says")
    path = sha256(key)
    siblings = [
        _sibling(f"{name}.path", body, path_bit(path, depth - 1 - at))
        for at, (_, body) in enumerate(fields[3:])
    ]
    return Existence(key, value, tuple(reversed(siblings)))


def _sibling(name: str, data: bytes, side: int) -> bytes:
    if data[:2] != _INNER_HASH:
        raise FormatError(name, data[:2].hex(), "SHA256 as its hash")
    fields = _fields(name, data[2:])
    if side and [(n, len(body)) for n, body in fields] == [(2, 1 + DIGEST_BYTES)]:
        prefix, sibling = fields[0][1][:1], fields[0][1][1:]
    elif not side and [(n, len(body)) for n, body in fields] == [(2, 1), (3, DIGEST_BYTES)]:
        prefix, sibling = fields[0][1], fields[1][1]
    else:
        raise FormatError(name, "other fields", "one sibling, on the side that the key's path says")
    if prefix != NODE_PREFIX:
        raise FormatError(name, prefix.hex(), f"prefix {NODE_PREFIX.hex()}")
    return sibling


def _fields(name: str, data: bytes) -> list[tuple[int, bytes]]:
    """Length-delimited fields of a message. Lengths are compared before anything is taken."""
    fields, at = [], 0
    while at < len(data):
        tag, at = data[at], at + 1
        size, shift = 0, 0
        while True:
            if at == len(data) or shift > 21:
                raise FormatError(name, "a broken length", "a length of at most 4 bytes")
            byte, at = data[at], at + 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if tag & 7 != _BYTES or tag >= 0x80 or _varint(size) != data[at - shift // 7 : at]:
            raise FormatError(name, f"tag {tag:#04x}", "length-delimited fields")
        if size > len(data) - at:
            raise FormatError(name, f"{size} bytes", f"at most the {len(data) - at} that are left")
        fields.append((tag >> 3, data[at : at + size]))
        at += size
    return fields


def verify_presence(state_root: bytes, key: bytes, value: bytes, data: bytes) -> bool:
    """True if the bytes prove that `key` has `value`. Never raises."""
    try:
        proof = decode(data)
    except FormatError:
        return False
    if not isinstance(proof, Existence):
        return False
    return (proof.key, proof.value) == (key, value) and proof.root() == state_root


def verify_absence(state_root: bytes, key: bytes, data: bytes) -> bool:
    """True if the bytes prove that `key` is not in the tree. Never raises."""
    try:
        proof = decode(data)
    except FormatError:
        return False
    if not isinstance(proof, Absence):
        return False
    left, right, path = proof.left, proof.right, sha256(key)
    if any(side is not None and side.root() != state_root for side in (left, right)):
        return False
    if (left is not None and left.path >= path) or (right is not None and right.path <= path):
        return False
    if left is None or right is None:
        only, turn = (left, 1) if right is None else (right, 0)
        return only is not None and _keeps_turning(only, 0, turn)
    parting = 0
    while path_bit(left.path, parting) == path_bit(right.path, parting):
        parting += 1
    if parting >= min(len(left.siblings), len(right.siblings)):
        return False
    return _keeps_turning(left, parting + 1, 1) and _keeps_turning(right, parting + 1, 0)


def _keeps_turning(proof: Existence, depth: int, side: int) -> bool:
    """True if from `depth` on the path turns to `side` wherever that side is not empty."""
    path, siblings = proof.path, proof.siblings
    return all(path_bit(path, d) == side or siblings[d] == EMPTY for d in range(depth, len(siblings)))
