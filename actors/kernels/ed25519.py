"""Ed25519 verification, eight rows to a vector: the schedule (RFC 8032, section 5.1.7).

Theory of operation. Rows are independent; a lane does for its row what libsodium does for a signature:

1. *prepare*: load R, S, A; h = SHA-512(R || A || M) mod L; refuse S >= L and an R of small order.
2. *decompress*: A to -A; refuse a key that is not canonical, of small order, or on no point. A key that has
   tables has passed this before, and skips it.
3. *multiply*: [S] B + [h] (-A), with a table made for each row (``multiply``) or with those of the key
   (``keyed``).
4. *finish*: divide by Z, encode, and compare with R byte by byte.

Steps 1 to 3 run pair by pair (sixteen rows). Step 4 waits until a chunk of pairs is ready, because one
inversion serves them all: the product of all Z is inverted, and each inverse taken from it (Montgomery's
trick, lane by lane, so no row's verdict depends on another's). No step leaves early: a refused row is
computed to the end, on the identity in place of its key, and masked.

Which row agrees with libsodium on which grounds: S < L, y_A < p, A and R not of small order, no cofactor, R
compared as bytes. Combining rows into one equation could not reproduce these verdicts on mixed-order points.
"""

from __future__ import annotations

from . import calls, decompress, keyed, multiply, scratch, sha512
from .algebra import Lanes, Pair
from .decompress import PowerSlots, load_pair, paired, small_order, store_pair, unpaired
from .emitter import Emitter, Value
from .field import LIMBS, Field
from .scalar import Scalars
from .words import lanes_of, twice

SYMBOL, SYMBOL_KEYED, PREPARE, FINISH = "ed25519_verify", "ed25519_verify_keyed", "prepare", "finish"


def emit(emitter: Emitter) -> None:
    """Write ``ed25519_verify(call)``, ``ed25519_verify_keyed(call)`` for keys with tables, and all parts."""
    sha512.emit_constants(emitter)
    multiply.emit(emitter)
    decompress.emit_powers(emitter)
    decompress.emit_decompress(emitter)
    _emit_prepare(emitter)
    _emit_finish(emitter)
    keyed.emit(emitter)
    _emit_verify(emitter, with_tables=False)
    _emit_verify(emitter, with_tables=True)


def _emit_prepare(emitter: Emitter) -> None:
    """Write ``prepare(call, group, words, first)``: step 1 for the eight rows from ``first``."""
    emitter.begin(PREPARE, ["ptr call", "ptr group", "ptr words", "i64 first"], internal=True)
    lanes = lanes_of(emitter)
    scalars: Scalars[Value] = Scalars(lanes)
    numbers = calls.lane_entries(emitter, "order", emitter["first"])
    signatures = calls.column_pointers(emitter, "signature", numbers)
    messages = calls.column_pointers(emitter, "message", numbers)
    signature = lanes.gather(signatures, align=1)
    r_words, s_words = signature[:4], signature[4:]
    key_words = calls.load_keys(lanes, numbers)
    lanes.store_all(r_words, emitter.offset(emitter["group"], scratch.GROUP_R))
    lanes.store_all(key_words, emitter.offset(emitter["group"], scratch.GROUP_KEY))
    lanes.store_all([lanes.swap_bytes(word) for word in (*r_words, *key_words)], emitter["words"])
    template, blocks = calls.pointer(emitter, "template"), calls.field(emitter, "blocks")
    digest = sha512.emit_hash(lanes, messages, template, blocks, emitter["words"])
    challenge = scalars.reduce(scalars.from_words(digest, 10))
    s = scalars.from_words(s_words, 5)
    below = scalars.below_order(s)
    s = [lanes.only_if(below, limb) for limb in s]
    lanes.store_all([*challenge, *s], emitter.offset(emitter["group"], scratch.GROUP_SCALARS))
    r_refused = small_order(lanes, r_words)
    valid = lanes.select(r_refused, lanes.const(0), below)
    lanes.store(valid, emitter.offset(emitter["group"], scratch.GROUP_VALID))
    emitter.end()


def _emit_finish(emitter: Emitter) -> None:
    """Write ``finish(results, count, slots, out)``: step 4 for a chunk of ``count`` pairs."""
    emitter.begin(FINISH, ["ptr results", "i64 count", "ptr slots", "ptr out"], internal=True)
    lanes = lanes_of(emitter)
    field: Field[Pair] = Field(twice(lanes))

    def multiply_up(index: Value, values: list[Value]) -> list[Value]:
        result = emitter.scaled(emitter["results"], index, scratch.RESULT_BYTES)
        lanes.store_all(values, emitter.offset(result, scratch.RESULT_PRODUCT))
        z = load_pair(lanes, emitter.offset(result, scratch.RESULT_Z))
        return unpaired(field.mul(paired(values), z))

    one = unpaired(field.const(1))
    product = emitter.loop(emitter["count"], one, multiply_up)
    slots = PowerSlots(emitter, emitter["slots"])
    inverted = slots.inverse(lanes, product)

    def divide(index: Value, values: list[Value]) -> list[Value]:
        last = emitter.sub(emitter["count"], index)
        number = emitter.sub(last, 1)
        result = emitter.scaled(emitter["results"], number, scratch.RESULT_BYTES)
        x, y, z, before = (
            load_pair(lanes, emitter.offset(result, offset))
            for offset in (scratch.RESULT_X, scratch.RESULT_Y, scratch.RESULT_Z, scratch.RESULT_PRODUCT)
        )
        rest = paired(values)
        z_inverse = field.mul(rest, before)
        x, y = field.freeze(field.mul(x, z_inverse)), field.freeze(field.mul(y, z_inverse))
        words = field.to_words(y)
        for group in (0, 1):
            sign = lanes.shl(x[0][group], 63)
            encoded = [word[group] for word in words]
            encoded[3] = lanes.or_(encoded[3], sign)
            _store_verdict(lanes, encoded, result, group, number)
        return unpaired(field.mul(rest, z))

    emitter.loop(emitter["count"], inverted, divide)
    emitter.end()


def _store_verdict(lanes: Lanes, encoded: list[Value], result: Value, group: int, pair: Value) -> None:
    """One bit a row: the encoding is R, and nothing refused the row before."""
    emitter = lanes.emitter
    r_words = lanes.load_all(emitter.offset(result, scratch.RESULT_R + group * 4 * scratch.VECTOR), 4)
    difference = [lanes.xor(a, b) for a, b in zip(encoded, r_words, strict=True)]
    together = lanes.or_(lanes.or_(difference[0], difference[1]), lanes.or_(difference[2], difference[3]))
    valid = lanes.load(emitter.offset(result, scratch.RESULT_VALID + group * scratch.VECTOR))
    verdict = lanes.and_(
        lanes.compare("==", together, lanes.const(0)), lanes.compare("!=", valid, lanes.const(0))
    )
    at = emitter.offset(emitter.scaled(emitter["out"], pair, 2), group)
    lanes.store_bits(verdict, at)


def _emit_verify(emitter: Emitter, with_tables: bool) -> None:
    emitter.begin(SYMBOL_KEYED if with_tables else SYMBOL, ["ptr call"])
    rows, out, memory = (
        calls.field(emitter, "rows"),
        calls.pointer(emitter, "out"),
        calls.pointer(emitter, "scratch"),
    )
    groups = emitter.shares(rows, emitter.lanes)
    pairs = emitter.shares(groups, 2)
    chunks = emitter.shares(pairs, scratch.CHUNK_PAIRS)
    results = emitter.offset(memory, scratch.RESULTS)
    slots = emitter.offset(memory, scratch.POWERS)

    def chunk(number: Value, _: list[Value]) -> list[Value]:
        first = emitter.mul(number, scratch.CHUNK_PAIRS)
        left = emitter.sub(pairs, first)
        count = emitter.least(left, scratch.CHUNK_PAIRS)

        def pair(index: Value, _: list[Value]) -> list[Value]:
            result = emitter.scaled(results, index, scratch.RESULT_BYTES)
            number = emitter.add(first, index)
            _emit_pair(emitter, number, groups, memory, result, with_tables)
            return []

        emitter.loop(count, [], pair)
        chunk_out = emitter.scaled(out, first, 2)
        emitter.invoke(FINISH, results, count, slots, chunk_out)
        return []

    emitter.loop(chunks, [], chunk)
    emitter.end()


def _emit_pair(
    emitter: Emitter, pair: Value, groups: Value, memory: Value, result: Value, with_tables: bool
) -> None:
    """Steps 1 to 3 for a pair, of which the last may be one lane group only."""
    lanes = lanes_of(emitter)
    field: Field[Pair] = Field(twice(lanes))
    group_first = emitter.mul(pair, 2)
    left = emitter.sub(groups, group_first)
    count = emitter.least(left, 2)
    words, table, state, slots = (
        emitter.offset(memory, offset)
        for offset in (scratch.WORDS, scratch.TABLE, scratch.STATE, scratch.POWERS)
    )
    groups_at = emitter.offset(memory, scratch.GROUPS)

    def prepare(index: Value, _: list[Value]) -> list[Value]:
        group = emitter.scaled(groups_at, index, scratch.GROUP_BYTES)
        row = emitter.mul(emitter.add(group_first, index), emitter.lanes)
        emitter.invoke(PREPARE, emitter["call"], group, words, row)
        return []

    def multiply_group(index: Value, _: list[Value]) -> list[Value]:
        group = emitter.scaled(groups_at, index, scratch.GROUP_BYTES)
        if with_tables:
            row = emitter.mul(emitter.add(group_first, index), emitter.lanes)
            tables = emitter.offset(memory, scratch.ADDRESSES)
            for lane, address in enumerate(calls.lane_entries(emitter, "tables", row)):
                emitter.store(address, emitter.offset(tables, 8 * lane), 8)
            emitter.invoke(keyed.MULTIPLY_KEYED, group, tables, state)
        else:
            emitter.invoke(multiply.BUILD_TABLE, group, table)
            emitter.invoke(multiply.MULTIPLY, group, table, state)
        _store_result(lanes, state, group, result, index)
        return []

    emitter.loop(count, [], prepare)
    if not with_tables:
        emitter.invoke(decompress.DECOMPRESS, groups_at, slots)
    # A group that is not there must not bring a zero into the product of all Z.
    store_pair(lanes, field.const(1), emitter.offset(result, scratch.RESULT_Z))
    emitter.loop(count, [], multiply_group)


def _store_result(lanes: Lanes, state: Value, group: Value, result: Value, index: Value) -> None:
    emitter = lanes.emitter
    element = emitter.scaled(result, index, scratch.ELEMENT)
    for number, offset in enumerate((scratch.RESULT_X, scratch.RESULT_Y, scratch.RESULT_Z)):
        values = lanes.load_all(emitter.offset(state, number * scratch.ELEMENT), LIMBS)
        lanes.store_all(values, emitter.offset(element, offset))
    r_at = emitter.offset(emitter.scaled(result, index, 4 * scratch.VECTOR), scratch.RESULT_R)
    lanes.store_all(lanes.load_all(emitter.offset(group, scratch.GROUP_R), 4), r_at)
    valid_at = emitter.offset(emitter.scaled(result, index, scratch.VECTOR), scratch.RESULT_VALID)
    lanes.store(lanes.load(emitter.offset(group, scratch.GROUP_VALID)), valid_at)
