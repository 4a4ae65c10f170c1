"""Calls between actors of a node on one machine that do not wait for Ray.

A call through Ray wakes several threads at both ends and takes milliseconds; a frame over a Unix socket
between two event loops takes a fraction of one. So the calls on the way of a transaction have both ways, and
their callers one face: over a line where there is one and the columns are short, through Ray else.
"""
