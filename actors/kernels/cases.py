"""Signatures on which verifiers may differ, for the self-test at every start and for fuzzing (bench/fuzz.py).

Theory of operation. Random bytes almost never come near the edges of the rules, so each kind of case is
built to sit on one: valid rows, flipped bits, keys and R of small or mixed order, encodings that are not
canonical, S with multiples of the group order added, S at the ends of its range. Mixed-order signatures are
made from points whose discrete logarithm is known up to torsion, so that about one in eight of them is
valid without a cofactor. Kinds are shuffled within a batch, and batches have any length, so that good and
bad rows meet in all lanes. Everything follows from the seed.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha512

import nacl.bindings
import numpy as np
from numpy.typing import NDArray

from . import portable, reference
from .field import P
from .interface import SignatureVerifier

ROW_BYTES, MESSAGE_BYTES = 208, 144
KEY, R, S = slice(48, 80), slice(144, 176), slice(176, 208)
SIGNERS, NONCES = 16, 16
RECENT = 256

Row = NDArray[np.uint8]
Maker = Callable[["Cases", Row], None]


def _encodings_of_small_order() -> list[bytes]:
    """Every 32 bytes whose y is, modulo p, that of a point of small order, with either sign bit."""
    numbers = [y + k * P for y in reference.SMALL_ORDER_Y for k in (0, 1)]
    below = [number for number in numbers if number < 2**255]
    return [(number | sign << 255).to_bytes(32, "little") for number in below for sign in (0, 1)]


def _not_canonical() -> list[bytes]:
    """Every 32 bytes with y between p and 2^255 - 1."""
    return [(y | sign << 255).to_bytes(32, "little") for y in range(P, 2**255) for sign in (0, 1)]


def _times_base(scalar: int) -> reference.Point:
    """``reference.multiply(scalar, BASE)`` by libsodium: each process makes cases at its start."""
    if not scalar:
        return reference.IDENTITY  # which libsodium refuses to name
    encoded = nacl.bindings.crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(32, "little"))
    point = reference.decode(encoded)
    if point is None:
        raise RuntimeError("libsodium answers a multiple of the base point that is on no curve")
    return point


class Cases:
    """Makes rows of 208 bytes, each of a kind named in ``MAKERS``."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.secrets = [self._scalar() for _ in range(SIGNERS)]
        self.nonces = [self._scalar() for _ in range(NONCES)]
        self.keys = [self._with_torsion(scalar) for scalar in (0, *self.secrets)]
        self.commitments = [self._with_torsion(scalar) for scalar in (0, *self.nonces)]
        self.familiar = [nacl.bindings.crypto_sign_seed_keypair(self.rng.bytes(32)) for _ in range(SIGNERS)]
        self.recent = np.zeros((RECENT, ROW_BYTES), np.uint8)
        for row in self.recent:
            row[:] = self.rng.integers(0, 256, ROW_BYTES, dtype=np.uint8)
            self.sign(row)
        self.small = _encodings_of_small_order()
        self.high = _not_canonical()

    def _scalar(self) -> int:
        return int.from_bytes(self.rng.bytes(40), "little") % reference.ORDER

    @staticmethod
    def _with_torsion(scalar: int) -> list[bytes]:
        point = _times_base(scalar)
        return [reference.encode(reference.add(point, torsion)) for torsion in reference.TORSION]

    def pick(self, count: int) -> int:
        return int(self.rng.integers(count))

    def batch(self, rows: int) -> tuple[NDArray[np.uint8], list[str]]:
        """Rows of 208 bytes, and the kind of each."""
        table = self.rng.integers(0, 256, (rows, ROW_BYTES), dtype=np.uint8)
        names = list(MAKERS)
        kinds = [names[k] for k in self.rng.integers(0, len(names), rows)]
        for row, kind in zip(table, kinds, strict=True):
            MAKERS[kind](self, row)
        return table, kinds

    def put(self, row: Row, part: slice, content: bytes) -> None:
        row[part] = np.frombuffer(content, np.uint8)

    def sign(self, row: Row) -> None:
        """A valid signature, by a fresh key or, half of the time, by one that comes again."""
        fresh = self.pick(2)
        public, secret = (
            nacl.bindings.crypto_sign_seed_keypair(self.rng.bytes(32))
            if fresh
            else self.familiar[self.pick(SIGNERS)]
        )
        self.put(row, KEY, public)
        signed = nacl.bindings.crypto_sign(row[:MESSAGE_BYTES].tobytes(), secret)
        self.put(row, slice(MESSAGE_BYTES, ROW_BYTES), signed[:64])
        self.recent[self.pick(len(self.recent))] = row

    def take_signed(self, row: Row) -> None:
        """A valid signature made a while ago, as the start of a case that is not: signing is slow."""
        row[:] = self.recent[self.pick(len(self.recent))]

    def corrupt(self, row: Row) -> None:
        self.take_signed(row)
        for _ in range(1 + self.pick(2)):
            row[self.pick(ROW_BYTES)] ^= 1 << self.pick(8)

    def flip_sign(self, row: Row) -> None:
        """The sign bit of the key or of R."""
        self.take_signed(row)
        row[(KEY, R)[self.pick(2)].stop - 1] ^= 0x80

    def mixed_order(self, row: Row) -> None:
        """Key and R with any torsion, also of small order (scalar 0), and the S that a signer would give."""
        key, nonce = self.pick(SIGNERS + 1), self.pick(NONCES + 1)
        self.put(row, KEY, self.keys[key][self.pick(8)])
        self.put(row, R, self.commitments[nonce][self.pick(8)])
        digest = sha512(row[R].tobytes() + row[KEY].tobytes() + row[:MESSAGE_BYTES].tobytes()).digest()
        secret, once = (0, *self.secrets)[key], (0, *self.nonces)[nonce]
        answer = (once + int.from_bytes(digest, "little") * secret) % reference.ORDER
        self.put(row, S, answer.to_bytes(32, "little"))

    def small_order_key(self, row: Row) -> None:
        self.mixed_order(row)
        self.put(row, KEY, self.small[self.pick(len(self.small))])

    def small_order_r(self, row: Row) -> None:
        self.mixed_order(row)
        self.put(row, R, self.small[self.pick(len(self.small))])
        if self.pick(2):
            self.put(row, S, bytes(32))

    def not_canonical_key(self, row: Row) -> None:
        self.take_signed(row)
        self.put(row, KEY, self.high[self.pick(len(self.high))])

    def not_canonical_r(self, row: Row) -> None:
        self.take_signed(row)
        self.put(row, R, self.high[self.pick(len(self.high))])

    def s_plus_order(self, row: Row) -> None:
        """S + k L, which stands for the same scalar; k up to what 32 bytes hold."""
        self.take_signed(row)
        number = int.from_bytes(row[S].tobytes(), "little") + (1 + self.pick(14)) * reference.ORDER
        self.put(row, S, number.to_bytes(32, "little"))

    def s_at_an_end(self, row: Row) -> None:
        self.take_signed(row)
        order = reference.ORDER
        ends = (0, 1, order - 1, order, order + 1, 2**252 - 1, 2**252, 2**253, 2**255, 2**256 - 1)
        self.put(row, S, ends[self.pick(len(ends))].to_bytes(32, "little"))

    def random_key(self, row: Row) -> None:
        """A key that is on no point half of the time."""
        self.take_signed(row)
        self.put(row, KEY, self.rng.bytes(32))

    def random_bytes(self, row: Row) -> None:
        row[R.stop - 1] &= 0x7F
        row[S.stop - 1] &= 0x0F


MAKERS: dict[str, Maker] = {
    "valid": Cases.sign,
    "corrupted": Cases.corrupt,
    "sign_bit": Cases.flip_sign,
    "mixed_order": Cases.mixed_order,
    "small_order_key": Cases.small_order_key,
    "small_order_r": Cases.small_order_r,
    "non_canonical_key": Cases.not_canonical_key,
    "non_canonical_r": Cases.not_canonical_r,
    "s_plus_order": Cases.s_plus_order,
    "s_at_an_end": Cases.s_at_an_end,
    "random_key": Cases.random_key,
    "random_bytes": Cases.random_bytes,
}


def compare(
    verify: SignatureVerifier, table: NDArray[np.uint8]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The verdicts of libsodium, and where the verifier's differ."""
    columns = table[:, KEY], table[:, MESSAGE_BYTES:], table[:, :MESSAGE_BYTES]
    expected = portable.verify(*columns)
    return expected, verify(*columns) != expected
