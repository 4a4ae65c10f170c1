"""Why a call failed. A failed call pays for what it used and changes nothing else."""

from __future__ import annotations

from enum import IntEnum


class Failure(IntEnum):
    """The number stands in the receipt; 0 there says that the call went through."""

    OUT_OF_GAS = 1
    OVERFLOW = 2  # a result that its type does not hold
    DIVISION_BY_ZERO = 3
    INDEX_OUT_OF_RANGE = 4
    LOOP_BOUND = 5  # more rounds than the loop declares
    REQUIREMENT = 6  # `require`, with its message
    INSUFFICIENT_COINS = 7  # the contract has fewer than it sends
    TAKES_NO_COINS = 8  # coins came with a call of a function that does not accept any
    BAD_ARGUMENTS = 9  # not the bytes of this function's parameters
    UNKNOWN_FUNCTION = 10
    MISSING_CONTRACT = 11
    CALL_DEPTH = 12  # contracts calling contracts
    TOO_MANY_EVENTS = 13
    DEPOSIT = 14  # what the sender would pay at most does not cover new entries
    BAD_PROGRAM = 15  # malformed, or breaks a rule of the verifier
    BALANCE_BELOW_MINIMUM = 16  # an account would be left with less than the network's least balance
    RESERVED_ADDRESS = 17  # coins sent to a key that only entries may have


class CallFailedError(Exception):
    """Ends a call. message: the words of a `require`, else empty."""

    def __init__(self, failure: Failure, message: str = "") -> None:
        super().__init__(message or failure.name.lower().replace("_", " "))
        self.failure, self.message = failure, message
