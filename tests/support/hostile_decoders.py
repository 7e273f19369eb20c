"""Decoders that misbehave in every way a decoder can. They run in children of the sandbox only."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.errors import Code, PermanentError
from pipeline.sandbox import Reason, Refusal

_kept: list[Any] = []
_libc = ctypes.CDLL(None)


def echo(**arguments: Any) -> dict[str, Any]:
    return arguments


def pid() -> int:
    return os.getpid()


def environment() -> dict[str, str]:
    return dict(os.environ)


def refuse(reason: str, values: dict[str, Any]) -> None:
    raise Refusal(Reason[reason], **values)


def accuse(code: str, message: str) -> None:
    raise PermanentError(Code(code), message)


def read(file: int) -> str:
    return os.read(file, 1000).decode()


def fail(**_: Any) -> None:
    raise ZeroDivisionError("a secret from the file")


def exit_process(status: int) -> None:
    os._exit(status)


def segfault(**_: Any) -> None:
    ctypes.string_at(0)


def abort(**_: Any) -> None:
    _libc.abort()


def segfault_if_used_before() -> str:
    """Crashes in its second call, like a decoder whose memory an earlier file has damaged."""
    _kept.append(1)
    if len(_kept) > 1:
        segfault()
    return "ok"


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def spin_in_python() -> None:
    while True:
        pass


def spin_in_c(**_: Any) -> None:
    """Spends its time in libc, where the interpreter handles no signals."""
    buffer = ctypes.create_string_buffer(b"a" * (1 << 20))
    while True:
        _libc.memchr(buffer, 0x62, 1 << 20)


def spin_past_its_limit() -> None:
    """Ignores the signal that its CPU time is over."""
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    spin_in_c()


def work(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def nap(seconds: float) -> None:
    time.sleep(seconds)


def work_and_count(seconds: float) -> int:
    """Works, and returns the number of its calls in this process."""
    _kept.append(seconds)
    work(seconds)
    return len(_kept)


def work_and_crash(seconds: float) -> None:
    work(seconds)
    segfault()


def hang(**_: Any) -> None:
    time.sleep(60)


def eat_memory(**_: Any) -> None:
    while True:
        _kept.append(bytearray(10_000_000))


def take_at_once(megabytes: int) -> int:
    return len(bytes(megabytes * 1_000_000))


def leak(megabytes: int) -> int:
    _kept.append(bytearray(megabytes * 1_000_000))
    return os.getpid()


def leak_file() -> int:
    _kept.append(os.dup(0))
    return os.getpid()


def leak_all_files() -> None:
    while True:
        leak_file()


def fork_bomb() -> int:
    """Bounded: three forks, whose processes end after a second."""
    forks = 0
    for _ in range(3):
        if os.fork() == 0:
            time.sleep(1)
            os._exit(0)
        forks += 1
    return forks


def run_program() -> int:
    return subprocess.call(["/bin/true"])


def connect(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=2)


def write(path: str) -> None:
    Path(path).write_bytes(b"x")


def overwrite(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))


def remove(path: str) -> None:
    Path(path).unlink()


def signal_process(number: int, process: int) -> None:
    os.kill(process, number)


def limit_process(process: int) -> None:
    resource.prlimit(process, resource.RLIMIT_NOFILE, (20, 20))


def print_much() -> str:
    print("x" * 100_000)  # noqa: T201 -- some libraries print
    os.write(1, b'{"result": "forged"}\n')
    return "true answer"


def answer_much() -> str:
    return "x" * 5_000_000


def modules() -> list[str]:
    return sorted(sys.modules)
