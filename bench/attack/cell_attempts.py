"""What code in a cell may try, as an engine that tries it: no cell of a node has it, and no job names one."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from actors.execution.cells.interface import CellEngine, CellReason
from actors.execution.cells.messages import CellReady, JobAnswered
from actors.execution.cells.packing import columns_of

_FREE_NUMBERS = {"ptrace": (101, 117), "io_uring_setup": (425, 425), "process_vm_writev": (311, 271)}
_X32_BIT = 0x40000000
_NATIVE_LOOP = {"x86_64": b"\xeb\xfe", "aarch64": struct.pack("<I", 0x14000000)}  # a jump to itself
_OLD_CALL = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"  # mov eax, 20 (getpid); int 0x80; ret
_BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class CellAttempt:
    """name: of one of ATTEMPTS. pid: of the actor."""

    name: str
    pid: int


@dataclass(frozen=True)
class CellSurvived:
    """The cell may do it; text: what came of it."""

    text: str


columns_of(CellAttempt)
columns_of(CellSurvived)


class Expected(NamedTuple):
    """What is tried, and how it must end; None: the cell may, and lives."""

    attempt: Callable[[int], object]
    ends: CellReason | None


def run(job: CellAttempt) -> CellSurvived:
    """Try it."""
    return CellSurvived(repr(ATTEMPTS[job.name].attempt(job.pid))[:80])


def _check(_: CellAttempt, survived: CellSurvived) -> None:
    if len(survived.text) > 80:
        raise ValueError("a text that is too long")


ATTEMPTING: CellEngine[CellAttempt, CellSurvived] = CellEngine(__name__, CellSurvived, _check)
_libc = ctypes.CDLL(None)


def _syscall(name: str, bits: int = 0) -> object:
    numbers = _FREE_NUMBERS[name]
    return _libc.syscall(numbers[platform.machine() == "aarch64"] | bits, 0, 0, 0, 0, 0, 0)


def _native(code: bytes) -> object:
    room = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    room.write(code)
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(room)))()


def _abort(_: int) -> object:
    os.abort()


def _recurse(pid: int) -> object:
    return _recurse(pid)


def _loop() -> object:
    while True:
        pass


def _wait_for_ever() -> object:
    lock = threading.Lock()
    lock.acquire()
    return lock.acquire()


def _take_memory() -> object:
    taken = []
    while True:
        taken.append(np.ones(_BLOCK_BYTES, dtype=np.uint8))


def _channel() -> Any:
    """Of the cell, which serves below."""
    frame = sys._getframe()
    while "channel" not in frame.f_locals:
        assert frame.f_back is not None
        frame = frame.f_back
    return frame.f_locals["channel"]


def _say(message: object) -> object:
    _channel().send(message)
    return _wait_for_ever()


def _say_bytes(data: bytes) -> object:
    _channel()._connection.sendall(data)
    return _wait_for_ever()


_OTHER = CellReason.FORBIDDEN
ATTEMPTS: dict[str, Expected] = {
    "socket": Expected(lambda _: socket.socket(), _OTHER),
    "open": Expected(lambda _: os.open("/etc/passwd", os.O_RDONLY), _OTHER),
    "write a file": Expected(lambda _: os.open("/tmp/cell", os.O_CREAT | os.O_WRONLY), _OTHER),
    "list a folder": Expected(lambda _: os.listdir("/"), _OTHER),
    "fork": Expected(lambda _: os.fork(), _OTHER),
    "exec": Expected(lambda _: os.execv("/bin/true", ["true"]), _OTHER),
    "thread": Expected(lambda _: threading.Thread(target=_loop).start(), _OTHER),
    "kill the actor": Expected(lambda pid: os.kill(pid, signal.SIGKILL), _OTHER),
    "kill all": Expected(lambda _: os.kill(-1, signal.SIGTERM), _OTHER),
    "ptrace": Expected(lambda _: _syscall("ptrace"), _OTHER),
    "write another's memory": Expected(lambda _: _syscall("process_vm_writev"), _OTHER),
    "io_uring": Expected(lambda _: _syscall("io_uring_setup"), _OTHER),
    "call by x32": Expected(lambda _: _syscall("ptrace", _X32_BIT), _OTHER),
    "more memory": Expected(lambda _: __import__("resource").setrlimit(9, (-1, -1)), _OTHER),
    "close the socket": Expected(lambda _: os.close(_channel()._connection.fileno()), _OTHER),
    "sleep": Expected(lambda _: time.sleep(60.0), _OTHER),
    "endless loop": Expected(lambda _: _loop(), CellReason.TIME),
    "endless native loop": Expected(lambda _: _native(_NATIVE_LOOP[platform.machine()]), CellReason.TIME),
    "wait for ever": Expected(lambda _: _wait_for_ever(), CellReason.TIME),
    "memory": Expected(lambda _: _take_memory(), CellReason.MEMORY),
    "crash": Expected(lambda _: ctypes.string_at(1), CellReason.DIED),
    "abort": Expected(_abort, CellReason.DIED),
    "exit": Expected(lambda _: os._exit(0), CellReason.DIED),
    "recurse": Expected(_recurse, CellReason.FAILED),
    "refuse": Expected(lambda _: np.empty(-1), CellReason.FAILED),
    "a frame too long": Expected(lambda _: _say_bytes(b"\xff" * 4), CellReason.GARBAGE),
    "no message": Expected(lambda _: _say_bytes(b"\4\0\0\0junk"), CellReason.GARBAGE),
    "ready again": Expected(lambda _: _say(CellReady(True, "", 0.0)), CellReason.GARBAGE),
    "an answer too long": Expected(lambda _: _say(JobAnswered(1 << 60)), CellReason.GARBAGE),
    "an answer below nothing": Expected(lambda _: _say(JobAnswered(-1)), CellReason.GARBAGE),
    "an answer of zeros": Expected(lambda _: _say(JobAnswered(4096)), CellReason.GARBAGE),
    "environment": Expected(lambda _: dict(os.environ), None),
    "descriptors": Expected(lambda _: _read_all_descriptors(), None),
}
if platform.machine() == "x86_64":
    ATTEMPTS["call of 32 bits"] = Expected(lambda _: _native(_OLD_CALL), CellReason.FORBIDDEN)


def _read_all_descriptors() -> list[int]:
    """Those that can be written to, besides the socket; the last words' pipe is one."""
    own = _channel()._connection.fileno()
    found = []
    for number in range(64):
        if number != own and _libc.write(number, b"", 0) == 0:
            found.append(number)
    return found
