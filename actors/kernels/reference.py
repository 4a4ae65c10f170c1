"""Ed25519 in plain integers: the twin against which field, curve, scalar and schedule are tested.

It follows RFC 8032, section 5.1, with the stricter criteria of libsodium's
``crypto_sign_ed25519_verify_detached``: S below the group order, a canonical public key, neither the key
nor R of small order, no cofactor, and R compared byte by byte. It is slow, and is not used to validate
blocks.
"""

from __future__ import annotations

from hashlib import sha512

from .field import P

ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_1 = pow(2, (P - 1) // 4, P)

Point = tuple[int, int]
"""Affine coordinates x, y on -x^2 + y^2 = 1 + d x^2 y^2."""
IDENTITY: Point = (0, 1)


def add(a: Point, b: Point) -> Point:
    """The sum; the law is complete, so it holds for all pairs of points."""
    (x1, y1), (x2, y2) = a, b
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P
    return x, y


def negate(a: Point) -> Point:
    return -a[0] % P, a[1]


def multiply(scalar: int, a: Point) -> Point:
    """scalar * a for a scalar that is not negative, by doubling and adding.

    The same law in projective coordinates (Bernstein et al., "Twisted Edwards Curves", 2008, section 6), so
    that there is one division at the end instead of one an addition.
    """
    total, power = (0, 1, 1), (a[0], a[1], 1)
    while scalar:
        if scalar & 1:
            total = _add_projective(total, power)
        power = _add_projective(power, power)
        scalar >>= 1
    z_inverse = pow(total[2], -1, P)
    return total[0] * z_inverse % P, total[1] * z_inverse % P


def _add_projective(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    zz, xx, yy = a[2] * b[2] % P, a[0] * b[0] % P, a[1] * b[1] % P
    product = D * xx * yy % P
    minus, plus = zz * zz - product, zz * zz + product
    crossed = (a[0] + a[1]) * (b[0] + b[1]) - xx - yy
    return zz * minus * crossed % P, zz * plus * (yy + xx) % P, minus * plus % P


def encode(a: Point) -> bytes:
    return (a[1] | (a[0] & 1) << 255).to_bytes(32, "little")


def recover_x(y: int, sign: int) -> int | None:
    """The x of that parity for a y, or None if y is on no point of the curve."""
    numerator, denominator = (y * y - 1) % P, (D * y * y + 1) % P
    x = numerator * denominator**3 * pow(numerator * denominator**7, (P - 5) // 8, P) % P
    if (denominator * x * x - numerator) % P:
        x = x * SQRT_MINUS_1 % P
    if (denominator * x * x - numerator) % P:
        return None
    return x if x & 1 == sign else -x % P


def decode(encoded: bytes) -> Point | None:
    """The point, or None if there is none; y is taken modulo p, as libsodium does."""
    number = int.from_bytes(encoded, "little")
    y = (number & ((1 << 255) - 1)) % P
    x = recover_x(y, number >> 255)
    return None if x is None else (x, y)


BASE: Point = (recover_x(4 * pow(5, -1, P) % P, 0) or 0, 4 * pow(5, -1, P) % P)


def _torsion() -> list[Point]:
    """The eight points of small order, multiples of one of order 8.

    Four times such a point is (0, -1), so twice it is (x, 0): then x^2 = -y^2, and d y^4 + 2 y^2 = 1.
    """
    root = _square_root(1 + D)
    for square in ((root - 1) * pow(D, -1, P) % P, (-root - 1) * pow(D, -1, P) % P):
        y = _square_root(square)
        if y * y % P == square:
            return [multiply(k, (SQRT_MINUS_1 * y % P, y)) for k in range(8)]
    raise ArithmeticError("no point of order 8")


def _square_root(square: int) -> int:
    """A square root modulo p, or a number that is none if there is none."""
    root = pow(square, (P + 3) // 8, P)
    return root if (root * root - square) % P == 0 else root * SQRT_MINUS_1 % P


TORSION = _torsion()
SMALL_ORDER_Y = sorted({point[1] for point in TORSION})
"""The y of the points of small order: five values."""


def has_small_order(encoded: bytes) -> bool:
    return (int.from_bytes(encoded, "little") & ((1 << 255) - 1)) % P in SMALL_ORDER_Y


def challenge(r: bytes, key: bytes, message: bytes) -> int:
    """SHA-512(R || A || M) modulo the group order."""
    return int.from_bytes(sha512(r + key + message).digest(), "little") % ORDER


def verify(key: bytes, signature: bytes, message: bytes) -> bool:
    """libsodium's verdict."""
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    y = int.from_bytes(key, "little") & ((1 << 255) - 1)
    if s >= ORDER or y >= P or has_small_order(key) or has_small_order(r):
        return False
    point = decode(key)
    if point is None:
        return False
    minus_key = multiply(challenge(r, key, message), negate(point))
    return encode(add(multiply(s, BASE), minus_key)) == r
