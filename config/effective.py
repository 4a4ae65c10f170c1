"""The effective configuration: defaults, then a profile, then the environment, then `--set`.

Environment variables are named RAYCHAIN_<SECTION>__<KEY>. Unknown keys are errors wherever they come from,
and every value remembers its source for `node.py config show`.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from actors.settings import Settings

PROFILES_DIR = Path(__file__).parent
ENVIRONMENT_PREFIX = "RAYCHAIN_"
# What commands and tests read themselves: who exports these for clients starts nodes with them as well.
NOT_CONFIGURATION = frozenset(
    (
        "RAYCHAIN_URL",
        "RAYCHAIN_KEYS",
        "RAYCHAIN_API_KEY",
        "RAYCHAIN_SOAK",
        "RAYCHAIN_SOCKETS",
        "RAYCHAIN_HOME",
        "RAYCHAIN_GENESIS",
    )
)


class ConfigurationError(ValueError):
    """The configuration cannot be used; the message names key, source and the way out."""


class _Layered(Settings, BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class Effective:
    """settings, and for every `section.key` where its value comes from."""

    settings: Settings
    sources: dict[str, str]


def load(profile: str = "local", overrides: list[str] | None = None) -> Effective:
    """Merge all layers. Raises ConfigurationError with every problem found."""
    layers = (
        (f"profile {profile}", _read_profile(profile)),
        ("environment", _read_environment()),
        ("--set", _read_overrides(overrides or [])),
    )
    merged: dict[str, dict[str, Any]] = {}
    sources: dict[str, str] = {}
    for source, layer in layers:
        for section, values in layer.items():
            if not isinstance(values, dict):
                raise ConfigurationError(f"{section} (from {source}): expected a section with keys")
            for key, value in values.items():
                merged.setdefault(section, {})[key] = value
                sources[f"{section}.{key}"] = source
    try:
        settings = _Layered(**merged)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigurationError(_explain(error, sources)) from None
    return Effective(settings, sources)


def every_value(effective: Effective) -> list[tuple[str, Any, str]]:
    """(section.key, value, source) of the whole configuration, in the order of the model."""
    rows = []
    for section in Settings.model_fields:
        part = getattr(effective.settings, section)
        for key in type(part).model_fields:
            name = f"{section}.{key}"
            rows.append((name, getattr(part, key), effective.sources.get(name, "default")))
    return rows


def _read_profile(profile: str) -> dict[str, Any]:
    path = Path(profile) if profile.endswith(".toml") else PROFILES_DIR / f"{profile}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PROFILES_DIR.glob("*.toml")))
        raise ConfigurationError(
            f"--profile {profile}: no such profile; there are {known}, or give a .toml file"
        )
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path.name}: not valid TOML: {error}") from None


def _read_environment() -> dict[str, Any]:
    for name in os.environ.keys() - NOT_CONFIGURATION:
        section = name.removeprefix(ENVIRONMENT_PREFIX).partition("__")[0].lower()
        if name.startswith(ENVIRONMENT_PREFIX) and section not in Settings.model_fields:
            raise ConfigurationError(f"environment variable {name}: there is no such section")
    values = EnvSettingsSource(
        _Layered, env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", case_sensitive=False
    )()
    return {section: value for section, value in values.items() if value}


def _read_overrides(overrides: list[str]) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for override in overrides:
        name, equals, text = override.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and section and key):
            raise ConfigurationError(f"--set {override}: expected section.key=value, as in node.validators=4")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        out.setdefault(section, {})[key] = value
    return out


def _explain(error: ValidationError, sources: dict[str, str]) -> str:
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        source = sources.get(
            name, next((s for n, s in sources.items() if n.startswith(f"{name}.")), "default")
        )
        text = f"{name} (from {source}): {problem['msg']}"
        if problem["type"] == "extra_forbidden":
            text = f"{name} (from {source}): there is no such key{_nearest(name)}"
        else:
            text += f", got {problem['input']!r}"
        lines.append(text)
    return "\n".join(lines)


def _nearest(name: str) -> str:
    known = []
    for section, info in Settings.model_fields.items():
        model = info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            known += [section, *(f"{section}.{key}" for key in model.model_fields)]
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else "; `config show` lists all"
