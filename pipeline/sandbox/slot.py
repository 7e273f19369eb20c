"""A slot for one child process: starts and replaces it, and decides which call its end is held against."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, NamedTuple

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.metrics import SANDBOX_DEATHS, SANDBOX_STARTS
from pipeline.sandbox.calls import Answer, InvalidAnswerError
from pipeline.sandbox.exchange import (
    Child,
    ChildDiedError,
    ChildOverdueError,
    InvalidReplyError,
    Request,
    UnconfinedError,
)
from pipeline.sandbox.files import MAX_FILES, close_files, open_files
from pipeline.sandbox.terms import unconfined_error

# Calls after which a child is replaced, in case of leaks too small to be detected. A new child uses 0.4 s of CPU to
# import the decoders: at a few milliseconds a call that is less than one per cent.
CALLS_PER_CHILD = 20_000
# Wall time of all calls of a child together, as a multiple of what one call may take; then it is replaced. CPU time is
# bounded by the kernel (child.py), but foreign code that sleeps in each call for as long as it may uses none.
WALL_TIMES_PER_CHILD = 20
# Bytes of calls in one request: far less than a socket buffers, so that sending never blocks on a stopped child.
MAX_REQUEST_BYTES = 32_768
# Share of the CPU time that a call could have used before its wall time was over. From this share on the file is
# refused for good. Not 1.0: what was not measured, and CPU time that the child did not get, must not excuse a file.
CPU_SHARE = 0.9
CAUSES = {-signal.SIGXCPU: "cpu", -signal.SIGKILL: "killed"}  # metric label of a death, by the exit status


class Limits(NamedTuple):
    """Limits of each call, and the configuration of children that contains them (see child.py)."""

    cpu_s: int
    wall_s: float
    configuration: dict[str, Any]


class SlotCall(NamedTuple):
    """A call as a child reads it (see child.py), and the path of its file, if it has one."""

    text: bytes
    file: str | None


class ProcessSlot:
    """A slot for one child process: empty, or with a child that has answered every call so far.

    Children import `modules` before they confine themselves. If more are added, the child is replaced.
    """

    def __init__(self, limits: Limits, modules: Collection[str]) -> None:
        self._limits = limits
        self._modules = modules
        self._child: Child | None = None
        self._fresh = False  # whether the running call is the first one of the child
        self._distrusted = False
        self._busy_s = 0.0  # wall time of all calls of the child
        self.deaths = 0

    def run(self, calls: Sequence[SlotCall], *, shared: bytes, slow_after_s: float | None = None) -> list[Answer]:
        """Runs calls: one answer each, in order. `shared` are arguments of all of them, as JSON.

        There are fewer answers if none came for `slow_after_s`: the child is still running the first call without an
        answer, those behind it are not begun, and the caller must call `finish`.
        """
        answers: list[Answer] = []
        while len(answers) < len(calls):
            remaining = calls[len(answers) :]
            try:
                child = self.start()
                self._wait_ready(child)
            except RetryableError as error:
                return [*answers, *([error] * len(remaining))]
            batch = _first_batch(remaining)
            files, missing = open_files([call.file for call in batch])
            batch = batch if missing is None else batch[: missing.place]
            if missing is not None and not batch:
                answers.append(missing.error)
                continue
            self._fresh = child.calls == 0
            try:
                request = Request(
                    shared + b"\t[" + b",".join([call.text for call in batch]) + b"]\n", len(batch), files
                )
                if not self._exchange(partial(child.run, request, slow_after_s=slow_after_s), answers):
                    break
            finally:
                close_files(files)
        return answers

    def finish(self, call: SlotCall, *, shared: bytes) -> Answer:
        """Waits for the answer to the call that is still running."""
        assert self._child is not None
        answers: list[Answer] = []
        self._exchange(self._child.finish, answers)
        return answers[0] if answers else self.run([call], shared=shared)[0]

    def _exchange(self, receive: Callable[[list[dict[str, Any]]], bool], answers: list[Answer]) -> bool:
        """Appends the answers that `receive` collects; False if the child is still running a call.

        The end of a child is held against a file only if the child has seen no other file. Otherwise the call gets no
        answer here and is run again in a new child.
        """
        received: list[dict[str, Any]] = []
        error: PipelineError | None = None
        ended = True
        began = time.monotonic()
        try:
            ended = receive(received)
        except ChildDiedError as death:
            self._record_death(CAUSES.get(death.status, "crash"))
            if (self._fresh and not received) or death.status == -signal.SIGXCPU:
                error = _error_by_status(death.status)
        except ChildOverdueError as overdue:
            self._record_death("overdue")
            error = self._overdue_error(overdue.cpu_s)
        except InvalidReplyError:
            self._record_death("nonsense")
            error = InvalidAnswerError()
        except BaseException:
            self.clear()
            raise
        self._fresh = self._fresh and not received
        self._busy_s += time.monotonic() - began
        if ended:
            self._replace_if_used_up(requested=bool(received) and bool(received[-1].get("replace")))
        answers += [*received, *([error] if error else [])]
        return ended

    def _replace_if_used_up(self, *, requested: bool) -> None:
        """Ends a child that has answered, if it asks for it or has worked for long."""
        if self._child is None:
            return
        worked = self._child.calls >= CALLS_PER_CHILD or self._busy_s >= WALL_TIMES_PER_CHILD * self._limits.wall_s
        if requested or worked:
            self.clear()

    def _overdue_error(self, cpu_s: float) -> PipelineError:
        """The error of a call that did not end within its wall time and used this much CPU (see Sandbox)."""
        if cpu_s >= CPU_SHARE * min(self._limits.cpu_s, self._limits.wall_s):
            return PermanentError(Code.TOO_COSTLY, "takes longer than is allowed (SANDBOX_WALL_S, SANDBOX_CPU_S)")
        message = (
            f"took longer than is allowed (SANDBOX_WALL_S) with {cpu_s:.1f} s of CPU: the decoder waits, or the "
            "machine is too busy"
        )
        return RetryableError(Code.TOO_COSTLY, message)

    def _wait_ready(self, child: Child) -> None:
        try:
            child.wait_ready()
        except UnconfinedError as error:
            self._record_death("start")
            raise unconfined_error(error.layer, error.number) from None
        except (ChildDiedError, ChildOverdueError, InvalidReplyError) as error:
            self._record_death("start")
            raise RetryableError(Code.INTERNAL, f"a decoder process does not start: {error}") from None

    def start(self) -> Child:
        """The child of this slot, started if there is none with all modules.

        Raises:
            RetryableError: `internal`, if it cannot be started.
        """
        if self._child is not None and (self._distrusted or self._child.modules < len(self._modules)):
            self.clear()
        if self._child is None:
            try:
                configuration, wall_s = self._limits.configuration, self._limits.wall_s
                self._child = Child(configuration, wall_s=wall_s, preload=list(self._modules))
            except OSError as error:
                message = f"a decoder process cannot be started: {error.strerror}"
                raise RetryableError(Code.INTERNAL, message) from error
            self._distrusted, self._busy_s = False, 0.0
            SANDBOX_STARTS.add()
        return self._child

    def distrust(self) -> None:
        """Replaces the child before its next call."""
        self._distrusted = True

    def _record_death(self, cause: str) -> None:
        SANDBOX_DEATHS.add(cause)
        self.deaths += 1
        self.clear()

    def clear(self) -> None:
        """Ends the child."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def disown(self) -> None:
        """Drops the child without ending it: it belongs to the process that this one was forked from."""
        if self._child is not None:
            self._child.disown()
            self._child = None


def _error_by_status(status: int) -> PipelineError:
    if status == -signal.SIGXCPU:
        return PermanentError(Code.TOO_COSTLY, "takes more CPU time than is allowed (SANDBOX_CPU_S)")
    if status == -signal.SIGKILL:
        # Not sent by the sandbox: the kernel was short of memory, or an operator killed the process.
        return RetryableError(Code.INTERNAL, "the decoder process was killed from outside")
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    return PermanentError(Code.DECODER_CRASH, f"the decoder process ended {how}")


def _first_batch(calls: Sequence[SlotCall]) -> Sequence[SlotCall]:
    """The first calls, as many as MAX_REQUEST_BYTES and MAX_FILES allow, at least one."""
    size = 0
    for count, call in enumerate(calls):
        size += len(call.text) + 1
        if (size > MAX_REQUEST_BYTES and count) or count == MAX_FILES:
            return calls[:count]
    return calls
