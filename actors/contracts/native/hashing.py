"""SHA-256 of one message that lies padded in memory, in compiled code.

By the processor's SHA extensions where it has those, else word by word; both as the kernels do it.
"""

from __future__ import annotations

from actors.contracts.native.code import Code
from actors.kernels import sha256, sha256_ni
from actors.kernels.compiled import Host
from actors.kernels.emitter import I32, I64, POINTER, VOID, Value, Vector
from actors.kernels.sha256 import BLOCK_BYTES, CHOOSE, INITIAL_STATE, MAJORITY, XOR

SHA256 = "sha256"
"""`void sha256(ptr message, i64 blocks, ptr out)`."""
SHA256_PAIR = "sha256_pair"
"""`void sha256_pair(ptr one, ptr other, i64 blocks, ptr out, ptr other_out)`: two messages of one length,
which take little longer than one (sha256_ni.py)."""
DIGEST_BYTES = 32
_LENGTH_BYTES = 8


def blocks_of(message_bytes: int) -> int:
    """How many blocks a message of this length has with its padding."""
    return (message_bytes + 1 + _LENGTH_BYTES + BLOCK_BYTES - 1) // BLOCK_BYTES


def padding_of(message_bytes: int) -> bytes:
    """What stands behind a message of this length."""
    zeros = blocks_of(message_bytes) * BLOCK_BYTES - message_bytes - 1 - _LENGTH_BYTES
    return b"\x80" + bytes(zeros) + (8 * message_bytes).to_bytes(_LENGTH_BYTES, "big")


class _Scalars(Vector):
    """Numbers of 32 bits, one at a time."""

    def __init__(self, code: Code) -> None:
        super().__init__(code, 1, 32)
        self.kind, self.suffix = I32, "i32"

    def ternary(self, a: Value, b: Value, c: Value, table: int) -> Value:
        if table == XOR:
            return self.xor(self.xor(a, b), c)
        if table == CHOOSE:
            return self.xor(c, self.and_(a, self.xor(b, c)))
        if table == MAJORITY:
            return self.or_(self.and_(a, b), self.and_(c, self.or_(a, b)))
        raise ValueError(f"no formula for truth table {table:#x}")


def emit_sha256(code: Code, target: Host) -> None:
    """See SHA256."""
    message, blocks, out = code.function(SHA256, VOID, [POINTER, I64, POINTER], internal=False, inline=False)
    if target.missing(sha256_ni.FEATURES):
        _by_words(code, message, blocks, out)
    else:
        _by_extensions(code, [message], blocks, [out])
    code.end()


def emit_sha256_pair(code: Code, target: Host) -> None:
    """See SHA256_PAIR."""
    one, other, blocks, out, other_out = code.function(
        SHA256_PAIR, VOID, [POINTER, POINTER, I64, POINTER, POINTER], internal=False, inline=False
    )
    if target.missing(sha256_ni.FEATURES):
        code.invoke(SHA256, one, blocks, out)
        code.invoke(SHA256, other, blocks, other_out)
    else:
        _by_extensions(code, [one, other], blocks, [out, other_out])
    code.end()


def _by_words(code: Code, message: Value, blocks: Value, out: Value) -> None:
    v = _Scalars(code)

    def block(number: Value, state: list[Value]) -> list[Value]:
        at = code.scaled(message, number, BLOCK_BYTES)
        words = [v.swap_bytes(v.load(code.offset(at, 4 * place), 1)) for place in range(16)]
        return sha256.compress(v, state, words)

    state = code.loop(blocks, [v.const(word) for word in INITIAL_STATE], block)
    for place, word in enumerate(state):
        v.store(v.swap_bytes(word), code.offset(out, 4 * place), 1)


def _by_extensions(code: Code, messages: list[Value], blocks: Value, outs: list[Value]) -> None:
    v = Vector(code, 4, 32)
    a, b, c, d, e, f, g, h = INITIAL_STATE

    def block(number: Value, states: list[Value]) -> list[Value]:
        places = [code.scaled(message, number, BLOCK_BYTES) for message in messages]
        words = [
            [v.swap_bytes(v.load(code.offset(at, 16 * place), 1)) for place in range(4)] for at in places
        ]
        return sha256_ni.compress(v, states, words)

    initial = [v.numbers((f, e, b, a)), v.numbers((h, g, d, c))]
    states = code.loop(blocks, initial * len(messages), block)
    for lane, out in enumerate(outs):
        sha256_ni.store_digest(v, states[2 * lane], states[2 * lane + 1], out, 1)
