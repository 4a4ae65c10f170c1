"""The portable kernels: hashlib and libsodium, one row at a time.

They run everywhere, and they are the oracle: whatever the other kernels answer must be what these answer.
libsodium comes with PyNaCl. Where PyNaCl's library exports ``crypto_sign_ed25519_verify_detached`` (the
published Linux and macOS wheels do) it is called on the bytes where they lie, about half a microsecond of
Python a signature; elsewhere ``crypto_sign_open`` is called on a copy. Both release the GIL.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from hashlib import sha256

import nacl._sodium
import numpy as np
from numpy.typing import NDArray

from .interface import HASH_BYTES, SIGNATURE_BYTES, Kernels, hashed_column, signature_columns


def sha256_rows(messages: NDArray[np.uint8], prefix: bytes = b"") -> NDArray[np.uint8]:
    """The plain ``Hasher``: one call of hashlib a row."""
    messages = hashed_column(messages, prefix)
    rows, width = messages.shape
    data = messages.tobytes()
    digests = b"".join([sha256(prefix + data[i * width : (i + 1) * width]).digest() for i in range(rows)])
    return np.frombuffer(bytearray(digests), np.uint8).reshape(rows, HASH_BYTES)


def verify(
    keys: NDArray[np.uint8], signatures: NDArray[np.uint8], messages: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """See ``Verifier``; the verdicts are libsodium's by construction."""
    keys, signatures, messages = signature_columns(keys, signatures, messages)
    rows, message_bytes = messages.shape
    verdicts = np.empty(rows, np.bool_)
    key, signature, message = keys.ctypes.data, signatures.ctypes.data, messages.ctypes.data
    key_step, signature_step, message_step = keys.strides[0], signatures.strides[0], messages.strides[0]
    for i in range(rows):
        verdicts[i] = not _verify_one(
            signature + i * signature_step, message + i * message_step, message_bytes, key + i * key_step
        )
    return verdicts


def _load_verify_one() -> Callable[[int, int, int, int], int]:
    """Answer a function of the addresses (signature, message, message length, key); zero means valid."""
    library = ctypes.CDLL(nacl._sodium.__file__)
    try:
        detached = library.crypto_sign_ed25519_verify_detached
    except AttributeError:
        return _open_copy
    detached.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ulonglong, ctypes.c_void_p]
    detached.restype = ctypes.c_int
    return detached


def _open_copy(signature: int, message: int, message_bytes: int, key: int) -> int:
    """The same verdict through the binding that every build of PyNaCl has."""
    ffi, lib = nacl._sodium.ffi, nacl._sodium.lib
    signed = ctypes.string_at(signature, SIGNATURE_BYTES) + ctypes.string_at(message, message_bytes)
    opened = ffi.new("unsigned char[]", len(signed))
    opened_bytes = ffi.new("unsigned long long *")
    signer = ctypes.string_at(key, 32)
    verdict: int = lib.crypto_sign_open(opened, opened_bytes, signed, len(signed), signer)
    return verdict


_verify_one = _load_verify_one()


def kernels(reason: str = "") -> Kernels:
    """The portable implementation; ``reason`` says why it was chosen, where another one was wanted."""
    return Kernels(name="portable", hash_rows=sha256_rows, verify=verify, reason=reason)
