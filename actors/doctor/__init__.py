"""Looks at a machine: is it fit for a node, and does anything on it let others in."""
