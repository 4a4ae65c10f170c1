"""One round of every fault of `torture storage`, and a planted loss that it must count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SHARED_MEMORY = "/dev/shm"  # whether a sync waits for a platter does not matter to what is tested here
PLANTED = """
import sys
from pathlib import Path
from actors.storage.disk import Disk
from bench import torture

Disk.write = lambda disk, batch, sync: None if sync else disk._database().write(batch)
result = torture.torture(1, 3, Path(sys.argv[1]), lambda done, acknowledged: None)
assert not result["passed"], result
print(result["lost"] + result["wrong_roots"])
"""


def test_no_fault_costs_an_acknowledged_block() -> None:
    command = [sys.executable, "node.py", "torture", "storage", "--rounds", "5", "--seed", "7", "--json"]
    environment = {**os.environ, "TMPDIR": SHARED_MEMORY} if Path(SHARED_MEMORY).is_dir() else None
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["rounds"], told["lost"], told["wrong_roots"]) == (5, 0, 0)
    assert set(told["faults"].values()) == {1}
    assert told["acknowledged"] > 0
    assert told["acknowledged_of_contracts"] > 0
    assert told["entries_max"] > 0


def test_a_storage_that_forgets_to_write_is_found_out(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PLANTED, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.splitlines()[-1]) > 0
