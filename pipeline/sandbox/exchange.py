"""The exchange with one child: requests, answers, and the time that each call may take."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Never

from pipeline.sandbox.process import ChildProcess
from pipeline.sandbox.refusals import parse_refusal

START_S = 60.0  # seconds that a child has to import the decoders, also on a starved machine; then it is killed
# Factor on `slow_after_s` for a child that gets no CPU. A new child would get none either, so it is waited for longer.
STARVED_FACTOR = 10
MAX_ANSWER_BYTES = 1_000_000  # a longer answer is an invalid reply
INTERRUPTED = b"null\n"  # sent instead of the last answer by a child that has not begun the remaining calls


class Request(NamedTuple):
    """The text of a request (see child.py), the number of its calls, and the open descriptors of their files."""

    text: bytes
    calls: int
    files: Sequence[int] = ()


class ChildDiedError(Exception):
    """Raised when a child ended instead of answering. `status` is negative for a signal, as in subprocess."""

    def __init__(self, status: int) -> None:
        super().__init__(f"ended with {status}")
        self.status = status


class ChildOverdueError(Exception):
    """Raised when a child did not answer within its wall time. `cpu_s`: seconds of CPU that it used in that time."""

    def __init__(self, cpu_s: float) -> None:
        super().__init__(f"no answer in time, {cpu_s:.1f} s of CPU used")
        self.cpu_s = cpu_s


class InvalidReplyError(Exception):
    """Raised when a child sends something else than an answer, or an answer that does not end."""


class UnconfinedError(Exception):
    """Raised when a child could not confine itself, and so does not decode. `layer` and `number` are as it said."""

    def __init__(self, layer: object, number: object) -> None:
        super().__init__(f"{layer} cannot be set up: {number}")
        self.layer = layer
        self.number = number


class Child:
    """One child process and the state of its exchange. Used by one thread at a time. `calls` counts its calls.

    `modules` is the number of modules that it imports at its start.
    """

    def __init__(self, configuration: dict[str, Any], *, wall_s: float, preload: Sequence[str]) -> None:
        self.calls = 0
        self.modules = len(preload)
        self._wall_s = wall_s
        self._ready = False
        self._buffer, self._early_buffer = b"", b""
        self._unanswered = 0
        self._process = ChildProcess(configuration, preload=preload)

    def wait_ready(self) -> None:
        """Waits until the child has imported its modules and confined itself.

        Raises:
            ChildDiedError, ChildOverdueError, InvalidReplyError: it did not start.
            UnconfinedError: it could not confine itself.
        """
        if self._ready:
            return
        self._start_clock()
        line = self._read_line(START_S)
        if line is None:
            raise self._overdue_error()
        if line != b"\n":
            failure = _parse_answer(line)
            raise UnconfinedError(failure.get("layer"), failure.get("errno"))
        self._ready = True

    def run(self, request: Request, answers: list[dict[str, Any]], *, slow_after_s: float | None = None) -> bool:
        """Sends a request, and appends the answers as they come.

        There are fewer answers than calls only if the last of them has `replace`: the rest was not begun. Returns False
        if no answer came for `slow_after_s` although the child had CPU, or for STARVED_FACTOR times as long: the child
        is still running a call, and the caller must call `finish`.

        Raises:
            ChildDiedError, ChildOverdueError, InvalidReplyError: the next call has no answer. The caller must stop the
                child.
        """
        self.calls += request.calls
        self._unanswered = request.calls
        self._start_clock()
        self._write(request.text, request.files)
        return self._receive(answers, slow_after_s)

    def finish(self, answers: list[dict[str, Any]]) -> bool:
        """Interrupts the request behind the running call, and appends the answers until then.

        Raises: as `run`.
        """
        self._write(b"\n")
        return self._receive(answers, None)

    def stop(self) -> None:
        """Kills the child and every process that it may have started."""
        self._process.stop()

    def disown(self) -> None:
        """Drops a child that belongs to the process that this one was forked from."""
        self._process.disown()

    def _write(self, text: bytes, files: Sequence[int] = ()) -> None:
        if not self._process.write(text, files):
            raise ChildDiedError(self._process.wait_briefly())

    def _receive(self, answers: list[dict[str, Any]], slow_after_s: float | None) -> bool:
        # Only the last answer wakes this thread: waking up for each would cost more than many an answer. The answers
        # before it come through a pipe of their own, where they survive the child.
        received_before = len(answers)
        while True:
            remaining_s = self._since + self._wall_s - time.monotonic()
            try:
                line = self._read_line(remaining_s if slow_after_s is None else min(remaining_s, slow_after_s))
            except ChildDiedError:
                self._receive_early(answers)
                raise
            progressed = self._receive_early(answers)
            if line == INTERRUPTED and len(answers) > received_before:
                return True
            if line is not None:
                answers.append(self._last_answer(line))
                return True
            if progressed:
                self._start_clock()
            elif time.monotonic() >= self._since + self._wall_s:
                raise self._overdue_error()
            elif slow_after_s is not None and self._is_slow(slow_after_s):
                return False

    def _is_slow(self, slow_after_s: float) -> bool:
        # A child without CPU is not slow: on a busy machine the next child would get no CPU either.
        had_cpu = self._process.used_cpu_s() - self._cpu_before >= slow_after_s / 2
        return had_cpu or time.monotonic() >= self._since + STARVED_FACTOR * slow_after_s

    def _read_line(self, timeout_s: float) -> bytes | None:
        """The line that ends an exchange; None if it did not come within the timeout."""
        deadline = time.monotonic() + timeout_s
        while not self._buffer.endswith(b"\n"):
            chunk = self._process.read(deadline - time.monotonic())
            if chunk is None:
                return None
            if not chunk:
                raise ChildDiedError(self._process.wait_briefly())
            self._buffer += chunk
            if len(self._buffer) > MAX_ANSWER_BYTES:
                raise InvalidReplyError
        line, self._buffer = self._buffer, b""
        return line

    def _receive_early(self, answers: list[dict[str, Any]]) -> bool:
        """Appends the answers that came before the last one; whether there were any."""
        if self._unanswered == 1 and not self._early_buffer:
            return False
        while chunk := self._process.read_early():
            self._early_buffer += chunk
            if len(self._early_buffer) > MAX_ANSWER_BYTES:
                raise InvalidReplyError
        *lines, self._early_buffer = self._early_buffer.split(b"\n")
        self._unanswered -= len(lines)
        if self._unanswered < 1:
            raise InvalidReplyError
        answers += map(_call_answer, lines)
        return bool(lines)

    def _last_answer(self, line: bytes) -> dict[str, Any]:
        if self._unanswered != 1:
            raise InvalidReplyError
        return _call_answer(line)

    def _start_clock(self) -> None:
        self._since, self._cpu_before = time.monotonic(), self._process.used_cpu_s()

    def _overdue_error(self) -> ChildOverdueError:
        return ChildOverdueError(self._process.used_cpu_s() - self._cpu_before)


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")


_parse = json.JSONDecoder(parse_constant=_refuse_constant).decode


def _parse_answer(line: bytes) -> dict[str, Any]:
    try:
        answer = _parse(line.decode())
    except (ValueError, RecursionError):
        raise InvalidReplyError from None
    if not isinstance(answer, dict):
        raise InvalidReplyError
    return answer


def _call_answer(line: bytes) -> dict[str, Any]:
    """The answer to a call: nothing but a result or a refusal, and perhaps `replace`."""
    answer = _parse_answer(line)
    if answer.keys() - {"replace"} == {"result"}:
        return answer
    if answer.keys() - {"replace"} != {"refusal"} or parse_refusal(answer["refusal"]) is None:
        raise InvalidReplyError
    return answer
