"""The pages of the examples: each tells all that its contract has, and its code runs."""

import importlib
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "actors" / "contracts" / "examples"
PAGES = sorted(FOLDER.glob("*.md"))


def test_each_example_has_a_page() -> None:
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert {page.stem for page in PAGES} == files


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert "assert" in code
    exec(code, {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_tells_every_function_and_event(page: Path) -> None:
    text = page.read_text()
    source = FOLDER.joinpath(f"{page.stem}.py").read_text()
    contract = source[source.index("@contract") :]
    for name, parameters in re.findall(r"    def ([a-z]\w*)\(self,? ?(.*?)\)", contract):
        names = re.findall(r"(\w+): ", parameters)
        assert f"{name}({', '.join(names)})" in text, name
    for name, fields in re.findall(r'class (\w+)\(Event\):\n    """.*?"""\n\n((?:    \w+: \w+\n)+)', source):
        told = ", ".join(re.findall(r"(\w+):", fields))
        assert f"{name}({told})" in text, name
    module = importlib.import_module(f"actors.contracts.examples.{page.stem}")
    assert module.__doc__
