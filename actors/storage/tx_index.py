"""From a transaction id to its place, without a put a transaction.

Rules. A run is a sorted table of (prefix, height, position) over consecutive blocks; the prefix is the first
eight bytes of the id. A block makes one run of level 0. FAN_OUT runs of one level, once they are all there,
are merged into one run of the next level in the background, so a chain of n blocks has at most
(FAN_OUT - 1) * log16(n) runs. Prefixes can collide: a lookup answers candidates, and the caller compares the
full id with the block.

Theory of operation. Ids are hashes, so runs are uniform tables. A run is cut into pages of PAGE_ROWS, and its
directory holds the first prefix of each page, so a lookup reads one page a run (two when a prefix straddles a
border). A merge streams: it holds one page of each source, takes everything up to the least last prefix among
them, and so needs memory for FAN_OUT + 1 pages whatever the size. Merging the same sources gives the same
pages, so a merge that was cut short is simply done again.

Key of a page: level u8, first height u64, page u32, big-endian; page 0 is the directory. Directory: blocks
u64, rows u64, then a u64 prefix a page. Page: rows u32, then the columns prefixes u64, heights u64, positions
u32.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from actors.ledger.hashing import prefixes

FAMILY = "tx_index"
FAN_OUT = 16
PAGE_ROWS = 4096
_KEY = struct.Struct(">BQI")
_DIRECTORY = struct.Struct("<QQ")
_PAGE = struct.Struct("<I4x")
_ROW_BYTES = 20
Table = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint32]]
ReadPage = Callable[[bytes], bytes | None]


class MissingPageError(LookupError):
    """A page of a run is not there: the run was merged away meanwhile, or the store is damaged."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A run's directory. fences: (pages,) uint64, the first prefix of each page, ascending."""

    level: int
    first: int
    blocks: int
    rows: int
    fences: NDArray[np.uint64]

    @property
    def stop(self) -> int:
        """The height after the last one that the run covers."""
        return self.first + self.blocks

    def key(self, page: int) -> bytes:
        """Key of page 1.. or of the directory (0)."""
        return _KEY.pack(self.level, self.first, page)

    def encode(self) -> bytes:
        """The directory's bytes."""
        return _DIRECTORY.pack(self.blocks, self.rows) + self.fences.tobytes()


def decode_run(key: bytes, body: bytes) -> Run:
    """The run of a directory. Raises ValueError when the length fits no directory."""
    level, first, _ = _KEY.unpack(key)
    if len(body) < _DIRECTORY.size or (len(body) - _DIRECTORY.size) % 8:
        raise ValueError(f"tx_index directory: {len(body)} bytes")
    blocks, rows = _DIRECTORY.unpack_from(body)
    return Run(level, first, blocks, rows, np.frombuffer(body, dtype=np.uint64, offset=_DIRECTORY.size))


def page_key(level: int, first: int, page: int) -> bytes:
    """Key of a page, or of the directory (page 0)."""
    return _KEY.pack(level, first, page)


def split_key(key: bytes) -> tuple[int, int, int]:
    """(level, first height, page) of a key."""
    level, first, page = _KEY.unpack(key)
    return level, first, page


def key_range(level: int, first: int) -> tuple[bytes, bytes]:
    """[begin, end) of all keys of one run."""
    return _KEY.pack(level, first, 0), _KEY.pack(level, first + 1, 0)


def block_run(height: int, ids: NDArray[np.uint8]) -> tuple[Run, list[tuple[bytes, bytes]]]:
    """The level-0 run of a block from its (n, 32) ids, with all its keys and values."""
    first = prefixes(ids)
    order = np.argsort(first, kind="stable")
    heights = np.full(len(ids), height, dtype=np.uint64)
    table = first[order], heights, order.astype(np.uint32)
    pages = [_cut(table, at, at + PAGE_ROWS) for at in range(0, len(ids), PAGE_ROWS)]
    run = Run(0, height, 1, len(ids), _fences(pages))
    return run, _entries(run, pages)


def _fences(pages: list[Table]) -> NDArray[np.uint64]:
    return np.array([page[0][0] for page in pages], dtype=np.uint64)


def _entries(run: Run, pages: list[Table]) -> list[tuple[bytes, bytes]]:
    entries = [(run.key(number + 1), encode_page(page)) for number, page in enumerate(pages)]
    return [*entries, (run.key(0), run.encode())]


def encode_page(page: Table) -> bytes:
    """Rows, then the columns."""
    return b"".join((_PAGE.pack(len(page[0])), *(column.tobytes() for column in page)))


def decode_page(body: bytes) -> Table:
    """(prefixes, heights, positions). Raises ValueError when length and count disagree."""
    rows = _PAGE.unpack_from(body)[0] if len(body) >= _PAGE.size else -1
    if len(body) != _PAGE.size + rows * _ROW_BYTES:
        raise ValueError(f"tx_index page: {len(body)} bytes for {rows} rows")
    at = _PAGE.size
    return (
        np.frombuffer(body, dtype=np.uint64, count=rows, offset=at),
        np.frombuffer(body, dtype=np.uint64, count=rows, offset=at + 8 * rows),
        np.frombuffer(body, dtype=np.uint32, count=rows, offset=at + 16 * rows),
    )


def _read(run: Run, page: int, read: ReadPage) -> Table:
    body = read(run.key(page))
    if body is None:
        raise MissingPageError(f"page {page} of run {run.level}/{run.first}")
    return decode_page(body)


def candidates(run: Run, tx_id: bytes, read: ReadPage) -> list[tuple[int, int]]:
    """(height, position) of the rows whose prefix is that of the id. `read` answers a page's bytes."""
    prefix = np.frombuffer(tx_id, dtype=np.uint64, count=1)[0]
    low = max(int(np.searchsorted(run.fences, prefix, side="left")) - 1, 0)
    high = int(np.searchsorted(run.fences, prefix, side="right"))
    found = []
    for page in range(low, high):
        prefixes, heights, positions = _read(run, page + 1, read)
        begin, end = np.searchsorted(prefixes, prefix, "left"), np.searchsorted(prefixes, prefix, "right")
        found += [(int(heights[i]), int(positions[i])) for i in range(begin, end)]
    return found


def due(runs: list[Run], committed: int) -> list[Run]:
    """The FAN_OUT runs to merge next, in order of height, or none. Only committed blocks are merged."""
    for level in sorted({run.level for run in runs}):
        same = sorted(
            (r for r in runs if r.level == level and r.stop <= committed + 1), key=lambda r: r.first
        )
        if len(same) >= FAN_OUT:
            return same[:FAN_OUT]
    return []


def merged_pages(sources: list[Run], read: ReadPage) -> Iterator[Table]:
    """Pages of the run that replaces `sources`, in order, each full but the last."""
    nexts = [1] * len(sources)
    held: list[Table] = [_empty() for _ in sources]
    ready = _empty()
    while True:
        for i, run in enumerate(sources):
            if len(held[i][0]) == 0 and nexts[i] <= len(run.fences):
                held[i] = _read(run, nexts[i], read)
                nexts[i] += 1
        unfinished = [
            held[i][0][-1] for i, run in enumerate(sources) if len(held[i][0]) and nexts[i] <= len(run.fences)
        ]
        cuts = [
            int(np.searchsorted(table[0], min(unfinished), "right")) if unfinished else len(table[0])
            for table in held
        ]
        taken = [_cut(table, 0, cut) for table, cut in zip(held, cuts, strict=True)]
        held = [_cut(table, cut, len(table[0])) for table, cut in zip(held, cuts, strict=True)]
        ready = _sorted([ready, *taken])
        while len(ready[0]) >= PAGE_ROWS:
            yield _cut(ready, 0, PAGE_ROWS)
            ready = _cut(ready, PAGE_ROWS, len(ready[0]))
        if not unfinished:
            break
    if len(ready[0]):
        yield ready


def merged_run(sources: list[Run], fences: list[int]) -> Run:
    """The directory of the run that replaces `sources`; fences: first prefix of each merged page."""
    blocks, rows = sum(run.blocks for run in sources), sum(run.rows for run in sources)
    return Run(sources[0].level + 1, sources[0].first, blocks, rows, np.array(fences, dtype=np.uint64))


def _empty() -> Table:
    return np.empty(0, np.uint64), np.empty(0, np.uint64), np.empty(0, np.uint32)


def _cut(table: Table, begin: int, end: int) -> Table:
    return table[0][begin:end], table[1][begin:end], table[2][begin:end]


def _sorted(tables: list[Table]) -> Table:
    prefixes, heights, positions = (np.concatenate([t[i] for t in tables]) for i in range(3))
    order = np.lexsort((positions, heights, prefixes))
    return prefixes[order], heights[order], positions[order]
