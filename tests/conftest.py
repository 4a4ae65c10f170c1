"""Settings of the whole test run."""

from __future__ import annotations

from hypothesis import settings

# Timings decide nothing here: kernels compile on first use and the machine may be busy.
settings.register_profile("raychain", deadline=None, print_blob=True)
settings.load_profile("raychain")
