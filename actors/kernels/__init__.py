"""Hashing and signature verification of whole columns: one contract, several implementations."""

from .interface import Hasher, Kernels, ShapeError, Verifier
from .selection import select
from .trust import TrustPolicy

__all__ = ["Hasher", "Kernels", "ShapeError", "TrustPolicy", "Verifier", "select"]
