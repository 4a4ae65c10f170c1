"""A four-way heap of senders that knows where each sender stands, so that any entry can be moved or dropped.

The smallest (first, second) is at ROOT; entry i of the heap lies at heap[ROOT + i], so that the children of
an entry share a cache line. `at[who]` is i, -1 if absent; `totals[size_at]` the size. Keys lie in the
entries, so sifting touches one array. `second` is an int64 in 0 .. 2^32-1. All functions are compiled.
"""

from __future__ import annotations

from actors.kernels.numba_options import inlined_kernel, kernel

WAYS = 4
ROOT = WAYS - 1


@inlined_kernel
def _less(first_a, second_a, first_b, second_b):  # type: ignore[no-untyped-def]
    return (first_a < first_b) | ((first_a == first_b) & (second_a < second_b))  # no branch to mispredict


@inlined_kernel
def _put(heap, at, i, first, second, who):  # type: ignore[no-untyped-def]
    heap[ROOT + i].first = first
    heap[ROOT + i].second = second
    heap[ROOT + i].who = who
    at[who] = i


@kernel
def _rise(heap, at, i, first, second, who):  # type: ignore[no-untyped-def]
    while i > 0:
        up = (i - 1) // WAYS
        above = heap[ROOT + up]
        if not _less(first, second, above.first, above.second):
            break
        _put(heap, at, i, above.first, above.second, above.who)
        i = up
    _put(heap, at, i, first, second, who)


@kernel
def _sink(heap, at, size, i, first, second, who):  # type: ignore[no-untyped-def]
    while True:
        child = WAYS * i + 1
        if child >= size:
            break
        least = child
        best_first, best_second = heap[ROOT + child].first, heap[ROOT + child].second
        for other in range(child + 1, min(child + WAYS, size)):
            other_first, other_second = heap[ROOT + other].first, heap[ROOT + other].second
            better = _less(other_first, other_second, best_first, best_second)
            least = other if better else least
            best_first = other_first if better else best_first
            best_second = other_second if better else best_second
        below = heap[ROOT + least]
        if not _less(below.first, below.second, first, second):
            break
        _put(heap, at, i, below.first, below.second, below.who)
        i = least
    _put(heap, at, i, first, second, who)


@kernel
def heap_set(heap, at, totals, size_at, who, first, second):  # type: ignore[no-untyped-def]
    """Insert `who` with its key, or move it to where its new key belongs."""
    i = at[who]
    if i < 0:
        i = totals[size_at]
        totals[size_at] += 1
        _rise(heap, at, i, first, second, who)
    elif _less(first, second, heap[ROOT + i].first, heap[ROOT + i].second):
        _rise(heap, at, i, first, second, who)
    else:
        _sink(heap, at, totals[size_at], i, first, second, who)


@kernel
def heap_drop(heap, at, totals, size_at, who):  # type: ignore[no-untyped-def]
    """Take `who` out, if it is in."""
    i = at[who]
    if i < 0:
        return
    at[who] = -1
    totals[size_at] -= 1
    last = totals[size_at]
    if i == last:
        return
    end = heap[ROOT + last]
    first, second, moved = end.first, end.second, end.who
    if _less(first, second, heap[ROOT + i].first, heap[ROOT + i].second):
        _rise(heap, at, i, first, second, moved)
    else:
        _sink(heap, at, last, i, first, second, moved)
