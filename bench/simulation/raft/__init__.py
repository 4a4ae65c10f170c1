"""A seeded simulator for the Raft core: networks of 3, 5 and 7 replicas in one thread and in virtual time.

One seed is one schedule: faults of the network, the disks, the clocks and the processes, client calls,
snapshots, transfers and membership changes, all drawn from it (chaos.py, nemesis.py); the world carries out
what the cores want (world.py, replica.py, network.py, disk.py), the invariants are checked after every step
(invariants.py), and what clients saw goes to a linearizability checker (linearizability.py). Cores with known
bugs (bugs.py) show that it can fail.

`simulate(seeds)` runs many, on all cores if asked to.
"""

from .run import hunt, simulate, try_schedule

__all__ = ["hunt", "simulate", "try_schedule"]
