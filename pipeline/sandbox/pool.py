"""The parent's side of the sandbox: a few persistent children, each used by one thread at a time."""

from __future__ import annotations

import json
import os
import signal
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, LifoQueue
from typing import Any

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError, StagingLostError
from pipeline.meters import SANDBOX_DEATHS, SANDBOX_STARTS
from pipeline.sandbox.process import Child, ChildBabblesError, ChildDiedError, ChildOverdueError

# Then a fresh child takes over, against leaks that are too small to be seen. Loading the decoders takes 0.4 s of CPU:
# at a few milliseconds a call this keeps it below one per cent.
CALLS_PER_CHILD = 20_000
MAX_MESSAGE = 500
# Of the CPU time that a call could have had before its time by the clock was over. Not quite all of it: what the child
# did not get in between, and what was not measured, are no excuse.
BURNT = 0.9
CAUSES = {-signal.SIGXCPU: "cpu", -signal.SIGKILL: "killed"}  # of a death, by its status


class Sandbox:
    """Runs functions on untrusted bytes in `processes` child processes. Thread-safe; children start when needed.

    Each call may take `memory_mb` (10^6 bytes) beyond what its child held before, `cpu_s` seconds of CPU and `wall_s`
    seconds by the clock, not counting the wait for a free child. Modules named in `preload` are loaded when a child
    starts instead of at its first call. With `nice` the children give way to other processes. May be made before a
    fork: the forked process starts children of its own.

    Only CPU time is held against a file, for only that says the same on every machine. A call that has not ended after
    `wall_s` is refused for good if it used its CPU time meanwhile (`cpu_s`, or as much of it as fits into `wall_s`).
    Else nobody can tell a decoder that sleeps or waits from one that was stopped, or that the machine gave too little
    CPU: it may be tried again, and a file that keeps a decoder waiting each time has failed, not been refused.
    """

    def __init__(
        self,
        *,
        processes: int = 2,
        memory_mb: int,
        cpu_s: int,
        wall_s: float,
        preload: Sequence[str] = (),
        nice: int = 0,
    ) -> None:
        self._limits: dict[str, Any] = {"memory_mb": memory_mb, "cpu_s": cpu_s, "wall_s": wall_s, "preload": preload}
        self._limits["nice"] = nice
        self._processes = processes
        self._closed = False
        self._fill()
        _sandboxes.add(self)

    def _fill(self) -> None:
        self._closing = threading.Lock()
        self._seats = [_Seat(self._limits) for _ in range(self._processes)]
        # The seat used last is used next: children that are not needed are never started.
        self._free: LifoQueue[_Seat] = LifoQueue()
        for seat in self._seats:
            self._free.put(seat)

    def call(self, function: str, **arguments: Any) -> Any:
        """Runs `function`, named as "module:function", in a child. Arguments and answer are JSON values.

        Raises:
            PipelineError: what the function raised; `decoder_crash` (permanent) if it raised anything else or ended its
                process; `too_costly` (permanent) if it took more memory or CPU than allowed; `too_costly` (retryable)
                if it took longer than allowed without using its CPU time; `staging` (retryable) if the system could
                not read a file; `internal` (retryable) if no child could be started.
            StagingLostError: the function did not find its file.
        """
        request = json.dumps({"function": function, "arguments": arguments}).encode() + b"\n"
        seat = self._free.get()
        try:
            if self._closed:
                raise RetryableError(Code.INTERNAL, "the sandbox is closed")
            answer = seat.ask(request)
        finally:
            self._free.put(seat)
        return _unfold(answer)

    def warm(self) -> None:
        """Starts every child that is not running, without waiting for it.

        Raises:
            RetryableError: `internal`, if one cannot be started.
        """
        idle: list[_Seat] = []
        with suppress(Empty):  # who is in use has a child
            while True:
                idle.append(self._free.get_nowait())
        try:
            for seat in idle:
                seat.start()
        finally:
            for seat in idle:
                self._free.put(seat)

    @property
    def deaths(self) -> int:
        """How many children ended or were ended within a call."""
        return sum(seat.deaths for seat in self._seats)

    def close(self) -> None:
        """Ends every child, after the calls that are under way; later calls are refused."""
        self._closed = True
        with self._closing:  # two that each held some of the seats would wait for each other
            seats = [self._free.get() for _ in range(self._processes)]
            for seat in seats:
                seat.clear()
                self._free.put(seat)

    def forget(self) -> None:
        """Lets go of children that belong to the process we were forked from."""
        for seat in self._seats:
            seat.disown()
        self._fill()


_sandboxes: weakref.WeakSet[Sandbox] = weakref.WeakSet()


def deaths() -> int:
    """How many children of this process ended or were ended within a call."""
    return sum(sandbox.deaths for sandbox in list(_sandboxes))


def _forget_all() -> None:
    for sandbox in list(_sandboxes):
        sandbox.forget()


os.register_at_fork(after_in_child=_forget_all)


class _Seat:
    """The place of one child: empty, or with a child in it that has answered everything so far."""

    def __init__(self, limits: dict[str, Any]) -> None:
        self._limits = limits
        self._child: Child | None = None
        self.deaths = 0

    def ask(self, request: bytes) -> dict[str, Any]:
        """One answer. A file is blamed only for the end of a child that had seen no other file."""
        used = bool(self._child and self._child.calls)
        try:
            return self._ask(request)
        except ChildDiedError as death:
            if not used or death.status == -signal.SIGXCPU:
                raise _verdict(death.status) from None
        try:
            return self._ask(request)
        except ChildDiedError as death:
            raise _verdict(death.status) from None

    def _ask(self, request: bytes) -> dict[str, Any]:
        child = self.start()
        self._await(child)
        try:
            answer = child.ask(request)
        except ChildDiedError as death:
            self._bury(CAUSES.get(death.status, "crash"))
            raise
        except ChildOverdueError as overdue:
            self._bury("overdue")
            raise self._too_long(overdue.cpu_s) from None
        except ChildBabblesError:
            self._bury("nonsense")
            raise _nonsense() from None
        except BaseException:
            self.clear()
            raise
        if answer.get("tired") or child.calls >= CALLS_PER_CHILD:
            self.clear()
        return answer

    def _too_long(self, cpu_s: float) -> PipelineError:
        """The verdict on a call that did not end in time and has used so much CPU; Sandbox says why."""
        if cpu_s >= BURNT * min(self._limits["cpu_s"], self._limits["wall_s"]):
            return PermanentError(Code.TOO_COSTLY, "takes longer than is allowed")
        message = f"took longer than is allowed, with {cpu_s:.1f} s of CPU: it waits, or the machine is too busy"
        return RetryableError(Code.TOO_COSTLY, message)

    def _await(self, child: Child) -> None:
        try:
            child.wait_ready()
        except (ChildDiedError, ChildOverdueError) as error:
            self._bury("start")
            raise RetryableError(Code.INTERNAL, f"a decoder's process does not start: {error}") from None

    def start(self) -> Child:
        if self._child is None:
            try:
                self._child = Child(**self._limits)
            except OSError as error:
                message = f"a decoder's process cannot be started: {error.strerror}"
                raise RetryableError(Code.INTERNAL, message) from error
            SANDBOX_STARTS.add()
        return self._child

    def _bury(self, cause: str) -> None:
        SANDBOX_DEATHS.add(cause)
        self.deaths += 1
        self.clear()

    def clear(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None

    def disown(self) -> None:
        if self._child is not None:
            self._child.disown()
            self._child = None


def _verdict(status: int) -> PipelineError:
    if status == -signal.SIGXCPU:
        return PermanentError(Code.TOO_COSTLY, "takes more CPU time than is allowed")
    if status == -signal.SIGKILL:
        # We have not done this: the kernel short of memory, or somebody who ends all processes.
        return RetryableError(Code.INTERNAL, "the decoder's process was killed from outside")
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    return PermanentError(Code.DECODER_CRASH, f"the decoder's process was ended {how}")


def _nonsense() -> PermanentError:
    return PermanentError(Code.DECODER_CRASH, "the decoder's process answered nonsense")


def _unfold(answer: dict[str, Any]) -> Any:
    """The result, or what the function raised. The child may lie: whatever it says fits our own words."""
    if "error" not in answer:
        return answer.get("result")
    error = answer["error"] if isinstance(answer["error"], dict) else {}
    message = str(error.get("message"))[:MAX_MESSAGE]
    if error.get("permanence") == "lost":
        raise StagingLostError(message)
    if error.get("code") not in set(Code):
        raise _nonsense()
    kind = RetryableError if error.get("permanence") == "retryable" else PermanentError
    raise kind(Code(error["code"]), message)
