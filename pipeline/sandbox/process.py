"""The process of one child, seen from its parent: start, pipes, CPU time and end."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

EXIT_WAIT_S = 1  # seconds that a child has to exit after it closed its output; then it is killed
SEND_S = 10  # seconds after which a child that does not read a request is given up
INHERITED = ("LD_LIBRARY_PATH",)  # environment variables that a child needs to load libraries
# Isolated from the environment and the user's packages, and without `site`: the import path of this process is passed.
PROGRAM = (
    *("-I", "-S", "-X", "utf8", "-c"),
    "import sys; sys.path[:] = sys.argv[2:]; from pipeline.sandbox.child import main; main(sys.argv[1])",
)


class ChildProcess:
    """A child process, started by the constructor, and its connections.

    Requests and the descriptors of files go to its standard input, a socket that it cannot send anything through. It
    writes the last answer of a request to its standard output and the answers before that to the pipe `early`. The
    kernel kills it when this process closes `lifeline`, also by ending.
    """

    def __init__(self, configuration: dict[str, Any], *, preload: Sequence[str]) -> None:
        child_lifeline, self._lifeline = os.pipe()
        self._early, child_early = os.pipe()
        self._requests, child_requests = socket.socketpair()
        self._requests.shutdown(socket.SHUT_RD)
        self._requests.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", SEND_S, 0))
        config = configuration | {"lifeline": child_lifeline, "early": child_early, "preload": list(preload)}
        path = [entry or os.getcwd() for entry in sys.path]  # noqa: PTH109 -- a str is wanted
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter and our own module
                [sys.executable, *PROGRAM, json.dumps(config), *path],
                stdin=child_requests.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                env={name: os.environ[name] for name in INHERITED if name in os.environ},
                pass_fds=[child_lifeline, child_early],
                start_new_session=True,
            )
        except OSError:
            self._close_pipes()
            raise
        finally:
            child_requests.close()
            os.close(child_lifeline)
            os.close(child_early)
        assert self._process.stdout is not None
        self._answers = self._process.stdout
        os.set_blocking(self._early, False)
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)

    @property
    def pid(self) -> int:
        return self._process.pid

    def write(self, request: bytes, files: Sequence[int] = ()) -> bool:
        """Sends a request and the descriptors of its files to the child; False if it does not read them."""
        try:
            sent = socket.send_fds(self._requests, [request], files) if files else self._requests.send(request)
            while sent < len(request):
                sent += self._requests.send(memoryview(request)[sent:])
        except (BrokenPipeError, ConnectionResetError, BlockingIOError):
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
        """Exit status of a child that has closed its output.

        If it does not end within EXIT_WAIT_S it is killed, and counts as ended by itself with status 0: it has closed
        its output on purpose.
        """
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout=EXIT_WAIT_S)
        if self._is_ending():
            return self._process.wait()
        self._kill()
        return 0

    def _is_ending(self) -> bool:
        """Whether the kernel has taken its memory away, which it does before it closes its files."""
        try:
            return Path(f"/proc/{self.pid}/statm").read_text().startswith("0 ")
        except OSError:
            return True

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
        self._answers.close()
        self._close_pipes()

    def _close_pipes(self) -> None:
        self._requests.close()
        if self._lifeline >= 0:
            os.close(self._lifeline)
            os.close(self._early)
            self._lifeline = self._early = -1
