"""Runs parts side by side, starts again those that die, and stops all of them in order."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import NamedTuple, Self

from esteira.cli.supervisor.line_printer import LinePrinter
from esteira.cli.supervisor.part import GRACE_S, Part
from pipeline.errors import PipelineError

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class PartEnded(NamedTuple):
    """The process of a part has ended."""

    part: Part


class Supervisor:
    """Runs parts until SIGINT, SIGTERM or SIGHUP. Leaving its block stops all of them, the ones started last first.

    A part that ends by itself is started again, after 1 s, 2 s, 4 s and so on, at most half a minute. The others are
    not touched. `say` takes a message of the supervisor and its level.
    """

    def __init__(
        self, printer: LinePrinter, say: Callable[[str, str], object], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._printer = printer
        self._say = say
        self._clock = clock
        self._groups: list[Sequence[Part]] = []
        self._events: queue.SimpleQueue[PartEnded | signal.Signals] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        for group in reversed(self._groups):
            _stop(group)
        self._printer.close()

    def start(self, *parts: Part) -> None:
        """Starts parts, which are stopped at the same time, before those that were started earlier."""
        self._groups.append(parts)
        for part in parts:
            self._start(part)

    def run(self, *parts: Part, on_started: Callable[[], object] = lambda: None) -> None:
        """Starts parts, and starts again those that die, until the first signal to stop.

        Further signals do not disturb the stop, except that a second Ctrl-C kills these parts at once.
        """
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
                signal.signal(number, self._take_signal)
        self.start(*parts)
        on_started()
        while not isinstance(event := self._next_event(), signal.Signals):
            if event is not None:
                self._plan_restart(event.part)
            for part in self._due_parts():
                self._restart(part)
        signal.signal(signal.SIGINT, lambda _number, _frame: _send(parts, signal.SIGKILL))

    def _start(self, part: Part) -> None:
        process = part.start(self._clock())
        if process.stdout is not None:
            self._printer.follow(part.name, process.stdout)
        threading.Thread(target=self._watch, args=(part, process.pid), name=f"end of {part.name}", daemon=True).start()

    def _restart(self, part: Part) -> None:
        """Starts a part again, or plans the next try if the system has no process, memory or file left for it."""
        try:
            self._start(part)
        except (OSError, subprocess.SubprocessError, PipelineError) as error:
            delay_s = part.plan_restart(self._clock())
            self._say(f"{part.name} cannot be started ({error}); it is tried again in {delay_s:g} s", "error")

    def _watch(self, part: Part, pid: int) -> None:
        with suppress(ChildProcessError):  # `_stop` has reaped it
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # its id stays reserved until the main thread reaps it
        self._events.put(PartEnded(part))

    def _plan_restart(self, part: Part) -> None:
        assert part.process is not None
        ending = described(part.process.wait())
        delay_s = part.plan_restart(self._clock())
        self._say(f"{part.name} ended by itself ({ending}); it is started again in {delay_s:g} s", "error")

    def _due_parts(self) -> list[Part]:
        now = self._clock()
        return [part for part in self._parts() if part.due_at is not None and part.due_at <= now]

    def _next_event(self) -> PartEnded | signal.Signals | None:
        """The next event; None if a part is due before there is one."""
        due = [part.due_at for part in self._parts() if part.due_at is not None]
        try:
            return self._events.get(timeout=max(0.0, min(due) - self._clock()) if due else None)
        except queue.Empty:
            return None

    def _parts(self) -> Iterator[Part]:
        for group in self._groups:
            yield from group

    def _take_signal(self, number: int, _frame: FrameType | None) -> None:
        self._events.put(signal.Signals(number))  # SimpleQueue.put may be called again in the middle of itself


def described(status: int) -> str:
    """An exit status in words: `exit status 1`, `killed by SIGKILL`. A shell adds 128 to the number of the signal."""
    number = -status if status < 0 else status - 128
    try:
        return f"killed by {signal.Signals(number).name}" if number > 0 else f"exit status {status}"
    except ValueError:
        return f"exit status {status}"


def _stop(parts: Sequence[Part]) -> None:
    deadline = time.monotonic() + GRACE_S
    _send(parts, signal.SIGTERM)
    for process in [part.process for part in parts if part.process is not None]:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _send(parts: Sequence[Part], number: signal.Signals) -> None:
    for part in parts:
        if part.process is not None and part.process.returncode is None:
            part.process.send_signal(number)
