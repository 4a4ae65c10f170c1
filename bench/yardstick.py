"""What everything is measured against: PyNaCl verifying signatures in a plain loop on one core."""

from __future__ import annotations

import time

_PREPARED = 2_000


def libsodium_verifies_per_s(seconds: float) -> float:
    """`VerifyKey.verify` calls a second over distinct keys and 144-byte messages."""
    from nacl.signing import SigningKey

    prepared = []
    for number in range(_PREPARED):
        key = SigningKey(number.to_bytes(32, "little"))
        message = number.to_bytes(4, "little") * 36
        prepared.append((key.verify_key, message, key.sign(message).signature))
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for key, message, signature in prepared[:200]:
            key.verify(message, signature)
        done += 200
    return done / (time.perf_counter() - began)
