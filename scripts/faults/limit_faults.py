"""Faults of what a process may have: memory, open files. Each function is one round."""

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
IDLE = 1000  # connections that say nothing


def take_memory_away(testbed: Testbed, round_number: int) -> None:
    """For five seconds a worker gets no more memory, and its decoders are killed; or it is itself, and nothing else.

    What memory it has it uses again and again: it feels the want where it has to start something.
    """
    worker = testbed.rng.choice(testbed.workers)
    testbed.load.surge(30)
    process = _busiest(worker)
    if round_number % 2:
        at, log = time.time(), worker.lives[-1]
        process.send_signal(signal.SIGKILL)
        testbed.observations.kills.append((at, log))
    else:
        failed = failed_attempts(testbed).total()
        with _limited(process, resource.RLIMIT_DATA, 1):
            for decoder in process.children():
                decoder.kill()
            time.sleep(5)
        testbed.observations.figures.append(
            f"{failed_attempts(testbed).total() - failed} attempts failed for want of memory"
        )
    time.sleep(testbed.rng.uniform(6, 10))


def take_files_away(testbed: Testbed, _round_number: int) -> None:
    """The web app may open 64 files, and a thousand connections that say nothing want them all. Then they go."""
    with _limited(_busiest(testbed.part("web")), resource.RLIMIT_NOFILE, MAX_FILES):
        with _idle_connections(testbed.part("web")):
            time.sleep(6)
        went = time.time()
        time.sleep(12)  # it must recover as it is
    accepted = [one for one in testbed.load.attempts if one.at > went + 1 and one.answer.id]
    first = min((one.at + one.took_s - went for one in accepted), default=None)
    if first is None:
        testbed.observations.broken.append("the web app accepts nothing after its files were used up")
    else:
        testbed.observations.figures.append(f"intake back after {first:.1f} s")


def _busiest(part: Part) -> psutil.Process:
    """The process of a part that does its work: of all that it consists of, the one with the most threads."""
    assert part.process
    return max(psutil.Process(part.process.pid).children(recursive=True), key=lambda process: process.num_threads())


@contextmanager
def _limited(process: psutil.Process, limit: int, most: int) -> Iterator[None]:
    before = resource.prlimit(process.pid, limit)
    resource.prlimit(process.pid, limit, (most, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(process.pid, limit, before)


@contextmanager
def _idle_connections(web: Part) -> Iterator[None]:
    port = int(web.env["PORT"])
    with ExitStack() as opened:
        for _ in range(IDLE):
            idle = opened.enter_context(socket.socket())
            idle.setblocking(False)
            with suppress(BlockingIOError):
                idle.connect(("127.0.0.1", port))
        yield
