"""Whatever the source is, the answer is a program or a LanguageError, and it is the same every time."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.contracts.language import Compiled, LanguageError, compile_source
from tests.contracts.language.listing import HEAD, source_of
from tests.contracts.language.sources import EXCHANGE, SOURCES, TOKEN

ROOT = Path(__file__).parents[3]
WORDS = sorted(
    set("".join(char if char.isalnum() or char == "_" else " " for char in TOKEN + EXCHANGE).split())
)
SIGNS = [*"()[]{}:=+-*/%&|^<>!@,.#'\"\\\n \t~;", "\n    ", "//", "**", ":=", "==", "'''", 'f"']
BEYOND = [
    "é",
    "ſ",
    "\0",
    "\ud800",
    "\r",
    "\x0c",
    "０",
    "10" * 50,
    "lambda: ",
    "await ",
    "[" * 9,
    "not ",
    "async ",
]
PIECES = [*WORDS, *SIGNS, *BEYOND]


def answer(source: str) -> Compiled | LanguageError:
    try:
        return compile_source(source)
    except LanguageError as refused:
        return refused


def mutate(source: str, draw: random.Random) -> str:
    for _ in range(draw.randint(1, 4)):
        start = draw.randrange(len(source))
        end = start + draw.choice([0, 0, 1, 2, 8, 40])
        other = draw.randrange(len(source))
        new = draw.choice(["", draw.choice(PIECES), source[other : other + draw.randrange(60)]])
        source = source[:start] + new + source[end:]
    return source


def swap_words(source: str, draw: random.Random) -> str:
    """Still Python, mostly: one word of the language stands where another did."""
    for _ in range(draw.randint(1, 3)):
        source = source.replace(draw.choice(WORDS), draw.choice(WORDS), draw.randint(1, 3))
    return source


@given(st.sampled_from(SOURCES), st.randoms(use_true_random=False), st.booleans())
def test_mutants_are_contracts_or_refused(source: str, draw: random.Random, words: bool) -> None:
    for _ in range(2):
        mutant = swap_words(source, draw) if words else mutate(source, draw)
        first, second = answer(mutant), answer(mutant)
        if isinstance(first, Compiled):
            assert first == second
        else:
            assert str(first) == str(second)
            assert first.faults


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_is_refused(text: str) -> None:
    assert isinstance(answer(text), LanguageError)
    assert isinstance(answer(HEAD + text), LanguageError)


@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_any_words_are_a_body_or_refused(words: list[str]) -> None:
    answer(source_of("@entry\ndef f(self, a: u64) -> None:\n    a = " + " ".join(words)))
    answer(HEAD + " ".join(words))


@pytest.mark.parametrize("source", SOURCES)
def test_endings_of_lines_do_not_matter(source: str) -> None:
    assert compile_source(source.replace("\n", "\r\n")) == compile_source(source)
    assert compile_source(source.replace("\n", "\r")) == compile_source(source)


def test_the_program_does_not_depend_on_the_order_of_hashes() -> None:
    code = (
        "import msgspec, sys; from actors.contracts.language import compile_source;"
        "from tests.contracts.language.sources import SOURCES;"
        "sys.stdout.write(''.join(msgspec.msgpack.encode(compile_source(one)).hex() for one in SOURCES))"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert made == {"".join(msgspec.msgpack.encode(compile_source(one)).hex() for one in SOURCES).encode()}
