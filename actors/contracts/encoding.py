"""The bytes of a program: one form each, so that a program has one hash.

MessagePack of the structs of ir.py as arrays. What does not encode again to the very same bytes is refused:
longer forms of a number, fields that were left out, anything behind the end.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

from actors.contracts.errors import ProgramError, at_most
from actors.contracts.ir import Program
from actors.contracts.limits import NESTING_MAX, PROGRAM_BYTES_MAX

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Program)


def encode_program(program: Program) -> bytes:
    """Its bytes. Raises ProgramError if they are too many, or hold a number of more than 64 bits."""
    try:
        data = _ENCODER.encode(program)
    except (OverflowError, UnicodeEncodeError) as error:
        raise ProgramError(f"cannot be encoded: {error}") from error
    except RecursionError as error:
        raise ProgramError("lists of operations within each other", NESTING_MAX) from error
    at_most("bytes of the program", len(data), PROGRAM_BYTES_MAX)
    return data


def decode_program(data: bytes) -> Program:
    """The program that these bytes encode. It is not verified yet.

    Raises ProgramError for anything else. msgspec counts levels as Python does and gives up long before the
    stack ends; far fewer levels than that are refused by the verifier.
    """
    at_most("bytes of the program", len(data), PROGRAM_BYTES_MAX)
    try:
        program = _DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise ProgramError(f"malformed: {error}") from error
    except RecursionError as error:
        raise ProgramError("lists of operations within each other", NESTING_MAX) from error
    if encode_program(program) != data:
        raise ProgramError("not the canonical bytes of its program")
    return program


def program_hash(data: bytes) -> bytes:
    """The hash of a program with these bytes."""
    return sha256(data).digest()
