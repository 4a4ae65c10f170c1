"""Profiles, and how they combine with the environment and `--set`."""
