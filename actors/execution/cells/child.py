"""The child: takes jobs, runs them by its engine, answers. CellProcess starts it, and names its socket."""

from __future__ import annotations

import gc
import importlib
import mmap
import os
import socket
import time
from collections.abc import Callable
from typing import Any, get_type_hints

from actors.execution.cells.confinement import end_with_parent, give_up
from actors.execution.cells.messages import (
    TEXT_CHARS_MAX,
    Answered,
    Channel,
    Failed,
    HungUpError,
    Ready,
    Run,
    Setup,
)
from actors.execution.cells.packing import pack, unpack

_STDERR = 2


def main(socket_number: int) -> None:
    """Serve until the other end hangs up. Never returns."""
    end_with_parent()
    connection = socket.socket(fileno=socket_number)
    channel = Channel(connection)
    try:
        setup = channel.receive_from_actor()
        if isinstance(setup, Setup):
            _serve(channel, setup, socket_number)
    except HungUpError:
        pass
    os._exit(0)


def _serve(channel: Channel, setup: Setup, socket_number: int) -> None:
    began = time.perf_counter()
    engine = importlib.import_module(setup.engine)
    getattr(engine, "prepare", lambda: None)()
    kind = get_type_hints(engine.run)["job"]
    import_ms = (time.perf_counter() - began) * 1e3
    job = memoryview(mmap.mmap(setup.job, 0, access=mmap.ACCESS_READ))
    room = memoryview(mmap.mmap(setup.answer, setup.answer_bytes_max))
    gc.collect()
    gc.freeze()
    why = give_up({_STDERR, socket_number}, setup.memory_bytes)  # what is mapped stays
    if why and setup.confined:
        channel.send(Failed("UnconfinedError", why))
        return
    channel.send(Ready(not why, why, round(import_ms, 1)))
    while isinstance(asked := channel.receive_from_actor(), Run):
        channel.send(_answer(engine.run, kind, job[: asked.nbytes], room))


def _answer(run: Callable[[Any], Any], kind: type, job: memoryview, room: memoryview) -> Answered | Failed:
    try:
        packed = pack(run(unpack(kind, job, len(job))))
        packed.write_to(room)
    except Exception as error:  # noqa: BLE001 - the outermost boundary: told to who asked
        return Failed(type(error).__name__, str(error)[:TEXT_CHARS_MAX])
    return Answered(packed.nbytes)
