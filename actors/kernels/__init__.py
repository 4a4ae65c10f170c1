"""Hashing and signature verification of whole columns: one contract, several implementations."""

from .interface import Kernels, MessageHasher, ShapeError, SignatureVerifier
from .selection import select
from .trust import TrustPolicy

__all__ = ["Kernels", "MessageHasher", "ShapeError", "SignatureVerifier", "TrustPolicy", "select"]
