"""Whether two dataclasses of columns hold the same."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def assert_same(one: Any, other: Any) -> None:
    """All fields, with the types of their columns."""
    assert type(one) is type(other)
    for name in (field.name for field in fields(one)):
        a, b = getattr(one, name), getattr(other, name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype, name
            assert a.shape == b.shape, name
            assert a.tobytes() == b.tobytes(), name
        elif is_dataclass(a):
            assert_same(a, b)
        else:
            assert a == b, name
