"""Runs and their merges answer every id's place, whatever collides, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.storage import tx_index
from actors.storage.tx_index import FAN_OUT, PAGE_ROWS, Run


def merge(store: dict[bytes, bytes], runs: list[Run], committed: int) -> list[Run]:
    """One merge as storage does it. Returns the runs after it."""
    sources = tx_index.due(runs, committed)
    if not sources:
        return runs
    fences, pages = [], []
    for page in tx_index.merged_pages(sources, store.get):
        fences.append(int(page[0][0]))
        pages.append(page)
    run = tx_index.merged_run(sources, fences)
    for source in sources:
        begin, end = tx_index.key_range(source.level, source.first)
        for key in [key for key in store if begin <= key < end]:
            del store[key]
    store.update({run.key(i + 1): tx_index.encode_page(page) for i, page in enumerate(pages)})
    store[run.key(0)] = run.encode()
    assert all(len(page[0]) == PAGE_ROWS for page in pages[:-1])
    return [r for r in runs if r not in sources] + [run]


def places(store: dict[bytes, bytes], runs: list[Run], tx_id: bytes) -> list[tuple[int, int]]:
    return [place for run in runs for place in tx_index.candidates(run, tx_id, store.get)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 30), min_size=1, max_size=40), st.booleans())
def test_every_id_is_found_where_it_is(seed: int, sizes: list[int], collide: bool) -> None:
    rng = np.random.default_rng(seed)
    store: dict[bytes, bytes] = {}
    runs: list[Run] = []
    expected = {}
    for height, size in enumerate(sizes, start=1):
        ids = rng.integers(0, 256, (size, 32), dtype=np.uint8)
        if collide:
            ids[:, :8] = ids[:, :8] & 1
        run, entries = tx_index.block_run(height, ids)
        store.update(entries)
        runs = merge(store, [*runs, run], committed=height)
        expected.update({row.tobytes(): (height, i) for i, row in enumerate(ids)})
    assert sum(run.blocks for run in runs) == len(sizes)
    for tx_id, place in expected.items():
        assert place in places(store, runs, tx_id)
    assert all(tx_index.decode_run(r.key(0), r.encode()).stop == r.stop for r in runs)
    if not collide:
        assert places(store, runs, b"\x05" * 32) == []


def test_large_runs_span_pages_and_merge_by_streaming() -> None:
    rng = np.random.default_rng(3)
    store: dict[bytes, bytes] = {}
    runs, sample = [], {}
    for height in range(1, FAN_OUT + 1):
        ids = rng.integers(0, 256, (PAGE_ROWS + 700, 32), dtype=np.uint8)
        run, entries = tx_index.block_run(height, ids)
        assert len(run.fences) == 2
        store.update(entries)
        runs.append(run)
        sample.update({ids[i].tobytes(): (height, i) for i in range(0, len(ids), 611)})
    (merged,) = merge(store, runs, committed=FAN_OUT)
    assert (merged.level, merged.first, merged.blocks) == (1, 1, FAN_OUT)
    reads = []

    def counted(key: bytes) -> bytes | None:
        reads.append(key)
        return store.get(key)

    for tx_id, place in sample.items():
        reads.clear()
        assert tx_index.candidates(merged, tx_id, counted) == [place]
        assert len(reads) <= 2


def test_a_prefix_that_straddles_pages_is_found_in_all_of_them() -> None:
    ids = np.zeros((2 * PAGE_ROWS + 5, 32), dtype=np.uint8)
    run, entries = tx_index.block_run(4, ids)
    found = tx_index.candidates(run, bytes(32), dict(entries).get)
    assert sorted(found) == [(4, i) for i in range(len(ids))]


def test_uncommitted_blocks_are_not_merged() -> None:
    runs = [tx_index.block_run(h, np.zeros((0, 32), np.uint8))[0] for h in range(1, FAN_OUT + 1)]
    assert tx_index.due(runs, FAN_OUT - 1) == []
    assert tx_index.due(runs, FAN_OUT) == runs


def test_damaged_bytes_and_missing_pages_are_typed_errors() -> None:
    run, entries = tx_index.block_run(1, np.ones((3, 32), np.uint8))
    with pytest.raises(tx_index.MissingPageError):
        tx_index.candidates(run, b"\x01" * 32, lambda key: None)
    for key, value in entries:
        decode = tx_index.decode_page if tx_index.split_key(key)[2] else None
        for cut in range(len(value)):
            if decode is not None:
                with pytest.raises(ValueError, match="tx_index page"):
                    decode(value[:cut])
            elif (cut - 16) % 8 or cut < 16:
                with pytest.raises(ValueError, match="tx_index directory"):
                    tx_index.decode_run(key, value[:cut])
