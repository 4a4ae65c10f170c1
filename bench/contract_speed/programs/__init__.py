"""Contracts that are made to be measured."""
