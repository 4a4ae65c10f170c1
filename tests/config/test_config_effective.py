"""Layers of the configuration, their order, and errors that name key, source and way out."""

from __future__ import annotations

import pytest

from actors.settings import Settings
from config.effective import PROFILES_DIR, ConfigurationError, every_value, load


def test_overrides_beat_environment_beats_profile_beats_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load("local").settings.node.validators == 0
    monkeypatch.setenv("RAYCHAIN_NODE__VALIDATORS", "5")
    assert load("local").settings.node.validators == 5
    effective = load("local", ["node.validators=7"])
    assert effective.settings.node.validators == 7
    sources = {name: source for name, _, source in every_value(effective)}
    assert sources["node.validators"] == "--set"
    assert sources["node.mempool_shards"] == "profile local"
    assert sources["gateway.port"] == "default"


@pytest.mark.parametrize("profile", sorted(path.stem for path in PROFILES_DIR.glob("*.toml")))
def test_every_profile_loads(profile: str) -> None:
    assert isinstance(load(profile).settings, Settings)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("node.validator=1", "did you mean node.validators"),
        ("nodes.validators=1", "no such key"),
        ("node.validators=-1", "greater than or equal to 0"),
        ("node.validators=many", "valid integer"),
        ("node.validators", "expected section.key=value"),
        ("validators=1", "expected section.key=value"),
        ("log.level=LOUD", "'INFO'"),
    ],
)
def test_a_wrong_override_is_named_with_the_way_out(override: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load("local", [override])


def test_unknown_environment_sections_and_keys_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYCHAIN_NOSUCH__KEY", "1")
    with pytest.raises(ConfigurationError, match="RAYCHAIN_NOSUCH__KEY"):
        load("local")
    monkeypatch.delenv("RAYCHAIN_NOSUCH__KEY")
    monkeypatch.setenv("RAYCHAIN_NODE__TYPO", "1")
    with pytest.raises(ConfigurationError, match=r"node\.typo \(from environment\)"):
        load("local")


def test_an_unknown_or_broken_profile_is_named(tmp_path: object) -> None:
    with pytest.raises(ConfigurationError, match="there are bench, cluster, local"):
        load("nope")
    broken = PROFILES_DIR.__class__(str(tmp_path)) / "broken.toml"
    broken.write_text("[node\n")
    with pytest.raises(ConfigurationError, match="not valid TOML"):
        load(str(broken))


def test_strings_and_numbers_are_read_as_toml() -> None:
    settings = load("local", ["network.name=other", "log.json_lines=true", "cluster.address=''"]).settings
    assert settings.network.name == "other"
    assert settings.log.json_lines is True
    assert settings.cluster.address == ""


def test_nodes_that_share_a_machine_share_its_cores_unless_told_otherwise() -> None:
    unasked, asked = load("local").settings.node, load("local", ["node.validators=4"]).settings.node
    assert [unasked.validator_count(nodes, 2) for nodes in (1, 2, 3)] == [2, 1, 1]
    assert [unasked.validator_count(nodes, 64) for nodes in (1, 3)] == [2, 2]
    assert asked.validator_count(3, 2) == 4


def test_what_clients_are_told_by_the_environment_is_no_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("RAYCHAIN_URL", "RAYCHAIN_KEYS", "RAYCHAIN_API_KEY"):
        monkeypatch.setenv(name, "something")
    load("local")
    monkeypatch.setenv("RAYCHAIN_NODE_VALIDATORS", "4")
    with pytest.raises(ConfigurationError, match="RAYCHAIN_NODE_VALIDATORS"):
        load("local")
