"""What a node says of one transaction: a code a row, and words for people.

Codes travel as one byte a row; `explain` turns a code into the field it concerns and the way out.
Codes are part of the API: never renumber, only append.
"""

from __future__ import annotations

from enum import IntEnum

from actors.ledger.prices import Prices


class Verdict(IntEnum):
    """Outcome of checking one transaction row. Zero means it passed."""

    OK = 0
    BAD_VERSION = 1
    UNKNOWN_KIND = 2
    BAD_FLAGS = 3
    WRONG_CHAIN = 4
    EXPIRED = 5
    AMOUNT_OVERFLOW = 6
    BAD_PAYLOAD = 7
    NONCE_REUSED = 8
    NONCE_GAP = 9
    INSUFFICIENT_BALANCE = 10
    BALANCE_OVERFLOW = 11
    BAD_SIGNATURE = 12
    DUPLICATE = 13
    POOL_FULL = 14
    SENDER_LIMIT = 15
    UNAVAILABLE = 16
    NONCE_LIMIT = 17
    FEE_BELOW_MINIMUM = 18
    RECIPIENT_BELOW_MINIMUM = 19
    SENDER_BELOW_MINIMUM = 20
    PARKED = 21
    PAYLOAD_LIMIT = 22
    RESERVED_KEY = 23
    BLOCK_GAS = 24
    WRONG_ADDRESS = 25
    NEEDS_EFFECTS = 26
    NOT_APPROVED = 27
    FUNCTION_REFUSED = 28
    BAD_EFFECTS = 29
    EFFECTS_DIFFER = 30


_WORDS: dict[Verdict, tuple[str, str]] = {
    Verdict.OK: ("", "accepted"),
    Verdict.BAD_VERSION: ("version", "the row version is not 1; rebuild the transaction with a current SDK"),
    Verdict.UNKNOWN_KIND: ("kind", "this node knows no such kind of transaction; 1 is a transfer"),
    Verdict.BAD_FLAGS: ("flags", "no flag is defined; flags must be 0"),
    Verdict.WRONG_CHAIN: (
        "chain_tag",
        "the tag is of another network; /v1/status has this one's",
    ),
    Verdict.EXPIRED: ("expiry_height", "the next block is above expiry_height; sign again with a later one"),
    Verdict.AMOUNT_OVERFLOW: ("amount", "amount + fee exceeds 2^64-1"),
    Verdict.BAD_PAYLOAD: (
        "payload_hash",
        "must be SHA-256 of the payload, 32 zero bytes if empty",
    ),
    Verdict.NONCE_REUSED: (
        "nonce",
        "the sender has used this nonce; unless this id is committed, sign again with the account's next",
    ),
    Verdict.NONCE_GAP: (
        "nonce",
        "a nonce before this one is missing; submit that one first, then this again",
    ),
    Verdict.INSUFFICIENT_BALANCE: (
        "amount",
        "amount + fee exceeds what the sender can still spend, or the sender has no account",
    ),
    Verdict.BALANCE_OVERFLOW: ("recipient", "the recipient's balance would exceed 2^64-1"),
    Verdict.BAD_SIGNATURE: ("signature", "not a strict Ed25519 signature of the first 144 bytes by sender"),
    Verdict.DUPLICATE: ("id", "this very transaction is pending already; nothing to do"),
    Verdict.POOL_FULL: ("", "the mempool shard, or your share of it, is at its bound; retry later"),
    Verdict.SENDER_LIMIT: ("sender", "the sender has too many pending transactions; wait for some to commit"),
    Verdict.UNAVAILABLE: ("", "the mempool shard is restarting; retry, submitting is idempotent"),
    Verdict.NONCE_LIMIT: ("nonce", "the nonce 2^64-1 cannot be used"),
    Verdict.FEE_BELOW_MINIMUM: ("fee", "below the network's fee_min{fee_min}"),
    Verdict.RECIPIENT_BELOW_MINIMUM: (
        "amount",
        "the recipient has no account yet: send at least the network's balance_min{balance_min}",
    ),
    Verdict.SENDER_BELOW_MINIMUM: (
        "amount",
        "would leave too little: leave nothing, or at least the network's balance_min{balance_min}",
    ),
    Verdict.PARKED: (
        "nonce",
        "kept, and waits for a nonce before it that is missing; submit that one, and ask for this by its id",
    ),
    Verdict.BLOCK_GAS: ("fee", "buys more gas than is left in this block; it waits for the next"),
    Verdict.WRONG_ADDRESS: (
        "recipient",
        "a deployment goes to the address that its sender and its nonce give the contract",
    ),
    Verdict.RESERVED_KEY: (
        "recipient",
        "no account has a key that begins so: such keys are those of contracts' entries",
    ),
    Verdict.NEEDS_EFFECTS: ("kind", "a governed function has a block of its own; it waits for its turn"),
    Verdict.NOT_APPROVED: (
        "payload",
        "not the approvals that the genesis asks for: as many of its governors as it needs, in their order, "
        "over this sender, nonce, treasury, expiry_height, function and arguments",
    ),
    Verdict.FUNCTION_REFUSED: (
        "payload",
        "the function failed, or members do not agree on its effects: /v1/functions/refused says why",
    ),
    Verdict.BAD_EFFECTS: ("payload", "effects that no function can have here, or that stand with none"),
    Verdict.EFFECTS_DIFFER: ("payload", "this member computes other effects than the block has"),
    Verdict.PAYLOAD_LIMIT: ("payload", "longer than all payloads of a block of this network may be"),
}


def explain(code: int, prices: Prices | None = None) -> tuple[str, str]:
    """Return (field, advice) of a verdict code, with the figures of `prices`; ValueError for no such code."""
    field, advice = _WORDS[Verdict(code)]
    fee, balance = ("", "") if prices is None else (f" of {prices.fee_min}", f" of {prices.balance_min}")
    return field, advice.format(fee_min=fee, balance_min=balance)
