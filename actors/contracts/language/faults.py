"""What is not allowed, where, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import msgspec

FAULTS_MAX = 50
"""Of one source. What comes after these is not told."""


class SourcePlace(Protocol):
    """Where something stands: every expression and statement of `ast`."""

    @property
    def lineno(self) -> int:
        """Counts from 1."""

    @property
    def col_offset(self) -> int:
        """In bytes of UTF-8; counts from 0."""


class LanguageFault(msgspec.Struct, frozen=True):
    """One thing that the language does not allow. Line and column (in characters) count from 1."""

    file: str
    line: int
    column: int
    what: str
    advice: str

    def __str__(self) -> str:
        """As compilers print it: an editor finds the place."""
        return f"{self.file}:{self.line}:{self.column}: {self.what}: {self.advice}"


class LanguageError(Exception):
    """The source is not a contract. Its faults are in order of lines, and there is at least one."""

    def __init__(self, faults: tuple[LanguageFault, ...]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


class FaultError(Exception):
    """Ends the reading of one statement or declaration; the rest is read on."""

    def __init__(self, place: SourcePlace, what: str, advice: str) -> None:
        super().__init__(what)
        self.line, self.column_bytes, self.what, self.advice = place.lineno, place.col_offset, what, advice


class TooLargeError(FaultError):
    """Ends the reading of a whole function."""


class AlreadyToldError(Exception):
    """Ends the reading of a statement that uses what another fault is about."""


class FaultList:
    """Collects what is wrong with one source."""

    def __init__(self, file: str, source: str) -> None:
        self._file, self._lines = file, source.split("\n")
        self._faults: dict[LanguageFault, None] = {}
        self._skipped = False

    def add(self, refused: FaultError) -> None:
        """Keep one fault; the same is kept once."""
        if len(self._faults) >= FAULTS_MAX:
            return
        line = self._lines[refused.line - 1] if 0 < refused.line <= len(self._lines) else ""
        before = line.encode(errors="replace")[: refused.column_bytes].decode(errors="replace")
        fault = LanguageFault(self._file, refused.line, len(before) + 1, refused.what, refused.advice)
        self._faults[fault] = None

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Whatever is refused inside ends it and is kept."""
        try:
            yield
        except TooLargeError:
            raise
        except FaultError as refused:
            self.add(refused)
        except AlreadyToldError:
            self._skipped = True

    def __bool__(self) -> bool:
        """True if there are any."""
        return bool(self._faults)

    def raise_if_any(self) -> None:
        """Raises LanguageError with all that was found."""
        if self._skipped and not self._faults:
            what, advice = "a name that could not be read", "declare every name above its use"
            raise LanguageError((LanguageFault(self._file, 1, 1, what, advice),))
        if self._faults:
            raise LanguageError(tuple(sorted(self._faults, key=lambda fault: (fault.line, fault.column))))
