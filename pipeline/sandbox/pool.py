"""The parent's side of the sandbox: a few persistent children, each used by one thread at a time."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from queue import Empty, LifoQueue
from threading import Lock, Thread
from typing import Any, NamedTuple

from pipeline.errors import BusyError, Code, PermanentError, PipelineError, RetryableError, StagingLostError
from pipeline.sandbox.slot import Answer, ProcessSlot, nonsense

# No answer for so long, and those that have come are not held up any more.
PATIENCE_S = 0.1
MOST_LATE = 64
MAX_MESSAGE = 500
CODES = frozenset(Code)


class Call(NamedTuple):
    """One call: "module:function" and its arguments, which are JSON values.

    `mark` tells what the arguments name from what they may name another time, such as another file by the same name.
    """

    function: str
    arguments: dict[str, Any]
    mark: str = ""


class StillRunning(BusyError):  # noqa: N818 -- nothing is wrong: it is to be asked again
    """What `call_many` returns for a call that takes long, and for those behind it that were not begun."""

    def __init__(self) -> None:
        super().__init__(Code.INTERNAL, "is still being decoded, or waits behind another one that is")


class _Key(NamedTuple):
    """A call as it is asked."""

    shared: bytes
    call: bytes
    mark: str


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
        self._closing = Lock()
        self._seats = [ProcessSlot(self._limits) for _ in range(self._processes)]
        # The seat used last is used next: children that are not needed are never started.
        self._free: LifoQueue[ProcessSlot] = LifoQueue()
        self._late: dict[_Key, Future[Answer]] = {}  # what takes long, and has not been asked for again
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
        answer = self.call_many([Call(function, {})], **arguments)[0]
        if isinstance(answer, PipelineError):
            raise answer
        return answer

    def call_many(self, calls: Sequence[Call], **shared: Any) -> list[Any]:
        """Runs these one after the other in one child: for each what it returned, or the error that `call` raises.

        `shared` are arguments of all of them: a child that has just read the same ones does not read them again.

        Once one takes longer than PATIENCE_S, `StillOut` stands in its place and in those behind it, which are not
        begun. It goes on by itself: asked again with the same mark, its answer is there or is waited for, so no work is
        lost, and whoever asks for each `StillOut` alone comes to an end. One call alone is awaited to its end.
        """
        if not calls:
            return []
        common = json.dumps(shared).encode()
        keys = [_Key(common, json.dumps(call[:2]).encode(), call.mark) for call in calls]
        patience_s = PATIENCE_S if len(calls) > 1 else None
        late = [self._late.get(key) for key in keys] if self._late else []
        answers = self._answers_with_late(keys, late, patience_s) if any(late) else self._ask(keys, patience_s)
        return [StillRunning() if answer is None else _unfold(answer) for answer in answers]

    def _answers_with_late(
        self, keys: Sequence[_Key], late: Sequence[Future[Answer] | None], patience_s: float | None
    ) -> list[Answer | None]:
        new = [key for key, future in zip(keys, late, strict=True) if future is None]
        answers = iter(self._ask(new, patience_s) if new else [])
        if not new:
            wait([future for future in late if future], timeout=patience_s, return_when=FIRST_COMPLETED)
        return [self._collect(key, future) if future else next(answers) for key, future in zip(keys, late, strict=True)]

    def _collect(self, key: _Key, future: Future[Answer]) -> Answer | None:
        if not future.done():
            return None
        self._late.pop(key, None)
        return future.result()

    def _ask(self, keys: Sequence[_Key], patience_s: float | None) -> list[Answer | None]:
        """The answers of one child, and None for each that has not come."""
        seat = self._free.get()
        answers: list[Answer] | None = None
        try:
            if self._closed:
                return [RetryableError(Code.INTERNAL, "the sandbox is closed")] * len(keys)
            answers = seat.ask([key.call for key in keys], shared=keys[0].shared, patience_s=patience_s)
        finally:
            if answers is None or len(answers) == len(keys):
                self._free.put(seat)
        if len(answers) < len(keys):
            self._await_beside(seat, keys[len(answers)])
        return [*answers, *([None] * (len(keys) - len(answers)))]

    def _await_beside(self, seat: ProcessSlot, key: _Key) -> None:
        # Ending the child instead would cost more than the work that it has done: a fresh one takes 0.4 s of CPU to
        # load its decoders, and a picture of many frames is no fault.
        future: Future[Answer] = Future()
        self._late[key] = future
        while len(self._late) > MOST_LATE:  # whoever asked for it has gone meanwhile
            self._late.pop(next(iter(self._late)), None)
        try:
            Thread(target=_finish, args=(seat, key, future, self._free), daemon=True).start()
        except RuntimeError:  # no memory for another thread: then this one waits, or the seat would be lost
            _finish(seat, key, future, self._free)

    def warm(self) -> None:
        """Starts the child that is asked first, if it does not run, without waiting for it.

        The others start when several are needed at once: where files are small, one has time for all.

        Raises:
            RetryableError: `internal`, if it cannot be started.
        """
        with suppress(Empty):  # who is in use has a child
            seat = self._free.get_nowait()
            try:
                seat.start()
            finally:
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


def _finish(seat: ProcessSlot, key: _Key, future: Future[Answer], free: LifoQueue[ProcessSlot]) -> None:
    try:
        future.set_result(seat.finish(key.call, shared=key.shared))
    except BaseException as error:
        future.set_exception(error)
        raise
    finally:
        free.put(seat)


def _unfold(answer: Answer) -> Any:
    """The result, or what the function raised. The child may lie: whatever it says fits our own words."""
    if isinstance(answer, PipelineError):
        return answer
    if "error" not in answer:
        return answer.get("result")
    error = answer["error"] if isinstance(answer["error"], dict) else {}
    message = str(error.get("message"))[:MAX_MESSAGE]
    if error.get("permanence") == "lost":
        return StagingLostError(message)
    code = str(error.get("code"))
    if code not in CODES:
        return nonsense()
    kind = RetryableError if error.get("permanence") == "retryable" else PermanentError
    return kind(Code(code), message)
