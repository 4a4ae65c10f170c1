"""Seeded simulators of the cores, without Ray, sockets, disks or real time."""
