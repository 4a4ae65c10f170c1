"""A process that commits blocks until it is killed, and says so after each: "height hash" a line.

Arguments: directory, seed. Checkpoints and index merges run in a thread of their own, as in the shell.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from tests.storage.storage_network import Driver, make_genesis, open_chain

ACCOUNTS = 300


def say(line: str) -> None:
    """One line to the parent, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    """Runs for ever."""
    genesis, allocation = make_genesis(ACCOUNTS)
    chain = open_chain(Path(sys.argv[1]), genesis, allocation, sync=True)
    driver = Driver(chain, ACCOUNTS, seed=int(sys.argv[2]))

    def keep_house() -> None:
        while True:
            chain.checkpointer.write(chain.state, True)
            chain.places.merge(chain.head.height, lambda: False)

    threading.Thread(target=keep_house, daemon=True).start()
    say("ready")
    while True:
        first, second = driver.execute(40), driver.execute(40)
        driver.persist(first, certify=False)
        for block in (first, second):
            written, _ = driver.persist(block)
            say(f"{written.height} {written.hash.hex()}")


if __name__ == "__main__":
    main()
