"""Existence and absence proofs of accounts at a committed height, for light clients and for ICS-23."""

from __future__ import annotations

from dataclasses import dataclass

from actors.ledger.hashing import sha256
from actors.ledger.ics23 import Absence, Existence
from actors.ledger.rows import FormatError
from actors.ledger.smt import StateProof
from actors.storage.history import Located
from actors.storage.state import State


@dataclass(frozen=True, slots=True)
class Proven:
    """value: 16 bytes as `rules.Account.encode` gives them, None for an account that does not exist.

    ics23 is None for absence in a tree without leaves, which ICS-23 cannot express.
    """

    height: int
    key: bytes
    value: bytes | None
    proof: StateProof
    ics23: Existence | Absence | None


def prove(state: State, key: bytes, height: int | None = None) -> Proven:
    """Proof of what `key` held after the block at `height`, the newest committed one by default.

    Raises FormatError for a wrong length, NotRetainedError for a height that is not kept.
    """
    if len(key) != 32:
        raise FormatError("account", f"{len(key)} bytes", "32 bytes")
    at = state.height if height is None else height
    own, below, above = state.history.locate(sha256(key), at)
    slots = [leaf.slot for leaf in (own, below, above) if leaf is not None and leaf.slot >= 0]
    held = dict(zip(slots, state.values_at(slots, at), strict=True))
    there, value = held.get(own.slot, (b"", b""))
    if there == key:
        proof = StateProof(own.siblings, sha256(key), sha256(value))
        return Proven(at, key, value, proof, Existence(key, value, own.siblings))

    def existence(leaf: Located | None) -> Existence | None:
        return None if leaf is None else Existence(*held[leaf.slot], leaf.siblings)

    absence = Absence(existence(below), existence(above)) if below or above else None
    leaf_path, value_hash = (sha256(there), sha256(value)) if own.slot >= 0 else (None, None)
    return Proven(at, key, None, StateProof(own.siblings, leaf_path, value_hash), absence)
