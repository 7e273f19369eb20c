"""Process 1 of a container, tested as a subreaper: like process 1, it gets the processes whose parents have ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.waiting import wait_until

PR_SET_CHILD_SUBREAPER = 36
PROGRAM = f"""
import ctypes, sys
from esteira.container.init import run_below

assert ctypes.CDLL(None).prctl({PR_SET_CHILD_SUBREAPER}, 1, 0, 0, 0) == 0

def program():
    exec(sys.argv[1], globals())
    return 0

sys.exit(run_below(program))
"""


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        below = children(process.pid) if process.poll() is None else []
        process.kill()
        for pid in below:  # they hold the pipe that communicate() reads to its end
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def start(processes: list[subprocess.Popen[str]], code: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, code]
    processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    return processes[-1]


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize(
    ("code", "status"),
    [("pass", 0), ("import os; os._exit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)],
)
def test_run_below_returns_the_status_of_the_program(
    code: str, status: int, started: list[subprocess.Popen[str]]
) -> None:
    assert start(started, code).wait(20) == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_run_below_passes_a_signal_on_once(number: signal.Signals, started: list[subprocess.Popen[str]]) -> None:
    code = (
        "import signal, time; got = []\n"
        "for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):\n"
        "    signal.signal(each, lambda number, frame: got.append(number))\n"
        "print('ready', flush=True)\n"
        "while not got: time.sleep(0.02)\n"
        "time.sleep(0.3); print(got, flush=True)"
    )
    process = start(started, code)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.stdout.readline() == f"[{int(number)}]\n"
    assert process.wait(20) == 0


def test_run_below_ends_when_a_signal_kills_its_program(started: list[subprocess.Popen[str]]) -> None:
    process = start(started, "import time; print('ready', flush=True); time.sleep(60)")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143


def test_run_below_reaps_processes_whose_parents_have_ended(started: list[subprocess.Popen[str]]) -> None:
    code = (
        "import os, time\n"
        "for _ in range(5):\n"
        "    if os.fork() == 0:\n"
        "        if os.fork() == 0: time.sleep(0.2)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "print('orphans', flush=True); time.sleep(60)"
    )
    process = start(started, code)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.1)
    assert len(children(process.pid)) > 1, "the orphans have not come to it, so this test tests nothing"
    wait_until(lambda: len(children(process.pid)) == 1, 10)
    process.terminate()
    assert process.wait(20) == 143
