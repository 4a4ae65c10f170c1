"""A fake node behind a real HTTP server, in a loop of a thread of its own."""

from __future__ import annotations
