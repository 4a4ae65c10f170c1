"""Hashing and signature verification of whole columns: one contract, several implementations."""
