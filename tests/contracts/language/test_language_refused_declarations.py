"""What a module, a class, a signature and a flow may not hold: refused.txt has sources with their faults.

Each block there: the faults as `line:column: what: advice`, then `---`, then the source below the imports, in
which CONTRACT stands for a contract's beginning and DEPLOYED for an address. Its first line is line 1.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actors.contracts.language import LanguageError, compile_source
from actors.contracts.language.faults import FAULTS_MAX
from actors.contracts.limits import SOURCE_BYTES_MAX
from tests.contracts.language.listing import HEAD

LINES = HEAD.count("\n")
CONTRACT = """@contract
class C:
    @view
    def f(self) -> None:
        pass"""
BLOCKS = Path(__file__).with_name("refused.txt").read_text().strip().split("\n\n")
ENTRY = CONTRACT + "\n    @entry\n    def g(self, a: u64) -> u64:\n        "


PAIR = "class P(Struct):\n    x: u8\n    y: u8\n"
LIMITS = [  # what is too much, words of the fault
    ("class P(Struct):\n" + "".join(f"    x{n}: u8\n" for n in range(33)) + CONTRACT, "more than 32 fields"),
    ("".join(f"class E{n}(Event):\n    x: u8\n" for n in range(33)) + CONTRACT, "more than 32 events"),
    (PAIR + "class Q(Struct):\n" + "".join(f"    x{n}: P\n" for n in range(17)) + CONTRACT, "34 scalars"),
    (CONTRACT + "\n    def _g(self" + ", a: u8" * 2 + ") -> None: pass", "the parameter a twice"),
    (CONTRACT + "\n    def _g(self" + "".join(f", a{n}: u8" for n in range(33)) + "): pass", "32 parameters"),
    (CONTRACT + "".join(f"\n    t{n}: Cell[u8]" for n in range(33)), "more than 32 tables"),
    (CONTRACT + "".join(f"\n    def _f{n}(self) -> None: pass" for n in range(64)), "more than 64 functions"),
    (CONTRACT + "\n    x: Cell[u64]" + "\n    # " + "x" * SOURCE_BYTES_MAX, "the source has"),
    (ENTRY + "return " + "(" * 30 + "a" + ")" * 30, "nested too deeply"),
    (ENTRY + "return " + "-" * 3000 + "a", "nested too deeply"),
    (ENTRY + "return " + "not " * 9000 + "a", "nested too deeply"),
    (ENTRY + "return a" + " + 1" * 100, "nested too deeply"),
    (ENTRY + "return a" + ".a" * 20_000, "nested too deeply"),
    (ENTRY + "return " + "lambda: " * 5000 + "a", "nested too deeply"),
    (ENTRY + "return " + "a if a else " * 4000 + "a", "nested too deeply"),
    (ENTRY + "if a == 1: return a\n        " * 20 + "return a", "more than 16 levels"),
    (ENTRY + "".join(f"x{n} = a\n        " for n in range(300)) + "return a", "more than 256 values"),
    (ENTRY + "x = Array[Hash, 200]()\n        y = Array[Hash, 60]()", "more than 8192 bytes"),
    (ENTRY + "a += a * 3\n        " * 2000 + "return a", "more than 4096 operations"),
    (ENTRY + "h = sha256(" + "a, " * 33 + ")\n        return a", "33 scalars and arrays at once"),
    (ENTRY + "".join(f'require(a == 1, "{n}")\n        ' for n in range(129)), "more than 128 messages"),
    (ENTRY + 'require(a == 1, "' + "x" * 65 + '")\n        return a', "a message of 65 bytes"),
    (ENTRY + "return " + "0" * 5000, "too long"),
    (ENTRY + "return 0x" + "9" * 100, "a number of very many digits does not fit u64"),
    (
        CONTRACT + "".join(f"\n    def _g{n}(self) -> None:\n        self._g{n + 1}()" for n in range(8))
        + "\n    def _g8(self) -> None: pass",
        "too long a chain of calls",
    ),
]  # fmt: skip
TEXTS = [  # what is no contract at all
    ("", "1:1: no contract: write @contract above a class"),
    ("\0", "1:1: not Python: "),
    ("x = '\ud800'", "1:1: half a surrogate pair: save the file as UTF-8"),
    ("(", "1:1: not Python: "),
    ("\ufeff", "1:1: a character beyond ASCII: "),
    ("é = 1", "1:1: a character beyond ASCII: "),
    ("'é' + ſ", "1:7: a character beyond ASCII: "),
    ("x = 'é'; y", "1:5: a constant that is computed: "),
    ("x = '''é\né''' + rF'{x}'", "2:8: an f-string: emit an event with the values"),
    ("x = 1 if'f' else F''", "1:18: an f-string: "),
    ("if True:\n\tx\n        y", "3:"),
    ("class C[T]: pass", "1:"),
    ("type X = u64", "1:"),
    ("\n\n@contract\nclass C:\n    x: Cell[u64]", "3:2: contract is not imported: "),
]


def faults_of(source: str) -> list[str]:
    with pytest.raises(LanguageError) as refused:
        compile_source(source, "c.py")
    return [str(fault).removeprefix("c.py:") for fault in refused.value.faults]


def below_the_imports(fault: str) -> str:
    line, _, rest = fault.partition(":")
    rest = re.sub(r"line (\d+)", lambda found: f"line {int(found[1]) - LINES}", rest)
    return f"{int(line) - LINES}:{rest}"


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.partition("\n")[0])
def test_what_is_refused(block: str) -> None:
    expected, _, source = block.partition("\n---\n")
    source = source.replace("CONTRACT", CONTRACT).replace("DEPLOYED", "ab" * 32)
    assert [below_the_imports(fault) for fault in faults_of(HEAD + source)] == expected.splitlines()


@pytest.mark.parametrize(("source", "words"), LIMITS, ids=[words for _, words in LIMITS])
def test_what_is_too_much(source: str, words: str) -> None:
    assert any(words in fault for fault in faults_of(HEAD + source))


@pytest.mark.parametrize(("source", "fault"), TEXTS)
def test_what_is_no_contract(source: str, fault: str) -> None:
    assert faults_of(source)[0].startswith(fault)


def test_faults_are_in_order_of_lines_and_bounded() -> None:
    source = HEAD + ENTRY + "x = 5\n        " * 100 + "return a"
    faults = faults_of(source)
    assert len(faults) == FAULTS_MAX
    assert faults == sorted(faults, key=lambda fault: int(fault.partition(":")[0]))
