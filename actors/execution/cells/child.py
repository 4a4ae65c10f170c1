"""The child: takes jobs, runs them by its engine, answers. CellProcess starts it, and names its socket."""

from __future__ import annotations

import gc
import importlib
import mmap
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, get_type_hints

from actors.execution.cells.confinement import end_with_parent, give_up
from actors.execution.cells.messages import (
    TEXT_CHARS_MAX,
    CellChannel,
    CellReady,
    CellSetup,
    HungUpError,
    JobAnswered,
    JobFailed,
    RunJob,
)
from actors.execution.cells.packing import pack, unpack

_STDERR = 2


def main(socket_number: int) -> None:
    """Serve until the other end hangs up. Never returns."""
    end_with_parent()
    connection = socket.socket(fileno=socket_number)
    channel = CellChannel(connection)
    with suppress(HungUpError):
        setup = channel.receive_from_actor()
        if isinstance(setup, CellSetup):
            _serve(channel, setup, socket_number)
    os._exit(0)


def _serve(channel: CellChannel, setup: CellSetup, socket_number: int) -> None:
    os.nice(setup.nice)
    began = time.perf_counter()
    engine = importlib.import_module(setup.engine)
    getattr(engine, "prepare", lambda _: None)(Path(setup.directory) if setup.directory else None)
    kind = get_type_hints(engine.run)["job"]
    import_ms = (time.perf_counter() - began) * 1e3
    job = memoryview(mmap.mmap(setup.job, 0, access=mmap.ACCESS_READ))
    room = memoryview(mmap.mmap(setup.answer, setup.answer_bytes_max))
    gc.collect()
    gc.freeze()
    why = give_up({_STDERR, socket_number}, setup.memory_bytes)  # what is mapped stays
    if why and setup.confined:
        channel.send(JobFailed("UnconfinedError", why))
        return
    channel.send(CellReady(not why, why, round(import_ms, 1)))
    while isinstance(asked := channel.receive_from_actor(), RunJob):
        channel.send(_answer(engine.run, kind, job[: asked.nbytes], room))


def _answer(
    run: Callable[[Any], Any], kind: type, job: memoryview, room: memoryview
) -> JobAnswered | JobFailed:
    try:
        packed = pack(run(unpack(kind, job, len(job))))
        packed.write_to(room)
    except Exception as error:  # noqa: BLE001 - the outermost boundary: told to who asked
        return JobFailed(type(error).__name__, str(error)[:TEXT_CHARS_MAX])
    return JobAnswered(packed.nbytes)
