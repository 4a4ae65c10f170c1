"""What gets into an image: dependencies by their hashes, from no named registry, and no data directory."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
LOCK = (ROOT / "config" / "requirements.txt").read_text()
ENTRIES = re.split(r"\n(?=\S)", LOCK.strip())
PINS = [(Requirement(entry.partition("\\")[0]), entry) for entry in ENTRIES]
"""(pin, entry): several of one name exclude each other by their markers."""


def pinned(name: str) -> list[str]:
    """The versions of a distribution that this interpreter would get."""
    here = [pin for pin, _ in PINS if canonicalize_name(pin.name) == canonicalize_name(name)]
    return [str(pin.specifier)[2:] for pin in here if pin.marker is None or pin.marker.evaluate()]


def needed() -> dict[str, Requirement]:
    """What is declared, and what is needed by that in turn, as far as it is installed here."""
    pending = [(Requirement(text), {""}) for text in DECLARED]
    found: dict[str, Requirement] = {}
    asked: set[tuple[str, frozenset[str]]] = set()
    while pending:
        need, extras = pending.pop()
        applies = need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras)
        key = (canonicalize_name(need.name), frozenset(need.extras))
        if applies and key not in asked:
            asked.add(key)
            found[key[0]] = need
            below = distribution(need.name).requires or []
            pending += [(Requirement(text), {"", *need.extras}) for text in below]
    return found


def test_every_dependency_is_pinned_within_its_range_and_by_hash() -> None:
    for requirement in map(Requirement, DECLARED):
        versions = [pin.specifier for pin, _ in PINS if pin.name.lower() == requirement.name.lower()]
        assert versions, f"{requirement} is not locked: export it anew"
        for version in versions:
            assert requirement.specifier.contains(str(version)[2:]), f"{requirement} is locked at {version}"
    for pin, entry in PINS:
        assert [each.operator for each in pin.specifier] == ["=="], entry
        assert "--hash=sha256:" in entry, pin


def test_the_lock_is_complete_and_is_what_is_tested() -> None:
    """An installation with --require-hashes refuses whatever the lock does not name."""
    for name, need in needed().items():
        assert pinned(name) == [distribution(name).version], f"{need} is not locked as installed: export anew"


def test_the_lock_names_no_registry() -> None:
    assert "://" not in LOCK
    assert "index" not in LOCK
    assert not re.search(r"^-", LOCK, re.M)


def test_an_image_is_built_by_hashes_as_nobody_special_and_without_data() -> None:
    lines = (ROOT / "config" / "soak.Dockerfile").read_text()
    assert "--require-hashes -r config/requirements.txt" in lines
    assert re.findall(r"^USER (.*)$", lines, re.M) == ["1000"], "a number, which runAsNonRoot can judge"
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "**" in ignored  # nothing but what is named comes in
    named = {line[1:] for line in ignored if line.startswith("!")}
    assert named == {"pyproject.toml", "README.md", "node.py", "actors", "bench", "config"}
    assert {"**/*.key", "**/node-*"} <= set(ignored)
