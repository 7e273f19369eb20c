"""The place of one child in the sandbox, and who is to blame for its end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.metrics import SANDBOX_DEATHS, SANDBOX_STARTS
from pipeline.sandbox.process import Child, ChildDiedError, ChildOverdueError, InvalidReplyError

# Then a fresh child takes over, against leaks that are too small to be seen. Loading the decoders takes 0.4 s of CPU:
# at a few milliseconds a call this keeps it below one per cent.
CALLS_PER_CHILD = 20_000
MOST_BYTES = 32_768  # half of what a pipe takes in of which nobody reads, as while a child is stopped
# Of the CPU time that a call could have had before its time by the clock was over. Not quite all of it: what the child
# did not get in between, and what was not measured, are no excuse.
BURNT = 0.9
CAUSES = {-signal.SIGXCPU: "cpu", -signal.SIGKILL: "killed"}  # of a death, by its status

Answer = dict[str, Any] | PipelineError
"""What a child has said, or the verdict on a call that it did not answer."""


class ProcessSlot:
    """The place of one child: empty, or with a child in it that has answered everything so far."""

    def __init__(self, limits: dict[str, Any]) -> None:
        self._limits = limits
        self._child: Child | None = None
        self._fresh = False  # whether the child at work has seen nothing but the call that it is working on
        self.deaths = 0

    def ask(self, calls: Sequence[bytes], *, shared: bytes, patience_s: float | None = None) -> list[Answer]:
        """An answer to each of these calls, in order; `shared` are arguments of all of them.

        They are fewer if none came for `patience_s`: the child still works on the first that is missing, none behind it
        is begun, and `finish` is to be called.
        """
        answers: list[Answer] = []
        while len(answers) < len(calls):
            left = calls[len(answers) :]
            try:
                child = self.start()
                self._await(child)
            except RetryableError as error:
                return [*answers, *([error] * len(left))]
            self._fresh = child.calls == 0
            line = shared + b"\t[" + b",".join(some := _fitting(left)) + b"]\n"
            if not self._work(partial(child.ask, line, len(some), patience_s=patience_s), answers):
                break
        return answers

    def finish(self, call: bytes, *, shared: bytes) -> Answer:
        """The answer to the call that the child was still working on."""
        assert self._child is not None
        answers: list[Answer] = []
        self._work(self._child.finish, answers)
        return answers[0] if answers else self.ask([call], shared=shared)[0]

    def _work(self, step: Callable[[list[dict[str, Any]]], bool], answers: list[Answer]) -> bool:
        """Appends what the child answers in this step; False if it is still at work.

        A file is blamed only for the end of a child that had seen no other file: else its call has no answer yet.
        """
        found: list[dict[str, Any]] = []
        verdict: PipelineError | None = None
        ended = True
        try:
            ended = step(found)
        except ChildDiedError as death:
            self._bury(CAUSES.get(death.status, "crash"))
            if (self._fresh and not found) or death.status == -signal.SIGXCPU:
                verdict = _verdict(death.status)
        except ChildOverdueError as overdue:
            self._bury("overdue")
            verdict = self._too_long(overdue.cpu_s)
        except InvalidReplyError:
            self._bury("nonsense")
            verdict = nonsense()
        except BaseException:
            self.clear()
            raise
        self._fresh = self._fresh and not found
        if ended:
            self._retire(tired=bool(found) and bool(found[-1].get("tired")))
        answers += [*found, *([verdict] if verdict else [])]
        return ended

    def _retire(self, *, tired: bool) -> None:
        if self._child and (tired or self._child.calls >= CALLS_PER_CHILD):
            self.clear()

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
        """The child of this place.

        Raises:
            RetryableError: `internal`, if it cannot be started.
        """
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
        """Ends the child."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def disown(self) -> None:
        """Lets go of a child that belongs to the process we were forked from."""
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


def nonsense() -> PermanentError:
    """The verdict on what made a child answer what is no answer."""
    return PermanentError(Code.DECODER_CRASH, "the decoder's process answered nonsense")


def _fitting(calls: Sequence[bytes]) -> Sequence[bytes]:
    """The first of these calls, as many as may be handed over at once."""
    size = 0
    for count, call in enumerate(calls):
        size += len(call) + 1
        if size > MOST_BYTES and count:
            return calls[:count]
    return calls
