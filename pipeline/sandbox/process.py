"""The parent's side of one child process."""

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
from typing import Any

START_S = 60.0  # a child on a starved machine still gets so long to load its decoders
MAX_ANSWER = 1_000_000
INHERITED = ("LD_LIBRARY_PATH", "SYSTEMROOT")


class ChildDiedError(Exception):
    """Raised when a child ended instead of answering. `status` is negative for a signal, as in subprocess."""

    def __init__(self, status: int) -> None:
        super().__init__(f"ended with {status}")
        self.status = status


class ChildOverdueError(Exception):
    """Raised when a child did not answer in time. `cpu_s`: the seconds of CPU that it used meanwhile."""

    def __init__(self, cpu_s: float) -> None:
        super().__init__(f"no answer in time, {cpu_s:.1f} s of CPU used")
        self.cpu_s = cpu_s


class ChildBabblesError(Exception):
    """Raised when a child's answer has no end or is no answer."""


class Child:
    """One child process, started at once. Used by one thread at a time. `calls` counts what it was asked."""

    def __init__(self, *, memory_mb: int, cpu_s: int, wall_s: float, preload: Sequence[str], nice: int = 0) -> None:
        self.calls = 0
        self._wall_s = wall_s
        self._ready = False
        hold, self._lifeline = os.pipe()
        config = {"memory_bytes": memory_mb * 1_000_000, "cpu_s": cpu_s, "lifeline": hold, "preload": list(preload)}
        config["nice"] = nice
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter and our own module
                [sys.executable, "-P", "-m", "pipeline.sandbox", json.dumps(config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                env=_environment(),
                pass_fds=[hold],
                start_new_session=True,
            )
        except OSError:
            os.close(self._lifeline)
            raise
        finally:
            os.close(hold)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> None:
        """Waits until the child has loaded its decoders.

        Raises:
            ChildDiedError, ChildOverdueError: it did not come up.
        """
        if not self._ready:
            self._line(START_S)
            self._ready = True

    def ask(self, request: bytes) -> dict[str, Any]:
        """The child's answer to one line of JSON.

        Raises:
            ChildDiedError, ChildOverdueError, ChildBabblesError: there is none, and the child must be stopped.
        """
        self.calls += 1
        try:
            self._requests.write(request)
        except BrokenPipeError:
            raise ChildDiedError(self._process.wait()) from None
        return _parsed(self._line(self._wall_s))

    def _line(self, seconds: float) -> bytes:
        held = b""
        used_before, deadline = self._used_cpu_s(), time.monotonic() + seconds
        while not held.endswith(b"\n"):
            if not self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise ChildOverdueError(self._used_cpu_s() - used_before)
            piece = os.read(self._answers.fileno(), 65536)
            if not piece:
                raise ChildDiedError(self._end())
            held += piece
            if len(held) > MAX_ANSWER:
                raise ChildBabblesError
        return held

    def _used_cpu_s(self) -> float:
        """Seconds of CPU used since the child began, in all its threads; for one that has ended too."""
        # What clock_getcpuclockid(3) answers on Linux: the number of a process's clock is made of its pid. Reading
        # /proc/<pid>/stat tells the same at thirty times the cost, and this is asked at every call.
        try:
            return time.clock_gettime(~self.pid << 3 | 2)
        except OSError:  # somebody else has waited for it: that it ended is found out where it is asked
            return 0.0

    def _end(self) -> int:
        """The status of a child that has closed its answers."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout=1)
        return self.stop()

    def stop(self) -> int:
        """Ends the child and all that it may have started; returns its status."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        status = self._process.wait()
        self._close()
        return status

    def disown(self) -> None:
        """Lets go of a child that belongs to the process we were forked from."""
        self._process.returncode = 0  # it is not ours to wait for
        self._close()

    def _close(self) -> None:
        self._requests.close()
        self._answers.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        raise ChildBabblesError from None
    if not isinstance(answer, dict):
        raise ChildBabblesError
    return answer


def _environment() -> dict[str, str]:
    """What a child needs of the environment, and no secret: it imports what we can import."""
    here = {name: os.environ[name] for name in INHERITED if name in os.environ}
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109 -- a str is wanted
    # Decoders run single-threaded: one arena and one thread keep the address space as small as the work.
    threads = {"MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONPATH": path, **threads, **here}
