"""The filter of system calls, run by a small BPF machine, for both processors."""

from __future__ import annotations

import signal
import struct

import pytest

from actors.execution.cells.syscalls import filter_program

ALLOW, KILL = 0x7FFF0000, 0x80000000
PID = 4711
X86, ARM = "x86_64", "aarch64"
ARCHITECTURES = {X86: 0xC000003E, ARM: 0xC00000B7}
# name: numbers on x86-64 and aarch64
ALLOWED = {
    "read": (0, 63),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "futex": (202, 98),
    "exit_group": (231, 94),
}
REFUSED = {
    "openat": (257, 56), "socket": (41, 198), "clone": (56, 220), "execve": (59, 221), "ptrace": (101, 117),
    "kill": (62, 129), "prctl": (157, 167), "seccomp": (317, 277), "ioctl": (16, 29), "fcntl": (72, 25),
    "ftruncate": (77, 46), "clone3": (435, 435), "io_uring_setup": (425, 425), "unshare": (272, 97),
    "bpf": (321, 280), "userfaultfd": (323, 282), "prlimit64": (302, 261), "memfd_create": (319, 279),
}  # fmt: skip


def filtered(machine: str, number: int, arch: int = 0, arguments: tuple[int, ...] = ()) -> int:
    """What the filter says of a call."""
    padded = (arguments + (0,) * 6)[:6]
    data = struct.pack("<IIQ6Q", number, arch or ARCHITECTURES[machine], 0, *padded)
    code = list(struct.iter_unpack("<HBBI", filter_program(machine, PID)))
    at = loaded = 0
    while True:
        operation, jump_true, jump_false, value = code[at]
        at += 1
        match operation:
            case 0x20:
                (loaded,) = struct.unpack_from("<I", data, value)
            case 0x15:
                at += jump_true if loaded == value else jump_false
            case 0x35:
                at += jump_true if loaded >= value else jump_false
            case 0x06:
                return int(value)


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_what_a_cell_needs_is_allowed_and_nothing_else(machine: str) -> None:
    column = list(ARCHITECTURES).index(machine)
    assert {filtered(machine, numbers[column]) for numbers in ALLOWED.values()} == {ALLOW}
    assert {filtered(machine, numbers[column]) for numbers in REFUSED.values()} == {KILL}
    allowed = [number for number in range(600) if filtered(machine, number) == ALLOW]
    assert len(allowed) == 22
    numbers = [*range(600), *(number | 0x40000000 for number in range(600)), 2**32 - 1]
    other = ARCHITECTURES[X86 if machine == ARM else ARM]
    for arch in (other, 0x40000003, 0x40000028):  # the other one, and both of 32 bits
        assert {filtered(machine, number, arch) for number in numbers} == {KILL}
    assert {filtered(machine, number | 0x40000000) for number in range(600)} == {KILL}


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_a_cell_may_abort_itself_and_signal_nobody_else(machine: str) -> None:
    tgkill = (234, 131)[list(ARCHITECTURES).index(machine)]
    assert filtered(machine, tgkill, 0, (PID, PID, signal.SIGABRT)) == ALLOW
    for arguments in ((PID + 1, PID, signal.SIGABRT), (PID, PID, signal.SIGKILL), (0, 0, 0)):
        assert filtered(machine, tgkill, 0, arguments) == KILL


def test_there_is_no_filter_for_another_processor() -> None:
    with pytest.raises(LookupError):
        filter_program("riscv64", PID)
