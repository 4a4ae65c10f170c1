"""How kernels are compiled that make no arrays.

All memory is that of the caller, who holds it. Counting references to columns,
atomically, at each access took two thirds of the time of a draw, so they are compiled without (Numba refuses
to compile a kernel that would need it).
"""

from __future__ import annotations

from numba import njit

kernel = njit(cache=True, _nrt=False)
inlined_kernel = njit(cache=True, _nrt=False, inline="always")
