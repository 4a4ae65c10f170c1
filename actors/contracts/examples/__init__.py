"""Contracts to read, copy and measure: each a file of the language, with a page beside it."""
