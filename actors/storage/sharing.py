"""Pieces of a level of the state tree, shared among threads; the shell says how many."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from actors.storage.tree import Each, in_turn

THREADS_MAX = 4


def sharing(threads: int) -> Each:
    """Who hashes pieces: that many threads; with 0 half the cores, at most THREADS_MAX; alone if that is 1.

    Kernels and Numba let the interpreter go while they work, so threads of one process use several cores.
    """
    count = threads or min(THREADS_MAX, len(os.sched_getaffinity(0)) // 2)
    if count < 2:
        return in_turn
    pool = ThreadPoolExecutor(count, thread_name_prefix="state-tree")
    return lambda work, pieces: list(pool.map(work, pieces))
