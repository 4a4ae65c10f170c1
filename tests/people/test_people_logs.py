"""Logs of several actors and nodes as one."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from actors.cli.log_lines import GrowingLog, LogFilter, entries, log_files, merged, parsed, since_of
from actors.settings import LogSettings
from actors.shell import ActorContext, configure_logs
from tests.people.conftest import run

LINE = "2026-12-01 05:55:{second:06.3f} {level:<7} {node} {actor} {message}\n"


def line(
    second: float, message: str, level: str = "INFO", node: str = "node-1", actor: str = "storage"
) -> str:
    return LINE.format(second=second, level=level, node=node, actor=actor, message=message)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    logs = {
        "node-1/logs/storage.log": line(3, "third") + "Stack\n  of it\n" + line(5, "fifth", "ERROR"),
        "node-1/logs/storage.2026-12-01_05-55-02_000000.log": line(1, "first"),
        "node-1/logs/validator-0.log": line(2, "second", "DEBUG", actor="validator-0"),
        "node-2/logs/peer.log": line(4, "fourth", "WARNING", "node-2", "peer"),
    }
    for name, text in logs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def messages(data_dir: Path, *options: str) -> list[str]:
    shown = run(f"logs --data-dir {data_dir} --json {' '.join(options)}").stdout
    return [json.loads(each)["message"] for each in shown.splitlines()]


def test_logs_are_merged_by_time_with_what_goes_on(data_dir: Path) -> None:
    assert messages(data_dir, "--level", "debug") == [
        "first",
        "second",
        "third\nStack\n  of it",
        "fourth",
        "fifth",
    ]
    assert messages(data_dir) == ["first", "third\nStack\n  of it", "fourth", "fifth"]
    assert messages(data_dir, "--level", "warning") == ["fourth", "fifth"]
    assert messages(data_dir, "--node", "node-2") == ["fourth"]
    assert messages(data_dir, "--actor", "validator", "--level", "trace") == ["second"]
    assert messages(data_dir, "--lines", "1") == ["fifth"]
    assert messages(data_dir, "--since", "2026-12-01T05:55:04") == ["fourth", "fifth"]


def test_people_read_the_day_once_and_learn_of_mistakes(data_dir: Path) -> None:
    text = run(f"logs --data-dir {data_dir}").stdout.splitlines()
    assert text[0] == "2026-12-01"
    assert text[1].split() == ["05:55:01.000", "node-1", "storage", "INFO", "first"]
    assert "nothing of level critical" in run(f"logs --data-dir {data_dir} --level critical").stderr
    assert "no logs there" in run(f"logs --data-dir {data_dir}/none", code=2).stderr
    assert "--level loud" in run(f"logs --data-dir {data_dir} --level loud", code=2).stderr
    assert "--since yesterday" in run(f"logs --data-dir {data_dir} --since yesterday", code=2).stderr


def test_what_is_added_is_read_when_its_line_is_whole_also_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "storage.log"
    path.write_text(line(1, "before"))
    log = GrowingLog(path)
    assert log.added() == []
    with path.open("a") as file:
        file.write(line(2, "after")[:-1])
        file.flush()
        assert log.added() == []
        file.write("\n")
    assert [entry.message for entry in log.added()] == ["after"]
    path.rename(tmp_path / "storage.old.log")
    assert log.added() == []
    path.write_text(line(3, "anew"))
    assert [entry.message for entry in log.added()] == ["anew"]


@pytest.mark.parametrize("json_lines", [False, True])
def test_what_actors_write_is_read(tmp_path: Path, json_lines: bool) -> None:
    context = ActorContext("node-1", "storage", str(tmp_path / "node-1"), LogSettings(json_lines=json_lines))
    try:
        configure_logs(context).warning("height {} is {}", 3, "there")
    finally:
        logger.remove()
    (entry,) = merged(log_files(tmp_path), LogFilter())
    assert (entry.node, entry.actor, entry.level) == ("node-1", "storage", "WARNING")
    assert entry.message == "height 3 is there"
    assert since_of("1m", datetime.now()) < entry.time < since_of("9999-12-31", datetime.now())


@given(st.text(max_size=300))
def test_any_line_is_borne(text: str) -> None:
    parsed(text)
    list(entries(text.splitlines()))
