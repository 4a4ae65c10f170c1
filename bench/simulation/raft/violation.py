"""The one error of the simulator's checks."""

from __future__ import annotations


class ViolationError(Exception):
    """An invariant is broken. Names it first."""
