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
STARVED = 10  # times its patience waits whoever asks a child that seems to get no CPU
MAX_ANSWER = 1_000_000
BROKEN_OFF = b"null\n"  # instead of the last answer
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


class InvalidReplyError(Exception):
    """Raised when a child's answer has no end or is no answer."""


class Child:
    """One child process, started at once. Used by one thread at a time. `calls` counts what it was asked."""

    def __init__(self, *, memory_mb: int, cpu_s: int, wall_s: float, preload: Sequence[str], nice: int = 0) -> None:
        self.calls = 0
        self._wall_s = wall_s
        self._ready = False
        self._held, self._held_early = b"", b""
        self._unanswered = 0
        hold, self._lifeline = os.pipe()
        self._early, early = os.pipe()
        config = {"memory_bytes": memory_mb * 1_000_000, "cpu_s": cpu_s, "lifeline": hold, "preload": list(preload)}
        config |= {"nice": nice, "early": early}
        try:
            self._process = subprocess.Popen(  # noqa: S603 -- our own interpreter and our own module
                [sys.executable, "-P", "-m", "pipeline.sandbox", json.dumps(config)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                env=_environment(),
                pass_fds=[hold, early],
                start_new_session=True,
            )
        except OSError:
            self._close_pipes()
            raise
        finally:
            os.close(hold)
            os.close(early)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        os.set_blocking(self._early, False)
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
            self._begin_call()
            if self._line(START_S) is None:
                raise self._overdue()
            self._ready = True

    def ask(self, line: bytes, calls: int, answers: list[dict[str, Any]], *, patience_s: float | None = None) -> bool:
        """Has the child work through a line of so many calls (see child.py), and appends its answers as far as they
        came.

        They are fewer than the calls only if the last of them says `tired`, and the rest was not begun. False once
        none has come for `patience_s`, though the child had CPU, or for ten times as long: it is still at work, and
        `finish` is to be called.

        Raises:
            ChildDiedError, ChildOverdueError, ChildBabblesError: the next call has no answer, and the child must be
                stopped.
        """
        self.calls += calls
        self._unanswered = calls
        self._begin_call()
        self._write(line)
        return self._collect(answers, patience_s)

    def finish(self, answers: list[dict[str, Any]]) -> bool:
        """Has the child break off behind the call that it works on, and appends the answers until then.

        Raises: as `ask`.
        """
        self._write(b"\n")
        return self._collect(answers, None)

    def _write(self, text: bytes) -> None:
        try:
            self._requests.write(text)
        except BrokenPipeError:
            raise ChildDiedError(self._process.wait()) from None

    def _collect(self, answers: list[dict[str, Any]], patience_s: float | None) -> bool:
        # Only the last answer wakes us: each time would cost more than many an answer. Those before it come by a pipe
        # of their own, where they outlive their child.
        before = len(answers)
        while True:
            left = self._since + self._wall_s - time.monotonic()
            try:
                line = self._line(left if patience_s is None else min(left, patience_s))
            except ChildDiedError:
                self._take_early(answers)
                raise
            came = self._take_early(answers)
            if line == BROKEN_OFF and len(answers) > before:
                return True
            if line is not None:
                answers.append(self._last(line))
                return True
            if came:
                self._begin_call()
            elif time.monotonic() >= self._since + self._wall_s:
                raise self._overdue()
            elif patience_s is not None and self._takes_long(patience_s):
                return False

    def _takes_long(self, patience_s: float) -> bool:
        # A child that got no CPU is not slow: on a busy machine the next one would get none either.
        worked = self._used_cpu_s() - self._used_before >= patience_s / 2
        return worked or time.monotonic() >= self._since + STARVED * patience_s

    def _line(self, seconds: float) -> bytes | None:
        """The line that the child ends its work with; None if there is none after so many seconds."""
        deadline = time.monotonic() + seconds
        while not self._held.endswith(b"\n"):
            if not self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return None
            piece = os.read(self._answers.fileno(), 65536)
            if not piece:
                raise ChildDiedError(self._end())
            self._held += piece
            if len(self._held) > MAX_ANSWER:
                raise InvalidReplyError
        line, self._held = self._held, b""
        return line

    def _take_early(self, answers: list[dict[str, Any]]) -> bool:
        """Appends the answers that came before the last one; whether there were any."""
        if self._unanswered == 1 and not self._held_early:
            return False
        while piece := self._read_early():
            self._held_early += piece
            if len(self._held_early) > MAX_ANSWER:
                raise InvalidReplyError
        *lines, self._held_early = self._held_early.split(b"\n")
        self._unanswered -= len(lines)
        if self._unanswered < 1:
            raise InvalidReplyError
        answers += map(_parsed, lines)
        return bool(lines)

    def _read_early(self) -> bytes:
        try:
            return os.read(self._early, 65536)
        except BlockingIOError:
            return b""

    def _last(self, line: bytes) -> dict[str, Any]:
        if self._unanswered != 1:
            raise InvalidReplyError
        return _parsed(line)

    def _begin_call(self) -> None:
        self._since, self._used_before = time.monotonic(), self._used_cpu_s()

    def _overdue(self) -> ChildOverdueError:
        return ChildOverdueError(self._used_cpu_s() - self._used_before)

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
        return self._kill()

    def _kill(self) -> int:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        return self._process.wait()

    def stop(self) -> None:
        """Ends the child and all that it may have started."""
        self._kill()
        self._close()

    def disown(self) -> None:
        """Lets go of a child that belongs to the process we were forked from."""
        self._process.returncode = 0  # it is not ours to wait for
        self._close()

    def _close(self) -> None:
        self._requests.close()
        self._answers.close()
        self._close_pipes()

    def _close_pipes(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            os.close(self._early)
            self._lifeline = self._early = -1


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line.decode())  # given bytes, it would look which of five encodings they are in
    except (ValueError, RecursionError):
        raise InvalidReplyError from None
    if not isinstance(answer, dict):
        raise InvalidReplyError
    return answer


def _environment() -> dict[str, str]:
    """What a child needs of the environment, and no secret: it imports what we can import."""
    here = {name: os.environ[name] for name in INHERITED if name in os.environ}
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109 -- a str is wanted
    # Decoders run single-threaded: one arena and one thread keep the address space as small as the work.
    threads = {"MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"}
    # What a picture took is kept for the next one, up to 16 MB: given back to the kernel each time, its pages would be
    # zeroed and faulted in again, which is a third of what a sticker costs.
    memory = {"MALLOC_TRIM_THRESHOLD_": str(16 << 20), "MALLOC_MMAP_THRESHOLD_": str(4 << 20)}
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONPATH": path, **threads, **memory, **here}
