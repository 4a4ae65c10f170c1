"""What gets into an image: dependencies by their hashes, from no named registry, and no data directory."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "config" / "requirements.txt").read_text()
PINS = {
    name.lower(): (version, entry)
    for entry in re.split(r"\n(?=\S)", LOCK.strip())
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)(?:\[[\w,]+\])?==([^\s;]+)", entry)
}


def test_every_dependency_is_pinned_within_its_range_and_by_hash() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for requirement in map(Requirement, declared):
        version, _ = PINS[requirement.name.lower()]
        assert requirement.specifier.contains(version), (
            f"{requirement} is locked at {version}: export it anew"
        )
    assert len(PINS) > len(declared)
    assert [name for name, (_, entry) in PINS.items() if "--hash=sha256:" not in entry] == []


def test_the_lock_names_no_registry() -> None:
    assert "://" not in LOCK
    assert "index" not in LOCK
    assert not re.search(r"^-", LOCK, re.M)


def test_an_image_is_built_by_hashes_as_nobody_special_and_without_data() -> None:
    lines = (ROOT / "config" / "soak.Dockerfile").read_text()
    assert "--require-hashes -r config/requirements.txt" in lines
    assert "USER ray" in lines
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "**" in ignored  # nothing but what is named comes in
    named = {line[1:] for line in ignored if line.startswith("!")}
    assert named == {"pyproject.toml", "README.md", "node.py", "actors", "bench", "config"}
    assert {"**/*.key", "**/node-*"} <= set(ignored)
