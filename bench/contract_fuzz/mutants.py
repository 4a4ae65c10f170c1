"""Bytes that are nearly those of a program."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from actors.contracts import ir
from actors.contracts.encoding import encode_program

EDGES = (
    -1,
    0,
    1,
    2,
    3,
    7,
    16,
    31,
    32,
    64,
    255,
    256,
    1024,
    1025,
    1 << 20,
    1 << 32,
    (1 << 63) - 1,
    (1 << 64) - 1,
)


def mutate_bytes(random: Random, data: bytes) -> bytes:
    """Some bytes changed, cut out, doubled, or the end cut off."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 3)):
        at, length = random.randrange(len(changed) + 1), random.randint(1, 8)
        what = random.randrange(5)
        if what == 0:
            changed[at : at + length] = random.randbytes(length)
        elif what == 1:
            del changed[at : at + length]
        elif what == 2:
            changed[at:at] = changed[at : at + length]
        elif what == 3 and changed:
            changed[at % len(changed)] ^= 1 << random.randrange(8)
        elif random.random() < 0.1:
            del changed[at:]
    return bytes(changed)


def mutate_program(random: Random, program: ir.Program) -> bytes:
    """A program with some of its numbers, names, operations or declarations changed; often well-formed."""
    tree = msgspec.msgpack.decode(encode_program(program))
    for _ in range(random.randint(1, 3)):
        _mutate(random, tree)
    return msgspec.msgpack.encode(tree)


def _mutate(random: Random, tree: list[Any]) -> None:
    """Something else at a random place, and at the functions more often than not."""
    functions = tree[-1]
    inside = isinstance(functions, list) and functions and random.random() < 0.6
    tree, place = random.choice(_places(functions if inside else tree))
    below = tree[place]
    what = random.randrange(10)
    if what == 0:
        del tree[place]
    elif what == 1:
        tree.insert(place, below)
    elif what == 2:
        other = random.randrange(len(tree))
        tree[place], tree[other] = tree[other], tree[place]
    else:
        tree[place] = _instead(random, below)
    if not tree:
        tree.append(below)


def _places(tree: list[Any]) -> list[tuple[list[Any], int]]:
    """All of a tree."""
    found, lists = [], [tree]
    for inner in lists:
        found += [(inner, place) for place in range(len(inner))]
        lists += [below for below in inner if isinstance(below, list)]
    return found


def _instead(random: Random, value: Any) -> Any:
    """Something of the same kind, nearly always."""
    if random.random() < 0.05:
        return random.choice((None, 1.0, True, "x", b"x", [], [[]], {}))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        near = value + random.choice((-2, -1, 1, 2))
        return max(-(1 << 63), min((1 << 64) - 1, random.choice((near, near, random.choice(EDGES)))))
    if isinstance(value, str):
        return random.choice((value * 2, value[:-1], "", "__x", "a.b", "é", "x" * 49, value.upper(), "\x00"))
    if isinstance(value, bytes):
        return random.choice((value + b"\x00", value[:-1], bytes(len(value)), b"\xff" * len(value)))
    if isinstance(value, list):
        return random.choice((value * 2, value[:-1], value[::-1]))
    return random.choice(EDGES)
