"""The sandbox: a few persistent child processes, each used by one thread at a time."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import asdict
from queue import Empty, LifoQueue
from threading import Lock, Thread
from typing import Any, NamedTuple

from pipeline.errors import Code, PipelineError, RetryableError
from pipeline.sandbox.calls import Answer, Call, StillRunning, unpack_answer
from pipeline.sandbox.slot import Limits, ProcessSlot, SlotCall
from pipeline.sandbox.terms import Confinement, confinement

# Seconds without an answer after which `call_many` returns the answers so far. Longer: one slow file holds up the
# others of its batch. Shorter: more files are asked for twice.
SLOW_CALL_S = 0.1
# Answers of slow calls that are kept until they are asked for. Beyond that the oldest is dropped: its caller is gone.
MAX_UNCOLLECTED = 64


class _Key(NamedTuple):
    """Identity of a call: its arguments as JSON, its file, and the id of its content."""

    shared: bytes
    call: SlotCall
    content_id: str


class Sandbox:
    """Runs functions on untrusted bytes in `processes` child processes. Thread-safe; children start when needed.

    Each call may use `memory_mb` (10^6 bytes) beyond what its child used before, `cpu_s` seconds of CPU and `wall_s`
    seconds of wall time, without the wait for a free child. Modules named in `preload` are imported when a child
    starts; a call of another module starts a new child, because a confined child imports nothing. `nice` lowers the
    children's CPU priority. `terms` say how children are confined. A Sandbox may be created before a fork: the forked
    process starts children of its own.

    Only CPU time is held against a file, because it is the same on every machine. A call that has not ended after
    `wall_s` is refused for good if it used its CPU time (`cpu_s`, or as much of it as fits into `wall_s`). The
    cause is unknown otherwise (a decoder that sleeps, a stopped process, a machine with too little CPU), so the error
    is retryable, and a file whose decoder never ends uses up its attempts and fails.
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
        terms: Confinement | None = None,
    ) -> None:
        confined = asdict(terms or confinement())
        configuration = {"memory_bytes": memory_mb * 1_000_000, "cpu_s": cpu_s, "nice": nice, "confinement": confined}
        self._limits = Limits(cpu_s, wall_s, configuration)
        self._modules = dict.fromkeys(preload)  # a set in the order of insertion
        self._processes = processes
        self._closed = False
        self._create_slots()
        _sandboxes.add(self)

    def _create_slots(self) -> None:
        self._closing = Lock()
        self._slots = [ProcessSlot(self._limits, self._modules) for _ in range(self._processes)]
        # Last in, first out: the slot used last is used next, so children that are not needed never start.
        self._free: LifoQueue[ProcessSlot] = LifoQueue()
        self._slow_calls: dict[_Key, Future[Answer]] = {}  # still running, or ended and not asked for again
        for slot in self._slots:
            self._free.put(slot)

    def call(self, function: str, *, file: str | None = None, **arguments: Any) -> Any:
        """Runs `function`, named as "module:function", in a child. Arguments and result are JSON values.

        `file` is a path, which becomes an open descriptor in the child. The caller must validate the result: a child
        may run foreign code.

        Raises:
            PipelineError: the Refusal that the function raised; `decoder_crash` (permanent) if it raised another
                exception or its process ended; `too_costly` (permanent) if it used more memory or CPU than allowed;
                `too_costly` (retryable) if it took longer than allowed without using its CPU time; `staging`
                (retryable) if the system could not read a file; `internal` (retryable) if no child could be started or
                confined.
            StagingLostError: the file does not exist.
        """
        answer = self.call_many([Call(function, {}, file=file)], **arguments)[0]
        if isinstance(answer, PipelineError):
            raise answer
        return answer

    def call_many(self, calls: Sequence[Call], **shared: Any) -> list[Any]:
        """Runs calls one after the other in one child: for each its result, or the error that `call` raises.

        `shared` are arguments of all calls; a child parses them only if they differ from the last ones.

        If there is no answer for SLOW_CALL_S, the call that runs and those behind it are returned as StillRunning. The
        running call continues; those behind it are not begun. A later call with the same arguments and content id gets
        the answer, or waits for it, so no work is lost. A single call is always waited for, so a caller that repeats
        each StillRunning alone gets all answers.
        """
        if not calls:
            return []
        common = json.dumps(shared).encode()
        self._learn_modules(calls)
        keys = [_key(common, call) for call in calls]
        slow_after_s = SLOW_CALL_S if len(calls) > 1 else None
        futures = [self._slow_calls.get(key) for key in keys] if self._slow_calls else []
        has_slow = any(futures)
        answers = self._collect_and_run(keys, futures, slow_after_s) if has_slow else self._run(keys, slow_after_s)
        return [StillRunning() if answer is None else unpack_answer(answer) for answer in answers]

    def _learn_modules(self, calls: Sequence[Call]) -> None:
        modules = {call.function.partition(":")[0] for call in calls}
        if not modules <= self._modules.keys():
            self._modules.update(dict.fromkeys(modules))

    def _collect_and_run(
        self, keys: Sequence[_Key], futures: Sequence[Future[Answer] | None], slow_after_s: float | None
    ) -> list[Answer | None]:
        new = [key for key, future in zip(keys, futures, strict=True) if future is None]
        answers = iter(self._run(new, slow_after_s) if new else [])
        if not new:
            wait([future for future in futures if future], timeout=slow_after_s, return_when=FIRST_COMPLETED)
        return [
            self._collect(key, future) if future else next(answers) for key, future in zip(keys, futures, strict=True)
        ]

    def _collect(self, key: _Key, future: Future[Answer]) -> Answer | None:
        if not future.done():
            return None
        self._slow_calls.pop(key, None)
        return future.result()

    def _run(self, keys: Sequence[_Key], slow_after_s: float | None) -> list[Answer | None]:
        """The answers of one child; None for each call without one yet."""
        slot = self._free.get()
        answers: list[Answer] | None = None
        try:
            if self._closed:
                return [RetryableError(Code.INTERNAL, "the sandbox is closed")] * len(keys)
            answers = slot.run([key.call for key in keys], shared=keys[0].shared, slow_after_s=slow_after_s)
        finally:
            if answers is None or len(answers) == len(keys):
                self._free.put(slot)
        if len(answers) < len(keys):
            self._finish_in_background(slot, keys[len(answers)])
        return [*answers, *([None] * (len(keys) - len(answers)))]

    def _finish_in_background(self, slot: ProcessSlot, key: _Key) -> None:
        # Killing the child would waste its work and the 0.4 s of CPU in which a new one imports the decoders; an image
        # with many frames is not an error.
        future: Future[Answer] = Future()
        self._slow_calls[key] = future
        while len(self._slow_calls) > MAX_UNCOLLECTED:
            self._slow_calls.pop(next(iter(self._slow_calls)), None)
        try:
            Thread(target=_finish, args=(slot, key, future, self._free), daemon=True).start()
        except RuntimeError:  # no memory for a thread: this thread waits instead, or the slot would be lost
            _finish(slot, key, future, self._free)

    def warm(self) -> None:
        """Starts the child that is used first, if it does not run, without waiting for it.

        The others start when several are needed at once: with small files one child is fast enough for all.

        Raises:
            RetryableError: `internal`, if it cannot be started.
        """
        with suppress(Empty):  # a slot in use has a child
            slot = self._free.get_nowait()
            try:
                slot.start()
            finally:
                self._free.put(slot)

    def distrust(self) -> None:
        """Replaces the children before their next calls, because one of them gave a result that no decoder gives.

        The caller does this with an InvalidAnswerError.
        """
        for slot in self._slots:
            slot.distrust()

    @property
    def deaths(self) -> int:
        """Number of children that ended or were killed during a call."""
        return sum(slot.deaths for slot in self._slots)

    def close(self) -> None:
        """Ends every child after its running call. Later calls are refused."""
        self._closed = True
        with self._closing:  # two threads that each held some of the slots would wait for each other
            slots = [self._free.get() for _ in range(self._processes)]
            for slot in slots:
                slot.clear()
                self._free.put(slot)

    def disown_children(self) -> None:
        """Replaces all slots in a forked process: the children belong to the process that it was forked from."""
        for slot in self._slots:
            slot.disown()
        self._create_slots()


_sandboxes: weakref.WeakSet[Sandbox] = weakref.WeakSet()


def deaths() -> int:
    """Number of children of this process that ended or were killed during a call."""
    return sum(sandbox.deaths for sandbox in list(_sandboxes))


def _disown_all_children() -> None:
    for sandbox in list(_sandboxes):
        sandbox.disown_children()


os.register_at_fork(after_in_child=_disown_all_children)


def _key(shared: bytes, call: Call) -> _Key:
    text = json.dumps((call.function, call.arguments, call.file is not None)).encode()
    return _Key(shared, SlotCall(text, call.file), call.content_id)


def _finish(slot: ProcessSlot, key: _Key, future: Future[Answer], free: LifoQueue[ProcessSlot]) -> None:
    try:
        future.set_result(slot.finish(key.call, shared=key.shared))
    except BaseException as error:
        future.set_exception(error)
        raise
    finally:
        free.put(slot)
