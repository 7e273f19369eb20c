"""Measures memory, open files and threads of the processes of a test system, by role."""

from __future__ import annotations

import os
import re
import statistics
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path

import psutil

from scripts.faults.environment import Testbed

KIB_PER_MB = 1_000_000 / 1024
_MEMORY = re.compile(r"^(Rss|Pss): +(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Usage:
    """Usage of all processes of one role. Memory in MB; `pss` counts shared memory once, `rss` once per process."""

    processes: int = 0
    pss: float = 0.0
    rss: float = 0.0
    files: int = 0
    threads: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Reading:
    """One measurement of all roles. `at`: seconds of the monotonic clock."""

    at: float
    roles: dict[str, Usage]

    @property
    def whole(self) -> Usage:
        return sum(self.roles.values(), Usage())


@contextmanager
def measured(testbed: Testbed, *, every_s: float) -> Iterator[list[Reading]]:
    """Takes a reading every `every_s` seconds during the block."""
    readings: list[Reading] = []
    stopped = threading.Event()

    def watch() -> None:
        while not stopped.is_set():
            readings.append(read(testbed))
            stopped.wait(every_s)

    thread = threading.Thread(target=watch, name="usage", daemon=True)
    thread.start()
    try:
        yield readings
    finally:
        stopped.set()
        thread.join(30)


def read(testbed: Testbed) -> Reading:
    """Takes one reading. Processes that end meanwhile are left out."""
    roles: dict[str, Usage] = {}
    for role, process in _processes(testbed):
        with suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            roles[role] = roles.get(role, Usage()) + _usage(process)
    return Reading(time.monotonic(), roles)


def per_hour(readings: Sequence[Reading], values: Iterable[float]) -> float:
    """Returns the slope per hour of the values, by linear regression."""
    if len(readings) < 2:
        return 0.0
    hours = [reading.at / 3600 for reading in readings]
    return statistics.linear_regression(hours, list(values)).slope


def _processes(testbed: Testbed) -> Iterator[tuple[str, psutil.Process]]:
    if testbed.valkey.running:
        yield "valkey", psutil.Process(testbed.valkey.pid)
    for part in testbed.parts:
        if not (part.alive and part.process):
            continue
        with suppress(psutil.NoSuchProcess):
            first = psutil.Process(part.process.pid)
            for process in [first, *first.children(recursive=True)]:
                sandbox = any("pipeline.sandbox" in argument for argument in process.cmdline())
                yield "sandboxes" if sandbox else "web" if part.name == "web" else "workers", process


def _usage(process: psutil.Process) -> Usage:
    proc = Path(f"/proc/{process.pid}")
    # psutil adds up every mapping of smaps, which takes ten times as long as reading the kernel's sum.
    memory = {name: int(kib) / KIB_PER_MB for name, kib in _MEMORY.findall((proc / "smaps_rollup").read_text())}
    files = len(os.listdir(proc / "fd"))  # noqa: PTH208
    return Usage(1, memory.get("Pss", 0.0), memory.get("Rss", 0.0), files, process.num_threads())
