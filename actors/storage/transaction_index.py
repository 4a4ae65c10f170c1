"""The transaction index on disk: runs of `tx_index`, their directories in memory, merges."""

from __future__ import annotations

import threading
from collections.abc import Callable

from actors.storage import tx_index
from actors.storage.disk import Disk, DiskBatch
from actors.storage.tx_index import FAMILY, MissingPageError, Run

_LOOKUPS_MAX = 8


class TransactionIndex:
    """Where committed transactions are. Lookups and one merge may run at once."""

    def __init__(self, disk: Disk, committed: int) -> None:
        self._disk = disk
        self._lock = threading.Lock()
        self._runs = [run for run in _load(disk) if run.stop <= committed + 1]

    @property
    def runs(self) -> int:
        """Runs that a lookup may have to read."""
        return len(self._runs)

    def drop_from(self, batch: DiskBatch, height: int) -> None:
        """Add to a write batch the removal of the runs of uncommitted blocks from `height` on."""
        batch.delete_range(FAMILY, tx_index.page_key(0, height, 0), tx_index.page_key(1, 0, 0))

    def add(self, run: Run) -> None:
        """A block is committed: lookups see its run from now on."""
        with self._lock:
            self._runs = [*self._runs, run]

    def candidates(self, tx_id: bytes) -> list[tuple[int, int]]:
        """(height, position) of rows whose id may be this one, newest runs first."""
        for _ in range(_LOOKUPS_MAX):
            with self._lock:
                runs = sorted(self._runs, key=lambda run: -run.first)
            try:
                return [place for run in runs for place in tx_index.candidates(run, tx_id, self._read)]
            except MissingPageError:
                with self._lock:
                    if {id(run) for run in runs} == {id(run) for run in self._runs}:
                        raise
        raise MissingPageError(f"the index changed under {_LOOKUPS_MAX} lookups")

    def merge(self, committed: int, stop: Callable[[], bool]) -> bool:
        """Do one merge if one is due; True if it was done. Gives up between pages when `stop` says so."""
        with self._lock:
            sources = tx_index.due(self._runs, committed)
        if not sources:
            return False
        fences: list[int] = []
        level, first = sources[0].level + 1, sources[0].first
        for page in tx_index.merged_pages(sources, self._read):
            if stop():
                return False
            fences.append(int(page[0][0]))
            batch = self._disk.batch()
            batch.put(FAMILY, tx_index.page_key(level, first, len(fences)), tx_index.encode_page(page))
            batch.write(sync=False)
        run = tx_index.merged_run(sources, fences)
        batch = self._disk.batch()
        batch.put(FAMILY, run.key(0), run.encode())
        for source in sources:
            batch.delete_range(FAMILY, *tx_index.key_range(source.level, source.first))
        gone = {id(source) for source in sources}
        with self._lock:  # so that whoever misses a page also finds a newer list of runs
            batch.write(sync=False)
            self._runs = [run, *(r for r in self._runs if id(r) not in gone)]
        return True

    def forget_below(self, height: int) -> None:
        """Remove runs all of whose blocks are below a height."""
        with self._lock:
            gone = [run for run in self._runs if run.stop <= height]
            batch = self._disk.batch()
            for run in gone:
                batch.delete_range(FAMILY, *tx_index.key_range(run.level, run.first))
            batch.write(sync=False)
            self._runs = [run for run in self._runs if run.stop > height]

    def _read(self, key: bytes) -> bytes | None:
        return self._disk.get(FAMILY, key)


def _load(disk: Disk) -> list[Run]:
    """All directories. Pages without one are of a merge that was cut short; doing it again replaces them."""
    runs, begin = [], b""
    while (key := next(disk.keys(FAMILY, begin), None)) is not None:
        level, first, _ = tx_index.split_key(key)
        body = disk.get(FAMILY, tx_index.page_key(level, first, 0))
        if body is not None:
            runs.append(tx_index.decode_run(key, body))
        begin = tx_index.key_range(level, first)[1]
    return runs
