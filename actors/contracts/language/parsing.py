"""Source text to a syntax tree of bounded size and depth. The text is a stranger's: it is parsed, never run.

CPython's parser is asked only about text that is known to be harmless to it: few bytes, few brackets inside
each other, no f-strings (which hold text of their own), and no letters beyond ASCII outside strings and
comments (which it would normalise by the Unicode of its version). What is deep in other ways it refuses by
itself, or the tree is found to be too deep.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass

from actors.contracts.language.faults import FaultError
from actors.contracts.limits import SOURCE_BYTES_MAX

BRACKETS_MAX = 24
WORD_CHARS_MAX = 128
"""Of a name or a number: how long a number may be that Python reads is a setting of the process."""
DEPTH_MAX = 56
"""Of the tree; what walks it calls itself a few times at each level."""

FORMATTED = ("f", "fr", "rf")
"""Beginnings of strings, in small letters."""
OPENING, CLOSING = "([{", ")]}"
TOO_DEEP = ("the source is nested too deeply", "name parts of it, or split the statement into several")


@dataclass(frozen=True, slots=True)
class At:
    """A place that no node of the tree has."""

    lineno: int
    col_offset: int


def parse(source: str, filename: str) -> ast.Module:
    """The tree of `source`, whose lines end in a line feed. Raises FaultError."""
    try:
        size_bytes = len(source.encode())
    except UnicodeEncodeError as error:
        line = source.count("\n", 0, error.start) + 1
        raise FaultError(At(line, 0), "half a surrogate pair", "save the file as UTF-8") from None
    if size_bytes > SOURCE_BYTES_MAX:
        advice = f"{SOURCE_BYTES_MAX} are allowed; split the contract"
        raise FaultError(At(1, 0), f"the source has {size_bytes} bytes", advice)
    _scan(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source, filename, feature_version=(3, 11))
    except SyntaxError as error:
        place = At(max(error.lineno or 1, 1), max((error.offset or 1) - 1, 0))
        raise FaultError(place, "not Python", error.msg or "correct the syntax") from None
    except ValueError:
        raise FaultError(At(1, 0), "a null character", "remove it") from None
    except (RecursionError, MemoryError):
        raise FaultError(At(1, 0), *TOO_DEEP) from None
    _check_depth(tree)
    return tree


def _scan(source: str) -> None:
    """Refuse brackets too deep, words too long, and f-strings and letters beyond ASCII outside strings."""
    position = depth = word_chars = 0
    while position < len(source):
        char = source[position]
        if char in "'\"":
            if source[position - word_chars : position].lower() in FORMATTED:
                place = _place(source, position - word_chars)
                raise FaultError(place, "an f-string", "emit an event with the values")
            position, word_chars = _end_of_string(source, position), 0
            continue
        if char == "#":
            end = source.find("\n", position)
            position, word_chars = len(source) if end < 0 else end, 0
            continue
        if not char.isascii():
            advice = "use such only in strings and comments"
            raise FaultError(_place(source, position), "a character beyond ASCII", advice)
        word_chars = word_chars + 1 if char.isalnum() or char == "_" else 0
        if word_chars > WORD_CHARS_MAX:
            raise FaultError(_place(source, position), "a name or number that is too long", "shorten it")
        depth += (char in OPENING) - (char in CLOSING)
        if depth > BRACKETS_MAX:
            raise FaultError(_place(source, position), *TOO_DEEP)
        position += 1


def _place(source: str, position: int) -> At:
    start = source.rfind("\n", 0, position) + 1
    return At(source.count("\n", 0, position) + 1, len(source[start:position].encode()))


def _end_of_string(source: str, start: int) -> int:
    quote = source[start]
    ending = quote * 3 if source.startswith(quote * 3, start) else quote
    position = start + len(ending)
    while position < len(source) and not source.startswith(ending, position):
        if source[position] == "\n" and len(ending) == 1:
            return position
        position += 2 if source[position] == "\\" else 1
    return min(position + len(ending), len(source))


def _check_depth(tree: ast.Module) -> None:
    level: list[ast.AST] = [tree]
    for _ in range(DEPTH_MAX):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return
    lines = [node.lineno for node in level if isinstance(node, (ast.expr, ast.stmt))]
    raise FaultError(At(min(lines, default=1), 0), *TOO_DEEP)
