"""What `node.py bench contracts` runs: workloads on a state in memory, and yardsticks beside them."""
