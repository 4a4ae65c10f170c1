"""A Storage in a process of its own, for tests that kill it: `python storage_served.py FOLDER SOCKET`.

Every call is a connection to the socket: a pickled (method, arguments), then what it answered or raised.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.storage.actor import Storage
from tests.storage.storage_batches import key
from tests.storage.test_storage_calls import ACCOUNTS, Handle, Remote, open_storage

ROOT = Path(__file__).parents[2]


class Served:
    """The process, started again whenever a test wants it, and the calls into it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._starts = folder, 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """As Ray restarts an actor; the one before must be dead."""
        self._starts += 1
        self._socket = str(self._folder / f"calls-{self._starts}")
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(self._folder), self._socket],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def call(self, method: str, *arguments: object) -> Any:
        """Raises ConnectionError while the process is not there, and what the method raised."""
        try:
            with Client(self._socket) as connection:
                connection.send((method, arguments))
                answer, error = connection.recv()
        except (EOFError, OSError) as gone:
            raise ConnectionError(f"{method}: storage is gone") from gone
        if error is not None:
            raise error
        return answer

    def handle(self) -> Handle:
        """What Consensus holds of it."""
        handle = Handle.__new__(Handle)
        for name in (*Handle.METHODS, "head", "audit", "nonces"):
            method = functools.partial(self.call, name)
            setattr(handle, name, Remote(method))
        return handle


def committed_nonces(storage: Storage) -> NDArray[np.uint64]:
    """(ACCOUNTS,) uint64: of key(0), key(1) and so on."""
    columns = storage._chain.state.committed_columns()[1]
    known = {row.tobytes(): nonce for row, nonce in zip(columns.keys, columns.nonces, strict=True)}
    return np.array([known[key(number)] for number in range(ACCOUNTS)], dtype=np.uint64)


def _answer(storage: Storage, connection: Connection[Any, Any]) -> None:
    with connection:
        method, arguments = connection.recv()
        try:
            own = method == "nonces"
            answer = committed_nonces(storage) if own else getattr(storage, method)(*arguments)
            connection.send((answer, None))
        except Exception as error:  # noqa: BLE001 -- whatever it is, the caller must get it
            connection.send((None, error))


def main(folder: str, socket: str) -> None:
    storage = open_storage(Path(folder), open_tries=50)
    with Listener(socket) as listener:
        while True:
            connection = listener.accept()
            threading.Thread(target=_answer, args=(storage, connection), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
