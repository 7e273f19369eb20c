"""The process of one child, seen from its parent: start, pipes, CPU time and end."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

EXIT_WAIT_S = 1  # seconds that a child has to exit after it closed its output; then it is killed
INHERITED = ("LD_LIBRARY_PATH", "SYSTEMROOT")  # environment variables that a child needs to load libraries


class ChildProcess:
    """A child process, started by the constructor, and its pipes.

    Requests go to its standard input. It writes the last answer of a request to its standard output and the answers
    before that to the pipe `early`. The kernel ends it when this process closes `lifeline`, also by ending.
    """

    def __init__(self, *, memory_mb: int, cpu_s: int, preload: Sequence[str], nice: int) -> None:
        child_lifeline, self._lifeline = os.pipe()
        self._early, child_early = os.pipe()
        config = {
            "memory_bytes": memory_mb * 1_000_000,
            "cpu_s": cpu_s,
            "lifeline": child_lifeline,
            "early": child_early,
            "preload": list(preload),
            "nice": nice,
        }
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter and our own module
                [sys.executable, "-P", "-m", "pipeline.sandbox", json.dumps(config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                env=_environment(),
                pass_fds=[child_lifeline, child_early],
                start_new_session=True,
            )
        except OSError:
            self._close_pipes()
            raise
        finally:
            os.close(child_lifeline)
            os.close(child_early)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        os.set_blocking(self._early, False)
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)

    @property
    def pid(self) -> int:
        return self._process.pid

    def write(self, request: bytes) -> bool:
        """Writes to the child's standard input; False if the child has closed it."""
        try:
            self._requests.write(request)
        except BrokenPipeError:
            return False
        return True

    def read(self, timeout_s: float) -> bytes | None:
        """Bytes from the child's standard output, empty at its end; None if nothing came within the timeout."""
        if not self._poll.poll(max(0.0, timeout_s) * 1000):
            return None
        return os.read(self._answers.fileno(), 65536)

    def read_early(self) -> bytes:
        """Bytes from the pipe `early`; empty if there are none now."""
        try:
            return os.read(self._early, 65536)
        except BlockingIOError:
            return b""

    def used_cpu_s(self) -> float:
        """CPU seconds used since the start, in all threads; also of a child that has ended."""
        # The clock id that clock_getcpuclockid(3) computes on Linux: it is made of the pid. /proc/<pid>/stat has the
        # same figure at thirty times the cost, and this runs at every call.
        try:
            return time.clock_gettime(~self.pid << 3 | 2)
        except OSError:  # another thread has reaped it: the next read finds its end
            return 0.0

    def wait(self) -> int:
        """Exit status of a child that is ending; negative for a signal, as in subprocess."""
        return self._process.wait()

    def wait_briefly(self) -> int:
        """Exit status of a child that has closed its output; kills it if it does not exit within EXIT_WAIT_S."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout=EXIT_WAIT_S)
        return self._kill()

    def stop(self) -> None:
        """Kills the child and every process that it may have started."""
        self._kill()
        self._close()

    def disown(self) -> None:
        """Closes the pipes without killing: the child belongs to the process that this one was forked from."""
        self._process.returncode = 0  # otherwise subprocess would try to reap it
        self._close()

    def _kill(self) -> int:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait()

    def _close(self) -> None:
        self._requests.close()
        self._answers.close()
        self._close_pipes()

    def _close_pipes(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            os.close(self._early)
            self._lifeline = self._early = -1


def _environment() -> dict[str, str]:
    """The environment of a child: no secret, and the import path of this process."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109 -- a str is wanted
    # Decoders run single-threaded: one arena and one thread keep the address space as small as the work.
    threads = {"MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
    # Up to 16 MB of freed memory are kept for the next file. If they were returned to the kernel each time, their pages
    # would be zeroed and faulted in again, which is a third of the cost of a sticker.
    memory = {"MALLOC_TRIM_THRESHOLD_": str(16 << 20), "MALLOC_MMAP_THRESHOLD_": str(4 << 20)}
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONPATH": path, **threads, **memory, **inherited}
