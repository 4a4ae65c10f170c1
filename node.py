"""Wires the topology of a node and is its command line."""
