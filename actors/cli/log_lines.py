"""Logs of all actors of all nodes in a data directory, merged by time. Looks at no clock.

A line of a log begins with its time and level, as actors/shell.py writes it, or is one JSON object where
`log.json_lines` is on; a line without a time goes on the one before it. Times are of the machine's own zone.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

LEVELS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "SUCCESS": 25, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
LOGS_FOLDER = "logs"
MORE_LINES_MAX = 200  # of one entry, as a stack trace has them
_TEXT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) (\w+) +(\S+) (\S+) (.*)")
_SINCE = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True, order=True)
class LogEntry:
    """time: `YYYY-MM-DD HH:MM:SS.mmm`, so that entries in order of it are in order of time."""

    time: str
    node: str
    actor: str
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which entries are wanted. actor: a name, or a kind as `validator` of validator-0. since: a time."""

    level: str = "TRACE"
    actor: str = ""
    since: str = ""

    def takes(self, entry: LogEntry) -> bool:
        """Whether an entry is."""
        return (
            LEVELS.get(entry.level, 0) >= LEVELS[self.level]
            and self.takes_actor(entry.actor)
            and entry.time >= self.since
        )

    def takes_actor(self, actor: str) -> bool:
        """Whether those of an actor may be."""
        return self.actor in ("", actor, actor.partition("-")[0])


def since_of(text: str, now: datetime) -> str:
    """The time that `30s`, `10m`, `2h`, `1d` before now is, or that is written out. Raises ValueError."""
    if found := _SINCE.fullmatch(text):
        then = now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    else:
        then = datetime.fromisoformat(text).replace(tzinfo=None)
    return then.isoformat(sep=" ", timespec="milliseconds")


def log_files(data_dir: Path, node: str = "") -> list[Path]:
    """Logs of one node, or of all, those that were rotated away included, the oldest of an actor first."""
    return sorted(data_dir.glob(f"{node or '*'}/{LOGS_FOLDER}/*.log"), key=_age)


def _age(path: Path) -> tuple[str, str, bool, str]:
    """Rotated files are called ACTOR.TIME.log; ACTOR.log is the newest."""
    actor, dot, time = path.name.removesuffix(".log").partition(".")
    return str(path.parent), actor, not dot, time


def actor_of(path: Path) -> str:
    """Whose log a file is."""
    return path.name.partition(".")[0]


def entries(lines: Iterable[str]) -> Iterator[LogEntry]:
    """Entries of one log, in its order; lines before the first entry belong to none."""
    entry: LogEntry | None = None
    more: list[str] = []
    for line in lines:
        found = parsed(line)
        if found is None:
            if len(more) < MORE_LINES_MAX:
                more.append(line.rstrip("\n"))
            continue
        if entry is not None:
            yield _with(entry, more)
        entry, more = found, []
    if entry is not None:
        yield _with(entry, more)


def _with(entry: LogEntry, more: list[str]) -> LogEntry:
    message = "\n".join((entry.message, *more)).rstrip()
    return LogEntry(entry.time, entry.node, entry.actor, entry.level, message)


def parsed(line: str) -> LogEntry | None:
    """The entry that a line begins; None for one that goes on."""
    if found := _TEXT.match(line):
        time, level, node, actor, message = found.groups()
        return LogEntry(time, node, actor, level, message)
    if not line.startswith("{"):
        return None
    try:
        record = msgspec.json.decode(line, type=_Serialized).record
        when = datetime.fromisoformat(record.time.repr).replace(tzinfo=None)
    except (msgspec.DecodeError, ValueError):
        return None
    time = when.isoformat(sep=" ", timespec="milliseconds")
    return LogEntry(
        time, record.extra.get("node", ""), record.extra.get("actor", ""), record.level.name, record.message
    )


class _Time(msgspec.Struct):
    repr: str


class _Level(msgspec.Struct):
    name: str


class _Record(msgspec.Struct):
    time: _Time
    level: _Level
    message: str
    extra: dict[str, str]


class _Serialized(msgspec.Struct):
    """A line as loguru serializes it."""

    record: _Record


def merged(files: Iterable[Path], wanted: LogFilter) -> Iterator[LogEntry]:
    """Wanted entries of all files, by time. Raises OSError for a file that cannot be read."""
    logs = [_wanted_of(path, wanted) for path in files if wanted.takes_actor(actor_of(path))]
    return heapq.merge(*logs)


def _wanted_of(path: Path, wanted: LogFilter) -> Iterator[LogEntry]:
    with path.open(errors="replace") as file:
        yield from filter(wanted.takes, entries(file))


class GrowingLog:
    """What is added to a log from now on, also after it was rotated."""

    def __init__(self, path: Path, from_start: bool = False) -> None:
        self._path = path
        self._at, self._inode = 0, -1
        if not from_start and path.exists():
            found = path.stat()
            self._at, self._inode = found.st_size, found.st_ino

    def added(self) -> list[LogEntry]:
        """Entries whose lines are whole by now. Empty while there is no such file."""
        try:
            with self._path.open("rb") as file:
                found = self._path.stat()
                if found.st_ino != self._inode or found.st_size < self._at:
                    self._at, self._inode = 0, found.st_ino
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:  # between two of them
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        return list(entries(whole.decode(errors="replace").splitlines()))
