"""Faults of process limits: memory, open files. Each public function is one round."""

from __future__ import annotations

import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import psutil

from scripts.faults.environment import Testbed
from scripts.faults.supervisor import Part
from scripts.faults.times import failed_attempts

MAX_FILES = 64
IDLE_CONNECTIONS = 1000  # connections that send nothing


def limit_memory(testbed: Testbed, round_number: int) -> None:
    """Even rounds: a worker cannot allocate memory for five seconds, and its decoders are killed. Odd: SIGKILL to it.

    The limit has an effect only when the worker starts new processes; otherwise it reuses the memory that it has.
    """
    worker = testbed.rng.choice(testbed.workers)
    testbed.load.surge(30)
    process = _busiest(worker)
    if round_number % 2:
        at, log = time.time(), worker.logs[-1]
        process.send_signal(signal.SIGKILL)
        testbed.observations.kills.append((at, log))
    else:
        failed = failed_attempts(testbed).total()
        with _limited(process, resource.RLIMIT_DATA, 1):
            for decoder in process.children():
                decoder.kill()
            time.sleep(5)
        testbed.observations.figures.append(
            f"{failed_attempts(testbed).total() - failed} attempts failed without memory"
        )
    time.sleep(testbed.rng.uniform(6, 10))


def limit_file_descriptors(testbed: Testbed, _round_number: int) -> None:
    """Limits the web app to 64 open files and opens 1000 idle connections to it; closes them after six seconds."""
    with _limited(_busiest(testbed.part("web")), resource.RLIMIT_NOFILE, MAX_FILES):
        with _idle_connections(testbed.part("web")):
            time.sleep(6)
        closed = time.time()
        time.sleep(12)  # it must recover with the limit in force
    accepted = [attempt for attempt in testbed.load.attempts if attempt.at > closed + 1 and attempt.answer.id]
    first = min((attempt.at + attempt.took_s - closed for attempt in accepted), default=None)
    if first is None:
        testbed.observations.problems.append("the web app accepts nothing after it ran out of file descriptors")
    else:
        testbed.observations.figures.append(f"intake recovered after {first:.1f} s")


def _busiest(part: Part) -> psutil.Process:
    """The process of a part that does the work: the one with the most threads."""
    assert part.process
    return max(psutil.Process(part.process.pid).children(recursive=True), key=lambda process: process.num_threads())


@contextmanager
def _limited(process: psutil.Process, limit: int, maximum: int) -> Iterator[None]:
    before = resource.prlimit(process.pid, limit)
    resource.prlimit(process.pid, limit, (maximum, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(process.pid, limit, before)


@contextmanager
def _idle_connections(web: Part) -> Iterator[None]:
    port = int(web.env["PORT"])
    with ExitStack() as opened:
        for _ in range(IDLE_CONNECTIONS):
            idle = opened.enter_context(socket.socket())
            idle.setblocking(False)
            with suppress(BlockingIOError):
                idle.connect(("127.0.0.1", port))
        yield
