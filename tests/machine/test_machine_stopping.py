"""What a signal does: once, twice, while a command starts, while it serves, and when it takes too long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from actors.machine.progress_deadline import STRETCH, ProgressDeadline

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import os, sys, time
from actors.machine.stopping import StopListener
def leave(code, sentence):
    print(sentence, flush=True)
    os._exit(code)
with StopListener(leave, float(sys.argv[2])) as stop:
    if sys.argv[1] != "starting":
        stop.serve()
    print("ready", flush=True)
    if sys.argv[1] == "serving":
        stop.requested.wait()
        print("closed", flush=True)
    else:
        while True:
            try:
                time.sleep(60)
            except BaseException:
                continue
"""


def begin(phase: str, stop_s: float = 60) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, phase, str(stop_s)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_ends_a_start_at_once_and_a_service_in_order(number: signal.Signals) -> None:
    for phase, told in (("starting", "stopped while it started\n"), ("serving", "closed\n")):
        process = begin(phase)
        os.kill(process.pid, number)
        assert process.communicate(timeout=60)[0] == told
        assert process.returncode == 0


def test_a_second_signal_hurries_and_two_at_once_are_one() -> None:
    process = begin("stuck")
    os.kill(process.pid, signal.SIGTERM)
    os.kill(process.pid, signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1.5)
    os.kill(process.pid, signal.SIGTERM)
    assert "second signal" in process.communicate(timeout=60)[0]
    assert process.returncode == 0


def test_a_stop_that_takes_too_long_is_ended_with_a_code() -> None:
    process = begin("stuck", stop_s=1)
    os.kill(process.pid, signal.SIGTERM)
    assert "did not stop within node.stop_timeout_s=1" in process.communicate(timeout=60)[0]
    assert process.returncode == 1


IN_NATIVE_CODE = """
import ctypes, signal, sys, threading
from actors.machine.stopping import end_at_sigterm
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
if sys.argv[1] == "yes":
    setter = threading.Thread(target=end_at_sigterm)
    setter.start()
    setter.join()
print("ready", flush=True)
mutex = ctypes.create_string_buffer(64)
while True:  # the second time for ever, and no signal comes in between
    ctypes.CDLL(None).pthread_mutex_lock(mutex)
"""


@pytest.mark.parametrize("ends", ["yes", "no"])
def test_an_actor_ends_at_sigterm_wherever_its_main_thread_is(ends: str) -> None:
    command = [sys.executable, "-c", IN_NATIVE_CODE, ends]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    while psutil.Process(process.pid).status() != psutil.STATUS_SLEEPING:
        pass
    os.kill(process.pid, signal.SIGTERM)
    if ends == "yes":
        assert process.wait(timeout=60) == -signal.SIGTERM
    else:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1.5)
        process.kill()
        process.wait(timeout=60)


def test_progress_and_not_the_clock_ends_patience() -> None:
    patience, cpu_s = ProgressDeadline(10, 0.0), 0.0
    for now_s in range(1, 60):
        cpu_s += 0.2
        patience.used(cpu_s, now_s)
        assert not patience.is_over(now_s)
    patience.used(cpu_s, 60.0)
    patience.used(cpu_s, 69.0)
    assert patience.is_over(69.0), "nothing moves any more"
    patience.came_up(69.0)
    assert not patience.is_over(78.0)


def test_processes_that_only_burn_time_are_given_up_in_the_end() -> None:
    patience = ProgressDeadline(10, 0.0)

    def is_over(second: float) -> bool:
        patience.used(second, second)
        return patience.is_over(second)

    ends = next(second for second in range(1, 1000) if is_over(float(second)))
    assert ends == 10 * STRETCH + 10
