"""Tests of the Raft simulator, and by it."""
