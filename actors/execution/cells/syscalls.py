"""The filter of system calls under which a cell works: what is not named here ends it.

A cell may read and write the descriptors that it has, which are its socket and a pipe for last words; take
and give back memory, also such that code may lie in (a cell loads the code of contracts); look at the clock;
and end itself. It opens nothing, starts nothing, connects to nothing and signals nobody else.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import sys

_NUMBERS = {  # x86-64, aarch64; linux/arch/x86/entry/syscalls/syscall_64.tbl, asm-generic/unistd.h
    "read": (0, 63),
    "write": (1, 64),
    "writev": (20, 66),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "brk": (12, 214),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "clock_gettime": (228, 113),
    "getrandom": (318, 278),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "restart_syscall": (219, 128),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
_TGKILL, _SECCOMP = (234, 131), (317, 277)
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # AUDIT_ARCH_*
_X32_BIT = 0x40000000
_SET_MODE_FILTER, _FLAG_TSYNC = 1, 1
_ALLOW, _KILL_PROCESS = 0x7FFF0000, 0x80000000
_LOAD, _EQUALS, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, JMP|JEQ|K, JMP|JGE|K, RET|K
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16  # struct seccomp_data
_INSTRUCTION = struct.Struct("<HBBI")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def filter_program(machine: str, pid: int) -> bytes:
    """The filter as BPF, for the process of that number. Raises LookupError for another processor."""
    column, arch = _MACHINES[machine]
    code = [(_LOAD, 0, 0, _ARCH_AT), *_unless_equal(arch), (_LOAD, 0, 0, _NUMBER_AT)]
    code += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _KILL_PROCESS)]
    for numbers in _NUMBERS.values():
        code += [(_EQUALS, 0, 1, numbers[column]), (_RETURN, 0, 0, _ALLOW)]
    # abort() signals the process itself: so it is seen to have failed, and not to have tried something.
    code += _unless_equal(_TGKILL[column])
    code += [(_LOAD, 0, 0, _ARGUMENTS_AT), *_unless_equal(pid)]
    code += [(_LOAD, 0, 0, _ARGUMENTS_AT + 16), *_unless_equal(signal.SIGABRT)]
    code += [(_RETURN, 0, 0, _ALLOW)]
    return b"".join(_INSTRUCTION.pack(*each) for each in code)


def _unless_equal(value: int) -> list[tuple[int, int, int, int]]:
    """End the process unless what was loaded is this."""
    return [(_EQUALS, 1, 0, value), (_RETURN, 0, 0, _KILL_PROCESS)]


def install_filter() -> str:
    """Filter this process's calls from now on; needs no-new-privileges. Why it is not filtered, or empty."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _MACHINES:
        return f"no filter for {sys.platform} on {machine}"
    program = filter_program(machine, os.getpid())
    kept = ctypes.create_string_buffer(program, len(program))
    said = _Program(len(program) // _INSTRUCTION.size, ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    number = _SECCOMP[_MACHINES[machine][0]]
    # TSYNC puts every thread of the process under it.
    if libc.syscall(number, _SET_MODE_FILTER, _FLAG_TSYNC, ctypes.byref(said)) != 0:
        return f"seccomp failed: {errno.errorcode.get(ctypes.get_errno(), 'a thread would not follow')}"
    return ""
